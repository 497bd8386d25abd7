//! Tokens on their way from the device.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::nn::cuda::Pinned;

/// What was sent for last. The host waits only when it receives it.
#[derive(Default)]
pub struct Inbox {
    /// What can be read without waiting for anything.
    here: Option<Tensor>,
    /// How many tokens are on their way, and where to.
    #[cfg(feature = "cuda")]
    coming: Option<usize>,
    #[cfg(feature = "cuda")]
    pinned: Option<Pinned>,
}

impl Inbox {
    /// Starts to copy `tokens`, `(tokens)`, in place of what was sent for before.
    #[cfg_attr(
        not(feature = "cuda"),
        allow(
            clippy::unnecessary_wraps,
            reason = "it can fail only where there is a device"
        )
    )]
    pub fn send_for(&mut self, tokens: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(device) = tokens.device() {
            let count = tokens.dim(0)?;
            let mut pinned = match self.pinned.take() {
                Some(pinned) if pinned.len() >= count => pinned,
                _ => Pinned::new(device, count)?,
            };
            pinned.copy(tokens)?;
            (self.pinned, self.coming) = (Some(pinned), Some(count));
            return Ok(());
        }
        self.here = Some(tokens.clone());
        Ok(())
    }

    /// What was sent for, once; none if nothing was.
    pub fn receive(&mut self) -> Result<Vec<u32>> {
        #[cfg(feature = "cuda")]
        if let (Some(count), Some(pinned)) = (self.coming.take(), &self.pinned) {
            return pinned.read(count);
        }
        self.here
            .take()
            .map_or(Ok(Vec::new()), |tokens| tokens.to_vec1())
    }
}
