//! Keys and values of the tokens so far, which grow with the answer and are used again for the next page; the states of
//! layers that keep no keys and values; and what the model's own draft head keeps.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::recurrent::{RecurrentShape, RecurrentState};

/// A cache that is full grows by this many tokens at least.
const MIN_GROWTH: usize = 256;

/// What the layers keep of one sequence.
pub struct KvCache {
    /// In the order of the decoder; empty until there is room.
    layers: Vec<LayerCache>,
    /// What they are.
    kinds: Vec<LayerKind>,
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    device: Device,
    dtype: DType,
    head: Option<Box<HeadStates>>,
}

/// What a layer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Keys and values.
    Attention,
    /// A state.
    Recurrent(RecurrentShape),
}

enum LayerCache {
    /// `(kv_heads, capacity, head_dim)` each.
    Attention(Tensor, Tensor),
    Recurrent(Box<RecurrentState>),
}

impl KvCache {
    /// An empty cache for layers of these kinds, which has no room yet; [`reset`](Self::reset) gives it some.
    #[must_use]
    pub fn new(
        kinds: Vec<LayerKind>,
        kv_heads: usize,
        head_dim: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        Self {
            layers: Vec::new(),
            kinds,
            kv_heads,
            head_dim,
            len: 0,
            device: device.clone(),
            dtype,
            head: None,
        }
    }

    /// The same, with what a draft head of one layer of attention keeps.
    #[must_use]
    pub fn with_head(self) -> Self {
        let (kinds, heads, size) = (vec![LayerKind::Attention], self.kv_heads, self.head_dim);
        let head = HeadStates {
            cache: Self::new(kinds, heads, size, &self.device, self.dtype),
            unseen: Vec::new(),
        };
        Self {
            head: Some(Box::new(head)),
            ..self
        }
    }

    /// What the draft head keeps, if there is one.
    pub fn head(&mut self) -> Option<&mut HeadStates> {
        self.head.as_deref_mut()
    }

    /// Forgets all tokens and makes room for `capacity` of them; allocates only if it never had that much.
    pub fn reset(&mut self, capacity: usize) -> Result<()> {
        self.len = 0;
        if let Some(head) = &mut self.head {
            head.unseen.clear();
            head.cache.reset(capacity)?;
        }
        if self.layers.len() == self.kinds.len() && self.has_room(capacity)? {
            for layer in &mut self.layers {
                if let LayerCache::Recurrent(state) = layer {
                    state.reset()?;
                }
            }
            return Ok(());
        }
        // The old tensors go first: both at once may not fit.
        self.layers.clear();
        let shape = (self.kv_heads, capacity, self.head_dim);
        let room = || Tensor::zeros(shape, self.dtype, &self.device);
        for kind in &self.kinds {
            self.layers.push(match *kind {
                LayerKind::Attention => LayerCache::Attention(room()?, room()?),
                LayerKind::Recurrent(shape) => {
                    LayerCache::Recurrent(Box::new(RecurrentState::new(shape, &self.device)?))
                }
            });
        }
        Ok(())
    }

    /// Makes room for `tokens` more, layer by layer, so that no more than one layer's is held twice. What
    /// [`append`](Self::append) lacks it makes itself; this is for those who want to know before a run whether there is
    /// memory for it. After an error the tokens so far are still there.
    pub fn reserve(&mut self, tokens: usize) -> Result<()> {
        if let Some(head) = &mut self.head {
            head.cache.reserve(tokens)?;
        }
        for layer in &mut self.layers {
            if let LayerCache::Attention(keys, values) = layer {
                grow(keys, self.len, self.len + tokens)?;
                grow(values, self.len, self.len + tokens)?;
            }
        }
        Ok(())
    }

    /// Whether every layer has room for so many tokens in all.
    fn has_room(&self, capacity: usize) -> Result<bool> {
        for layer in &self.layers {
            if let LayerCache::Attention(keys, values) = layer
                && (keys.dim(1)? < capacity || values.dim(1)? < capacity)
            {
                return Ok(false);
            }
        }
        Ok(true)
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
        let Some(LayerCache::Attention(keys, values)) = self.layers.get_mut(layer) else {
            bail!("the cache has no keys and values of layer {layer}")
        };
        let (k, v) = (k.contiguous()?, v.contiguous()?);
        let all = self.len + k.dim(1)?;
        grow(keys, self.len, all)?;
        grow(values, self.len, all)?;
        keys.slice_set(&k.to_dtype(self.dtype)?, 1, self.len)?;
        values.slice_set(&v.to_dtype(self.dtype)?, 1, self.len)?;
        if self.len == 0 {
            return Ok((k, v));
        }
        Ok((keys.narrow(1, 0, all)?, values.narrow(1, 0, all)?))
    }

