//! Selects how a run is computed.

use candle_core::{Result, Tensor};

use super::{chunks::in_chunks, run::DeltaRun, steps::step_by_step};

/// What each token of `run` reads, `(tokens, value_heads · value_dim)`, and the state after them, from the one before them:
/// `(value_heads, key_dim, value_dim)`. On a CPU the memory of `state` may be used for the new one.
///
/// A CPU always goes step by step: a step needs fewer products than its share of a chunk does, and the state stays in the
/// nearest cache. So it makes no difference how many tokens run together.
pub fn delta_rule(run: &DeltaRun, state: Tensor) -> Result<(Tensor, Tensor)> {
    if state.device().is_cpu() || run.tokens()? == 1 {
        step_by_step(run, state)
    } else {
        in_chunks(run, &state)
    }
}
