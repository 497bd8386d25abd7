//! What is shown while files are fetched.

use crate::terminal;

/// Progress on stderr while files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchProgress {
    /// A status line per file: bytes, speed, time left.
    Bar,
    /// A line when a file starts, and every 30 s.
    Plain,
    /// Nothing.
    Off,
}

impl FetchProgress {
    /// [`Self::Bar`] if stderr is a terminal, else [`Self::Plain`].
    #[must_use]
    pub fn auto() -> Self {
        if terminal::can_redraw() {
            Self::Bar
        } else {
            Self::Plain
        }
    }

    /// Prints a line in every mode but [`Self::Off`].
    pub fn say(self, line: &str) {
        if self != Self::Off {
            terminal::log_line(line);
        }
    }
}
