//! Copies tokens and their probabilities from the device to the host.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::nn::cuda::{InFlight, Pinned};

/// Copies numbers to the host while the device goes on. The host waits only when it takes them.
#[derive(Default)]
pub struct AsyncReadback {
    /// Numbers that can be read at once.
    here: Option<Tensor>,
    /// Numbers that are being copied.
    #[cfg(feature = "cuda")]
    in_flight: Option<InFlight>,
    /// Memory for the next copy.
    #[cfg(feature = "cuda")]
    pinned: Option<Pinned>,
}

impl AsyncReadback {
    /// Starts to copy `numbers`, f32 of any shape, in place of what was started before.
    #[cfg_attr(
        not(feature = "cuda"),
        allow(
            clippy::unnecessary_wraps,
            reason = "it can fail only where there is a device"
        )
    )]
    pub fn start(&mut self, numbers: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(device) = numbers.device() {
            let count = numbers.elem_count();
            let pinned = match self.pinned.take() {
                Some(pinned) if pinned.len() >= count => pinned,
                _ => Pinned::new(device, count)?,
            };
            self.in_flight = Some(pinned.copy(numbers)?);
            return Ok(());
        }
        self.here = Some(numbers.clone());
        Ok(())
    }

    /// Waits for the numbers whose copy was started and returns them, once; none if there are none.
    pub fn finish(&mut self) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if let Some(in_flight) = self.in_flight.take() {
            let (numbers, pinned) = in_flight.wait()?;
            self.pinned = Some(pinned);
            return Ok(numbers);
        }
        match self.here.take() {
            Some(numbers) => numbers.flatten_all()?.to_vec1(),
            None => Ok(Vec::new()),
        }
    }
}
