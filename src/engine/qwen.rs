//! The in-process engine: one Qwen-VL model on one device, a page or several at a time.

use std::{mem, path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, bail};
use image::RgbImage;

use super::{Attempt, BatchReader, PageResult, task::Task};
use crate::{
    answer::{self, Answer, Reading, Wanted},
    confidence::Confidence,
    error::{ErrorKind, PageError, Stage},
    generation::{
        chat_template::Question,
        generator::{GenerateOptions, Generator},
        sampler::Sampling,
        sequence::{Ending, Generated, OutOfTime, Sequence},
        tokenizer::Prompt,
    },
    models,
    nn::{
        device::Hardware,
        fault::{self, DeviceFault},
    },
    page::{EngineInfo, FinishReason, Needs, PageAnswer, PageId, PreparedPage, Rotation},
};

/// A page that is being read.
struct Held {
    id: PageId,
    sequence: Sequence,
    /// (width, height) in pixels.
    seen: (u32, u32),
    /// What to read once more if the answer says that the page must be turned.
    again: Option<(PreparedPage, Attempt)>,
    /// Prefill and decoding of the answer that said so, and the turn.
    before: (Duration, Duration),
    turned: Rotation,
}

/// A model in this process.
pub struct QwenEngine {
    info: EngineInfo,
    generator: Generator,
    prompt: Prompt,
    reading: Reading,
    wanted: Wanted,
    sampling: Sampling,
    drafts: bool,
    /// Pages decoded together.
    slots: usize,
    /// Pages in flight.
    held: Vec<Held>,
    /// Why the device is lost.
    lost: Option<String>,
}

impl QwenEngine {
    /// Its name in records.
    pub const NAME: &str = "qwen";

