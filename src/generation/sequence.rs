//! An answer in progress: its tokens, its draft, and whether it has ended.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    draft::{Drafter, MAX_DRAFT},
    kv_cache::KvCache,
    model::{DraftSlice, Prefilled, SequenceSlice},
    repetition::LoopDetector,
    sampler::{Choice, NotFinite, Sampler, Sampling},
};
use crate::{clock, nn::likeliest::Likeliest};

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model wrote an end-of-sequence token.
    Stop,
    /// The token budget or the model's context was used up.
    Length,
    /// The answer looped; only the first occurrence of the unit is kept.
    Repetition,
}

/// An answer's tokens, and what they took.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The tokens, without the one that ended them.
    pub tokens: Vec<u32>,
    /// The logarithms of their probabilities, as the model sees them.
    pub log_probabilities: Vec<f32>,
    /// Why there are no more.
    pub ending: Ending,
    /// Tokens of the prompt, those of the image included.
    pub prompt_tokens: usize,
    /// Tokens of the image.
    pub image_tokens: usize,
    /// Number of forward passes of the decoder, including the prompt's.
    pub forward_passes: usize,
    /// Tokens that were drafted before the decoder wrote them.
    pub draft_accepted: usize,
    /// Vision tower and prompt, up to the first token.
    pub prefill: Duration,
    /// The tokens after the first.
    pub decode: Duration,
}

/// The deadline passed before the answer was whole.
#[derive(Debug)]
pub struct OutOfTime;

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model took too long; raise --page-timeout")
    }
}

impl std::error::Error for OutOfTime {}

/// A token that the device has chosen and the host has not read.
#[derive(Clone)]
pub(super) struct PendingToken {
    /// Those of a run.
    pub(super) chosen: Arc<Likeliest>,
    /// Which of them it is.
    pub(super) row: usize,
}

/// The token that the decoder sees next.
pub(super) enum NextInput {
    /// The device has it.
    Pending(PendingToken),
    /// The host has read it.
    Read(u32),
}

/// One answer, from its first token on.
pub struct Sequence {
    cache: KvCache,
    /// Samples tokens; none for greedy decoding.
    sampler: Option<Sampler>,
    drafter: Option<Drafter>,
    loops: LoopDetector,
    /// The tokens so far; the decoder has seen all but the last.
    tokens: Vec<u32>,
    /// The logarithms of their probabilities.
    log_probabilities: Vec<f32>,
    /// The token that follows them, where the device has chosen it and the host has not read it yet.
    pending_token: Option<PendingToken>,
    /// The draft of the current step.
    draft: Vec<u32>,
    ending: Option<Ending>,
    /// Whether all logits were finite so far.
    finite: bool,
    /// Position of the first token of the answer.
    first: u32,
    /// Token budget.
    room: usize,
    deadline: Option<Instant>,
    prompt_tokens: usize,
    image_tokens: usize,
    forward_passes: usize,
    draft_accepted: usize,
    prefill: Duration,
    prefilled: Instant,
}

