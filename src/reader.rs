//! Reading documents from a program of one's own: one model, and a record for each page.

use std::{iter, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use image::RgbImage;

use crate::{
    answer::Units,
    cancel::Cancel,
    engine::{
        Engine, SingleReader,
        qwen::QwenEngine,
        scheduler::{Policy, Scheduler},
        split::Split,
        task::Asked,
    },
    hub::{self, FetchProgress},
    models::{
        self,
        preset::{self, Preset},
    },
    nn::device::Hardware,
    options::{self, DTypeChoice, DeviceChoice, FormatChoice, Style},
    page::{Document, PageRef, PixelBudget, Preparation, Source},
    page_selection::PageSelection,
    prepare::{self, DecoderChoice, Raster, orientation::AutoRotate},
    record::{Admitted, Record},
    source::Ready,
};

/// The pixel limits of published models, for engines that have none of their own.
const PUBLISHED: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 16_777_216,
};

/// How a [`Reader`] reads. The defaults are those of the command line: a model that is known by name has its own prompt,
/// page size, budget and temperature, and what is given here wins.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Where the model runs: the first CUDA device if there is one, else the CPU.
    pub device: DeviceChoice,
    /// The number type of the weights: bf16 on CUDA, q8_0 on a CPU.
    pub dtype: DTypeChoice,
    /// What the model is asked for.
    pub format: FormatChoice,
    /// How its content is written.
    pub style: Style,
    /// Replaces the prompt of the model's preset, else that of the format.
    pub prompt: Option<String>,
    /// At most this many tokens are written for a page; none for the model's preset, else 4096.
    pub max_new_tokens: Option<usize>,
    /// 0 takes the likeliest token; none for the model's preset, else 0.
    pub temperature: Option<f64>,
    /// The size of a PDF page before the model's pixel limits apply, in pixels per inch.
    pub dpi: f64,
    /// Larger pages are reduced to at most this many pixels; none for the model's own limit and that of its preset.
    pub max_pixels: Option<u64>,
    /// Whether pages that lie on their side or upside down are turned, where their print or their text layer shows it.
    pub auto_rotate: bool,
    /// Whether pages of small print, and long ones, are read in parts.
    pub split: bool,
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
            format: FormatChoice::Markdown,
            style: Style::default(),
            prompt: None,
            max_new_tokens: None,
            temperature: None,
            dpi: options::DPI,
            max_pixels: None,
            auto_rotate: true,
            split: true,
            retries: options::RETRIES,
            page_timeout: Duration::from_secs_f64(options::PAGE_TIMEOUT),
        }
    }
}

impl ReaderOptions {
    fn asked(&self, units: Units) -> Asked {
        Asked {
            prompt: self.prompt.clone(),
            format: self.format,
            style: self.style,
            units,
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            seed: 0,
            drafts: true,
            draft_head: false,
            batch_size: 1,
        }
    }

    /// How large a page is, within a model's `limits`.
    fn budget(&self, limits: PixelBudget, preset: Option<&Preset>) -> PixelBudget {
        let max = limits.max_pixels.min(Preset::max_pixels(preset));
        let max_pixels = self.max_pixels.unwrap_or(max);
        PixelBudget {
            min_pixels: limits.min_pixels.min(max_pixels),
            max_pixels,
            ..limits
        }
    }

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
    preparation: prepare::Settings,
}

