//! Keys and values of the tokens so far, which grow with the answer; the states of layers that keep no keys and values; and what
//! the model's own draft head keeps.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor, bail};

use super::recurrent::{RecurrentShape, RecurrentState};
use crate::nn::attention::kv_blocks::{BLOCK_TOKENS, BlockShape, Span};

/// What the layers keep of one sequence.
pub struct KvCache {
    /// Of those that attend: room for the tokens so far, and perhaps for more.
    blocks: Vec<Tensor>,
    pool: Arc<BlockPool>,
    /// Of those that have a state; empty until the first [`reset`](Self::reset).
    states: Vec<RecurrentState>,
    shapes: Vec<RecurrentShape>,
    len: usize,
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

/// Blocks that no sequence has, for the next one.
struct BlockPool {
    shape: BlockShape,
    device: Device,
    free: Mutex<Vec<Tensor>>,
}

impl BlockPool {
    fn free(&self) -> impl std::ops::DerefMut<Target = Vec<Tensor>> {
        // A list of blocks is whole at any time.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Tensor> {
        let free = self.free().pop();
        free.map_or_else(|| self.shape.block(&self.device), Ok)
    }
}

impl KvCache {
    /// An empty cache for layers of these kinds, which has no room yet; [`reset`](Self::reset) gives it some.
    #[must_use]
    pub fn new(
        kinds: &[LayerKind],
        kv_heads: usize,
        head_dim: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let shapes = kinds.iter().filter_map(|kind| match kind {
            LayerKind::Attention => None,
            LayerKind::Recurrent(shape) => Some(*shape),
        });
        let shapes: Vec<_> = shapes.collect();
        let pool = BlockPool {
            shape: BlockShape {
                layers: kinds.len() - shapes.len(),
                kv_heads,
                head_dim,
                dtype,
            },
            device: device.clone(),
            free: Mutex::default(),
        };
        Self {
            blocks: Vec::new(),
            pool: Arc::new(pool),
            states: Vec::new(),
            shapes,
            len: 0,
            head: None,
        }
    }

    /// The same, with what a draft head of one layer of attention keeps.
    #[must_use]
    pub fn with_head(mut self) -> Self {
        let BlockPool { shape, device, .. } = &*self.pool;
        let kinds = [LayerKind::Attention];
        let cache = Self::new(&kinds, shape.kv_heads, shape.head_dim, device, shape.dtype);
        self.head = Some(Box::new(HeadStates {
            cache,
            unseen: Vec::new(),
        }));
        self
    }

