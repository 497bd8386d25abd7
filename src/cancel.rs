//! SIGINT and SIGTERM: the first one asks the run to end after the page in hand, the second ends it at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Whether the run has been asked to end. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes the two signals over from the system's default, which would be to die at once.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn install(&self) -> Result<()> {
        let asked_before = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let code = 128 + signal;
            // In this order: the first signal finds the flag unset, and sets it for the second one.
            flag::register_conditional_shutdown(signal, code, Arc::clone(&asked_before))
                .and_then(|_| flag::register(signal, Arc::clone(&asked_before)))
                .and_then(|_| {
                    flag::register_usize(signal, Arc::clone(&self.signal), signal as usize)
                })
                .context("signals can't be handled")?;
        }
        Ok(())
    }

    /// The signal that asked, if one has.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as u8),
        }
    }
}
