//! What is shown while files are fetched.

use crate::terminal;

/// What is shown on stderr while files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchProgress {
    /// A status line per file with bytes, speed and the time left.
    Bar,
    /// A line when a file begins, and one every 30 s.
    Plain,
    /// Nothing.
    Off,
}

impl FetchProgress {
    /// [`Self::Bar`] if a line on stderr can be drawn over, else [`Self::Plain`].
    #[must_use]
    pub fn auto() -> Self {
        if terminal::can_redraw() {
            Self::Bar
        } else {
            Self::Plain
        }
    }

    /// Says a line in every mode but [`Self::Off`].
    pub fn say(self, line: &str) {
        if self != Self::Off {
            terminal::log_line(line);
        }
    }
}
