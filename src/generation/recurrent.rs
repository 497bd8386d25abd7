//! What a layer of linear attention keeps of the tokens so far: always as much, however many they are.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::nn::delta_net::{DeltaRun, causal_conv, delta_rule};

/// The sizes of what one layer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentShape {
    /// Channels of the convolution.
    pub channels: usize,
    /// How many tokens it sees, the latest included.
    pub kernel: usize,
    /// Heads of values, each with a matrix.
    pub heads: usize,
    /// Rows of that.
    pub key_dim: usize,
    /// Columns of that.
    pub value_dim: usize,
}

/// The state of one layer for one sequence.
///
/// It can't be cut back as keys and values can: what a token changed is not to be told apart. So the state before the
/// latest run is kept, and what the run changed it with, to go through it once more up to the token that is the last.
pub struct RecurrentState {
    /// The convolution's latest inputs, `(kernel − 1, channels)`.
    conv: Tensor,
    /// `(heads, key_dim, value_dim)`.
    state: Tensor,
    latest: Option<LatestRun>,
}

/// A run of several tokens.
struct LatestRun {
    conv: Tensor,
    /// The convolution's inputs, `(tokens, channels)`.
    inputs: Tensor,
    state: Tensor,
    /// Known once the convolution is done.
    run: Option<DeltaRun>,
}

impl RecurrentState {
    /// That of a sequence without tokens.
    pub fn new(shape: RecurrentShape, device: &Device) -> Result<Self> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, device);
        Ok(Self {
            conv: zeros(&[shape.kernel - 1, shape.channels])?,
            state: zeros(&[shape.heads, shape.key_dim, shape.value_dim])?,
            latest: None,
        })
    }

    /// Convolves the inputs of new tokens, `(tokens, channels)` in f32, with `weight` as [`causal_conv`] has it. `undoable`
    /// says whether [`undo`](Self::undo) may be asked for.
    pub fn convolve(&mut self, inputs: &Tensor, weight: &Tensor, undoable: bool) -> Result<Tensor> {
        let convolved = causal_conv(inputs, &self.conv, weight)?;
        let conv = latest_inputs(&self.conv, inputs)?;
        let before = std::mem::replace(&mut self.conv, conv);
        self.latest = if undoable && inputs.dim(0)? > 1 {
            Some(LatestRun {
                conv: before,
                inputs: inputs.clone(),
                // The memory of the state is written to.
                state: self.state.copy()?,
                run: None,
            })
        } else {
            None
        };
        Ok(convolved)
    }

    /// Takes the tokens whose inputs were [convolved](Self::convolve) into the state. Returns what they read of it,
    /// `(tokens, heads · value_dim)`.
    pub fn advance(&mut self, run: DeltaRun) -> Result<Tensor> {
        let (out, state) = delta_rule(&run, self.state.clone())?;
        self.state = state;
        if let Some(latest) = &mut self.latest {
            latest.run = Some(run);
        }
        Ok(out)
    }

    /// Forgets the last `count` tokens of the latest run.
    pub fn undo(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let Some(LatestRun {
            conv,
            inputs,
            state,
            run: Some(run),
        }) = self.latest.take()
        else {
            bail!("the state before the latest run is not known")
        };
        let Some(kept) = run.tokens()?.checked_sub(count) else {
            bail!("the latest run had fewer than {count} tokens")
        };
        self.conv = latest_inputs(&conv, &inputs.narrow(0, 0, kept)?)?;
        self.state = match kept {
            0 => state,
            kept => delta_rule(&run.part(0, kept)?, state)?.1,
        };
        Ok(())
    }
}

/// The last rows of `before` and `inputs`, as many as `before` has. They take no more memory than that.
fn latest_inputs(before: &Tensor, inputs: &Tensor) -> Result<Tensor> {
    let (kept, new) = (before.dim(0)?, inputs.dim(0)?);
    if new >= kept {
        return inputs.narrow(0, new - kept, kept)?.force_contiguous();
    }
    Tensor::cat(&[&before.narrow(0, new, kept - new)?, inputs], 0)
}
