//! Drafts of a decoder's own head.

use anyhow::{Context, Result, ensure};
use candle_core::{D, Device, Tensor};

use super::{
    parts::{Decoder, DraftHead},
    positions::Position,
};
use crate::generation::{
    kv_cache::{HeadStates, KvCache},
    model::{DraftSlice, SequenceSlice},
};

/// Lets the draft head of `text`, if it has one, see a prompt: the `embeddings` of its tokens, their `positions`, and the
/// decoder's `hidden` states of them, not yet normalised.
pub(super) fn prefill(
    text: &dyn Decoder,
    embeddings: &Tensor,
    positions: &[Position],
    hidden: &Tensor,
    cache: &mut KvCache,
) -> Result<()> {
    let (Some(head), Some(kept)) = (text.head(), cache.head()) else {
        return Ok(());
    };
    let (states, before) = (text.states(hidden)?, positions.len() - 1);
    if before > 0 {
        let mut slices = [SequenceSlice {
            tokens: before,
            // Not looked at: `positions` says more.
            position: 0,
            cache: &mut kept.cache,
        }];
        head.forward(
            &embeddings.narrow(0, 1, before)?,
            &states.narrow(0, 0, before)?,
            &positions[1..],
            &mut slices,
        )?;
    }
    // Not a part of what is much larger.
    kept.push(states.narrow(0, before, 1)?.force_contiguous()?);
    Ok(())
}

/// Keeps the `states` of new tokens for the head, where there is one.
pub(super) fn keep(states: &Tensor, slices: &mut [SequenceSlice]) -> Result<()> {
    let mut start = 0;
    for slice in slices {
        if let Some(head) = slice.cache.head() {
            head.push(states.narrow(0, start, slice.tokens)?);
        }
        start += slice.tokens;
    }
    Ok(())
}

/// What follows each of `slices` by the head of `text`: the tokens that the head has not seen first, then each draft from
/// the one before it.
pub(super) fn draft(
    text: &dyn Decoder,
    device: &Device,
    slices: &mut [DraftSlice],
) -> Result<Vec<Vec<u32>>> {
    let head = text.head().context("the model has no draft head")?;
    let mut runs: Vec<Run> = slices.iter_mut().map(Run::new).collect::<Result<_>>()?;
    let longest = runs.iter().map(|run| run.count).max().unwrap_or(0);
    for _ in 0..longest {
        let open = runs.iter_mut().filter(|run| run.drafted.len() < run.count);
        step(text, head, device, &mut open.collect::<Vec<_>>())?;
    }
    let done = runs.into_iter().map(Run::end);
    done.collect()
}

/// One sequence that is being drafted.
struct Run<'a> {
    kept: &'a mut HeadStates,
    /// The tokens that the head sees next, the position of the first of them, and the states of those before them.
    tokens: Vec<u32>,
    position: u32,
    states: Tensor,
    /// How many tokens the head has seen that are no drafts.
    seen: usize,
    count: usize,
    drafted: Vec<u32>,
}

impl<'a> Run<'a> {
    fn new(slice: &'a mut DraftSlice) -> Result<Self> {
        let kept = slice
            .cache
            .head()
            .context("the cache was made without a draft head")?;
        let unseen = kept.unseen()?;
        let start = slice.tokens.len().checked_sub(unseen);
        let start = start.context("the draft head misses tokens")?;
        ensure!(unseen > 0, "the draft head has seen all tokens");
        Ok(Self {
            tokens: slice.tokens[start..].to_vec(),
            position: slice.first + start as u32,
            states: kept.take_unseen()?,
            seen: kept.cache.len() + unseen,
            count: slice.count,
            drafted: Vec::new(),
            kept,
        })
    }

    /// Goes on from the head's latest state, `(1, hidden)`, which is followed by `token`.
    fn take(&mut self, state: Tensor, token: u32) {
        self.position += self.tokens.len() as u32;
        self.tokens = vec![token];
        self.states = state;
        self.drafted.push(token);
    }

    fn end(self) -> Result<Vec<u32>> {
        self.kept.cache.truncate(self.seen)?;
        Ok(self.drafted)
    }
}

/// The next token of all `runs`. Each weight is read once for all of them.
fn step(
    text: &dyn Decoder,
    head: &dyn DraftHead,
    device: &Device,
    runs: &mut [&mut Run],
) -> Result<()> {
    let (mut positions, mut states) = (Vec::new(), Vec::new());
    let mut tokens: Vec<u32> = Vec::new();
    for run in &*runs {
        // Text has the same position on all three axes.
        positions.extend((run.position..).take(run.tokens.len()).map(|p| [p; 3]));
        tokens.extend(&run.tokens);
        states.push(run.states.clone());
    }
    let counts: Vec<usize> = runs.iter().map(|run| run.tokens.len()).collect();
    let mut slices: Vec<SequenceSlice> = runs
        .iter_mut()
        .map(|run| SequenceSlice {
            tokens: run.tokens.len(),
            position: run.position,
            cache: &mut run.kept.cache,
        })
        .collect();
    let embeddings = text.embed(&Tensor::new(tokens, device)?)?;
    let states = head.forward(
        &embeddings,
        &Tensor::cat(&states, 0)?,
        &positions,
        &mut slices,
    )?;
    let ends = counts.iter().scan(0, |end, count| {
        *end += count;
        Some(*end as u32)
    });
    let last = Tensor::from_iter(ends.map(|end| end - 1), device)?;
    let last = states.index_select(&last, 0)?;
    let chosen: Vec<u32> = text.logits_of(&last)?.argmax(D::Minus1)?.to_vec1()?;
    for (i, (run, token)) in runs.iter_mut().zip(chosen).enumerate() {
        run.take(last.narrow(0, i, 1)?, token);
    }
    Ok(())
}
