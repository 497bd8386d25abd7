//! The engines that were chosen: what must be known of them before they are there, and how they are made.

use anyhow::{Context, Result};

use crate::{
    cancel::Interrupt,
    config::{CPU_MODEL, CUDA_MODEL, Settings, Verbosity},
    engine::{
        Engine, PageReader,
        fallback::Fallback,
        page_by_page::{PageByPage, Policy},
        pool::Several,
        qwen::{QwenEngine, Task},
        server::{ServerEngine, find_model},
        tesseract::TesseractEngine,
        text_layer::TextLayer,
    },
    generation::prefill::Sampling,
    hub::{self, FetchProgress},
    models::qwen3_vl,
    nn::{self, device::Hardware},
    options::{DraftChoice, EngineChoice, ProgressChoice},
    page::{Needs, PixelBudget},
    tesseract::Tesseract,
};

/// The limits of published models, for engines that have none.
const PUBLISHED: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 16_777_216,
};

/// An engine that is still to be made.
pub(super) struct EngineToBe {
    pub name: &'static str,
    /// None for an engine without one.
    pub model: Option<ModelFacts>,
    /// The version and the languages of a program that is installed elsewhere.
    pub program: Option<String>,
    /// What reads pages for guesses at its answers.
    pub draft: Option<Tesseract>,
    /// What all of the engines look at.
    pub needs: Needs,
    /// Whether the first of them looks at pixels.
    pub reads_pixels: bool,
    /// The model's own limits.
    pub limits: PixelBudget,
    /// What the devices that it runs on are called; none if they are not its own.
    devices: Vec<String>,
    load: Load,
}

/// Makes an engine for each device.
type Load = Box<dyn Fn() -> Result<Vec<Box<dyn Engine>>>>;

/// What makes a model's answers its own.
pub(super) struct ModelFacts {
    /// As the user or the server named it.
    pub name: String,
    /// None for a model that runs elsewhere.
    pub files: Option<ModelFiles>,
}

/// What a model is read from, and how.
pub(super) struct ModelFiles {
    /// Differs where the files differ.
    pub weights: String,
    pub dtype: &'static str,
}

impl EngineToBe {
    /// Finds all that the chosen engines need, fetching it if need be; the weights of a model are not read yet.
    pub(super) fn new(settings: &Settings, interrupt: &Interrupt) -> Result<Self> {
        let first = match settings.engine {
            EngineChoice::Qwen => Self::qwen(settings)?,
            EngineChoice::Server => Self::server(settings, interrupt)?,
            EngineChoice::Tesseract => Self::tesseract("--engine", settings)?,
            EngineChoice::TextLayer => Self::text_layer(settings),
        };
        let second = match settings.fallback {
            None | Some(EngineChoice::Qwen | EngineChoice::Server) => return Ok(first),
            Some(EngineChoice::Tesseract) => Self::tesseract("--fallback", settings)?,
            Some(EngineChoice::TextLayer) => Self::text_layer(settings),
        };
        Ok(Self {
            needs: first.needs.and(second.needs),
            load: with_fallback(first.load, second.load),
            ..first
        })
    }

    /// Makes the engine, which may take minutes.
    pub(super) fn load(self) -> Result<Box<dyn Engine>> {
        let mut engines = (self.load)()?;
        match engines.pop() {
            Some(engine) if engines.is_empty() => Ok(engine),
            last => Ok(Box::new(Several::new(
                self.devices
                    .into_iter()
                    .zip(engines.into_iter().chain(last)),
            )?)),
        }
    }

    fn text_layer(settings: &Settings) -> Self {
        let policy = policy(settings, PUBLISHED.factor);
        Self {
            name: TextLayer::NAME,
            model: None,
            program: None,
            draft: None,
            needs: TextLayer::NEEDS,
            reads_pixels: TextLayer::NEEDS.pixels,
            limits: PUBLISHED,
            devices: Vec::new(),
            load: Box::new(move || Ok(vec![page_by_page(TextLayer::default(), policy)])),
        }
    }

    fn tesseract(flag: &str, settings: &Settings) -> Result<Self> {
        let tesseract = Tesseract::find(flag, &settings.tesseract_lang)?;
        let policy = policy(settings, PUBLISHED.factor);
        Ok(Self {
            name: TesseractEngine::NAME,
            model: None,
            program: Some(format!(
                "{}, {}",
                tesseract.version(),
                settings.tesseract_lang
            )),
            draft: None,
            needs: TesseractEngine::NEEDS,
            reads_pixels: TesseractEngine::NEEDS.pixels,
            limits: PUBLISHED,
            devices: Vec::new(),
            load: Box::new(move || {
                let reader = TesseractEngine::new(tesseract.clone());
                Ok(vec![page_by_page(reader, policy)])
            }),
        })
    }

