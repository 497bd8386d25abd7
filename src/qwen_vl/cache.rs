//! Keys and values of the tokens so far, allocated once for a page and used again for the next.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::config::TextConfig;

/// Some of the tokens that go through the decoder together: those of one sequence.
pub struct Part<'a> {
    /// How many they are.
    pub tokens: usize,
    /// What came before them in their sequence; they are appended.
    pub cache: &'a mut KvCache,
}

/// The KV cache of one sequence.
pub struct KvCache {
    /// Keys and values of each layer, `(kv_heads, capacity, head_dim)`.
    layers: Vec<(Tensor, Tensor)>,
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    capacity: usize,
    device: Device,
    dtype: DType,
}

impl KvCache {
    /// An empty cache that holds nothing yet; [`reset`](Self::reset) gives it room.
    #[must_use]
    pub fn new(config: &TextConfig, device: &Device, dtype: DType) -> Self {
        Self {
            layers: Vec::with_capacity(config.num_hidden_layers),
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            len: 0,
            capacity: 0,
            device: device.clone(),
            dtype,
        }
    }

    /// Forgets all tokens and makes room for `capacity` of them; allocates only if it never had that much.
    pub fn reset(&mut self, layers: usize, capacity: usize) -> Result<()> {
        self.len = 0;
        if capacity <= self.capacity && layers == self.layers.len() {
            return Ok(());
        }
        // The old tensors go first: both at once may not fit.
        self.layers.clear();
        self.capacity = 0;
        let room = || {
            Tensor::zeros(
                (self.kv_heads, capacity, self.head_dim),
                self.dtype,
                &self.device,
            )
        };
        for _ in 0..layers {
            self.layers.push((room()?, room()?));
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Number of tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the keys and values of new tokens, `(kv_heads, tokens, head_dim)`, behind those of `layer`, and returns
    /// all of that layer as views. The tokens count only after [`advance`](Self::advance).
    pub fn append(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = self.layers.get(layer) else {
            bail!("the KV cache has no layer {layer}")
        };
        keys.slice_set(&k.contiguous()?, 1, self.len)?;
        values.slice_set(&v.contiguous()?, 1, self.len)?;
        let all = self.len + k.dim(1)?;
        Ok((keys.narrow(1, 0, all)?, values.narrow(1, 0, all)?))
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Counts `tokens` that every layer has appended.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}
