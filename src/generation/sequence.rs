//! An answer on its way: what was written, what is guessed, and whether it is done.

use std::time::{Duration, Instant};

use candle_core::{Device, Result, Tensor};
use candle_transformers::generation::LogitsProcessor;

use super::{
    draft::Drafter,
    kv_cache::{KvCache, Part},
    prefill::{Ending, Generated, OutOfTime, Prefilled, Sampling},
    repetition::LoopDetector,
};

/// One answer, from its first token on.
pub struct Sequence {
    cache: KvCache,
    /// Draws tokens; without it the likeliest ones are taken.
    sampler: Option<LogitsProcessor>,
    drafter: Option<Drafter>,
    loops: LoopDetector,
    /// What was written, all but the last of them seen by the decoder.
    tokens: Vec<u32>,
    /// The token that follows them, `(1)`, where the device has chosen it and nobody has read it yet.
    unread: Option<Tensor>,
    /// What is guessed to follow, in the run that is under way.
    draft: Vec<u32>,
    ending: Option<Ending>,
    /// Position of the first token of the answer.
    first: u32,
    /// How many tokens there is room for.
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
        let sampler = || LogitsProcessor::new(sampling.seed, Some(sampling.temperature), None);
        Self {
            cache,
            sampler: (!sampling.is_greedy()).then(sampler),
            drafter,
            loops: LoopDetector::default(),
            tokens: Vec::new(),
            unread: None,
            draft: Vec::new(),
            ending: None,
            first: prefilled.next,
            room: prefilled.room,
            deadline,
            prompt_tokens: prefilled.prompt_tokens,
            image_tokens: prefilled.image_tokens,
            forward_passes: 0,
            draft_accepted: 0,
            prefill: Duration::ZERO,
            prefilled: Instant::now(),
        }
    }

    /// Why it is done, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// # Errors
    /// There is no more time.
    pub fn check_deadline(&self) -> std::result::Result<(), OutOfTime> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(OutOfTime),
            _ => Ok(()),
        }
    }

    pub(super) fn is_greedy(&self) -> bool {
        self.sampler.is_none()
    }

    pub(super) fn prefilled_in(&mut self, took: Duration) {
        self.prefill = took;
        self.prefilled = Instant::now();
    }

    /// The tokens that the decoder sees next: the last one that was written and those that are guessed to follow it; and
    /// the position of the first of them.
    pub(super) fn feed(&mut self) -> (Vec<u32>, u32) {
        let last = self.tokens.len() - 1;
        let room = self.room - self.tokens.len() - 1;
        self.draft = self
            .drafter
            .as_mut()
            .map_or_else(Vec::new, |drafter| drafter.guess(&self.tokens, room));
        let tokens = [&self.tokens[last..], &self.draft].concat();
        (tokens, self.first + last as u32)
    }

    /// How many tokens are chosen, the one that is not read included.
    fn chosen(&self) -> usize {
        self.tokens.len() + usize::from(self.unread.is_some())
    }

    /// Whether the decoder can go on without the host: nothing but the likeliest token is asked for, and there is room.
    pub(super) fn may_run_ahead(&self) -> bool {
        let chosen = self.chosen();
        let guesses = |drafter: &Drafter| !drafter.rests(chosen);
        self.is_greedy() && chosen < self.room && !self.drafter.as_ref().is_some_and(guesses)
    }

    /// The token that the decoder sees next, `(1)`, read or not, and its position.
    pub(super) fn feed_ahead(&mut self, device: &Device) -> Result<(Tensor, u32)> {
        self.draft.clear();
        let last = self.chosen() - 1;
        let token = match &self.unread {
            Some(token) => token.clone(),
            None => Tensor::new(&self.tokens[last..], device)?,
        };
        Ok((token, self.first + last as u32))
    }

    pub(super) fn unread(&self) -> Option<&Tensor> {
        self.unread.as_ref()
    }

    /// Leaves the token of the last run, `(1)`, to be read later.
    pub(super) fn leave_unread(&mut self, token: Tensor) {
        self.unread = Some(token);
    }

    /// The next `tokens` tokens, to be appended.
    pub(super) fn part(&mut self, tokens: usize) -> Part<'_> {
        Part {
            tokens,
            cache: &mut self.cache,
        }
    }

    /// What follows each token of the run, by its `logits`, `(tokens, vocab)`; `likeliest` has that already for a greedy
    /// answer.
    pub(super) fn choose(
        &mut self,
        logits: &Tensor,
        likeliest: Option<&[u32]>,
    ) -> Result<Vec<u32>> {
        match (&mut self.sampler, likeliest) {
            // Answers that are drawn are not guessed: there is one token.
            (Some(sampler), _) => Ok(vec![sampler.sample(&logits.squeeze(0)?)?]),
            (None, Some(likeliest)) => Ok(likeliest.to_vec()),
            (None, None) => logits.argmax(candle_core::D::Minus1)?.to_vec1(),
        }
    }

    /// Goes on with what follows each token of the run: what was guessed is kept as far as it is what follows.
    pub(super) fn take(&mut self, choices: &[u32], end: &[u32]) {
        self.forward_passes += 1;
        self.unread = None;
        let agreed = self.draft.iter().zip(choices);
        let accepted = agreed.take_while(|(draft, choice)| draft == choice).count();
        let guessed = self.draft.len();
        self.cache.truncate(self.cache.len() - (guessed - accepted));
        self.draft_accepted += accepted;
        for &token in &choices[..=accepted] {
            self.ending = self.write(token, end);
            if self.ending.is_some() {
                return;
            }
        }
        if let Some(drafter) = &mut self.drafter {
            drafter.learn(guessed, accepted, &self.tokens);
        }
    }

    fn write(&mut self, token: u32, end: &[u32]) -> Option<Ending> {
        if end.contains(&token) {
            return Some(Ending::Stop);
        }
        self.tokens.push(token);
        if let Some(found) = self.loops.push(&self.tokens) {
            self.tokens.truncate(found.keep);
            return Some(Ending::Repetition);
        }
        (self.tokens.len() == self.room).then_some(Ending::Length)
    }

    pub(super) fn into_parts(self, ending: Ending) -> (Generated, KvCache) {
        let generated = Generated {
            tokens: self.tokens,
            ending,
            prompt_tokens: self.prompt_tokens,
            image_tokens: self.image_tokens,
            forward_passes: self.forward_passes,
            draft_accepted: self.draft_accepted,
            prefill: self.prefill,
            decode: self.prefilled.elapsed(),
        };
        (generated, self.cache)
    }
}
