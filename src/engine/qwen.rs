//! The in-process engine: one Qwen3-VL on one device, page by page.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};

use super::{Attempt, EngineFacts, FinishReason, PageAnswer, PageReader};
use crate::{
    config::{DTypeChoice, DeviceChoice},
    document::{Needs, OutputFormat, PreparedPage},
    error::{ErrorKind, PageError, Stage},
    qwen_vl::{
        QwenVl,
        generate::{Ending, Help, OutOfTime, Sampling},
        precision::Precision,
        quantized::QuantizedFile,
        tokenizer::Prompt,
        trouble::{self, Trouble},
        weights,
    },
};

/// Where the model runs, and in which numbers.
#[derive(Debug, Clone)]
pub struct Hardware {
    device: Device,
    precision: Precision,
}

impl Hardware {
    /// Opens the device.
    ///
    /// # Errors
    /// A CUDA device was asked for, and can't be used or is not part of this build.
    pub fn open(device: DeviceChoice, dtype: DTypeChoice) -> Result<Self> {
        let device = open_device(device)?;
        let precision = match dtype {
            DTypeChoice::Auto if device.is_cuda() => DType::BF16.into(),
            DTypeChoice::Auto | DTypeChoice::Q8_0 => Precision::Q8_0,
            DTypeChoice::Q4K => Precision::Q4_K,
            DTypeChoice::F32 => DType::F32.into(),
            DTypeChoice::Bf16 => DType::BF16.into(),
            DTypeChoice::F16 => DType::F16.into(),
        };
        Ok(Self { device, precision })
    }

    /// Whether it is a GPU.
    #[must_use]
    pub fn is_cuda(&self) -> bool {
        self.device.is_cuda()
    }

    /// The number type of the weights, as `--dtype` spells it.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        self.precision.name()
    }

    /// Where the quantized weights of a model with this fingerprint are kept, if it pays to keep them.
    fn quantized_file(&self, folder: &Path, fingerprint: &str) -> Option<QuantizedFile> {
        let Precision::Quantized(_) = self.precision else {
            return None;
        };
        if weights::size(folder).ok()? < WORTH_KEEPING {
            return None;
        }
        let name = format!(
            "{}-{}.safetensors",
            &fingerprint[..32],
            self.precision.name()
        );
        let path = dirs::cache_dir()?.join("omnidocs").join(name);
        Some(QuantizedFile::open(path))
    }
}

/// Models with fewer bytes of weights than this are quantized at each start, which takes a moment.
const WORTH_KEEPING: u64 = 256 << 20;

/// What is asked of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The instruction that goes with each page.
    pub prompt: String,
    /// What it asks for.
    pub output_format: OutputFormat,
    /// How the answer is written.
    pub sampling: Sampling,
    /// Whether answers are guessed from the pages' text layers and from themselves.
    pub drafts: bool,
}

/// Qwen3-VL on Candle.
pub struct QwenEngine {
    facts: EngineFacts,
    model: QwenVl,
    prompt: Prompt,
    sampling: Sampling,
    drafts: bool,
    /// Why the device is of no use any more.
    lost: Option<String>,
}

impl QwenEngine {
    /// Its name in records.
    pub const NAME: &str = "qwen";

    /// What it looks at; the text layer only where answers are guessed from it.
    #[must_use]
    pub fn needs_of(drafts: bool) -> Needs {
        Needs {
            pixels: true,
            text: drafts,
        }
    }