    /// The state of `layer`. As with keys, new tokens count only after [`advance`](Self::advance).
    pub fn recurrent(&mut self, layer: usize) -> Result<&mut RecurrentState> {
        match self.layers.get_mut(layer) {
            Some(LayerCache::Recurrent(state)) => Ok(state),
            _ => bail!("the cache has no state of layer {layer}"),
        }
    }

    /// Forgets all but the first `len` tokens, which must be some of the latest run where a layer has a state.
    pub fn truncate(&mut self, len: usize) -> Result<()> {
        let Some(dropped) = self.len.checked_sub(len) else {
            return Ok(());
        };
        self.len = len;
        for layer in &mut self.layers {
            if let LayerCache::Recurrent(state) = layer {
                state.undo(dropped)?;
            }
        }
        match &mut self.head {
            Some(head) => head.forget(dropped),
            None => Ok(()),
        }
    }

    /// Counts `tokens` that every layer has appended.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

/// Gives `tensor`, `(kv_heads, capacity, head_dim)` with `len` tokens in it, a capacity of `needed` tokens at least. It grows by
/// a quarter, so that all growing together copies each token a few times.
fn grow(tensor: &mut Tensor, len: usize, needed: usize) -> Result<()> {
    let (heads, capacity, head_dim) = tensor.dims3()?;
    if needed <= capacity {
        return Ok(());
    }
    let capacity = needed.max(capacity + (capacity / 4).max(MIN_GROWTH));
    let larger = Tensor::zeros((heads, capacity, head_dim), tensor.dtype(), tensor.device())?;
    if len > 0 {
        larger.slice_set(&tensor.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
    }
    *tensor = larger;
    Ok(())
}

/// The keys and values of a draft head, and the states that it has not seen yet.
///
/// The head sees each token but the first with the decoder's state of the token before it. So it is a token behind: the
/// latest states wait for the tokens that follow them, and those of drafts that turn out wrong are forgotten.
pub struct HeadStates {
    /// What the head's layer keeps of the tokens that it has seen.
    pub cache: KvCache,
    /// States of the decoder, in order, `(tokens, hidden)` each.
    unseen: Vec<Tensor>,
}

impl HeadStates {
    /// Adds the decoder's states of new tokens, `(tokens, hidden)`.
    pub fn push(&mut self, states: Tensor) {
        self.unseen.push(states);
    }

    /// How many states the head has not seen.
    pub fn unseen(&self) -> Result<usize> {
        self.unseen.iter().map(|states| states.dim(0)).sum()
    }

    /// Takes the states that the head has not seen, `(tokens, hidden)`; there is at least one.
    pub fn take_unseen(&mut self) -> Result<Tensor> {
        let taken = std::mem::take(&mut self.unseen);
        Tensor::cat(&taken, 0)
    }

    /// Forgets the last `count` states, none of which the head has seen.
    pub fn forget(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            let Some(states) = self.unseen.pop() else {
                bail!("the draft head has seen states that are to be forgotten")
            };
            let rows = states.dim(0)?;
            if rows > count {
                self.unseen.push(states.narrow(0, 0, rows - count)?);
            }
            count = count.saturating_sub(rows);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kv_cache_grows_and_keeps_what_it_holds() {
        let kinds = vec![LayerKind::Attention; 2];
        let mut cache = KvCache::new(kinds, 2, 4, &Device::Cpu, DType::F32);
        cache.reset(3).unwrap();
        let new = |tokens| Tensor::randn(0_f32, 1.0, (2, tokens, 4), &Device::Cpu).unwrap();
        let flat = |x: &Tensor| -> Vec<f32> { x.flatten_all().unwrap().to_vec1().unwrap() };
        let mut all = new(3);
        let (k, v) = cache.append(0, &all, &all).unwrap();
        cache.append(1, &all, &all).unwrap();
        assert_eq!((flat(&k), flat(&v)), (flat(&all), flat(&all)));
        cache.advance(3);
        // One by one through several capacities; reserved before, in one layer and not in the other, or not at all.
        for step in 0..700 {
            if step % 3 == 0 {
                cache.reserve(1 + step % 400).unwrap();
            }
            let token = new(1);
            all = Tensor::cat(&[&all, &token], 1).unwrap();
            for layer in 0..2 {
                let (k, v) = cache.append(layer, &token, &token).unwrap();
                if step % 50 == 0 {
                    assert_eq!(flat(&k), flat(&all), "step {step}, layer {layer}");
                    assert_eq!(flat(&v), flat(&all));
                }
            }
            cache.advance(1);
        }
        assert!(cache.has_room(703).unwrap() && !cache.has_room(4096).unwrap());
        // What has grown stays for the next page.
        cache.reset(600).unwrap();
        assert!(cache.is_empty() && cache.has_room(703).unwrap());
    }

    #[test]
    fn kv_cache_returns_new_keys_and_keeps_its_dtype() {
        let mut cache = KvCache::new(vec![LayerKind::Attention], 2, 64, &Device::Cpu, DType::F16);
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
