//! Reading documents from a program of one's own: one model, and a record for each page.

use std::{iter, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use image::RgbImage;

use crate::{
    answer::Reading,
    cancel::Cancel,
    engine::{
        Engine, SingleReader,
        qwen::{QwenEngine, Task},
        scheduler::{Policy, Scheduler},
    },
    generation::sampler::Sampling,
    hub::{self, FetchProgress},
    models::{self, preset},
    nn::device::Hardware,
    options::{self, DTypeChoice, DeviceChoice, OutputFormat},
    page::{Document, PageId, PageRef, PixelBudget, Preparation, PreparedPage, Source},
    page_selection::PageSelection,
    prepare::{
        self, DecoderChoice, Raster,
        resize::{resize, smart_resize},
    },
    record::{Admitted, Record},
    secrets::Passwords,
    source::Ready,
};

/// The pixel limits of published models, for engines that have none of their own.
const PUBLISHED: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 16_777_216,
};

/// How a [`Reader`] reads. The defaults are those of the command line.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Where the model runs: the first CUDA device if there is one, else the CPU.
    pub device: DeviceChoice,
    /// The number type of the weights: bf16 on CUDA, q8_0 on a CPU.
    pub dtype: DTypeChoice,
    /// What the model is asked for.
    pub format: OutputFormat,
    /// Replaces the prompt of the format.
    pub prompt: Option<String>,
    /// At most this many tokens are written for a page.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// The size of a PDF page before the model's pixel limits apply, in pixels per inch.
    pub dpi: f64,
    /// Larger pages are reduced to at most this many pixels; none for the model's own limit.
    pub max_pixels: Option<u64>,
    /// How often a page is tried again after a failure that may pass.
    pub retries: u32,
    /// A page that takes longer than this fails.
    pub page_timeout: Duration,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            dtype: DTypeChoice::Auto,
            format: OutputFormat::Markdown,
            prompt: None,
            max_new_tokens: options::MAX_NEW_TOKENS,
            temperature: 0.0,
            dpi: options::DPI,
            max_pixels: None,
            retries: options::RETRIES,
            page_timeout: Duration::from_secs_f64(options::PAGE_TIMEOUT),
        }
    }
}

impl ReaderOptions {
    fn policy(&self, factor: u32) -> Policy {
        Policy {
            retries: self.retries,
            page_timeout: self.page_timeout,
            factor,
        }
    }
}

/// Reads documents with one engine.
///
/// Documents are decoded in this process: a damaged one may end it. The program `omnidocs` decodes them in processes of
/// their own.
///
/// ```no_run
/// use omnidocs::Reader;
///
/// # fn main() -> anyhow::Result<()> {
/// let mut reader = Reader::open("Qwen/Qwen3-VL-2B-Instruct")?;
/// for record in reader.read("report.pdf")? {
///     println!("{}", record.content.unwrap_or_default());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    engine: Box<dyn Engine>,
    raster: Raster,
    page_timeout: Duration,
}

