//! Attention of all sequences of a run of the decoder.

#[cfg(feature = "cuda")]
use candle_core::bail;
use candle_core::{DType, Result, Tensor};

use super::{
    attend::{AttentionArgs, MAX_DECODE_QUERIES, attend},
    decode_ops::decode_attention_in_blocks,
    kv_blocks::{Span, Which},
};
#[cfg(feature = "cuda")]
use crate::nn::{
    cuda::attention::{BlockTable, Prepared, Projected},
    gates::{Gate, gated},
};

/// The sequences of a run, in order, and where their keys and values are: the same for all layers.
pub struct Spans {
    #[cfg(feature = "cuda")]
    table: Option<BlockTable>,
    spans: Vec<Span>,
}

impl Spans {
    /// Those of a run.
    ///
    /// # Errors
    /// The device fails.
    #[cfg_attr(
        not(feature = "cuda"),
        allow(
            clippy::unnecessary_wraps,
            reason = "it can fail only where there is a device"
        )
    )]
    pub fn new(spans: Vec<Span>) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            table: BlockTable::new(&spans)?,
            spans,
        })
    }

    /// Whether [`attend_projected`](Self::attend_projected) can be asked for rows like `x`.
    #[cfg(feature = "cuda")]
    #[must_use]
    pub fn has_kernels(&self, x: &Tensor) -> bool {
        let suits = |span: &Span| span.dtype() == x.dtype();
        self.table.is_some() && self.spans.iter().all(suits)
    }

    /// As [`attend`](Self::attend), from what queries, keys and values are made of, and through their gates if there are.
    ///
    /// # Errors
    /// The device fails.
    #[cfg(feature = "cuda")]
    pub fn attend_projected(
        &self,
        layer: usize,
        projected: &Projected,
        args: AttentionArgs,
    ) -> Result<Tensor> {
        let (Some(table), [first, others @ ..]) = (&self.table, &*self.spans) else {
            bail!("there are no kernels for this attention")
        };
        let decodes = !others.is_empty() || first.before() > 0;
        let Prepared { q, kv } = table.prepare(projected, first, layer, decodes)?;
        let Some((k, v)) = kv else {
            return table.attend(projected, &q, first, layer);
        };
        let attended = attend(&q, &k, &v, args)?;
        if !projected.gated {
            return Ok(attended);
        }
        let (heads, head_dim) = (projected.heads, first.head_dim());
        let of_queries = projected.qkv.narrow(1, 0, 2 * heads * head_dim)?;
        let by_head = of_queries.reshape(((), heads, 2, head_dim))?;
        let gate = by_head.narrow(2, 1, 1)?.contiguous()?;
        gated(&attended, &gate.flatten_from(1)?, Gate::Sigmoid)
    }

    /// Writes the keys and values of the new tokens of all sequences, `(kv_heads, tokens, head_dim)`, into `layer` of their
    /// blocks, and attends from their queries, `(heads, tokens, head_dim)`, each to its sequence. The last new token of a
    /// sequence sees all of it, the one before it all but the last, and so on. Returns `(tokens, heads · head_dim)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn attend(
        &self,
        layer: usize,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        args: AttentionArgs,
    ) -> Result<Tensor> {
        let own = |x: &Tensor, span: &Span, start| x.narrow(1, start, span.tokens());
        for (span, start) in self.starts() {
            span.write(layer, Which::Keys, &own(k, span, start)?)?;
            span.write(layer, Which::Values, &own(v, span, start)?)?;
        }
        if q.device().is_cpu() && q.dtype() == DType::F32 && self.spans.iter().all(is_decoding) {
            return decode_attention_in_blocks(q, &self.spans, layer);
        }
        let mut attended = Vec::with_capacity(self.spans.len());
        for (span, start) in self.starts() {
            // New tokens need not be looked for, nor be rounded.
            let (k, v) = if span.before() == 0 {
                let own = |x| own(x, span, start)?.contiguous();
                (own(k)?, own(v)?)
            } else {
                let all = |which| span.gather(layer, which);
                (all(Which::Keys)?, all(Which::Values)?)
            };
            attended.push(attend(&own(q, span, start)?, &k, &v, args)?);
        }
        match &*attended {
            [alone] => Ok(alone.clone()),
            together => Tensor::cat(together, 0),
        }
    }

    /// The sequences, and the number of the first new token of each.
    fn starts(&self) -> impl Iterator<Item = (&Span, usize)> {
        self.spans.iter().scan(0, |start, span| {
            *start += span.tokens();
            Some((span, *start - span.tokens()))
        })
    }
}

/// Whether its new tokens are few, behind others.
fn is_decoding(span: &Span) -> bool {
    span.before() > 0 && span.tokens() <= MAX_DECODE_QUERIES
}
