//! What known document models want and how they answer: one table, which an option of the user's overrules.
//!
//! Facts are those of the model's own published code or card, which each row names. What could not be verified is left out;
//! then the program's defaults and the model's own files hold.

mod prompts;

use std::path::Path;

use serde::Deserialize;

use crate::{
    answer::{Reading, Units},
    model_files::read_json_or_default,
    options::{self, FormatChoice, OutputFormat},
};

/// What is known of a model.
#[derive(Debug, PartialEq)]
pub struct Preset {
    /// What `--model` takes for the first of [`ids`](Self::ids).
    pub short: &'static str,
    /// Names on the hub.
    pub ids: &'static [&'static str],
    /// Billions of parameters.
    pub billions: f64,
    /// Of the weights; none if none is named where this was looked up.
    pub licence: Option<&'static str>,
    /// What it is asked; none for the prompt of the output format.
    pub prompt: Option<&'static str>,
    /// Whether the prompt comes before the image.
    pub text_first: bool,
    /// What it writes when asked its prompt.
    pub writes: OutputFormat,
    /// How its answers are written.
    pub reading: Reading,
    /// What it is asked for blocks, if that is something else, and how it writes them.
    pub blocks: Option<(&'static str, Reading)>,
    /// How large the image is.
    pub size: Size,
    /// The default of `--max-new-tokens`.
    pub max_new_tokens: Option<usize>,
    /// The default of `--temperature`.
    pub temperature: Option<f64>,
    /// What is published of its quality, and by whom.
    pub quality: Option<(&'static str, &'static str)>,
    /// What it is good at.
    pub good_at: &'static str,
    /// Where all this was looked up.
    pub source: &'static str,
}

/// How large the image of a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As the model's files say, at most the program's own limit.
    Default,
    /// At most this many pixels.
    Pixels(u64),
    /// This many pixels on its longest side.
    LongestSide(u32),
}

/// What a model is asked in its own words, and how it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnQuestion {
    /// What it is asked; empty for the image alone.
    pub prompt: &'static str,
    /// The format of the answer.
    pub writes: OutputFormat,
    /// How it is written.
    pub reading: Reading,
}

impl Size {
    /// The largest number of pixels; none for the program's own limit. A longest side counts as that of a page of A4.
    #[must_use]
    pub fn max_pixels(self) -> Option<u64> {
        match self {
            Self::Default => None,
            Self::Pixels(pixels) => Some(pixels),
            Self::LongestSide(side) => {
                Some((f64::from(side).powi(2) * std::f64::consts::FRAC_1_SQRT_2) as u64)
            }
        }
    }
}

/// A general model: asked as the output format says, within its own limits.
const GENERAL: Preset = Preset {
    short: "",
    ids: &[],
    billions: 0.0,
    licence: Some("Apache-2.0"),
    prompt: None,
    text_first: false,
    writes: OutputFormat::Markdown,
    reading: Reading::Plain,
    blocks: None,
    size: Size::Default,
    max_new_tokens: None,
    temperature: None,
    quality: None,
    good_at: "general documents",
    source: "huggingface.co/Qwen/Qwen3-VL-8B-Instruct",
};