impl Reader {
    /// Opens the model `name`, a Hugging Face id or a folder in the published layout; takes from seconds to minutes.
    ///
    /// # Errors
    /// There is no such model, it can't be fetched, or it is of a kind that can't be computed.
    pub fn open(name: &str) -> Result<Self> {
        Self::open_with(name, &ReaderOptions::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open), or the device can't be used.
    pub fn open_with(name: &str, options: &ReaderOptions) -> Result<Self> {
        let hardware = Hardware::open(&options.device, options.dtype)?;
        let first = hardware.first().context("no device is available")?;
        let name = preset::resolve(name);
        let folder = hub::model_folder(name, FetchProgress::Off, &Cancel::default())?;
        let limits = models::pixel_budget(&folder)?;
        let identity = models::identity::identity(&folder, |_| ())?;
        let prompt = options.prompt.as_deref();
        let task = Task {
            prompt: prompt.unwrap_or(options.format.default_prompt()).to_owned(),
            text_first: false,
            reading: Reading::Plain,
            output_format: options.format,
            sampling: Sampling {
                max_new_tokens: options.max_new_tokens,
                temperature: options.temperature,
                seed: 0,
            },
            drafts: options.temperature == 0.0,
            draft_head: false,
            batch_size: 1,
        };
        let reader = QwenEngine::load(name, &folder, &identity, first, &task)?;
        let engine = Scheduler::new(reader, options.policy(limits.factor));
        Ok(Self::new(Box::new(engine), limits, options))
    }

    /// Reads with an engine of one's own, which is given one page at a time.
    #[must_use]
    pub fn with_engine(reader: impl SingleReader + 'static, options: &ReaderOptions) -> Self {
        let reader = crate::engine::OneSlot::new(reader);
        let engine = Scheduler::new(reader, options.policy(PUBLISHED.factor));
        Self::new(Box::new(engine), PUBLISHED, options)
    }

    fn new(engine: Box<dyn Engine>, limits: PixelBudget, options: &ReaderOptions) -> Self {
        let max = limits.max_pixels.min(options::MAX_PIXELS);
        let max_pixels = options.max_pixels.unwrap_or(max);
        Self {
            engine,
            raster: Raster {
                dpi: options.dpi,
                budget: PixelBudget {
                    min_pixels: limits.min_pixels.min(max_pixels),
                    max_pixels,
                    ..limits
                },
            },
            page_timeout: options.page_timeout,
        }
    }

    /// Reads all pages of a PDF or an image file. A page that can't be read has a record that says why; a document that
    /// can't be opened has one for its page 0.
    ///
    /// # Errors
    /// The engine can't go on.
    pub fn read(&mut self, path: impl AsRef<Path>) -> Result<Vec<Record>> {
        self.read_selected(path.as_ref(), None)
    }

    /// Reads one page of a PDF or an image file; pages count from 1.
    ///
    /// # Errors
    /// The document has no such page, or the engine can't go on.
    pub fn read_page(&mut self, path: impl AsRef<Path>, page: u32) -> Result<Record> {
        let path = path.as_ref();
        let selection = page.to_string().parse::<PageSelection>();
        let selection = selection.map_err(anyhow::Error::msg)?;
        let records = self.read_selected(path, Some(selection))?;
        let shown = path.display();
        let record = records.into_iter().next();
        record.with_context(|| format!("{shown} has no page {page}"))
    }

    /// Reads an image as a page.
    ///
    /// # Errors
    /// The image is empty or far too long for its width, or the engine can't go on.
    pub fn read_image(&mut self, image: RgbImage) -> Result<Record> {
        let original = image.dimensions();
        let (height, width) = smart_resize(original.1, original.0, &self.raster.budget)?;
        let page = PreparedPage {
            id: PageId(0),
            pixels: Some(Arc::new(resize(image, width, height)?)),
            original: Some(original),
            blank: false,
            text: None,
            is_scan: false,
            warnings: Vec::new(),
            draft: None,
            page_size: None,
        };
        let document = Document {
            path: "image".into(),
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: Some(1),
            stamp: None,
        };
        self.record(Preparation {
            page: PageRef {
                document: Arc::new(document),
                number: 1,
                last_number: None,
            },
            result: Ok(page),
            elapsed: Duration::ZERO,
            attempts: 1,
            passed_over: 0,
        })
    }

    fn read_selected(
        &mut self,
        path: &Path,
        selection: Option<PageSelection>,
    ) -> Result<Vec<Record>> {
        let source = Source {
            path: path.to_owned(),
            size_bytes: None,
            error: None,
        };
        let settings = prepare::Settings {
            raster: self.raster,
            selection,
            needs: self.engine.needs(),
            draft: None,
            text_first: false,
            passwords: Passwords::default(),
            workers: 1,
            prefetch: 2,
            retries: 0,
            page_timeout: self.page_timeout,
            decoder: DecoderChoice::InProcess,
        };
        let pages = prepare::pages(vec![source], settings, &Cancel::default())?;
        pages.map(|page| self.record(page?)).collect()
    }

    /// Lets the engine read a page that could be prepared and shows anything.
    fn record(&mut self, preparation: Preparation) -> Result<Record> {
        let (facts, page) = match Record::admit(preparation, self.engine.info()) {
            Admitted::Record(record) => return Ok(*record),
            Admitted::Page(facts, page) => (facts, page),
        };
        let mut outcomes = Vec::new();
        self.engine
            .run(&mut Ready(iter::once(page)), &mut |outcome| {
                outcomes.push(outcome);
                Ok(())
            })?;
        match outcomes.pop() {
            Some(outcome) => Ok(Record::read(&facts, outcome)),
            None => bail!("the engine gave no answer; this is a bug"),
        }
    }
}
