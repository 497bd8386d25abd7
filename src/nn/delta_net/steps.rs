//! Token by token, as decoding has it.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::run::DeltaRun;
use crate::nn::elementwise::{columns, exp, values, values_mut};

/// What each token reads, `(tokens, value_heads · value_dim)`, and the state after them, on a CPU in the memory of `state`.
pub(super) fn step_by_step(run: &DeltaRun, state: Tensor) -> Result<(Tensor, Tensor)> {
    if !state.device().is_cpu() {
        return by_operations(run, state);
    }
    let steps = Steps {
        run,
        out: Mutex::default(),
    };
    let state = state.contiguous()?;
    state.inplace_op1(&steps)?;
    let out = steps
        .out
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let tokens = run.tokens()?;
    let out = Tensor::from_vec(out, (tokens, ()), state.device())?;
    Ok((out, state))
}

/// In Candle's operations, wherever the state is.
pub(super) fn by_operations(run: &DeltaRun, mut state: Tensor) -> Result<(Tensor, Tensor)> {
    let (tokens, key_heads, _) = run.k.dims3()?;
    let (heads, key_dim, value_dim) = state.dims3()?;
    let group = heads / key_heads;
    // A key head for each value head: `(value_heads, key_dim)`.
    let repeated = |x: &Tensor, token| {
        let x = x.get(token)?.unsqueeze(1)?;
        x.expand((key_heads, group, key_dim))?
            .reshape((heads, key_dim))
    };
    let mut out = Vec::with_capacity(tokens);
    for token in 0..tokens {
        let of_head = |x: &Tensor| x.get(token)?.reshape((heads, 1, 1));
        let (q, k) = (repeated(&run.q, token)?, repeated(&run.k, token)?);
        let v = run.v.get(token)?.unsqueeze(1)?;
        state = state.broadcast_mul(&of_head(&run.decay)?.exp()?)?;
        let found = k.unsqueeze(1)?.matmul(&state)?;
        let change = (v - found)?.broadcast_mul(&of_head(&run.beta)?)?;
        state = (state + k.unsqueeze(2)?.matmul(&change)?)?;
        out.push(q.unsqueeze(1)?.matmul(&state)?);
    }
    let out = Tensor::cat(&out, 1)?;
    let out = out.transpose(0, 1)?.reshape((tokens, heads * value_dim))?;
    Ok((out, state))
}

struct Steps<'a> {
    run: &'a DeltaRun,
    out: Mutex<Vec<f32>>,
}

impl InplaceOp1 for Steps<'_> {
    fn name(&self) -> &'static str {
        "delta-steps"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (tokens, key_heads, _) = self.run.k.dims3()?;
        let (heads, key_dim, value_dim) = layout.shape().dims3()?;
        let state = values_mut(storage, layout)?;
        let run = &self.run;
        let parts = [&run.q, &run.k, &run.v, &run.decay, &run.beta].map(Tensor::contiguous);
        let [q, k, v, decay, beta] = parts;
        let (q, k, v, decay, beta) = (q?, k?, v?, decay?, beta?);
        let guards = [&q, &k, &v, &decay, &beta].map(|part| part.storage_and_layout());
        let mut slices = [&[][..]; 5];
        for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
            let Storage::Cpu(storage) = &**storage else {
                bail!("a run that is not where its state is")
            };
            *slice = values(storage, layout)?;
        }
        let [q, k, v, decay, beta] = slices;
        let mut out = vec![0.0; tokens * heads * value_dim];
        let arch = Arch::new();
        state
            .par_chunks_mut(key_dim * value_dim)
            .zip(columns(&mut out, heads * value_dim, value_dim))
            .enumerate()
            .for_each(|(head, (state, out))| {
                let key_head = head * key_heads / heads;
                arch.dispatch(Head {
                    state,
                    steps: out.into_iter().enumerate().map(|(token, out)| {
                        let key = (token * key_heads + key_head) * key_dim;
                        let at = token * heads + head;
                        Step {
                            q: &q[key..key + key_dim],
                            k: &k[key..key + key_dim],
                            v: &v[at * value_dim..(at + 1) * value_dim],
                            decay: decay[at],
                            beta: beta[at],
                            out,
                        }
                    }),
                });
            });
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) = out;
        Ok(())
    }
}

/// One token of one head.
struct Step<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    decay: f32,
    beta: f32,
    /// Zeros at first.
    out: &'a mut [f32],
}

/// One head: all its steps.
struct Head<'a, I> {
    state: &'a mut [f32],
    steps: I,
}

impl<'a, I: Iterator<Item = Step<'a>>> WithSimd for Head<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for step in self.steps {
            take(self.state, step);
        }
    }
}

/// Two passes over the state: what it has for the key, then the change and what the query reads.
#[inline(always)]
fn take(state: &mut [f32], step: Step) {
    let Step {
        q,
        k,
        v,
        decay,
        beta,
        out,
    } = step;
    let decay = exp(decay);
    let mut change = vec![0.0_f32; v.len()];
    for (row, &k) in state.chunks_exact(v.len()).zip(k) {
        for (sum, &value) in change.iter_mut().zip(row) {
            *sum = k.mul_add(value, *sum);
        }
    }
    for (change, &v) in change.iter_mut().zip(v) {
        *change = (v - decay * *change) * beta;
    }
    let rows = state.chunks_exact_mut(v.len());
    for (row, (&k, &q)) in rows.zip(k.iter().zip(q)) {
        let pairs = row.iter_mut().zip(&change);
        for ((value, &change), out) in pairs.zip(&mut *out) {
            *value = k.mul_add(change, decay * *value);
            *out = q.mul_add(*value, *out);
        }
    }
}
