//! Many tokens at once: the steps within a chunk become one triangular system (the WY form of arXiv 2406.06484, with decays
//! as in arXiv 2412.06464), and only the state goes from chunk to chunk.

use candle_core::{DType, Device, Result, Tensor};

use super::run::DeltaRun;

/// Tokens of a chunk, as in the reference; a power of two.
const CHUNK: usize = 64;
/// So many chunks are prepared at a time, which bounds the memory.
const MAX_CHUNKS: usize = 32;
/// Systems of this size are solved by powers of their matrix, which are small enough for f32 then.
const SMALL: usize = 8;

/// What each token reads, `(tokens, value_heads · value_dim)`, and the state after them.
pub(super) fn in_chunks(run: &DeltaRun, state: &Tensor) -> Result<(Tensor, Tensor)> {
    let tokens = run.tokens()?;
    let (heads, ..) = state.dims3()?;
    let masks = Masks::new(state.device())?;
    let mut state = state.clone();
    let mut out = Vec::new();
    for start in (0..tokens).step_by(MAX_CHUNKS * CHUNK) {
        let part = run.part(start, (tokens - start).min(MAX_CHUNKS * CHUNK))?;
        out.push(Chunks::new(&part, heads, &masks)?.run(&mut state)?);
    }
    Ok((Tensor::cat(&out, 0)?.flatten_from(1)?, state))
}

/// `(CHUNK, CHUNK)` each.
struct Masks {
    /// 1 from the diagonal on up: a product with it sums up.
    sums: Tensor,
    /// 1 below the diagonal.
    earlier: Tensor,
    /// −∞ above the diagonal.
    future: Tensor,
    identity: Tensor,
}

impl Masks {
    fn new(device: &Device) -> Result<Self> {
        let upper = Tensor::triu2(CHUNK, DType::F32, device)?;
        let lower = Tensor::tril2(CHUNK, DType::F32, device)?;
        let infinite = lower
            .ones_like()?
            .affine(f64::from(f32::NEG_INFINITY), 0.0)?;
        Ok(Self {
            earlier: (1.0 - &upper)?,
            future: lower
                .to_dtype(DType::U8)?
                .where_cond(&lower.zeros_like()?, &infinite)?,
            sums: upper,
            identity: Tensor::eye(SMALL, DType::F32, device)?,
        })
    }
}

/// What can be computed of the chunks before their state is known; `(heads, chunks, …)`.
struct Chunks {
    /// `(CHUNK, value_dim)`: the changes that an empty state would get.
    changes: Tensor,
    /// `(2 · CHUNK, key_dim)`: what those lose by the state's values, then what the queries read of them.
    reads: Tensor,
    /// `(CHUNK, CHUNK)`: what each query reads of the changes up to it.
    inner: Tensor,
    /// `(key_dim, CHUNK)`: the keys that the changes are kept under, decayed to the end of the chunk.
    keys: Tensor,
    /// `(1, 1)`: the decay over the chunk.
    decay: Tensor,
    tokens: usize,
}

