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

/// Keys or values of one sequence, `(kv_heads, tokens, head_dim)`, in blocks of as many tokens each.
#[derive(Clone, Copy)]
pub(super) struct BlockRows<'a, T> {
    /// Each begins with its first token of the first head.
    pub(super) blocks: &'a [&'a [T]],
    /// A block has 2 to the power of this tokens.
    pub(super) shift: u32,
    pub(super) head_stride: usize,
    pub(super) token_stride: usize,
    pub(super) tokens: usize,
    pub(super) head_dim: usize,
}

impl<'a, T: WithDType> BlockRows<'a, T> {
    /// Rows that are in one block, which `values` is to keep.
    pub(super) fn whole(values: &'a mut [&'a [T]; 1], rows: &Rows<'a, T>) -> Self {
        values[0] = rows.values;
        Self {
            blocks: values,
            shift: usize::BITS - 1,
            head_stride: rows.head_stride,
            token_stride: rows.token_stride,
            tokens: rows.tokens,
            head_dim: rows.head_dim,
        }
    }

    pub(super) fn row(&self, head: usize, token: usize) -> &'a [T] {
        let (block, place) = (token >> self.shift, token & !(usize::MAX << self.shift));
        let start = head * self.head_stride + place * self.token_stride;
        &self.blocks[block][start..][..self.head_dim]
    }
}
