//! A model that runs in this process: what is known before it is loaded, and how to load it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{draft_head, engine_task::task};
use crate::{
    cancel::Cancel,
    config::Settings,
    engine::{
        Engine,
        pool::EnginePool,
        qwen::QwenEngine,
        scheduler::{Policy, Scheduler},
        task::Task,
    },
    hub::{self, FetchProgress, SmallFiles, Unreachable},
    launch, limits,
    models::{
        self,
        identity::identity,
        preset::{self, Preset},
        spec::ModelSpec,
    },
    nn::{self, device::Hardware},
    options::{CPU_MODEL, CUDA_MODEL, DraftChoice, ProgressChoice, Verbosity},
    page::PixelBudget,
    tesseract::Tesseract,
};

/// A model that runs in this process.
pub(super) struct QwenSpec {
    /// The model as the user named it.
    pub(super) name: String,
    /// `None` in a dry run, which does not need the weights.
    pub(super) files: Option<ModelFiles>,
    pub(super) hardware: Vec<Hardware>,
    /// `None` in a dry run that can't reach the configuration files.
    pub(super) limits: Option<PixelBudget>,
    pub(super) preset: Option<&'static Preset>,
    pub(super) task: Task,
    pub(super) draft: Option<Tesseract>,
}

/// A model's files.
pub(super) struct ModelFiles {
    pub(super) folder: PathBuf,
    /// The identity of the files: it differs if they do.
    pub(super) identity: String,
}

impl QwenSpec {
    pub(super) fn new(settings: &Settings, cancel: &Cancel) -> Result<Self> {
        let draft = (settings.draft == DraftChoice::Tesseract && settings.temperature == 0.0)
            .then(|| find_tesseract("--draft", settings))
            .transpose()?
            .map(Tesseract::on_one_core);
        let hardware = Hardware::open(&settings.device, settings.dtype)?;
        let first = hardware.first().context("no device is available")?;
        let default = if first.is_cuda() {
            CUDA_MODEL
        } else {
            CPU_MODEL
        };
        let name = preset::resolve(settings.model.as_deref().unwrap_or(default)).to_owned();
        let small_files = small_files(settings, &name, cancel)?;
        let folder = small_files.as_ref().map(SmallFiles::folder);
        let preset = Preset::of(&name, folder);
        let task = task(settings, preset, models::box_units(&name, folder));
        let limits = small_files.as_ref().map(|files| {
            ModelSpec::read(files.folder(), &name)?;
            if settings.draft == DraftChoice::Mtp {
                draft_head::check_family(files.folder(), &name)?;
            }
            models::pixel_budget(files.folder())
        });
        let limits = limits.transpose()?;
        let files = small_files.filter(|_| !settings.dry_run).map(|files| {
            let folder = files.fetch_weights()?;
            if settings.draft == DraftChoice::Mtp {
                draft_head::check_weights(&folder, &name)?;
            }
            // They are mapped, and copied as they are computed with.
            limits::require_memory(2 * nn::weights::size(&folder)?)?;
            let identity = identity(&folder, |line| fetch_progress(settings).say(line))?;
            anyhow::Ok(ModelFiles { folder, identity })
        });
        Ok(Self {
            limits,
            files: files.transpose()?,
            name,
            hardware,
            preset,
            // A preset may have its answers sampled, which are not drafted.
            draft: draft.filter(|_| task.drafts),
            task,
        })
    }

    /// The number type of the weights.
    pub(super) fn dtype(&self) -> &'static str {
        self.hardware.first().map_or("", Hardware::dtype)
    }

    /// Loads the model onto each device.
    pub(super) fn load(self, policy: Policy) -> Result<Box<dyn Engine>> {
        let task = self.task;
        let files = self.files.context("a dry run loads no engine")?;
        let (folder, hardware) = (&files.folder, &self.hardware);
        let readers = QwenEngine::load_all(&self.name, folder, &files.identity, hardware, &task)?;
        let mut engines = readers
            .into_iter()
            .map(|reader| -> Box<dyn Engine> { Box::new(Scheduler::new(reader, policy)) });
        let first = engines.next().context("no device is available")?;
        let others: Vec<_> = engines.collect();
        if others.is_empty() {
            return Ok(first);
        }
        let names = hardware.iter().map(|on| on.name().to_owned());
        let engines = std::iter::once(first).chain(others);
        Ok(Box::new(EnginePool::new(names.zip(engines))?))
    }
}

/// The small files of the model; `None` in a dry run that can't reach them.
fn small_files(settings: &Settings, name: &str, cancel: &Cancel) -> Result<Option<SmallFiles>> {
    match hub::small_files(name, fetch_progress(settings), cancel) {
        Err(error) if settings.dry_run && error.is::<Unreachable>() => {
            tracing::warn!("cannot check the files of {name}: {error:#}");
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// The installed Tesseract, whose runs end with this program.
pub(super) fn find_tesseract(flag: &str, settings: &Settings) -> Result<Tesseract> {
    let tesseract = Tesseract::find(flag, &settings.tesseract_lang)?;
    Ok(tesseract.tied_to(launch::this_program()?))
}

fn fetch_progress(settings: &Settings) -> FetchProgress {
    match settings.progress {
        _ if settings.verbosity == Verbosity::Quiet => FetchProgress::Off,
        // A bar needs a terminal.
        ProgressChoice::Auto | ProgressChoice::Bar => FetchProgress::auto(),
        ProgressChoice::Plain | ProgressChoice::Json => FetchProgress::Plain,
        ProgressChoice::Off => FetchProgress::Off,
    }
}
