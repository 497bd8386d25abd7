//! Token by token, as decoding has it.

// What is called must be inlined into what is compiled for several processors.
#![allow(clippy::inline_always, reason = "see above")]

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::run::DeltaRun;
use crate::nn::{
    alloc::columns,
    elementwise::{exp, values, values_mut},
};

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
                let step = |(token, out)| {
                    let key = (token * key_heads + key_head) * key_dim;
                    let at = token * heads + head;
                    Step {
                        q: &q[key..key + key_dim],
                        k: &k[key..key + key_dim],
                        v: &v[at * value_dim..(at + 1) * value_dim],
                        decay: exp(decay[at]),
                        beta: beta[at],
                        out,
                    }
                };
                arch.dispatch(Head {
                    state,
                    steps: out.into_iter().enumerate().map(step).collect(),
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
    /// What the state is multiplied with.
    decay: f32,
    beta: f32,
    out: &'a mut [f32],
}

/// One head: all its steps.
struct Head<'a> {
    state: &'a mut [f32],
    steps: Vec<Step<'a>>,
}

/// So many vectors of a row of the state are computed with at a time. No column of it sees another: so all steps go through
/// these columns, which fit into the nearest cache, before the next ones.
const VECTORS: usize = 4;
/// Of the longest vectors.
const MAX_LANES: usize = 16;

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { state, mut steps } = self;
        let Some(value_dim) = steps.first().map(|step| step.v.len()) else {
            return;
        };
        let width = VECTORS * S::F32_LANES;
        let mut block = Vec::with_capacity(state.len() / value_dim);
        for at in (0..value_dim).step_by(width) {
            let columns = at..(at + width).min(value_dim);
            let rows = state.chunks_exact(value_dim);
            block.clear();
            block.extend(rows.map(|row| load(simd, &row[columns.clone()])));
            take_all(simd, &mut block, &mut steps, &columns);
            for (row, &values) in state.chunks_exact_mut(value_dim).zip(&block) {
                store(simd, values, &mut row[columns.clone()]);
            }
        }
    }
}

/// Lets `columns` of a head's state, whose rows are `block`, go through all its steps. The pass over it that makes a step's
/// change and reads it also finds what it has for the next step's key.
#[inline(always)]
fn take_all<S: Simd>(
    simd: S,
    block: &mut [[S::f32s; VECTORS]],
    steps: &mut [Step],
    columns: &Range<usize>,
) {
    let none = [simd.splat_f32s(0.0); VECTORS];
    let mut found = none;
    for (row, &k) in block.iter().zip(steps[0].k) {
        let k = simd.splat_f32s(k);
        for (found, &value) in found.iter_mut().zip(row) {
            *found = simd.mul_add_f32s(k, value, *found);
        }
    }
    for token in 0..steps.len() {
        // After the last one it is not looked at.
        let next_k = steps.get(token + 1).map_or(steps[token].k, |next| next.k);
        let step = &mut steps[token];
        let (decay, beta) = (simd.splat_f32s(step.decay), simd.splat_f32s(step.beta));
        let mut change = load(simd, &step.v[columns.clone()]);
        for (change, found) in change.iter_mut().zip(found) {
            let lacks = simd.sub_f32s(*change, simd.mul_f32s(decay, found));
            *change = simd.mul_f32s(lacks, beta);
        }
        let (mut out, mut next) = (none, none);
        let keys = step.k.iter().zip(step.q).zip(next_k);
        for (row, ((&k, &q), &next_k)) in block.iter_mut().zip(keys) {
            let (k, q) = (simd.splat_f32s(k), simd.splat_f32s(q));
            let next_k = simd.splat_f32s(next_k);
            for i in 0..VECTORS {
                let value = simd.mul_add_f32s(k, change[i], simd.mul_f32s(decay, row[i]));
                row[i] = value;
                out[i] = simd.mul_add_f32s(q, value, out[i]);
                next[i] = simd.mul_add_f32s(next_k, value, next[i]);
            }
        }
        store(simd, out, &mut step.out[columns.clone()]);
        found = next;
    }
}

/// `values`, and zeros after them.
#[inline(always)]
fn load<S: Simd>(_: S, values: &[f32]) -> [S::f32s; VECTORS] {
    let mut padded = [0.0; VECTORS * MAX_LANES];
    padded[..values.len()].copy_from_slice(values);
    let (vectors, _) = S::as_simd_f32s(&padded);
    std::array::from_fn(|i| vectors[i])
}

/// The first of `vectors`' values, as many as `values` has.
#[inline(always)]
fn store<S: Simd>(_: S, vectors: [S::f32s; VECTORS], values: &mut [f32]) {
    let mut padded = [0.0; VECTORS * MAX_LANES];
    let (kept, _) = S::as_mut_simd_f32s(&mut padded);
    for (kept, vector) in kept.iter_mut().zip(vectors) {
        *kept = vector;
    }
    values.copy_from_slice(&padded[..values.len()]);
}
