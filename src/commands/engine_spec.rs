//! The chosen engines: what is known before they are loaded, and how to load them.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    engine_task::task,
    qwen_spec::{QwenSpec, find_tesseract},
};
use crate::{
    cancel::Cancel,
    config::Settings,
    engine::{
        Engine, OneSlot, SingleReader,
        fallback::Fallback,
        qwen::QwenEngine,
        scheduler::{Policy, Scheduler},
        server::{Server, ServerEngine, find_model},
        split::Split,
        task::Task,
        tesseract::TesseractEngine,
        text_layer::TextLayer,
    },
    journal::{OutputSettings, Target},
    models::{self, preset::Preset},
    nn::{self, device::Hardware},
    options::EngineChoice,
    page::{Needs, PixelBudget},
    progress::RunInfo,
    tesseract::Tesseract,
};

/// The limits of published models, for engines that have none.
const PUBLISHED: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 16_777_216,
};

/// The engines of a run, not loaded yet.
pub(super) struct EngineSpecs {
    first: EngineSpec,
    /// The engine for pages that the first one failed on.
    fallback: Option<EngineSpec>,
}

impl EngineSpecs {
    /// Finds what the engines need, and fetches it if necessary. Does not read a model's weights.
    pub(super) fn new(settings: &Settings, cancel: &Cancel) -> Result<Self> {
        let spec = |flag, choice| EngineSpec::new(flag, choice, settings, cancel);
        Ok(Self {
            first: spec("--engine", settings.engine)?,
            fallback: settings
                .fallback
                .map(|choice| spec("--fallback", choice))
                .transpose()?,
        })
    }

    /// What the engines need of a page, together.
    pub(super) fn needs(&self) -> Needs {
        let fallback = self.fallback.as_ref().map(EngineSpec::needs);
        let first = self.first.needs();
        fallback.map_or(first, |fallback| first.and(fallback))
    }

    /// Whether the engine that sees each page first sees its pixels.
    pub(super) fn starts_with_pixels(&self) -> bool {
        self.first.needs().pixels
    }

    /// The limits of the model that sees the pages.
    pub(super) fn limits(&self) -> PixelBudget {
        match &self.fallback {
            Some(fallback) if !self.first.needs().pixels => fallback.limits(),
            _ => self.first.limits(),
        }
    }

    /// The most pixels of a page, where the options don't say.
    pub(super) fn max_pixels(&self) -> u64 {
        match &self.fallback {
            Some(fallback) if !self.first.needs().pixels => fallback.max_pixels(),
            _ => self.first.max_pixels(),
        }
    }

    /// The Tesseract that draft tokens come from.
    pub(super) fn draft(&self) -> Option<&Tesseract> {
        let specs = [Some(&self.first), self.fallback.as_ref()];
        specs.into_iter().flatten().find_map(EngineSpec::draft)
    }

    /// Every setting that changes the records of this run.
    ///
    /// Not retries, timeouts or the fallback: the next run may change these.
    pub(super) fn output_settings(
        &self,
        settings: &Settings,
        budget: PixelBudget,
    ) -> OutputSettings {
        self.first.output_settings(settings, budget)
    }

    /// The output settings that a dry run can't know, since they depend on model files that it does not fetch.
    pub(super) fn unknown_settings(&self, settings: &Settings) -> Vec<&'static str> {
        let EngineSpec::Qwen(qwen) = &self.first else {
            return Vec::new();
        };
        let unknown = [
            ("weights", qwen.files.is_none()),
            (
                "min_pixels",
                qwen.limits.is_none() && settings.min_pixels.is_none(),
            ),
            (
                "max_pixels",
                qwen.limits.is_none() && settings.max_pixels.is_none(),
            ),
        ];
        let names = unknown.into_iter().filter(|setting| setting.1);
        names.map(|setting| setting.0).collect()
    }

    /// The content of the first line of a run.
    pub(super) fn info<'a>(&'a self, documents: usize, output: &'a Target) -> RunInfo<'a> {
        self.first.info(documents, output)
    }

    /// Loads the engine, which may take minutes, for pages of this size. The fallback is loaded when the first page needs it.
    pub(super) fn load(
        self,
        settings: &Settings,
        budget: PixelBudget,
        cancel: &Cancel,
    ) -> Result<Box<dyn Engine>> {
        let first = self.first.load(settings, budget, cancel)?;
        let Some(fallback) = self.fallback else {
            return Ok(first);
        };
        let (needs, settings, cancel) = (fallback.needs(), settings.clone(), cancel.clone());
        let load = Box::new(move || fallback.load(&settings, budget, &cancel));
        Ok(Box::new(Fallback::new(first, load, needs)))
    }
}

/// An engine that is not loaded yet.
enum EngineSpec {
    TextLayer,
    Tesseract(Tesseract),
    Server {
        server: Server,
        /// The server's name for the model.
        model: String,
    },
    Qwen(Box<QwenSpec>),
}

impl EngineSpec {
    fn new(flag: &str, choice: EngineChoice, settings: &Settings, cancel: &Cancel) -> Result<Self> {
        match choice {
            EngineChoice::TextLayer => Ok(Self::TextLayer),
            EngineChoice::Tesseract => {
                let tesseract = find_tesseract(flag, settings)?;
                Ok(Self::Tesseract(tesseract))
            }
            EngineChoice::Server => {
                let server = settings.server.clone();
                let server = server.with_context(|| format!("{flag} server needs --server-url"))?;
                let model = find_model(&server, settings.model.as_deref(), cancel)?;
                Ok(Self::Server { server, model })
            }
            EngineChoice::Qwen => Ok(Self::Qwen(Box::new(QwenSpec::new(settings, cancel)?))),
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Self::TextLayer => TextLayer::NEEDS,
            Self::Tesseract(_) => TesseractEngine::NEEDS,
            Self::Server { .. } => ServerEngine::NEEDS,
            Self::Qwen(qwen) => QwenEngine::needs_of(qwen.task.drafts),
        }
    }

