//! Attention of all sequences of a run by the program's own kernels.

use candle_core::{DType, Device, Result, Tensor};

use super::{
    launch::{Argument, address, device, launch, unwritten},
    layer::has_kernels,
};
use crate::nn::{
    attention::kv_blocks::{BLOCK_TOKENS, Span, Which},
    rope::RopeTables,
};

/// Heads of which sizes there are kernels for.
const HEAD_DIMS: [usize; 4] = [32, 64, 128, 256];
/// How many heads of queries a kernel takes with one of keys; others are taken by several.
const GROUPS: [usize; 4] = [1, 2, 4, 8];
/// Threads of a block of the kernel.
const THREADS: usize = 128;
/// A GPU is busy with so many blocks: eight for each of an H100's 132 multiprocessors. Keys are divided into as many parts as that
/// takes.
const BUSY: usize = 1056;

/// Where the new tokens of a run are in their sequences, and where the blocks of these are: on the device, for all layers.
pub struct BlockTable {
    /// For each new token its place in its sequence and where the addresses of its blocks begin; then the addresses.
    numbers: Tensor,
    rows: usize,
    /// Tokens of the longest sequence.
    longest: usize,
}

impl BlockTable {
    /// That of the sequences of a run; none where there are no kernels for them.
    ///
    /// # Errors
    /// The device fails.
    pub fn new(spans: &[Span]) -> Result<Option<Self>> {
        let Some(block) = spans.first().and_then(|span| span.blocks().first()) else {
            return Ok(None);
        };
        if !has_kernels(block) || !HEAD_DIMS.contains(&block.dim(3)?) {
            return Ok(None);
        }
        let Device::Cuda(_) = block.device() else {
            return Ok(None);
        };
        let rows = spans.iter().map(Span::tokens).sum();
        let (mut numbers, mut addresses) = (Vec::with_capacity(2 * rows), Vec::new());
        for span in spans {
            let start = 2 * rows + addresses.len();
            for place in span.before()..span.len() {
                numbers.extend([place as i64, start as i64]);
            }
            for block in span.blocks() {
                let Argument::Address(address) = address(block)? else {
                    continue;
                };
                addresses.push(address as i64);
            }
        }
        numbers.extend(addresses);
        Ok(Some(Self {
            numbers: Tensor::new(numbers, block.device())?,
            rows,
            longest: spans.iter().map(Span::len).max().unwrap_or(0),
        }))
    }
}

/// What a layer makes queries, keys and values of.
pub struct Projected<'a> {
    /// `(tokens, heads · head_dim)`: queries, keys, values. With `gated`, each head's gate is behind its queries.
    pub qkv: &'a Tensor,
    /// What is to be added to it.
    pub bias: Option<&'a Tensor>,
    /// The weights of the norms of queries and keys, in f32.
    pub norms: Option<(&'a Tensor, &'a Tensor)>,
    /// What is added to the mean of squares.
    pub eps: f32,
    /// Turns them.
    pub rope: &'a RopeTables,
    /// Heads of queries.
    pub heads: usize,
    /// Whether they have gates.
    pub gated: bool,
}

/// Queries, keys and values.
pub struct Prepared {
    /// `(tokens, heads, head_dim)` for decoding, else `(heads, tokens, head_dim)`.
    pub q: Tensor,
    /// `(kv_heads, tokens, head_dim)` each, unless for decoding.
    pub kv: Option<(Tensor, Tensor)>,
}

