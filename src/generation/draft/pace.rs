//! How long drafts are, and when there are none: as earlier ones were accepted.

/// After this many rejected drafts in a row drafting pauses, twice as long each time.
const PATIENCE: u32 = 4;
/// Length of the first pause, in tokens.
const REST: usize = 16;

/// The pace of drafts from one source.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Length of the next draft.
    length: usize,
    max: usize,
    /// Rejected drafts in a row.
    misses: u32,
    /// No drafts before the answer has this length.
    resumes_at: usize,
    rest: usize,
}

impl Pace {
    /// Begins with drafts of `first` tokens; they never get longer than `max`.
    pub(super) fn new(first: usize, max: usize) -> Self {
        Self {
            length: first,
            max,
            misses: 0,
            resumes_at: 0,
            rest: REST,
        }
    }

    /// Whether an answer of `written` tokens gets no draft, whatever they are.
    pub(super) fn rests(&self, written: usize) -> bool {
        written < self.resumes_at
    }

    /// The length of a draft for an answer of `written` tokens, with room for `room` more.
    pub(super) fn length(&self, written: usize, room: usize) -> usize {
        if self.rests(written) {
            0
        } else {
            self.length.min(room)
        }
    }

    /// Learns that the first `right` of `drafted` tokens were written, after which the answer has `written`.
    pub(super) fn learn(&mut self, drafted: usize, right: usize, written: usize) {
        if right == 0 {
            self.misses += 1;
            if self.misses > 1 {
                // One miss is a piece of markup.
                self.length = (self.length / 2).max(1);
            }
            if self.misses == PATIENCE {
                self.misses = 0;
                self.resumes_at = written + self.rest;
                self.rest *= 2;
            }
            return;
        }
        self.misses = 0;
        self.rest = REST;
        self.length = if right == drafted {
            2 * self.length
        } else {
            (right + 2).max(usize::midpoint(self.length, right))
        };
        self.length = self.length.min(self.max);
    }
}