impl Sequence {
    pub(super) fn new(
        prefilled: &Prefilled,
        cache: KvCache,
        sampling: Sampling,
        drafter: Option<Drafter>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            cache,
            sampler: Sampler::new(sampling),
            drafter,
            loops: LoopDetector::default(),
            tokens: Vec::new(),
            log_probabilities: Vec::new(),
            pending_token: None,
            draft: Vec::new(),
            ending: None,
            finite: true,
            first: prefilled.next,
            room: prefilled.room,
            deadline,
            prompt_tokens: prefilled.prompt_tokens,
            image_tokens: prefilled.image_tokens,
            forward_passes: 0,
            draft_accepted: 0,
            prefill: Duration::ZERO,
            prefilled: clock::now(),
        }
    }

    /// Why it is done, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether it can go on, to be asked before each run of the decoder.
    ///
    /// # Errors
    /// There is no more time ([`OutOfTime`]), or the model's numbers are not finite ([`NotFinite`]).
    pub fn check(&self) -> Result<()> {
        self.check_finite()?;
        match self.deadline {
            Some(deadline) if clock::now() >= deadline => Err(OutOfTime.into()),
            _ => Ok(()),
        }
    }

    /// Makes room in the cache for a token and its draft.
    pub(super) fn reserve(&mut self) -> Result<()> {
        Ok(self.cache.reserve(1 + MAX_DRAFT)?)
    }

    pub(super) fn check_finite(&self) -> Result<()> {
        if self.finite {
            Ok(())
        } else {
            Err(NotFinite.into())
        }
    }

    /// Whether there is more to be written.
    pub(super) fn is_open(&self) -> bool {
        self.finite && self.ending.is_none()
    }

    /// Samples tokens; none for greedy decoding.
    pub(super) fn sampler(&mut self) -> Option<&mut Sampler> {
        self.sampler.as_mut()
    }

    pub(super) fn is_greedy(&self) -> bool {
        self.sampler.is_none()
    }

    pub(super) fn prefilled_in(&mut self, took: Duration) {
        self.prefill = took;
        self.prefilled = clock::now();
    }

    /// Drafts what may follow, from what is known. Where that is nothing, the model's own head may be asked: then this is
    /// what it goes on from.
    pub(super) fn draft(&mut self) -> Option<DraftSlice<'_>> {
        self.draft.clear();
        let drafter = self.drafter.as_mut()?;
        let room = self.room - self.tokens.len() - 1;
        self.draft = drafter.draft(&self.tokens, room);
        if !self.draft.is_empty() {
            return None;
        }
        let count = drafter.head_length(self.tokens.len(), room);
        (count > 0).then_some(DraftSlice {
            tokens: &self.tokens,
            first: self.first,
            count,
            cache: &mut self.cache,
        })
    }

    /// Takes what the model's own head drafted.
    pub(super) fn take_draft(&mut self, draft: Vec<u32>) {
        self.draft = draft;
    }

    /// The tokens that the decoder sees next, and the position of the first of them: the last one that was written, then
    /// its draft.
    pub(super) fn next_inputs(&mut self) -> (Vec<u32>, u32) {
        let last = self.tokens.len() - 1;
        let tokens = [&self.tokens[last..], &self.draft].concat();
        (tokens, self.first + last as u32)
    }

    /// How many tokens are chosen, the pending one included.
    fn chosen(&self) -> usize {
        self.tokens.len() + usize::from(self.pending_token.is_some())
    }

    /// Whether the decoder can go on without the host: nothing but the likeliest token is asked for, and there is room.
    pub(super) fn can_pipeline(&self) -> bool {
        let chosen = self.chosen();
        let drafts = |drafter: &Drafter| !drafter.rests(chosen);
        self.is_greedy()
            && self.finite
            && chosen < self.room
            && !self.drafter.as_ref().is_some_and(drafts)
    }

    /// The token that the decoder sees next, and its position.
    pub(super) fn next_input(&mut self) -> (NextInput, u32) {
        self.draft.clear();
        let last = self.chosen() - 1;
        let input = match &self.pending_token {
            Some(token) => NextInput::Pending(token.clone()),
            None => NextInput::Read(self.tokens[last]),
        };
        (input, self.first + last as u32)
    }

    pub(super) fn pending_token(&self) -> Option<&PendingToken> {
        self.pending_token.as_ref()
    }

    /// Leaves the token of the last run to be read later.
    pub(super) fn leave_pending(&mut self, token: PendingToken) {
        self.pending_token = Some(token);
    }

    /// The next `tokens` tokens, to be appended, the first of them at `position`.
    pub(super) fn slice(&mut self, tokens: usize, position: u32) -> SequenceSlice<'_> {
        SequenceSlice {
            tokens,
            position,
            cache: &mut self.cache,
        }
    }

    /// Goes on with what follows each token of the run: the draft is kept as far as it is what follows. `end` are the tokens
    /// that end an answer.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn take(&mut self, choices: &[Choice], end: &[u32]) -> Result<()> {
        self.forward_passes += 1;
        self.pending_token = None;
        let agreed = self.draft.iter().zip(choices);
        let accepted = agreed
            .take_while(|(draft, choice)| **draft == choice.token)
            .count();
        let drafted = self.draft.len();
        let kept = self.cache.len() - (drafted - accepted);
        self.draft_accepted += accepted;
        for &choice in &choices[..=accepted] {
            if !choice.is_finite() {
                self.finite = false;
                return Ok(());
            }
            self.ending = self.write(choice, end);
            if self.ending.is_some() {
                return Ok(());
            }
        }
        // Only now, since an answer that has ended needs no cache.
        self.cache.truncate(kept)?;
        if let Some(drafter) = &mut self.drafter {
            drafter.learn(drafted, accepted, &self.tokens);
        }
        Ok(())
    }

    fn write(&mut self, choice: Choice, end: &[u32]) -> Option<Ending> {
        if end.contains(&choice.token) {
            return Some(Ending::Stop);
        }
        self.tokens.push(choice.token);
        self.log_probabilities.push(choice.log_probability);
        if let Some(found) = self.loops.push(&self.tokens) {
            self.tokens.truncate(found.keep);
            self.log_probabilities.truncate(found.keep);
            return Some(Ending::Repetition);
        }
        (self.tokens.len() == self.room).then_some(Ending::Length)
    }

    pub(super) fn into_generated(self, ending: Ending) -> Generated {
        Generated {
            tokens: self.tokens,
            log_probabilities: self.log_probabilities,
            ending,
            prompt_tokens: self.prompt_tokens,
            image_tokens: self.image_tokens,
            forward_passes: self.forward_passes,
            draft_accepted: self.draft_accepted,
            prefill: self.prefill,
            decode: clock::since(self.prefilled),
        }
    }
}
