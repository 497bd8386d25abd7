//! What a product's rows are.

/// Which rows are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// All of a page or of its prompt, which always come together: as many as they are, they are multiplied in the fastest
    /// way, for which quantized weights are rounded to 12 bits.
    Prefill,
    /// Tokens of answers: what becomes of one of them must not depend on how many come with it.
    Decode,
}