    fn server(settings: &Settings, interrupt: &Interrupt) -> Result<Self> {
        let server = settings.server.clone();
        let server = server.context("--engine server needs --server-url")?;
        let name = find_model(&server, settings.model.as_deref())?;
        let task = task(settings, false);
        let policy = policy(settings, PUBLISHED.factor);
        let interrupt = interrupt.clone();
        Ok(Self {
            name: ServerEngine::NAME,
            model: Some(ModelFacts {
                name: name.clone(),
                files: None,
            }),
            program: None,
            draft: None,
            needs: ServerEngine::NEEDS,
            reads_pixels: ServerEngine::NEEDS.pixels,
            limits: PUBLISHED,
            devices: Vec::new(),
            load: Box::new(move || {
                let (name, task) = (name.clone(), task.clone());
                let engine = ServerEngine::new(&server, name, task, policy, interrupt.clone());
                Ok(vec![Box::new(engine)])
            }),
        })
    }

    fn qwen(settings: &Settings) -> Result<Self> {
        // Sampled answers are not guessed, so no text need be read for them.
        let drafts = settings.draft != DraftChoice::Off && settings.temperature == 0.0;
        let draft = (drafts && settings.draft == DraftChoice::Tesseract)
            .then(|| Tesseract::find("--draft", &settings.tesseract_lang))
            .transpose()?
            .map(Tesseract::on_one_core);
        if let Some(threads) = settings.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global()?;
        }
        let hardware = Hardware::open(&settings.device, settings.dtype)?;
        let first = hardware.first().context("there is no device to read on")?;
        let name = settings.model.clone().unwrap_or_else(|| {
            let default = if first.is_cuda() {
                CUDA_MODEL
            } else {
                CPU_MODEL
            };
            default.to_owned()
        });
        let folder = hub::model_folder(&name, fetch_progress(settings))?;
        let task = task(settings, drafts);
        let limits = qwen3_vl::config::pixel_budget(&folder)?;
        let policy = policy(settings, limits.factor);
        let fingerprint = nn::weights::fingerprint(&folder)?;
        let model = ModelFacts {
            name: name.clone(),
            files: Some(ModelFiles {
                weights: fingerprint.clone(),
                dtype: first.dtype(),
            }),
        };
        Ok(Self {
            name: QwenEngine::NAME,
            model: Some(model),
            program: None,
            draft,
            needs: QwenEngine::needs_of(task.drafts),
            reads_pixels: true,
            limits,
            devices: hardware.iter().map(|on| on.name().to_owned()).collect(),
            load: Box::new(move || {
                let readers = QwenEngine::load_all(&name, &folder, &fingerprint, &hardware, &task)?;
                let engines = readers.into_iter();
                Ok(engines.map(|reader| page_by_page(reader, policy)).collect())
            }),
        })
    }
}

/// A second engine for each of the first.
fn with_fallback(first: Load, second: Load) -> Load {
    Box::new(move || {
        let firsts = first()?.into_iter();
        let both = firsts.map(|first| {
            let seconds = second()?.into_iter();
            Ok(seconds.fold(first, |first, second| {
                Box::new(Fallback::new(first, second))
            }))
        });
        both.collect()
    })
}

fn task(settings: &Settings, drafts: bool) -> Task {
    Task {
        prompt: settings.prompt.clone(),
        output_format: settings.format,
        sampling: Sampling {
            max_new_tokens: settings.max_new_tokens,
            temperature: settings.temperature,
            seed: settings.seed,
        },
        drafts,
        batch_size: settings.batch_size,
    }
}

fn policy(settings: &Settings, factor: u32) -> Policy {
    Policy {
        retries: settings.retries,
        page_timeout: settings.page_timeout,
        factor,
    }
}

fn page_by_page(reader: impl PageReader + 'static, policy: Policy) -> Box<dyn Engine> {
    Box::new(PageByPage::new(reader, policy))
}

fn fetch_progress(settings: &Settings) -> FetchProgress {
    match settings.progress {
        _ if settings.verbosity == Verbosity::Quiet => FetchProgress::Off,
        ProgressChoice::Auto => FetchProgress::auto(),
        ProgressChoice::Bar => FetchProgress::Bar,
        ProgressChoice::Plain => FetchProgress::Plain,
        ProgressChoice::Off => FetchProgress::Off,
    }
}