impl BlockTable {
    /// Norms and turns queries and keys, and leaves keys and values in `layer` of the blocks. `span` is any of the run's.
    ///
    /// # Errors
    /// The device fails.
    pub fn prepare(
        &self,
        projected: &Projected,
        span: &Span,
        layer: usize,
        decodes: bool,
    ) -> Result<Prepared> {
        let Projected {
            qkv, heads, rope, ..
        } = *projected;
        let (device, dtype, rows) = (device(qkv)?, qkv.dtype(), self.rows);
        let (kv_heads, head_dim) = (span.kv_heads(), span.head_dim());
        let per_head = if projected.gated { 2 } else { 1 };
        let half = rope.cos.dim(1)?;
        let (q, kv) = if decodes {
            (unwritten(&device, dtype, (rows, heads, head_dim))?, None)
        } else {
            let new = || unwritten(&device, dtype, (kv_heads, rows, head_dim));
            let q = unwritten(&device, dtype, (heads, rows, head_dim))?;
            (q, Some((new()?, new()?)))
        };
        let strides = if decodes { [heads, 1] } else { [1, rows] };
        let optional = |x: Option<&Tensor>| x.map_or(Ok(Argument::NULL), address);
        let arguments = [
            address(qkv)?,
            optional(projected.bias)?,
            optional(projected.norms.map(|norms| norms.0))?,
            optional(projected.norms.map(|norms| norms.1))?,
            address(&rope.cos)?,
            address(&rope.sin)?,
            address(&self.numbers)?,
            address(&q)?,
            optional(kv.as_ref().map(|kv| &kv.0))?,
            optional(kv.as_ref().map(|kv| &kv.1))?,
            Argument::size(heads),
            Argument::size(per_head),
            Argument::size(kv_heads),
            Argument::size(head_dim),
            Argument::size(half),
            Argument::Float(projected.eps),
            Argument::Long(span.offset(layer, Which::Keys) as i64),
            Argument::size(strides[0]),
            Argument::size(strides[1]),
            Argument::size(1),
            Argument::size(rows),
        ];
        let grid = (rows, heads + 2 * kv_heads, 1);
        launch(&device, dtype, "prepare", (grid, 32), &arguments)?;
        Ok(Prepared { q, kv })
    }

    /// Attends from the queries that were [prepared](Self::prepare) for decoding, each to its sequence up to itself. Returns
    /// `(tokens, heads · head_dim)`, through the gates if there are.
    ///
    /// # Errors
    /// The device fails.
    pub fn attend(
        &self,
        projected: &Projected,
        q: &Tensor,
        span: &Span,
        layer: usize,
    ) -> Result<Tensor> {
        let (device, dtype, rows) = (device(q)?, q.dtype(), self.rows);
        let (heads, kv_heads, head_dim) = (projected.heads, span.kv_heads(), span.head_dim());
        let group = heads / kv_heads;
        let of_kernel = GROUPS.into_iter().find(|&of_kernel| of_kernel >= group);
        let of_kernel = of_kernel.unwrap_or(GROUPS[GROUPS.len() - 1]);
        let groups = kv_heads * group.div_ceil(of_kernel);
        let blocks = self.longest.div_ceil(BLOCK_TOKENS);
        let part = blocks.div_ceil(BUSY.div_ceil(rows * groups).clamp(1, blocks));
        let parts = blocks.div_ceil(part);

        let out = unwritten(&device, dtype, (rows, heads * head_dim))?;
        let room = |size| unwritten(&device, DType::F32, (rows, heads, parts, size));
        let left = match parts {
            1 => None,
            _ => Some((room(head_dim)?, room(2)?)),
        };
        let optional = |x: Option<&Tensor>| x.map_or(Ok(Argument::NULL), address);
        let sums = optional(left.as_ref().map(|left| &left.0))?;
        let shares = optional(left.as_ref().map(|left| &left.1))?;
        let gate = match (projected.gated, address(projected.qkv)?) {
            (true, Argument::Address(start)) => {
                Argument::Address(start + (head_dim * dtype.size_in_bytes()) as u64)
            }
            _ => Argument::NULL,
        };
        let gate_stride = Argument::size(projected.qkv.dim(1)?);
        // Weights are powers of 2.
        let scale = std::f64::consts::LOG2_E / (head_dim as f64).sqrt();
        let arguments = [
            address(q)?,
            gate,
            address(&self.numbers)?,
            address(&out)?,
            sums,
            shares,
            Argument::size(heads),
            Argument::size(kv_heads),
            gate_stride,
            Argument::Long(span.offset(layer, Which::Keys) as i64),
            Argument::Float(scale as f32),
            Argument::size(part * BLOCK_TOKENS),
        ];
        let name = format!("attend_{head_dim}_{of_kernel}");
        launch(
            &device,
            dtype,
            &name,
            ((parts, groups, rows), THREADS),
            &arguments,
        )?;
        if left.is_some() {
            let arguments = [
                sums,
                shares,
                gate,
                address(&out)?,
                gate_stride,
                Argument::size(parts),
            ];
            launch(
                &device,
                dtype,
                "join",
                ((heads, rows, 1), head_dim),
                &arguments,
            )?;
        }
        Ok(out)
    }
}
