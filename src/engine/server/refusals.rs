//! How a server's refusals are judged: if it answers other requests, the page is at fault.

use anyhow::{Result, bail};

use crate::page::PageOutcome;

/// After this many refusals without any answer, no further page is sent.
const MAX_REFUSALS: usize = 8;

/// Refused pages, while it is unknown whether the page or the server is at fault.
#[derive(Default)]
pub(super) struct Refusals {
    has_answered: bool,
    held: Vec<PageOutcome>,
}

impl Refusals {
    /// The server has answered a page.
    pub(super) fn answered(&mut self) {
        self.has_answered = true;
    }

    /// The server does not want this page.
    ///
    /// # Errors
    /// It has refused so many pages, and answered none, that it would refuse the others too.
    pub(super) fn refused(&mut self, outcome: PageOutcome) -> Result<()> {
        self.held.push(outcome);
        if !self.has_answered && self.held.len() >= MAX_REFUSALS {
            return self.bail();
        }
        Ok(())
    }

    /// Hands on what is known to be the pages' fault.
    pub(super) fn hand_on(
        &mut self,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        if self.has_answered {
            return self.held.drain(..).try_for_each(done);
        }
        Ok(())
    }

    /// There are no more pages. One alone that was refused is at fault if the server answers to `probe`.
    ///
    /// # Errors
    /// The server has refused all that it was asked.
    pub(super) fn end(
        mut self,
        probe: impl FnOnce() -> bool,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        match self.held.len() {
            0 => Ok(()),
            1 if probe() => {
                self.has_answered = true;
                self.hand_on(done)
            }
            _ => self.bail(),
        }
    }

    fn bail(&self) -> Result<()> {
        match self.held.first().map(|outcome| &outcome.result) {
            Some(Err(error)) => bail!("{error}"),
            _ => Ok(()),
        }
    }
}
