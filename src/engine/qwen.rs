//! The in-process engine: one Qwen3-VL on one device, a page or several at a time.

use std::{mem, path::Path, thread};

use anyhow::{Context, Result, bail};
use image::RgbImage;

use super::{Attempt, BatchReader, PageResult};
use crate::{
    error::{ErrorKind, PageError, Stage},
    generation::{
        prefill::{Ending, Generated, Help, OutOfTime, Sampling},
        sequence::Sequence,
        tokenizer::Prompt,
    },
    models::qwen3_vl::QwenVl,
    nn::{
        device::Hardware,
        fault::{self, Trouble},
    },
    options::OutputFormat,
    page::{EngineInfo, FinishReason, Needs, PageAnswer, PageId, PreparedPage},
};

/// What is asked of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The instruction that goes with each page.
    pub prompt: String,
    /// What it asks for.
    pub output_format: OutputFormat,
    /// How the answer is written.
    pub sampling: Sampling,
    /// Whether answers are guessed from what the pages are known to say and from themselves.
    pub drafts: bool,
    /// How many pages are read at a time.
    pub batch_size: usize,
}

/// Qwen3-VL on Candle.
pub struct QwenEngine {
    info: EngineInfo,
    model: QwenVl,
    prompt: Prompt,
    sampling: Sampling,
    drafts: bool,
    /// Pages that are read at a time.
    slots: usize,
    /// Those that are on their way.
    held: Vec<(PageId, Sequence)>,
    /// Why the device is of no use any more.
    lost: Option<String>,
}

impl QwenEngine {
    /// Its name in records.
    pub const NAME: &str = "qwen";

    /// What it looks at; the text layer only where answers are guessed.
    #[must_use]
    pub fn needs_of(drafts: bool) -> Needs {
        Needs {
            pixels: true,
            text: drafts,
        }
    }

    /// Loads the model for each of `hardware`: once for all instances on the CPU, at the same time on all GPUs. Otherwise
    /// as [`load`](Self::load).
    ///
    /// # Errors
    /// As there, for any of them.
    pub fn load_all(
        name: &str,
        folder: &Path,
        fingerprint: &str,
        hardware: &[Hardware],
        task: &Task,
    ) -> Result<Vec<Self>> {
        let load = |hardware: &Hardware| Self::load(name, folder, fingerprint, hardware, task);
        if let [first, others @ ..] = hardware
            && !first.is_cuda()
        {
            let first = load(first)?;
            let mut engines: Vec<_> = others.iter().map(|_| first.share()).collect();
            engines.push(first);
            return Ok(engines);
        }
        thread::scope(|scope| {
            let load = &load;
            let start = |hardware| scope.spawn(move || load(hardware));
            let threads: Vec<_> = hardware.iter().map(start).collect();
            let loaded = threads.into_iter().zip(hardware).map(|(thread, on)| {
                let loaded = thread.join();
                loaded
                    .unwrap_or_else(|_| bail!("the thread that loads it failed; this is a bug"))
                    .with_context(|| format!("--device {} can't be used", on.name()))
            });
            loaded.collect()
        })
    }

    /// Loads the model in `folder`, which records call `name`; takes from seconds to minutes. `fingerprint` is that of
    /// [`fingerprint`](crate::nn::weights::fingerprint).
    ///
    /// # Errors
    /// The model's files are missing, damaged or don't fit each other.
    pub fn load(
        name: &str,
        folder: &Path,
        fingerprint: &str,
        hardware: &Hardware,
        task: &Task,
    ) -> Result<Self> {
        let quantized = hardware.quantized_file(folder, fingerprint);
        let model = QwenVl::load_with(folder, &hardware.device, hardware.precision, quantized)
            .map_err(too_large)
            .with_context(|| format!("can't load the model {name}"))?;
        let prompt = model.tokenizer.prompt(&task.prompt)?;
        tracing::debug!(model = name, ?hardware, "model loaded");
        Ok(Self {
            info: EngineInfo {
                engine: Self::NAME,
                model: Some(name.to_owned()),
                output_format: task.output_format,
            },
            model,
            prompt,
            sampling: task.sampling,
            drafts: task.drafts,
            slots: task.batch_size,
            held: Vec::new(),
            lost: None,
        })
    }