    /// What it needs of a page; the text layer only for drafts.
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
        identity: &str,
        hardware: &[Hardware],
        task: &Task,
    ) -> Result<Vec<Self>> {
        let load = |hardware: &Hardware| Self::load(name, folder, identity, hardware, task);
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
            let start =
                |hardware| thread::Builder::new().spawn_scoped(scope, move || load(hardware));
            let threads: Vec<_> = hardware.iter().map(start).collect();
            let loaded = threads.into_iter().zip(hardware).map(|(thread, on)| {
                let loaded = thread.context("cannot start a thread")?.join();
                loaded
                    .unwrap_or_else(|_| bail!("the thread that loads it failed; this is a bug"))
                    .with_context(|| format!("cannot use --device {}", on.name()))
            });
            loaded.collect()
        })
    }

    /// Loads the model in `folder`, which records call `name`; takes from seconds to minutes. `identity` is that of its
    /// [files](crate::models::identity).
    ///
    /// # Errors
    /// The model's files are missing, damaged or don't fit each other.
    pub fn load(
        name: &str,
        folder: &Path,
        identity: &str,
        hardware: &Hardware,
        task: &Task,
    ) -> Result<Self> {
        let generator = models::load_on(folder, identity, hardware, task.draft_head)
            .map(Generator::new)
            .map_err(too_large)
            .with_context(|| format!("cannot load the model {name}"))?;
        let prompt = generator.tokenizer().prompt_as(Question {
            instruction: &task.prompt,
            text_first: task.text_first,
        })?;
        tracing::debug!(model = name, ?hardware, "model loaded");
        Ok(Self {
            info: EngineInfo {
                engine: Self::NAME,
                model: Some(name.to_owned()),
                output_format: task.wanted.format,
                device: Some(hardware.name().to_owned()),
                dtype: Some(hardware.dtype()),
            },
            generator,
            prompt,
            reading: task.reading,
            wanted: task.wanted,
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
            generator: self.generator.share(),
            prompt: self.prompt.clone(),
            reading: self.reading,
            wanted: self.wanted,
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
    ) -> Result<(&'a RgbImage, Sampling, GenerateOptions<'a>)> {
        let image = page
            .pixels
            .as_deref()
            .context("the page came without pixels")?;
        let sampling = if attempt.resample {
            self.sampling.with_higher_temperature()
        } else {
            self.sampling
        };
        let layer = page.text.as_ref().map_or("", |text| text.text.as_str());
        let options = GenerateOptions {
            draft: self.drafts.then(|| page.draft.as_deref().unwrap_or(layer)),
            deadline: Some(attempt.deadline),
        };
        Ok((image, sampling, options))
    }

    /// The answer for a page; none if it is being read once more.
    fn conclude(
        &mut self,
        generated: &Generated,
        seen: (u32, u32),
        again: Option<(PreparedPage, Attempt)>,
        before: (Duration, Duration),
        turned: Rotation,
    ) -> Result<Option<PageAnswer>> {
        let tokenizer = self.generator.tokenizer();
        let text = match self.reading {
            Reading::Layout(_) | Reading::Free(_) => {
                tokenizer.decode_with_places(&generated.tokens)?
            }
            Reading::Plain | Reading::FrontMatter => tokenizer.decode(&generated.tokens)?,
        };
        let answer = answer::read(text, self.reading, self.wanted, Some(seen));
        let took = (before.0 + generated.prefill, before.1 + generated.decode);
        if let (Some(turn), Some((page, attempt))) = (answer.turn, again) {
            let turned = turn.rotation();
            let page = PreparedPage {
                pixels: page.pixels.map(|pixels| Arc::new(turned.turn(&pixels))),
                ..page
            };
            let (sequence, seen) = self.begin_sequence(&page, attempt)?;
            self.held.push(Held {
                id: page.id,
                sequence,
                seen,
                again: None,
                before: took,
                turned,
            });
            return Ok(None);
        }
        Ok(Some(PageAnswer {
            turned,
            ..Self::answer(answer, generated, took)
        }))
    }

    /// Begins to read a page; says also how many pixels it has.
    fn begin_sequence(
        &mut self,
        page: &PreparedPage,
        attempt: Attempt,
    ) -> Result<(Sequence, (u32, u32))> {
        let (image, sampling, options) = self.question(page, attempt)?;
        let sequence = self
            .generator
            .begin(image, &self.prompt, sampling, options)?;
        Ok((sequence, image.dimensions()))
    }

    fn answer(
        answer: Answer,
        generated: &Generated,
        (prefill, decode): (Duration, Duration),
    ) -> PageAnswer {
        let finish = match generated.ending {
            Ending::Stop => FinishReason::Stop,
            Ending::Length => FinishReason::Length,
            Ending::Repetition => FinishReason::Repetition,
        };
        PageAnswer {
            content: answer.content,
            blocks: answer.blocks,
            unparsed: answer.unparsed,
            finish_reason: Some(finish),
            prompt_tokens: Some(generated.prompt_tokens),
            image_tokens: Some(generated.image_tokens),
            completion_tokens: Some(generated.tokens.len()),
            confidence: Confidence::of(&generated.log_probabilities),
            forward_passes: Some(generated.forward_passes),
            draft_accepted: Some(generated.draft_accepted),
            prefill,
            decode,
            ..PageAnswer::default()
        }
    }

    /// Makes room for the next step. While there is not enough memory, the page that was begun last is given up, which
    /// costs least.
    fn reserve(&mut self) -> Vec<(PageId, PageResult)> {
        let (mut given_up, mut at) = (Vec::new(), 0);
        while let Some(held) = self.held.get_mut(at) {
            match self.generator.reserve(&mut held.sequence) {
                Ok(()) => at += 1,
                Err(error) => {
                    let error = self.failed(&error);
                    given_up.extend(self.held.pop().map(|held| (held.id, Err(error))));
                }
            }
        }
        given_up
    }

    /// The page error for an error that may also be fatal.
    fn failed(&mut self, error: &anyhow::Error) -> PageError {
        let error = page_error(error);
        if DeviceFault::classify(&error.message) == Some(DeviceFault::Lost) {
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
        let begun = self.begin_sequence(page, attempt);
        let (sequence, seen) = begun.map_err(|error| self.failed(&error))?;
        let says_turn = self.reading == Reading::FrontMatter;
        self.held.push(Held {
            id: page.id,
            sequence,
            seen,
            again: says_turn.then(|| (page.clone(), attempt)),
            before: (Duration::ZERO, Duration::ZERO),
            turned: Rotation::None,
        });
        Ok(())
    }

    fn step(&mut self) -> Result<Vec<(PageId, PageResult)>, PageError> {
        let mut done = Vec::new();
        let mut has_ended = false;
        for held in mem::take(&mut self.held) {
            let id = held.id;
            if let Some(ending) = held.sequence.ending() {
                has_ended = true;
                let generated = self.generator.finish(held.sequence, ending);
                let (seen, turned) = (held.seen, held.turned);
                let concluded = self.conclude(&generated, seen, held.again, held.before, turned);
                let concluded = concluded.map_err(|error| self.failed(&error)).transpose();
                done.extend(concluded.map(|answer| (id, answer)));
            } else if let Err(error) = held.sequence.check() {
                has_ended = true;
                done.push((id, Err(self.failed(&error))));
            } else {
                self.held.push(held);
            }
        }
        // Room is filled before the others go on, and what has begun again may have ended already.
        if !has_ended {
            done.extend(self.reserve());
            let mut sequences: Vec<_> = self
                .held
                .iter_mut()
                .map(|held| &mut held.sequence)
                .collect();
            if !sequences.is_empty() {
                let advanced = self.generator.advance(&mut sequences);
                advanced.map_err(|error| self.failed(&error))?;
            }
        }
        Ok(done)
    }

    fn clear(&mut self) {
        self.held.clear();
    }

    fn lost(&self) -> Option<String> {
        let error = self.lost.as_ref()?;
        Some(format!(
            "the GPU failed: {error}. Run the same command again to resume; if it ends \
             here again, `nvidia-smi` and the system's log (look for Xid) may say why"
        ))
    }
}

/// Adds what to do to the error of a model for which there is not enough memory.
fn too_large(error: anyhow::Error) -> anyhow::Error {
    match DeviceFault::of(&error) {
        Some(DeviceFault::OutOfMemory) => error.context(
            "it does not fit into the GPU's free memory; use a smaller model, or check with `nvidia-smi` what else uses the GPU",
        ),
        _ => error,
    }
}

fn page_error(error: &anyhow::Error) -> PageError {
    let message = fault::message(error);
    let kind = if error.is::<OutOfTime>() {
        ErrorKind::Timeout
    } else if DeviceFault::classify(&message) == Some(DeviceFault::OutOfMemory) {
        ErrorKind::OutOfMemory
    } else {
        ErrorKind::Engine
    };
    PageError::new(kind, Stage::Engine, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Turn;

    #[test]
    fn pages_are_turned_counterclockwise() {
        // Wider than high; the pixel at the right of the top goes to the left of it.
        let mut page = RgbImage::new(3, 2);
        page.get_pixel_mut(2, 0)[0] = 255;
        let place = |page: &RgbImage| {
            let found = page.enumerate_pixels().find(|(_, _, pixel)| pixel[0] > 0);
            let (x, y, _) = found.unwrap();
            (x, y, page.dimensions())
        };
        for (turn, wanted) in [
            (Turn::Quarter, (0, 0, (2, 3))),
            (Turn::Half, (0, 1, (3, 2))),
            (Turn::ThreeQuarters, (1, 2, (2, 3))),
        ] {
            assert_eq!(place(&turn.rotation().turn(&page)), wanted, "{turn:?}");
        }
    }
}