impl Reader {
    /// Opens the model `name`, a Hugging Face id, a short name that `omnidocs models` lists, or a folder in the published
    /// layout; takes from seconds to minutes.
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
        let preset = Preset::of(name, Some(&folder));
        let units = models::box_units(name, Some(&folder));
        let task = options.asked(units).of(preset);
        let reader = QwenEngine::load(name, &folder, &identity, first, &task)?;
        let engine = Scheduler::new(reader, options.policy(limits.factor));
        let budget = options.budget(limits, preset);
        let usual = limits.max_pixels.min(Preset::max_pixels(preset));
        Ok(Self::new(Box::new(engine), budget, usual, options))
    }

    /// Reads with an engine of one's own, which is given one page at a time.
    #[must_use]
    pub fn with_engine(reader: impl SingleReader + 'static, options: &ReaderOptions) -> Self {
        let reader = crate::engine::OneSlot::new(reader);
        let engine = Scheduler::new(reader, options.policy(PUBLISHED.factor));
        let budget = options.budget(PUBLISHED, None);
        Self::new(Box::new(engine), budget, options::MAX_PIXELS, options)
    }

    /// Reads pages of this size with `engine`, which usually takes `usual` pixels.
    fn new(
        engine: Box<dyn Engine>,
        budget: PixelBudget,
        usual: u64,
        options: &ReaderOptions,
    ) -> Self {
        let raster = Raster {
            dpi: options.dpi,
            budget,
        };
        let preparation = prepare::Settings {
            needs: engine.needs(),
            auto_rotate: options.auto_rotate.then(|| AutoRotate::new(None)),
            split: (options.split && engine.needs().pixels)
                .then(|| prepare::min_letters(budget.max_pixels, usual)),
            workers: 1,
            prefetch: 2,
            page_timeout: options.page_timeout,
            ..prepare::Settings::of_pixels(raster, DecoderChoice::InProcess)
        };
        Self {
            engine: Box::new(Split::new(engine, budget, &Cancel::default())),
            preparation,
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
    /// The engine can't go on.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "whoever has a picture read has mostly no more use for it"
    )]
    pub fn read_image(&mut self, image: RgbImage) -> Result<Record> {
        let page = prepare::image(&image, &self.preparation, &Cancel::default());
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
            result: page,
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
            selection,
            ..self.preparation.clone()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{answer, options::OutputFormat, record::Status};

    /// A tiny random model whose files say that it was made from `origin`.
    fn fine_tune(origin: &str) -> TempDir {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny-qwen2_5_vl-tied");
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(model).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let path = folder.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["_name_or_path"] = origin.into();
        fs::write(path, config.to_string()).unwrap();
        folder
    }

    fn read(folder: &TempDir, options: &ReaderOptions) -> Record {
        let name = folder.path().to_str().unwrap();
        let mut reader = Reader::open_with(name, options).unwrap();
        let page = RgbImage::from_fn(64, 96, |x, y| [(7 * x) as u8, (11 * y) as u8, 90].into());
        let record = reader.read_image(page).unwrap();
        assert_eq!(record.status, Status::Ok, "{record:?}");
        record
    }

    #[test]
    fn reader_asks_as_the_preset_does_unless_options_say_otherwise() {
        let chandra = fine_tune("datalab-to/chandra");
        let short = ReaderOptions {
            dtype: DTypeChoice::F32,
            max_new_tokens: Some(7),
            ..ReaderOptions::default()
        };
        let own = read(&chandra, &short);
        assert_eq!(own.output_format, OutputFormat::Html);
        assert_eq!(own.completion_tokens, Some(7), "the option wins");
        let asked = ReaderOptions {
            prompt: Some("Read.".to_owned()),
            ..short.clone()
        };
        let asked = read(&chandra, &asked);
        assert_eq!(asked.output_format, OutputFormat::Markdown);
        assert!(asked.prompt_tokens < own.prompt_tokens);
        let plain = read(&fine_tune("org/model"), &short);
        assert_eq!(plain.output_format, OutputFormat::Markdown);
        assert_ne!(plain.prompt_tokens, own.prompt_tokens);
    }

    #[test]
    fn reader_has_the_presets_pixels_budget_temperature_and_reading() {
        let olmocr = Preset::of("allenai/olmOCR-2-7B-1025", None);
        let defaults = ReaderOptions::default();
        let task = defaults.asked(Units::default()).of(olmocr);
        assert!(task.text_first && !task.drafts);
        assert_eq!(task.reading, answer::Reading::FrontMatter);
        assert_eq!(task.sampling.max_new_tokens, 8000);
        assert!((task.sampling.temperature - 0.1).abs() < 1e-9);
        assert_eq!(defaults.budget(PUBLISHED, olmocr).max_pixels, 1_173_050);
        let max = |options: &ReaderOptions| options.budget(PUBLISHED, None).max_pixels;
        assert_eq!(max(&defaults), options::MAX_PIXELS);

        let given = ReaderOptions {
            max_new_tokens: Some(options::MAX_NEW_TOKENS),
            temperature: Some(0.0),
            max_pixels: Some(9000),
            ..defaults
        };
        let task = given.asked(Units::default()).of(olmocr);
        assert!(task.sampling.is_greedy() && task.drafts);
        assert_eq!(task.sampling.max_new_tokens, options::MAX_NEW_TOKENS);
        let budget = given.budget(PUBLISHED, olmocr);
        assert_eq!((budget.min_pixels, budget.max_pixels), (9000, 9000));
    }
}
