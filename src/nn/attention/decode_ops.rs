//! [Decode attention](super::decode_attention) of tensors: to keys and values in one piece, or in blocks.

use std::ops::Deref;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, bail,
};
use half::f16;

use super::{
    decode_attention::{Kept, Part, attend},
    kv_blocks::{BLOCK_TOKENS, Span, Which},
    rows::{BlockRows, Rows},
};

/// From `q` of shape `(heads, queries, head_dim)` to `k` and `v` of shape `(kv_heads, keys, head_dim)`, in f32 or f16: the last
/// query sees all keys, the one before it all but the last, and so on. Returns `(queries, heads · head_dim)`.
pub(super) fn decode_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    q.apply_op3_no_bwd(k, v, &DecodeAttention)
}

/// The same for several sequences in one call, from their new tokens, one sequence's after the other's, to all tokens of each,
/// which are in `layer` of its blocks. No query's result depends on the others.
pub(super) fn decode_attention_in_blocks(
    q: &Tensor,
    spans: &[Span],
    layer: usize,
) -> Result<Tensor> {
    q.apply_op1_no_bwd(&BlockAttention { spans, layer })
}

struct DecodeAttention;

impl CustomOp3 for DecodeAttention {
    fn name(&self) -> &'static str {
        "decode-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let q = Rows::new(q, q_layout)?;
        match k {
            CpuStorage::F16(_) => attend_whole::<f16>(q, (k, k_layout), (v, v_layout)),
            _ => attend_whole::<f32>(q, (k, k_layout), (v, v_layout)),
        }
    }
}

fn attend_whole<T: Kept>(
    q: Rows<f32>,
    (k, k_layout): (&CpuStorage, &Layout),
    (v, v_layout): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let (k, v) = (Rows::<T>::new(k, k_layout)?, Rows::new(v, v_layout)?);
    let (mut keys, mut values) = ([[].as_slice()], [[].as_slice()]);
    let part = Part {
        k: BlockRows::whole(&mut keys, &k),
        v: BlockRows::whole(&mut values, &v),
        first: 0,
        queries: q.tokens,
    };
    Ok(attend(q, k.heads, &[part]))
}

struct BlockAttention<'a> {
    spans: &'a [Span],
    layer: usize,
}

impl CustomOp1 for BlockAttention<'_> {
    fn name(&self) -> &'static str {
        "block-attention"
    }

    fn cpu_fwd(&self, q: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let q = Rows::new(q, layout)?;
        match self.spans.first().map(Span::dtype) {
            Some(DType::F16) => attend_in_blocks::<f16>(q, self.spans, self.layer),
            _ => attend_in_blocks::<f32>(q, self.spans, self.layer),
        }
    }
}

/// What the blocks of a sequence are in, locked for reading.
fn storages(span: &Span) -> Vec<impl Deref<Target = Storage> + use<'_>> {
    let blocks = span.blocks().iter();
    blocks.map(|block| block.storage_and_layout().0).collect()
}

fn attend_in_blocks<T: Kept>(
    q: Rows<f32>,
    spans: &[Span],
    layer: usize,
) -> Result<(CpuStorage, Shape)> {
    let storages: Vec<Vec<_>> = spans.iter().map(storages).collect();
    let mut slices: Vec<[Vec<&[T]>; 2]> = Vec::with_capacity(spans.len());
    for (span, storages) in spans.iter().zip(&storages) {
        let part = |which| {
            let blocks = storages.iter().map(|storage| match &**storage {
                Storage::Cpu(storage) => {
                    let block = T::cpu_storage_as_slice(storage)?;
                    Ok(&block[span.offset(layer, which)..])
                }
                _ => bail!("keys that are not where the queries are"),
            });
            blocks.collect::<Result<Vec<_>>>()
        };
        slices.push([part(Which::Keys)?, part(Which::Values)?]);
    }
    let mut first = 0;
    let mut parts = Vec::with_capacity(spans.len());
    for (span, [keys, values]) in spans.iter().zip(&slices) {
        let rows = |blocks| BlockRows {
            blocks,
            shift: BLOCK_TOKENS.ilog2(),
            head_stride: BLOCK_TOKENS * q.head_dim,
            token_stride: q.head_dim,
            tokens: span.len(),
            head_dim: q.head_dim,
        };
        parts.push(Part {
            k: rows(keys),
            v: rows(values),
            first,
            queries: span.tokens(),
        });
        first += span.tokens();
    }
    let kv_heads = spans.first().map_or(1, Span::kv_heads);
    Ok(attend(q, kv_heads, &parts))
}
