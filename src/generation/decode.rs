//! Decoder steps: the next tokens of all answers in progress at once.
//!
//! A GPU would idle while the host reads one step's token and prepares the next step. So steps are pipelined there: each
//! starts with the token that the device has selected, before the host has read it, and the copy to the host runs meanwhile.
//! If the answer turns out to have ended, the step begun for it is discarded. Where the host decides what comes next, because
//! tokens are sampled or drafted, the token is read first.

use anyhow::Result;
use candle_core::Tensor;

use super::{
    generator::{Generator, on_pool},
    sampler::Choice,
    sequence::{PendingToken, Sequence},
};
use crate::nn::likeliest::likeliest;

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
        let (mut tokens, mut slices) = (Vec::new(), Vec::new());
        for sequence in &mut *sequences {
            let (token, position) = sequence.next_input_on(self.model.device())?;
            tokens.push(token);
            slices.push(sequence.slice(1, position));
        }
        let logits = self.model.forward(&join(&tokens)?, &mut slices)?;
        let likeliest = likeliest(&logits)?;
        self.finish_readback(sequences)?;
        for (i, sequence) in sequences.iter_mut().enumerate() {
            sequence.leave_pending(PendingToken {
                token: likeliest.tokens.narrow(0, i, 1)?,
                choice: likeliest.choices.narrow(0, i, 1)?,
            });
        }
        Ok(())
    }

    /// Starts to copy the tokens that the device has chosen for `sequences` and the host has not read.
    fn start_readback(&mut self, sequences: &[&mut Sequence]) -> Result<()> {
        let pending = sequences
            .iter()
            .filter_map(|sequence| sequence.pending_token());
        let choices: Vec<Tensor> = pending.map(|pending| pending.choice.clone()).collect();
        if !choices.is_empty() {
            self.readback.start(&join(&choices)?)?;
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

/// Tensors of one row each, one after the other.
fn join(tokens: &[Tensor]) -> candle_core::Result<Tensor> {
    match tokens {
        [alone] => Ok(alone.clone()),
        several => Tensor::cat(several, 0),
    }
}