impl Chunks {
    /// Of `heads` value heads.
    fn new(run: &DeltaRun, heads: usize, masks: &Masks) -> Result<Self> {
        let (tokens, key_heads, key_dim) = run.k.dims3()?;
        let value_dim = run.v.dim(2)?;
        let chunks = tokens.div_ceil(CHUNK);
        let padding = chunks * CHUNK - tokens;
        // From `(tokens, heads, …)`; tokens of zeros change nothing.
        let split = |x: &Tensor| -> Result<Tensor> {
            let x = x.transpose(0, 1)?.pad_with_zeros(1, 0, padding)?;
            let rest = x.dims()[2..].to_vec();
            x.reshape([vec![heads * chunks, CHUNK], rest].concat())
        };
        let key_head = |head| (head * key_heads / heads) as u32;
        let key_heads = Tensor::from_iter((0..heads).map(key_head), run.k.device())?;
        let of_keys = |x: &Tensor| split(&x.index_select(&key_heads, 1)?);
        let (q, k) = (of_keys(&run.q)?, of_keys(&run.k)?);
        let (v, decay) = (split(&run.v)?, split(&run.decay)?);
        let beta = split(&run.beta)?.unsqueeze(2)?;

        // The decay from the beginning of the chunk, and between any two of its tokens.
        let decay = decay.matmul(&masks.sums)?;
        let (rows, columns) = (decay.unsqueeze(2)?, decay.unsqueeze(1)?);
        let between = rows.broadcast_sub(&columns)?;
        let between = between.broadcast_add(&masks.future)?.exp()?;
        let last = rows.narrow(1, CHUNK - 1, 1)?;
        let from_start = rows.exp()?;
        let to_end = last.broadcast_sub(&rows)?.exp()?;

        let (k_beta, k_columns) = (k.broadcast_mul(&beta)?, k.transpose(1, 2)?);
        let inner = (q.matmul(&k_columns)? * &between)?;
        let system = (k_beta.matmul(&k_columns)? * between.broadcast_mul(&masks.earlier)?)?;
        let wanted = Tensor::cat(
            &[v.broadcast_mul(&beta)?, k_beta.broadcast_mul(&from_start)?],
            2,
        )?;
        let solved = inverse(&system, &masks.identity)?.matmul(&wanted)?;
        let lost = solved.narrow(2, value_dim, key_dim)?;
        let reads = Tensor::cat(&[lost, q.broadcast_mul(&from_start)?], 1)?;
        let keys = k.broadcast_mul(&to_end)?.transpose(1, 2)?.contiguous()?;
        let by_chunk = |x: Tensor| {
            let (_, rows, columns) = x.dims3()?;
            x.reshape((heads, chunks, rows, columns))
        };
        Ok(Self {
            changes: by_chunk(solved.narrow(2, 0, value_dim)?.contiguous()?)?,
            reads: by_chunk(reads)?,
            inner: by_chunk(inner)?,
            keys: by_chunk(keys)?,
            decay: by_chunk(last.exp()?)?,
            tokens,
        })
    }

    /// What each token reads, `(tokens, heads, value_dim)`, beginning with `state`, which is that after them then.
    fn run(self, state: &mut Tensor) -> Result<Tensor> {
        let chunks = self.changes.dim(1)?;
        let mut out = Vec::with_capacity(chunks);
        for i in 0..chunks {
            let at = |x: &Tensor| x.narrow(1, i, 1)?.squeeze(1);
            let read = at(&self.reads)?.contiguous()?.matmul(state)?;
            let changes = (at(&self.changes)? - read.narrow(1, 0, CHUNK)?)?;
            let inner = at(&self.inner)?.contiguous()?.matmul(&changes)?;
            out.push((read.narrow(1, CHUNK, CHUNK)? + inner)?);
            let kept = at(&self.keys)?.contiguous()?.matmul(&changes)?;
            *state = (state.broadcast_mul(&at(&self.decay)?)? + kept)?;
        }
        let out = Tensor::cat(&out, 1)?.narrow(1, 0, self.tokens)?;
        out.transpose(0, 1)?.contiguous()
    }
}

/// `(I + lower)⁻¹` of matrices that are 0 on the diagonal and above, `(matrices, size, size)`: the two halves of a size by
/// themselves, and the corner between them from both.
fn inverse(lower: &Tensor, identity: &Tensor) -> Result<Tensor> {
    let size = lower.dim(1)?;
    if size == SMALL {
        // (I + L)⁻¹ = (I − L)(I + L²)(I + L⁴), since L⁸ = 0.
        let second = lower.matmul(lower)?;
        let fourth = second.matmul(&second)?;
        let first = identity.broadcast_sub(lower)?;
        let factor = |power: &Tensor| identity.broadcast_add(power);
        return first.matmul(&factor(&second)?)?.matmul(&factor(&fourth)?);
    }
    let half = size / 2;
    let part = |row, column| {
        let rows = lower.narrow(1, row, half)?;
        rows.narrow(2, column, half)?.contiguous()
    };
    let top = inverse(&part(0, 0)?, identity)?;
    let bottom = inverse(&part(half, half)?, identity)?;
    let corner = bottom.matmul(&part(half, 0)?)?.matmul(&top)?.neg()?;
    let none = top.zeros_like()?;
    Tensor::cat(
        &[
            Tensor::cat(&[top, none], 2)?,
            Tensor::cat(&[corner, bottom], 2)?,
        ],
        1,
    )
}