/// All presets.
pub const PRESETS: [Preset; 12] = [
    Preset {
        short: "qwen3-vl-2b",
        ids: &["Qwen/Qwen3-VL-2B-Instruct"],
        billions: 2.1,
        good_at: "general documents; the default on a CPU",
        ..GENERAL
    },
    Preset {
        short: "qwen3-vl-4b",
        ids: &["Qwen/Qwen3-VL-4B-Instruct"],
        billions: 4.4,
        ..GENERAL
    },
    Preset {
        short: "qwen3-vl-8b",
        ids: &["Qwen/Qwen3-VL-8B-Instruct"],
        billions: 8.8,
        quality: Some((
            "olmOCR-bench 64.6",
            "measured by Datalab, github.com/datalab-to/chandra",
        )),
        good_at: "general documents; the default on CUDA",
        ..GENERAL
    },
    Preset {
        short: "firered",
        ids: &["FireRedTeam/FireRed-OCR"],
        billions: 2.1,
        licence: Some("Apache-2.0"),
        prompt: Some(prompts::FIRERED),
        max_new_tokens: Some(8192),
        temperature: Some(0.0),
        quality: Some((
            "OmniDocBench v1.5 92.94",
            "its authors, github.com/FireRedTeam/FireRed-OCR",
        )),
        good_at: "formulas and tables (as HTML) at a small size",
        source: "github.com/FireRedTeam/FireRed-OCR: conv_for_infer.py, qwen3_vllm_infer.py, README.md",
        ..GENERAL
    },
    Preset {
        short: "chandra",
        ids: &["datalab-to/chandra"],
        billions: 8.8,
        licence: Some("modified OpenRAIL-M"),
        prompt: Some(prompts::CHANDRA),
        writes: OutputFormat::Html,
        reading: Reading::Layout(Units::Of1024),
        size: Size::Pixels(3072 * 2048),
        max_new_tokens: Some(12_384),
        temperature: Some(0.0),
        quality: Some((
            "olmOCR-bench 83.1",
            "its authors, github.com/datalab-to/chandra",
        )),
        good_at: "layout, handwriting, forms, tables; blocks with boxes",
        source: "github.com/datalab-to/chandra at a6928a2: prompts.py, settings.py, model/util.py, model/vllm.py",
        ..GENERAL
    },
    Preset {
        short: "chandra2",
        ids: &["datalab-to/chandra-ocr-2"],
        // By the size of its weights; its authors say 4.
        billions: 5.3,
        licence: Some("modified OpenRAIL-M"),
        prompt: Some(prompts::CHANDRA_2),
        writes: OutputFormat::Html,
        reading: Reading::Layout(Units::Thousandths),
        size: Size::Pixels(3072 * 2048),
        max_new_tokens: Some(12_384),
        temperature: Some(0.0),
        quality: Some(("olmOCR-bench 85.9", "its authors, chandra-ocr 0.2.0")),
        good_at: "layout, handwriting, forms, tables; blocks with boxes; 90 languages",
        source: "the package chandra-ocr 0.2.0: prompts.py, settings.py, model/util.py, model/vllm.py, README",
        ..GENERAL
    },
    Preset {
        short: "olmocr2",
        ids: &["allenai/olmOCR-2-7B-1025", "allenai/olmOCR-2-7B-1025-FP8"],
        billions: 8.3,
        licence: Some("Apache-2.0"),
        prompt: Some(prompts::OLMOCR_2),
        text_first: true,
        reading: Reading::FrontMatter,
        size: Size::LongestSide(1288),
        max_new_tokens: Some(8000),
        temperature: Some(0.1),
        quality: Some((
            "olmOCR-bench 82.4",
            "its authors, github.com/allenai/olmocr",
        )),
        good_at: "reading order, scans, formulas; turns pages that lie on their side",
        source: "github.com/allenai/olmocr at f7cfe4c: prompts/prompts.py, pipeline.py, README.md",
        ..GENERAL
    },
    Preset {
        short: "lighton3",
        ids: &["lightonai/LightOnOCR-3-0.8B"],
        billions: 0.9,
        prompt: Some(""),
        blocks: Some(("grounding", Reading::Layout(Units::Thousandths))),
        size: Size::LongestSide(2048),
        temperature: Some(0.1),
        good_at: "Markdown with tables as HTML, at the smallest size",
        source: LIGHTON,
        ..GENERAL
    },
    Preset {
        short: "lighton3-4b",
        ids: &["lightonai/LightOnOCR-3-4B"],
        billions: 4.5,
        prompt: Some(""),
        blocks: Some(("grounding", Reading::Layout(Units::Thousandths))),
        size: Size::LongestSide(2048),
        temperature: Some(0.1),
        good_at: "Markdown with tables as HTML",
        source: LIGHTON,
        ..GENERAL
    },
    Preset {
        short: "rolmocr",
        ids: &["reducto/RolmOCR"],
        billions: 8.3,
        licence: Some("Apache-2.0"),
        prompt: Some(prompts::ROLMOCR),
        max_new_tokens: Some(4096),
        temperature: Some(0.2),
        good_at: "plain text in reading order",
        source: "huggingface.co/reducto/RolmOCR: the card's example",
        ..GENERAL
    },
    Preset {
        short: "infinity-parser",
        ids: &["infly/Infinity-Parser-7B"],
        billions: 8.3,
        licence: None,
        prompt: Some(prompts::INFINITY),
        size: Size::Pixels(1_806_336),
        max_new_tokens: Some(8192),
        temperature: Some(0.0),
        good_at: "Markdown without page headers and footers",
        source: "github.com/infly-ai/INF-MLLM at 0195e76: Infinity-Parser/inference/{consant,main,vllm_backend}.py",
        ..GENERAL
    },
    Preset {
        short: "nanonets-s",
        ids: &["nanonets/Nanonets-OCR-s"],
        billions: 3.8,
        licence: None,
        prompt: Some(prompts::NANONETS),
        max_new_tokens: Some(10_000),
        temperature: Some(0.0),
        good_at: "Markdown with tags for watermarks, page numbers, signatures and images",
        source: "github.com/NanoNets/docext at 0edc8f5: core/pdf2md/pdf2md.py, app/args.py, README.md",
        ..GENERAL
    },
];

const LIGHTON: &str = "github.com/lightonai/LightOnOCR at 36755d4: README.md, lightonocr/models.py";

