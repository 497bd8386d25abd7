//! Keys and values of the tokens so far, allocated once for a page and used again for the next.

use candle_core::{DType, Device, Result, Tensor, bail};

/// The KV cache of one sequence.
pub struct KvCache {
    /// Keys and values of each layer, `(kv_heads, capacity, head_dim)`.
    layers: Vec<(Tensor, Tensor)>,
    /// Number of layers, once memory is allocated.
    count: usize,
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    capacity: usize,
    device: Device,
    dtype: DType,
}

impl KvCache {
    /// An empty cache for `layers` layers without memory; [`reset`](Self::reset) allocates it.
    #[must_use]
    pub fn new(
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        Self {
            layers: Vec::with_capacity(layers),
            count: layers,
            kv_heads,
            head_dim,
            len: 0,
            capacity: 0,
            device: device.clone(),
            dtype,
        }
    }

    /// Forgets all tokens and makes room for `capacity` of them; allocates only if it never had that much.
    pub fn reset(&mut self, capacity: usize) -> Result<()> {
        self.len = 0;
        if capacity <= self.capacity && self.layers.len() == self.count {
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
        for _ in 0..self.count {
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
    /// all of that layer, in the cache's type unless all are new. The tokens count only after [`advance`](Self::advance).
    pub fn append(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = self.layers.get(layer) else {
            bail!("the KV cache has no layer {layer}")
        };
        let (k, v) = (k.contiguous()?, v.contiguous()?);
        keys.slice_set(&k.to_dtype(self.dtype)?, 1, self.len)?;
        values.slice_set(&v.to_dtype(self.dtype)?, 1, self.len)?;
        if self.len == 0 {
            return Ok((k, v));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kv_cache_returns_new_keys_and_keeps_its_dtype() {
        let mut cache = KvCache::new(1, 2, 64, &Device::Cpu, DType::F16);
        cache.reset(5).unwrap();
        let shape = |tokens| (2, tokens, 64);
        let new = |tokens| Tensor::randn(0_f32, 1.0, shape(tokens), &Device::Cpu).unwrap();
        let values = |x: &Tensor| -> Vec<f32> {
            let x = x.to_dtype(DType::F16).unwrap().to_dtype(DType::F32);
            x.unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let (first, second) = (new(3), new(2));
        let (k, _) = cache.append(0, &first, &first).unwrap();
        assert!(k.dtype() == DType::F32 && values(&k) == values(&first));
        cache.advance(3);
        let (k, v) = cache.append(0, &second, &second).unwrap();
        assert!(k.dtype() == DType::F16 && values(&k) == values(&v));
        assert_eq!(
            values(&k),
            values(&Tensor::cat(&[first, second], 1).unwrap())
        );
    }
}
