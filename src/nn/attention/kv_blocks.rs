//! Keys and values of a sequence in blocks: it grows by one block at a time, and nothing is moved. As in vLLM (Kwon et al., arXiv
//! 2309.06180), but that a block has the keys and values of all layers.

use candle_core::{DType, Device, Result, Tensor};

/// Tokens of a block: as many as a core reads side by side.
pub const BLOCK_TOKENS: usize = 128;

/// The shape of the blocks of a decoder.
#[derive(Debug, Clone)]
pub struct BlockShape {
    /// Layers that attend.
    pub layers: usize,
    /// Heads of keys, and of values.
    pub kv_heads: usize,
    /// Numbers of one of them.
    pub head_dim: usize,
    /// Their type.
    pub dtype: DType,
}

impl BlockShape {
    /// A block of zeros, `(layers · 2, kv_heads, tokens, head_dim)`: the keys of the first layer, its values, the keys of the
    /// second, and so on.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn block(&self, device: &Device) -> Result<Tensor> {
        let shape = (2 * self.layers, self.kv_heads, BLOCK_TOKENS, self.head_dim);
        Tensor::zeros(shape, self.dtype, device)
    }
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Keys.
    Keys,
    /// Values.
    Values,
}

/// The tokens of one sequence in a run of the decoder: those before it, and the new ones.
#[derive(Clone)]
pub struct Span {
    shape: BlockShape,
    /// At least as many as the tokens need.
    blocks: Vec<Tensor>,
    before: usize,
    tokens: usize,
}

impl Span {
    /// `tokens` new ones behind `before` others, for all of which `blocks` of this shape have room.
    #[must_use]
    pub fn new(shape: BlockShape, blocks: &[Tensor], before: usize, tokens: usize) -> Self {
        let needed = (before + tokens).div_ceil(BLOCK_TOKENS);
        Self {
            shape,
            blocks: blocks[..needed].to_vec(),
            before,
            tokens,
        }
    }

    /// How many tokens there are, the new ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.before + self.tokens
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens there are before the new ones.
    #[must_use]
    pub fn before(&self) -> usize {
        self.before
    }

    /// How many tokens are new.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Where they are.
    #[must_use]
    pub fn blocks(&self) -> &[Tensor] {
        &self.blocks
    }

    /// Heads of keys.
    #[must_use]
    pub fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    /// Numbers of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.shape.head_dim
    }

    /// Type of the numbers in the blocks.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.shape.dtype
    }

    /// Where in a block the keys or values of `layer` begin, in numbers.
    #[must_use]
    pub fn offset(&self, layer: usize, which: Which) -> usize {
        index(layer, which) * self.shape.kv_heads * BLOCK_TOKENS * self.shape.head_dim
    }

    /// Writes the keys or values of the new tokens, `(kv_heads, tokens, head_dim)`, into the blocks.
    ///
    /// # Errors
    /// They have another shape, or the device fails.
    pub fn write(&self, layer: usize, which: Which, new: &Tensor) -> Result<()> {
        let new = new.to_dtype(self.dtype())?;
        let mut done = 0;
        while done < self.tokens {
            let at = self.before + done;
            let place = at % BLOCK_TOKENS;
            let count = (BLOCK_TOKENS - place).min(self.tokens - done);
            let part = new.narrow(1, done, count)?.contiguous()?;
            let block = self.blocks[at / BLOCK_TOKENS].get(index(layer, which))?;
            block.slice_set(&part, 1, place)?;
            done += count;
        }
        Ok(())
    }

    /// The keys or values of all tokens, the new ones included, in one piece: `(kv_heads, len, head_dim)`.
    ///
    /// # Errors
    /// The device fails.
    pub fn gather(&self, layer: usize, which: Which) -> Result<Tensor> {
        let parts = self
            .blocks
            .iter()
            .map(|block| block.get(index(layer, which)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        Tensor::cat(&parts, 1)?.narrow(1, 0, self.len())
    }
}

/// Where among a block's parts the keys or values of `layer` are.
fn index(layer: usize, which: Which) -> usize {
    2 * layer + usize::from(which == Which::Values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_back_what_was_written() {
        let shape = BlockShape {
            layers: 2,
            kv_heads: 3,
            head_dim: 4,
            dtype: DType::F32,
        };
        let block = || shape.block(&Device::Cpu).unwrap();
        let blocks = [block(), block(), block()];
        let flat = |x: &Tensor| -> Vec<f32> { x.flatten_all().unwrap().to_vec1().unwrap() };
        let places = [
            (0, Which::Keys),
            (0, Which::Values),
            (1, Which::Keys),
            (1, Which::Values),
        ];
        let mut all: Vec<Option<Tensor>> = vec![None; places.len()];
        let mut before = 0;
        // Over the end of one block, of two, to the end of one, and from there.
        for tokens in [1, 126, 3, 126, 1, 100] {
            let span = Span::new(shape.clone(), &blocks, before, tokens);
            for (all, (layer, which)) in all.iter_mut().zip(places) {
                let new = Tensor::randn(0_f32, 1.0, (3, tokens, 4), &Device::Cpu).unwrap();
                span.write(layer, which, &new).unwrap();
                *all = Some(match all.take() {
                    Some(before) => Tensor::cat(&[&before, &new], 1).unwrap(),
                    None => new,
                });
            }
            for (all, (layer, which)) in all.iter().zip(places) {
                let found = span.gather(layer, which).unwrap();
                assert_eq!(
                    flat(&found),
                    flat(all.as_ref().unwrap()),
                    "{which:?} of {layer}"
                );
            }
            before += tokens;
        }
    }
}