    /// An empty cache like this one, for another sequence: what either has no use for any more, the other may take.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            blocks: Vec::new(),
            pool: Arc::clone(&self.pool),
            states: Vec::new(),
            shapes: self.shapes.clone(),
            len: 0,
            head: self.head.as_ref().map(|head| {
                Box::new(HeadStates {
                    cache: head.cache.another(),
                    unseen: Vec::new(),
                })
            }),
        }
    }

    /// What the draft head keeps, if there is one.
    pub fn head(&mut self) -> Option<&mut HeadStates> {
        self.head.as_deref_mut()
    }

    /// Forgets all tokens and makes room for `capacity` of them.
    pub fn reset(&mut self, capacity: usize) -> Result<()> {
        self.len = 0;
        let BlockPool { device, .. } = &*self.pool;
        let states = self
            .shapes
            .iter()
            .map(|&shape| RecurrentState::new(shape, device));
        self.states = states.collect::<Result<_>>()?;
        if let Some(head) = &mut self.head {
            head.unseen.clear();
            head.cache.reset(capacity)?;
        }
        self.reserve(capacity)
    }

    /// Makes room for `tokens` more. After an error the tokens so far are still there.
    pub fn reserve(&mut self, tokens: usize) -> Result<()> {
        if let Some(head) = &mut self.head {
            head.cache.reserve(tokens)?;
        }
        self.grow(tokens)
    }

    /// Takes blocks until the layers that attend have room for `tokens` more.
    fn grow(&mut self, tokens: usize) -> Result<()> {
        while self.blocks.len() * BLOCK_TOKENS < self.len + tokens {
            self.blocks.push(self.pool.take()?);
        }
        Ok(())
    }

    /// Whether there is memory that no cache like this one uses.
    #[must_use]
    pub fn has_spare_memory(&self) -> bool {
        let of_head = |head: &HeadStates| head.cache.has_spare_memory();
        !self.pool.free().is_empty() || self.head.as_deref().is_some_and(of_head)
    }

    /// Gives back the memory that no cache like this one uses.
    pub fn free_spare_memory(&self) {
        self.pool.free().clear();
        if let Some(head) = &self.head {
            head.cache.free_spare_memory();
        }
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

    /// Where the layers that attend find the tokens so far, and leave `tokens` new ones, for which it makes room. They count
    /// only after [`advance`](Self::advance).
    pub fn span(&mut self, tokens: usize) -> Result<Span> {
        self.grow(tokens)?;
        let shape = self.pool.shape.clone();
        Ok(Span::new(shape, &self.blocks, self.len, tokens))
    }

    /// The state of `layer`, of those that have one. As with keys, new tokens count only after [`advance`](Self::advance).
    pub fn recurrent(&mut self, layer: usize) -> Result<&mut RecurrentState> {
        match self.states.get_mut(layer) {
            Some(state) => Ok(state),
            None => bail!("the cache has no state of layer {layer}"),
        }
    }

    /// Forgets all but the first `len` tokens, which must be some of the latest run where a layer has a state.
    pub fn truncate(&mut self, len: usize) -> Result<()> {
        let Some(dropped) = self.len.checked_sub(len) else {
            return Ok(());
        };
        self.len = len;
        for state in &mut self.states {
            state.undo(dropped)?;
        }
        match &mut self.head {
            Some(head) => head.forget(dropped),
            None => Ok(()),
        }
    }

    /// Counts `tokens` that every layer has taken.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

impl Drop for KvCache {
    /// Leaves its blocks to others like it.
    fn drop(&mut self) {
        self.pool.free().append(&mut self.blocks);
    }
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
    use crate::nn::attention::kv_blocks::Which;

    #[test]
    fn kv_cache_grows_and_keeps_what_it_holds() {
        let kinds = [LayerKind::Attention; 2];
        let mut cache = KvCache::new(&kinds, 2, 4, &Device::Cpu, DType::F32);
        cache.reset(3).unwrap();
        let new = |tokens| Tensor::randn(0_f32, 1.0, (2, tokens, 4), &Device::Cpu).unwrap();
        let flat = |x: &Tensor| -> Vec<f32> { x.flatten_all().unwrap().to_vec1().unwrap() };
        let write = |span: &Span, new: &Tensor| {
            for layer in 0..2 {
                span.write(layer, Which::Keys, new).unwrap();
                span.write(layer, Which::Values, &(new * 2.0).unwrap())
                    .unwrap();
            }
        };
        let mut all = new(3);
        write(&cache.span(3).unwrap(), &all);
        cache.advance(3);
        // One by one through several blocks; reserved before, or not.
        for step in 0..700 {
            if step % 3 == 0 {
                cache.reserve(1 + step % 400).unwrap();
            }
            let token = new(1);
            all = Tensor::cat(&[&all, &token], 1).unwrap();
            let span = cache.span(1).unwrap();
            write(&span, &token);
            if step % 50 == 0 {
                for layer in 0..2 {
                    let found = |which| flat(&span.gather(layer, which).unwrap());
                    assert_eq!(found(Which::Keys), flat(&all), "step {step}, layer {layer}");
                    assert_eq!(found(Which::Values), flat(&(&all * 2.0).unwrap()));
                }
            }
            cache.advance(1);
        }
        let blocks = cache.blocks.len();
        assert!(blocks * BLOCK_TOKENS >= 703 && blocks * BLOCK_TOKENS < 4096);
        // What has grown stays for the next page.
        cache.reset(600).unwrap();
        assert!(cache.is_empty() && cache.blocks.len() == blocks);
    }

    #[test]
    fn blocks_of_a_finished_answer_serve_the_next() {
        let kinds = [LayerKind::Attention; 2];
        let empty = KvCache::new(&kinds, 2, 4, &Device::Cpu, DType::F32).with_head();
        let mut first = empty.another();
        first.reset(300).unwrap();
        assert!(!empty.has_spare_memory());
        drop(first);
        assert!(empty.has_spare_memory());
        let mut second = empty.another();
        second.reset(200).unwrap();
        assert_eq!((second.blocks.len(), empty.pool.free().len()), (2, 1));
        empty.free_spare_memory();
        assert!(!empty.has_spare_memory());
        assert_eq!(second.blocks.len(), 2, "what is in use stays");
    }

    #[test]
    fn kv_cache_keeps_its_dtype() {
        let mut cache = KvCache::new(&[LayerKind::Attention], 2, 64, &Device::Cpu, DType::F16);
        cache.reset(5).unwrap();
        let new = |tokens| Tensor::randn(0_f32, 1.0, (2, tokens, 64), &Device::Cpu).unwrap();
        let values = |x: &Tensor| -> Vec<f32> {
            let x = x.to_dtype(DType::F16).unwrap().to_dtype(DType::F32);
            x.unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let (first, second) = (new(3), new(2));
        for new in [&first, &second] {
            let span = cache.span(new.dim(1).unwrap()).unwrap();
            span.write(0, Which::Keys, new).unwrap();
            cache.advance(span.tokens());
        }
        let k = cache.span(0).unwrap().gather(0, Which::Keys).unwrap();
        assert_eq!(k.dtype(), DType::F16);
        assert_eq!(
            values(&k),
            values(&Tensor::cat(&[first, second], 1).unwrap())
        );
    }
}