impl Preset {
    /// That of the model called `name`, whose small files are in `folder`, if there is one: by its name on the hub, or by the
    /// name of what it was made from, as `config.json` gives it.
    #[must_use]
    pub fn of(name: &str, folder: Option<&Path>) -> Option<&'static Self> {
        #[derive(Deserialize, Default)]
        struct Origin {
            #[serde(rename = "_name_or_path")]
            name: Option<String>,
        }
        by_id(name).or_else(|| {
            let origin: Origin = read_json_or_default(folder?, "config.json").ok()?;
            by_id(&origin.name?)
        })
    }

    /// What it is asked for answers in `format`, in its own words: for what it writes, for blocks, and for `Markdown`, which is
    /// what is asked for where nobody says otherwise.
    #[must_use]
    pub fn question_for(&self, format: FormatChoice) -> Option<OwnQuestion> {
        let (prompt, reading) = match format {
            FormatChoice::Json => self.blocks.or(Some((self.prompt?, self.reading)))?,
            FormatChoice::Markdown => (self.prompt?, self.reading),
            format if format.content() == self.writes => (self.prompt?, self.reading),
            FormatChoice::Html | FormatChoice::Text => return None,
        };
        Some(OwnQuestion {
            prompt,
            writes: self.writes,
            reading,
        })
    }

    /// The most pixels of a page, where the options don't say, for a model with this preset, if it has one.
    #[must_use]
    pub fn max_pixels(preset: Option<&Self>) -> u64 {
        let of_preset = preset.and_then(|preset| preset.size.max_pixels());
        of_preset.unwrap_or(options::MAX_PIXELS)
    }

    /// Its weights in memory, in bytes.
    #[must_use]
    pub fn bytes(&self, bits: f64) -> f64 {
        self.billions * 1e9 * bits / 8.0
    }
}

/// The name on the hub that `name` is short for; else `name`. A folder of that name comes first.
#[must_use]
pub fn resolve(name: &str) -> &str {
    if Path::new(name).is_dir() {
        return name;
    }
    let mut presets = PRESETS.iter();
    let preset = presets.find(|preset| preset.short.eq_ignore_ascii_case(name));
    preset
        .and_then(|preset| preset.ids.first())
        .map_or(name, |id| *id)
}

fn by_id(name: &str) -> Option<&'static Preset> {
    let id = name.split_once('@').map_or(name, |(id, _)| id);
    PRESETS
        .iter()
        .find(|preset| preset.ids.iter().any(|own| own.eq_ignore_ascii_case(id)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn short_names_and_ids_are_unique() {
        let mut names: Vec<&str> = PRESETS.iter().map(|preset| preset.short).collect();
        names.extend(PRESETS.iter().flat_map(|preset| preset.ids));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn short_names_resolve_and_others_stay() {
        assert_eq!(resolve("olmocr2"), "allenai/olmOCR-2-7B-1025");
        assert_eq!(resolve("Chandra"), "datalab-to/chandra");
        assert_eq!(resolve("org/model@main"), "org/model@main");
        assert_eq!(resolve("src"), "src", "a folder");
    }

    #[test]
    fn fine_tunes_are_recognised_by_what_they_were_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        let preset = |name: &str| Preset::of(name, Some(folder.path())).map(|preset| preset.short);
        assert_eq!(preset("allenai/olmocr-2-7b-1025-FP8@main"), Some("olmocr2"));
        assert_eq!(preset("models/mine"), None);
        fs::write(&config, r#"{"_name_or_path":"FireRedTeam/FireRed-OCR"}"#).unwrap();
        assert_eq!(preset("models/mine"), Some("firered"));
        assert_eq!(preset("datalab-to/chandra"), Some("chandra"));
        fs::write(&config, r#"{"_name_or_path":null}"#).unwrap();
        assert_eq!(preset("models/mine"), None);
    }

    #[test]
    fn preset_prompts_give_way_to_another_format() {
        let chandra = Preset::of("datalab-to/chandra", None).unwrap();
        assert!(chandra.question_for(FormatChoice::Markdown).is_some());
        assert!(chandra.question_for(FormatChoice::Html).is_some());
        assert_eq!(chandra.question_for(FormatChoice::Text), None);
    }

    #[test]
    fn models_are_asked_for_blocks_in_their_own_dialect() {
        let own = |id: &str| Preset::of(id, None)?.question_for(FormatChoice::Json);
        let chandra = own("datalab-to/chandra").unwrap();
        assert_eq!(chandra.reading, Reading::Layout(Units::Of1024));
        let lighton = own("lightonai/LightOnOCR-3-4B").unwrap();
        assert_eq!(lighton.prompt, "grounding");
        let olmocr = own("allenai/olmOCR-2-7B-1025").unwrap();
        assert_eq!(olmocr.reading, Reading::FrontMatter);
        assert_eq!(own("Qwen/Qwen3-VL-8B-Instruct"), None);
    }
}
