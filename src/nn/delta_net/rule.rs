//! Selects how a run is computed.

use candle_core::{Result, Tensor};

use super::{chunks::in_chunks, run::DeltaRun, steps::step_by_step};

/// On a CPU at most this many tokens go step by step. A draft has fewer, so that drafts can't change an answer.
const MAX_STEPS: usize = 32;

/// What each token of `run` reads, `(tokens, value_heads · value_dim)`, and the state after them, from the one before them:
/// `(value_heads, key_dim, value_dim)`. On a CPU the memory of `state` may be used for the new one.
pub fn delta_rule(run: &DeltaRun, state: Tensor) -> Result<(Tensor, Tensor)> {
    let steps = if state.device().is_cpu() {
        MAX_STEPS
    } else {
        1
    };
    if run.tokens()? <= steps {
        step_by_step(run, state)
    } else {
        in_chunks(run, &state)
    }
}