    /// The same engine once more, with the same weights in memory.
    fn share(&self) -> Self {
        Self {
            info: self.info.clone(),
            model: self.model.share(),
            prompt: self.prompt.clone(),
            sampling: self.sampling,
            drafts: self.drafts,
            slots: self.slots,
            held: Vec::new(),
            lost: None,
        }
    }

    /// What the model is asked about a page.
    fn question<'a>(
        &self,
        page: &'a PreparedPage,
        attempt: Attempt,
    ) -> Result<(&'a RgbImage, Sampling, Help<'a>)> {
        let image = page
            .pixels
            .as_deref()
            .context("the page came without pixels")?;
        let sampling = if attempt.resample {
            self.sampling.raised()
        } else {
            self.sampling
        };
        let layer = page.text.as_ref().map_or("", |text| &text.0);
        let help = Help {
            draft: self.drafts.then(|| page.draft.as_deref().unwrap_or(layer)),
            deadline: Some(attempt.deadline),
        };
        Ok((image, sampling, help))
    }

    fn answer(&self, generated: &Generated) -> Result<PageAnswer> {
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

    /// What a page's record says of an error, which may also be the end of all.
    fn failed(&mut self, error: &anyhow::Error) -> PageError {
        let error = page_error(error);
        if Trouble::told_by(&error.message) == Some(Trouble::Lost) {
            self.lost = Some(error.message.clone());
        }
        error
    }
}

impl BatchReader for QwenEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        Self::needs_of(self.drafts)
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn begin(&mut self, page: &PreparedPage, attempt: Attempt) -> Result<(), PageError> {
        let begun = self
            .question(page, attempt)
            .and_then(|(image, sampling, help)| {
                self.model.begin(image, &self.prompt, sampling, help)
            });
        let sequence = begun.map_err(|error| self.failed(&error))?;
        self.held.push((page.id, sequence));
        Ok(())
    }

    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError> {
        let (mut going, mut done) = (Vec::new(), Vec::new());
        for (id, sequence) in mem::take(&mut self.held) {
            if let Some(ending) = sequence.ending() {
                let generated = self.model.finish(sequence, ending);
                let answer = self.answer(&generated);
                done.push((id, answer.map_err(|error| self.failed(&error))));
            } else if let Err(late) = sequence.check_deadline() {
                done.push((id, Err(self.failed(&late.into()))));
            } else {
                going.push((id, sequence));
            }
        }
        self.held = going;
        // Room is filled before the others go on.
        if done.is_empty() {
            let mut sequences: Vec<_> = self.held.iter_mut().map(|held| &mut held.1).collect();
            let advanced = self.model.advance(&mut sequences);
            advanced.map_err(|error| self.failed(&error))?;
        }
        Ok(done)
    }

    fn clear(&mut self) {
        self.held.clear();
    }

    fn lost(&self) -> Option<String> {
        let error = self.lost.as_ref()?;
        Some(format!(
            "the GPU can't be used any more: {error}. The same command goes on with the pages that are left; if it ends \
             here again, `nvidia-smi` and the system's log (look for Xid) may say why"
        ))
    }
}

/// Adds what to do to the error of a model for which there is not enough memory.
fn too_large(error: anyhow::Error) -> anyhow::Error {
    match Trouble::told_by(&fault::message(&error)) {
        Some(Trouble::OutOfMemory) => error.context(
            "it does not fit into the GPU's free memory; take a smaller one, or see with `nvidia-smi` what else is there",
        ),
        _ => error,
    }
}

fn page_error(error: &anyhow::Error) -> PageError {
    let message = fault::message(error);
    let kind = if error.is::<OutOfTime>() {
        ErrorKind::Timeout
    } else if Trouble::told_by(&message) == Some(Trouble::OutOfMemory) {
        ErrorKind::OutOfMemory
    } else {
        ErrorKind::Engine
    };
    PageError::new(kind, Stage::Engine, message)
}
