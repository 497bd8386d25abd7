//! Attention of all sequences of a run of the decoder.

use candle_core::{DType, Result, Tensor};

use super::{
    attend::{AttentionArgs, MAX_DECODE_QUERIES, attend},
    decode_ops::decode_attention_in_blocks,
    kv_blocks::{Span, Which},
};

/// The sequences of a run, in order, and where their keys and values are: the same for all layers.
pub struct Spans {
    spans: Vec<Span>,
}

impl Spans {
    /// Those of a run.
    #[must_use]
    pub fn new(spans: Vec<Span>) -> Self {
        Self { spans }
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