    fn limits(&self) -> PixelBudget {
        match self {
            Self::Qwen(qwen) => qwen.limits.unwrap_or(PUBLISHED),
            _ => PUBLISHED,
        }
    }

    /// What is known of the model by its name.
    fn preset(&self) -> Option<&'static Preset> {
        match self {
            Self::Qwen(qwen) => qwen.preset,
            _ => Preset::of(self.model(), None),
        }
    }

    /// The model's name; empty for engines without one.
    fn model(&self) -> &str {
        match self {
            Self::Qwen(qwen) => &qwen.name,
            Self::Server { model, .. } => model,
            Self::TextLayer | Self::Tesseract(_) => "",
        }
    }

    fn max_pixels(&self) -> u64 {
        Preset::max_pixels(self.preset())
    }

    fn draft(&self) -> Option<&Tesseract> {
        match self {
            Self::Qwen(qwen) => qwen.draft.as_ref(),
            _ => None,
        }
    }

    fn output_settings(&self, settings: &Settings, budget: PixelBudget) -> OutputSettings {
        let mut named: OutputSettings = self.task(settings).wanted.settings().collect();
        let mut set = |name: &str, value: Value| named.insert(name.to_owned(), value);
        set("engine", self.name().into());
        if self.needs().pixels {
            set("min_pixels", budget.min_pixels.into());
            set("max_pixels", budget.max_pixels.into());
            set("dpi", settings.dpi.into());
        }
        let model = match self {
            Self::TextLayer => return named,
            Self::Tesseract(tesseract) => {
                let program = format!("{}, {}", tesseract.version(), settings.tesseract_lang);
                set("program", program.into());
                return named;
            }
            Self::Server { model, .. } => model,
            Self::Qwen(qwen) => {
                if let Some(files) = &qwen.files {
                    set("weights", files.identity.as_str().into());
                }
                set("dtype", qwen.dtype().into());
                &qwen.name
            }
        };
        set("model", model.as_str().into());
        let Task {
            prompt, sampling, ..
        } = self.task(settings);
        set("prompt", prompt.into());
        set("max_new_tokens", sampling.max_new_tokens.into());
        set("temperature", sampling.temperature.into());
        set("seed", sampling.seed.into());
        named
    }

    /// What a model is asked.
    fn task(&self, settings: &Settings) -> Task {
        if let Self::Qwen(qwen) = self {
            return qwen.task.clone();
        }
        let units = models::box_units(self.model(), None);
        Task {
            drafts: false,
            ..task(settings, self.preset(), units)
        }
    }

    /// The engine's name in records.
    fn name(&self) -> &'static str {
        match self {
            Self::TextLayer => TextLayer::NAME,
            Self::Tesseract(_) => TesseractEngine::NAME,
            Self::Server { .. } => ServerEngine::NAME,
            Self::Qwen(_) => QwenEngine::NAME,
        }
    }

    fn info<'a>(&'a self, documents: usize, output: &'a Target) -> RunInfo<'a> {
        let (model, hardware) = match self {
            Self::TextLayer | Self::Tesseract(_) => (None, [].as_slice()),
            Self::Server { model, .. } => (Some(model.as_str()), [].as_slice()),
            Self::Qwen(qwen) => (Some(qwen.name.as_str()), qwen.hardware.as_slice()),
        };
        let on_cpu = hardware.first().is_some_and(|first| !first.is_cuda());
        RunInfo {
            engine: self.name(),
            model,
            dtype: hardware.first().map(Hardware::dtype),
            devices: hardware.iter().map(Hardware::name).collect(),
            cpu: on_cpu.then(|| (rayon::current_num_threads(), nn::instructions::best())),
            batch_size: match self {
                Self::Qwen(qwen) => qwen.task.batch_size,
                _ => 1,
            },
            documents,
            output,
        }
    }

    fn load(
        self,
        settings: &Settings,
        budget: PixelBudget,
        cancel: &Cancel,
    ) -> Result<Box<dyn Engine>> {
        let in_parts = |engine| -> Box<dyn Engine> { Box::new(Split::new(engine, budget, cancel)) };
        let policy = Policy {
            retries: settings.retries,
            page_timeout: settings.page_timeout,
            factor: self.limits().factor,
        };
        let task = self.task(settings);
        match self {
            Self::TextLayer => Ok(one_slot(TextLayer::new(task.wanted.blocks), policy)),
            Self::Tesseract(tesseract) => {
                let engine = TesseractEngine::new(tesseract, task.wanted.blocks);
                Ok(one_slot(engine, policy))
            }
            Self::Server { server, model } => {
                let engine = ServerEngine::new(&server, model, task, policy, cancel)?;
                Ok(in_parts(Box::new(engine)))
            }
            Self::Qwen(qwen) => Ok(in_parts(qwen.load(policy)?)),
        }
    }
}

fn one_slot(reader: impl SingleReader + 'static, policy: Policy) -> Box<dyn Engine> {
    Box::new(Scheduler::new(OneSlot::new(reader), policy))
}
