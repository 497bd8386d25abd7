//! Queries, keys and values where they lie in memory.

use candle_core::{CpuStorage, Layout, Result, WithDType, bail};

/// Rows of heads, `(heads, tokens, head_dim)`, which need not be in one piece.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    values: &'a [T],
    head_stride: usize,
    token_stride: usize,
    pub(super) heads: usize,
    pub(super) tokens: usize,
    pub(super) head_dim: usize,
}

impl<'a, T: WithDType> Rows<'a, T> {
    pub(super) fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let values = T::cpu_storage_as_slice(storage)?;
        let (heads, tokens, head_dim) = layout.shape().dims3()?;
        let &[head_stride, token_stride, 1] = layout.stride() else {
            bail!("rows in one piece are wanted here")
        };
        Ok(Self {
            values: &values[layout.start_offset()..],
            head_stride,
            token_stride,
            heads,
            tokens,
            head_dim,
        })
    }

    pub(super) fn row(&self, head: usize, token: usize) -> &'a [T] {
        &self.values[head * self.head_stride + token * self.token_stride..][..self.head_dim]
    }
}