    /// Loads the model in `folder`, which records call `name`; takes from seconds to minutes. `fingerprint` is that of
    /// [`weights::fingerprint`].
    ///
    /// # Errors
    /// The model's files are missing, damaged or don't fit each other.
    pub fn load(
        name: String,
        folder: &Path,
        fingerprint: &str,
        hardware: &Hardware,
        task: &Task,
    ) -> Result<Self> {
        let Hardware { device, precision } = hardware;
        let quantized = hardware.quantized_file(folder, fingerprint);
        let model = QwenVl::load_with(folder, device, *precision, quantized)
            .map_err(too_large)
            .with_context(|| format!("can't load the model {name}"))?;
        let prompt = model.tokenizer.prompt(&task.prompt)?;
        tracing::debug!(model = name, ?hardware, "model loaded");
        Ok(Self {
            facts: EngineFacts {
                engine: Self::NAME,
                model: Some(name),
                output_format: task.output_format,
            },
            model,
            prompt,
            sampling: task.sampling,
            drafts: task.drafts,
            lost: None,
        })
    }

    fn generate(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<PageAnswer> {
        let image = page
            .pixels
            .as_ref()
            .context("the page came without pixels")?;
        let sampling = if attempt.second_look {
            self.sampling.raised()
        } else {
            self.sampling
        };
        let text = page.text.as_ref().map_or("", |text| &text.0);
        let help = Help {
            draft: self.drafts.then_some(text),
            deadline: Some(attempt.deadline),
        };
        let generated = self.model.generate(image, &self.prompt, sampling, help)?;
        let finish = match generated.ending {
            Ending::Stop => FinishReason::Stop,
            Ending::Length => FinishReason::Length,
            Ending::Repetition => FinishReason::Repetition,
        };
        Ok(PageAnswer {
            content: self.model.tokenizer.decode(&generated.tokens)?,
            finish_reason: Some(finish),
            prompt_tokens: Some(generated.prompt_tokens),
            image_tokens: Some(generated.image_tokens),
            completion_tokens: Some(generated.tokens.len()),
            forward_passes: Some(generated.forward_passes),
            draft_accepted: Some(generated.draft_accepted),
            prefill: generated.prefill,
            decode: generated.decode,
        })
    }
}

impl PageReader for QwenEngine {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn needs(&self) -> Needs {
        Self::needs_of(self.drafts)
    }

    fn read(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<PageAnswer, PageError> {
        self.generate(page, attempt).map_err(|error| {
            let error = page_error(&error);
            if Trouble::told_by(&error.message) == Some(Trouble::Lost) {
                self.lost = Some(error.message.clone());
            }
            error
        })
    }

    fn broken(&self) -> Option<String> {
        let error = self.lost.as_ref()?;
        Some(format!(
            "the GPU can't be used any more: {error}. The same command goes on with the pages that are left; if it ends \
             here again, `nvidia-smi` and the system's log (look for Xid) may say why"
        ))
    }
}

/// Adds what to do to the error of a model for which there is not enough memory.
fn too_large(error: anyhow::Error) -> anyhow::Error {
    match Trouble::told_by(&trouble::message(&error)) {
        Some(Trouble::OutOfMemory) => error.context(
            "it does not fit into the GPU's free memory; take a smaller one, or see with `nvidia-smi` what else is there",
        ),
        _ => error,
    }
}

fn page_error(error: &anyhow::Error) -> PageError {
    let message = trouble::message(error);
    let kind = if error.is::<OutOfTime>() {
        ErrorKind::Timeout
    } else if Trouble::told_by(&message) == Some(Trouble::OutOfMemory) {
        ErrorKind::OutOfMemory
    } else {
        ErrorKind::Engine
    };
    PageError::new(kind, Stage::Engine, message)
}

fn open_device(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto if !cfg!(feature = "cuda") => Ok(Device::Cpu),
        DeviceChoice::Auto => Ok(open_cuda(0).unwrap_or_else(|error| {
            tracing::warn!("no CUDA device can be used, so the CPU is: {error}");
            Device::Cpu
        })),
        DeviceChoice::Cuda(index) => open_cuda(index).with_context(|| {
            format!("--device cuda:{index} can't be used (--device cpu needs no GPU)")
        }),
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<Device> {
    crate::qwen_vl::cuda::open(index)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize) -> Result<Device> {
    anyhow::bail!(
        "this omnidocs was built for the CPU only; `cargo build --release --features cuda` builds the other"
    )
}
