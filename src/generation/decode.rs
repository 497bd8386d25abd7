//! Decoder steps: the next tokens of all answers in progress at once.
//!
//! A GPU would idle while the host reads one step's token and prepares the next step. So steps are pipelined there: each
//! starts with the token that the device has selected, before the host has read it, and the copy to the host runs meanwhile.
//! If the answer turns out to have ended, the step begun for it is discarded. Where the host decides what comes next, because
//! tokens are sampled or drafted, the token is read first.

use std::sync::Arc;

use anyhow::Result;
use candle_core::{Device, Tensor};

use super::{
    generator::{Generator, on_pool},
    sampler::Choice,
    sequence::{NextInput, PendingToken, Sequence},
};
use crate::nn::likeliest::{Likeliest, likeliest};

impl Generator {
    /// Goes on with all `sequences`, none of which has ended, by one run of the decoder. What it wrote may be known only
    /// after the next call. Whether a sequence can go on at all is what [`Sequence::check`] says.
    ///
    /// # Errors
    /// The device fails. Then the sequences are of no use.
    pub fn advance(&mut self, sequences: &mut [&mut Sequence]) -> Result<()> {
        on_pool(|| {
            if self.pipelined && sequences.iter().all(|sequence| sequence.can_pipeline()) {
                return self.step_pipelined(sequences);
            }
            self.start_readback(sequences)?;
            self.finish_readback(sequences)?;
            let open = sequences.iter_mut().map(|sequence| &mut **sequence);
            self.step(
                &mut open
                    .filter(|sequence| sequence.is_open())
                    .collect::<Vec<_>>(),
            )
        })
    }

    /// One run, after which the tokens are read.
    fn step(&self, sequences: &mut [&mut Sequence]) -> Result<()> {
        self.draft(sequences)?;
        let (mut tokens, mut slices) = (Vec::new(), Vec::new());
        for sequence in &mut *sequences {
            let (new, position) = sequence.next_inputs();
            slices.push(sequence.slice(new.len(), position));
            tokens.extend(new);
        }
        if tokens.is_empty() {
            return Ok(());
        }
        let tokens = Tensor::new(tokens, self.model.device())?;
        let logits = self.model.forward(&tokens, &mut slices)?;
        let counts: Vec<usize> = slices.iter().map(|slice| slice.tokens).collect();
        // One reading from the device for all that are greedy.
        let likeliest = if sequences.iter().any(|sequence| sequence.is_greedy()) {
            Choice::likeliest(&logits)?
        } else {
            Vec::new()
        };
        let mut start = 0;
        for (sequence, count) in sequences.iter_mut().zip(counts) {
            let choices = match sequence.sampler() {
                // Answers that are drawn are not drafted: there is one token.
                Some(sampler) => vec![sampler.sample(&logits.get(start)?)?],
                None => likeliest[start..start + count].to_vec(),
            };
            sequence.take(&choices, self.model.eos_token_ids())?;
            start += count;
        }
        Ok(())
    }

    /// Drafts what may follow each of `sequences`.
    fn draft(&self, sequences: &mut [&mut Sequence]) -> Result<()> {
        let (mut asked, mut slices) = (Vec::new(), Vec::new());
        for (i, sequence) in sequences.iter_mut().enumerate() {
            if let Some(slice) = sequence.draft() {
                asked.push(i);
                slices.push(slice);
            }
        }
        if slices.is_empty() {
            return Ok(());
        }
        let drafts = self.model.draft(&mut slices)?;
        for (i, draft) in asked.into_iter().zip(drafts) {
            sequences[i].take_draft(draft);
        }
        Ok(())
    }

    /// One run, whose tokens stay on the device; those of the run before it are read while it is under way.
    fn step_pipelined(&mut self, sequences: &mut [&mut Sequence]) -> Result<()> {
        self.start_readback(sequences)?;
        let (mut inputs, mut slices) = (Vec::new(), Vec::new());
        for sequence in &mut *sequences {
            let (input, position) = sequence.next_input();
            inputs.push(input);
            slices.push(sequence.slice(1, position));
        }
        let tokens = tokens_of(&inputs, self.model.device())?;
        let logits = self.model.forward(&tokens, &mut slices)?;
        let chosen = Arc::new(likeliest(&logits)?);
        self.finish_readback(sequences)?;
        for (row, sequence) in sequences.iter_mut().enumerate() {
            let chosen = Arc::clone(&chosen);
            sequence.leave_pending(PendingToken { chosen, row });
        }
        Ok(())
    }

    /// Starts to copy the tokens that the device has chosen for `sequences` and the host has not read.
    fn start_readback(&mut self, sequences: &[&mut Sequence]) -> Result<()> {
        let pending = sequences
            .iter()
            .filter_map(|sequence| sequence.pending_token().cloned());
        let pending: Vec<PendingToken> = pending.collect();
        if !pending.is_empty() {
            let choices = rows_of(&pending, |chosen| &chosen.choices)?;
            self.readback.start(&choices)?;
        }
        Ok(())
    }

    /// Goes on with the tokens whose [readback was started](Self::start_readback).
    fn finish_readback(&mut self, sequences: &mut [&mut Sequence]) -> Result<()> {
        let choices = Choice::all(&self.readback.finish()?);
        let waiting = sequences
            .iter_mut()
            .filter(|sequence| sequence.pending_token().is_some());
        for (sequence, choice) in waiting.zip(choices) {
            sequence.take(&[choice], self.model.eos_token_ids())?;
        }
        Ok(())
    }
}

/// What the decoder sees next, `(inputs)` on `device`.
fn tokens_of(inputs: &[NextInput], device: &Device) -> candle_core::Result<Tensor> {
    let pending = inputs.iter().map(|input| match input {
        NextInput::Pending(token) => Some(token.clone()),
        NextInput::Read(_) => None,
    });
    if let Some(pending) = pending.collect::<Option<Vec<_>>>() {
        return rows_of(&pending, |chosen| &chosen.tokens);
    }
    let alone = inputs.iter().map(|input| match input {
        NextInput::Pending(token) => token.chosen.tokens.narrow(0, token.row, 1),
        NextInput::Read(token) => Tensor::new(&[*token], device),
    });
    Tensor::cat(&alone.collect::<candle_core::Result<Vec<_>>>()?, 0)
}

/// The rows of `pending` tokens, of which there is one at least, in a tensor of what was chosen. Where they are all of one run,
/// in order, that is the tensor itself.
fn rows_of(
    pending: &[PendingToken],
    of: impl Fn(&Likeliest) -> &Tensor,
) -> candle_core::Result<Tensor> {
    let first = of(&pending[0].chosen);
    let in_order = |(i, token): (usize, &PendingToken)| {
        token.row == i && Arc::ptr_eq(&token.chosen, &pending[0].chosen)
    };
    if first.dim(0)? == pending.len() && pending.iter().enumerate().all(in_order) {
        return Ok(first.clone());
    }
    let rows = pending
        .iter()
        .map(|token| of(&token.chosen).narrow(0, token.row, 1));
    Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)
}
