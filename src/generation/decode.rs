//! Runs of the decoder for the answers that are under way, for the next tokens of all of them at once.
//!
//! A GPU works on its own, and would wait while the host reads the token of one run and prepares the next. So there a run
//! begins with the token that the device has chosen, before anybody has read it; the copy to the host travels meanwhile.
//! When an answer turns out to have ended, what was begun for it is thrown away. Where the host has a say in what comes
//! next, because tokens are drawn or guessed, the token is read first.

use anyhow::Result;
use candle_core::{D, Tensor};

use super::{prefill::on_a_worker, sequence::Sequence};
use crate::models::qwen3_vl::QwenVl;

impl QwenVl {
    /// Goes on with all `sequences`, none of which has ended, by one run of the decoder. What it wrote may be known only
    /// after the next call.
    ///
    /// # Errors
    /// The device fails. Then the sequences are of no use.
    pub fn advance(&mut self, sequences: &mut [&mut Sequence]) -> Result<()> {
        on_a_worker(|| {
            if self.runs_ahead && sequences.iter().all(|sequence| sequence.may_run_ahead()) {
                return self.run_ahead(sequences);
            }
            self.send_for_unread(sequences)?;
            self.take_unread(sequences)?;
            let open = sequences.iter_mut().map(|sequence| &mut **sequence);
            self.run(
                &mut open
                    .filter(|sequence| sequence.ending().is_none())
                    .collect::<Vec<_>>(),
            )
        })
    }

    /// One run, after which the tokens are read.
    fn run(&self, sequences: &mut [&mut Sequence]) -> Result<()> {
        let (mut tokens, mut positions, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in &mut *sequences {
            let (new, position) = sequence.feed();
            positions.extend((position..).take(new.len()).map(|p| [p; 3]));
            parts.push(sequence.part(new.len()));
            tokens.extend(new);
        }
        if tokens.is_empty() {
            return Ok(());
        }
        let x = self.text.embed(&Tensor::new(tokens, &self.device)?)?;
        let hidden = self.text.forward_together(&x, &positions, &mut parts)?;
        let logits = self.text.logits(&hidden)?;
        let counts: Vec<usize> = parts.iter().map(|part| part.tokens).collect();
        // One reading from the device for all that are greedy.
        let likeliest: Option<Vec<u32>> = if sequences.iter().any(|sequence| sequence.is_greedy()) {
            Some(logits.argmax(D::Minus1)?.to_vec1()?)
        } else {
            None
        };
        let mut start = 0;
        for (sequence, count) in sequences.iter_mut().zip(counts) {
            let likeliest = likeliest.as_deref().map(|all| &all[start..start + count]);
            let choices = sequence.choose(&logits.narrow(0, start, count)?, likeliest)?;
            sequence.take(&choices, &self.config.eos_token_ids);
            start += count;
        }
        Ok(())
    }

    /// One run, whose tokens stay on the device; those of the run before it are read while it is under way.
    fn run_ahead(&mut self, sequences: &mut [&mut Sequence]) -> Result<()> {
        self.send_for_unread(sequences)?;
        let (mut tokens, mut positions, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in &mut *sequences {
            let (token, position) = sequence.feed_ahead(&self.device)?;
            tokens.push(token);
            positions.push([position; 3]);
            parts.push(sequence.part(1));
        }
        let x = self.text.embed(&join(&tokens)?)?;
        let hidden = self.text.forward_together(&x, &positions, &mut parts)?;
        let likeliest = self.text.logits(&hidden)?.argmax(D::Minus1)?;
        self.take_unread(sequences)?;
        for (i, sequence) in sequences.iter_mut().enumerate() {
            sequence.leave_unread(likeliest.narrow(0, i, 1)?);
        }
        Ok(())
    }

    /// Starts to copy the tokens that the device has chosen for `sequences` and nobody has read.
    fn send_for_unread(&mut self, sequences: &[&mut Sequence]) -> Result<()> {
        let unread = sequences.iter().filter_map(|sequence| sequence.unread());
        let unread: Vec<_> = unread.cloned().collect();
        if !unread.is_empty() {
            self.inbox.send_for(&join(&unread)?)?;
        }
        Ok(())
    }

    /// Goes on with the tokens that were [sent for](Self::send_for_unread).
    fn take_unread(&mut self, sequences: &mut [&mut Sequence]) -> Result<()> {
        let tokens = self.inbox.receive()?;
        let waiting = sequences
            .iter_mut()
            .filter(|sequence| sequence.unread().is_some());
        for (sequence, token) in waiting.zip(tokens) {
            sequence.take(&[token], &self.config.eos_token_ids);
        }
        Ok(())
    }
}

/// Tokens one after the other, each `(1)`: `(tokens)`.
fn join(tokens: &[Tensor]) -> candle_core::Result<Tensor> {
    match tokens {
        [alone] => Ok(alone.clone()),
        several => Tensor::cat(several, 0),
    }
}
