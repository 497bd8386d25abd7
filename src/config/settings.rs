//! The settings of `extract`.

use std::{
    env,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    check,
    password::passwords,
    prompt,
    scheduler::{self, Assigned},
    server,
    usage::usage_error,
};
use crate::{
    cli,
    discover::{Globs, Inputs},
    engine::server::Server,
    exit::UsageError,
    journal::{Retry, Target},
    options::{
        self, DTypeChoice, DeviceChoice, DraftChoice, EngineChoice, FormatChoice, LockChoice,
        ProgressChoice, RetryChoice, RotateChoice, SplitChoice, Style, Verbosity,
    },
    page::PixelBudget,
    page_selection::PageSelection,
    secrets::Passwords,
    shard::Shard,
    skip::Skip,
};

const MAX_WORKERS: usize = 1024;
const MAX_PREFETCH: usize = 16_384;

/// The validated settings of `extract`.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Settings {
    pub inputs: Inputs,
    pub pages: Option<PageSelection>,
    pub passwords: Passwords,
    pub skip: Skip,
    pub output: Target,
    pub format: FormatChoice,
    pub style: Style,
    pub prompt: String,
    /// Which of the settings that a model's preset has were given.
    pub given: Given,
    pub engine: EngineChoice,
    pub fallback: Option<EngineChoice>,
    /// `None` unless given; always present for [`EngineChoice::Server`].
    pub server: Option<Server>,
    pub tesseract_lang: String,
    /// As given; `None` for the device's default.
    pub model: Option<String>,
    pub device: DeviceChoice,
    pub dtype: DTypeChoice,
    pub max_new_tokens: usize,
    pub temperature: f64,
    pub seed: u64,
    pub draft: DraftChoice,
    pub batch_size: usize,
    /// `None` for one per core.
    pub threads: Option<usize>,
    pub dpi: f64,
    /// As given; see [`Settings::pixel_budget`].
    pub min_pixels: Option<u64>,
    /// As given.
    pub max_pixels: Option<u64>,
    pub auto_rotate: bool,
    pub split: SplitChoice,
    pub workers: usize,
    pub prefetch: usize,
    pub restart: bool,
    pub retry: Retry,
    pub lock: LockChoice,
    pub dry_run: bool,
    /// `None` for all documents.
    pub shard: Option<Assigned>,
    pub retries: u32,
    pub page_timeout: Duration,
    pub progress: ProgressChoice,
    pub verbosity: Verbosity,
}

/// Which settings were given, so that a model's preset does not replace them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Given {
    pub prompt: bool,
    pub max_new_tokens: bool,
    pub temperature: bool,
}

impl Settings {
    /// Validates the options and fills in defaults.
    pub fn new(typed: cli::Extract) -> Result<Self, UsageError> {
        let cli::Extract {
            input,
            output,
            model,
            server,
            pages,
            run,
            display,
        } = typed;
        let verbosity = verbosity(&display)?;
        check::model(&model)?;
        check::pages(&pages)?;
        let server = server::server(&server)?;
        let flags = [
            ("--engine", Some(model.engine)),
            ("--fallback", model.fallback),
        ];
        for (flag, engine) in flags {
            if engine == Some(EngineChoice::Server) && server.is_none() {
                return usage_error(format!(
                    "{flag} server needs --server-url, like http://host:8000/v1"
                ));
            }
        }
        check::run(&run)?;
        let reader = model.reader;
        let workers = run
            .workers
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
        if !(1..=MAX_WORKERS).contains(&workers) {
            return usage_error(format!(
                "--workers {workers} is not between 1 and {MAX_WORKERS}"
            ));
        }
        let shard = scheduler::shard(run.shard)?;
        let prefetch = prefetch(run.prefetch, workers)?;
        Ok(Self {
            inputs: Inputs {
                paths: input.inputs,
                files_from: input.files_from,
                include: globs("--include", "OMNIDOCS_INCLUDE", input.include)?,
                exclude: globs("--exclude", "OMNIDOCS_EXCLUDE", input.exclude)?,
            },
            pages: input.pages,
            passwords: passwords(input.passwords)?,
            skip: input.skip.into_iter().collect(),
            given: Given {
                prompt: output.prompt.is_some() || output.prompt_file.is_some(),
                max_new_tokens: reader.max_new_tokens.is_some(),
                temperature: model.temperature.is_some(),
            },
            prompt: prompt::prompt(output.format, output.prompt, output.prompt_file.as_deref())?,
            output: target(output.output, shard.as_ref())?,
            format: output.format,
            style: Style {
                raw: output.raw,
                tables: output.tables,
                headers: output.headers,
            },
            engine: model.engine,
            fallback: model.fallback,
            server,
            tesseract_lang: reader.tesseract_lang,
            model: reader.model,
            device: reader.device,
            dtype: reader.dtype,
            max_new_tokens: reader.max_new_tokens.unwrap_or(options::MAX_NEW_TOKENS),
            temperature: model.temperature.unwrap_or(0.0),
            seed: model.seed,
            draft: reader.draft,
            batch_size: reader.batch_size,
            threads: reader.threads,
            dpi: pages.dpi,
            min_pixels: pages.min_pixels,
            max_pixels: pages.max_pixels,
            auto_rotate: pages.auto_rotate == RotateChoice::On,
            split: pages.split,
            workers,
            prefetch,
            restart: run.restart,
            retry: run
                .retry
                .into_iter()
                .chain(run.retry_failed.then_some(RetryChoice::Failed))
                .collect(),
            lock: run.lock,
            dry_run: run.dry_run,
            shard,
            retries: run.retries,
            page_timeout: Duration::from_secs_f64(run.page_timeout),
            progress: display.progress,
            verbosity,
        })
    }

    /// The shard to read.
    #[must_use]
    pub fn shard(&self) -> Shard {
        let assigned = self.shard.as_ref();
        assigned.map_or(Shard::WHOLE, |assigned| assigned.shard)
    }

    /// The pixel budget of a page, from the model's limits and the options.
    ///
    /// The model's upper limit is capped at [`options::MAX_PIXELS`]; what the user asks for replaces the model's limit, and the
    /// other limit gives way to it.
    pub fn pixel_budget(&self, model: &PixelBudget) -> Result<PixelBudget, UsageError> {
        self.pixel_budget_within(model, options::MAX_PIXELS)
    }

    /// As [`pixel_budget`](Self::pixel_budget), with another cap.
    pub fn pixel_budget_within(
        &self,
        model: &PixelBudget,
        cap: u64,
    ) -> Result<PixelBudget, UsageError> {
        let smallest = u64::from(model.factor) * u64::from(model.factor);
        if let Some(max) = self.max_pixels.filter(|&max| max < smallest) {
            let side = model.factor;
            return usage_error(format!(
                "--max-pixels {max} is too small for this model; use {smallest} ({side} × {side}) or more"
            ));
        }
        let max = self
            .max_pixels
            .unwrap_or_else(|| model.max_pixels.min(cap).max(self.min_pixels.unwrap_or(0)));
        let min = self.min_pixels.unwrap_or(model.min_pixels.min(max));
        Ok(PixelBudget {
            factor: model.factor,
            min_pixels: min,
            max_pixels: max,
        })
    }
}

/// The number of pages that are prepared ahead.
fn prefetch(typed: Option<usize>, workers: usize) -> Result<usize, UsageError> {
    let prefetch = typed.unwrap_or(2 * workers);
    if prefetch == 0 {
        return usage_error("--prefetch 0 prepares nothing; use 1 or more");
    }
    if prefetch > MAX_PREFETCH {
        return usage_error(format!(
            "--prefetch {prefetch} is too large: a page takes some megabytes; use {MAX_PREFETCH} or less"
        ));
    }
    Ok(prefetch)
}

/// The output target; `{shard}` in a file name is replaced by the shard.
fn target(typed: PathBuf, assigned: Option<&Assigned>) -> Result<Target, UsageError> {
    const PLACE: &str = "{shard}";
    if typed == Path::new("-") {
        return Ok(Target::Stdout);
    }
    match (typed.to_str(), assigned) {
        (Some(name), Some(assigned)) => {
            let name = name.replace(PLACE, &assigned.shard.name());
            Ok(Target::File(name.into()))
        }
        (Some(name), None) if name.contains(PLACE) => usage_error(format!(
            "--output {name} contains {{shard}}, but no shard is set; add --shard I/N, or --shard 1/1 to read everything"
        )),
        _ => Ok(Target::File(typed)),
    }
}

fn verbosity(display: &cli::DisplayArgs) -> Result<Verbosity, UsageError> {
    match (display.quiet, display.verbose) {
        (true, 0) => Ok(Verbosity::Quiet),
        (true, _) => usage_error("--quiet and --verbose exclude each other; use one of them"),
        (false, 0) => Ok(Verbosity::Normal),
        (false, 1) => Ok(Verbosity::Pages),
        (false, _) => Ok(Verbosity::Debug),
    }
}

/// Globs, one per flag; if none, those of the environment variable, separated by commas.
fn globs(flag: &str, variable: &str, typed: Vec<String>) -> Result<Option<Globs>, UsageError> {
    let (origin, globs) = if typed.is_empty() {
        let listed = env::var(variable).unwrap_or_default();
        (
            variable,
            split_globs(&listed)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        )
    } else {
        (flag, typed)
    };
    if globs.is_empty() {
        return Ok(None);
    }
    match Globs::new(&globs) {
        Ok(globs) => Ok(Some(globs)),
        Err(error) => usage_error(format!(
            "{origin}: {error}; a glob looks like '*.pdf' or 'scans/**'"
        )),
    }
}

/// Splits at commas outside `{a,b}` and `[,]`.
fn split_globs(list: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = list.split(|character| {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    fn settings(args: &str) -> Settings {
        let words = ["omnidocs", "extract", "in"]
            .into_iter()
            .chain(args.split_whitespace());
        match cli::Cli::parse_from(words).command {
            cli::Command::Extract(typed) => Settings::new(*typed).unwrap(),
            _ => panic!("that is another command"),
        }
    }

    #[test]
    fn omitted_options_have_defaults() {
        let settings = settings("");
        assert_eq!(settings.output, Target::Stdout);
        assert_eq!(
            (settings.max_new_tokens, settings.temperature, settings.seed),
            (4096, 0.0, 0)
        );
        assert_eq!(
            settings.workers,
            thread::available_parallelism().unwrap().get()
        );
        assert_eq!(settings.prefetch, 2 * settings.workers);
        assert!((settings.dpi - 200.0).abs() < f64::EPSILON);
    }

    #[test]
    fn prompt_option_replaces_the_prompt_of_the_format() {
        for (format, word) in [
            ("markdown", "Markdown"),
            ("html", "HTML"),
            ("text", "plain text"),
        ] {
            assert!(
                settings(&format!("--format {format}"))
                    .prompt
                    .contains(word),
                "{format}"
            );
        }
        assert_eq!(
            settings("--format html --prompt Transcribe.").prompt,
            "Transcribe."
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "Read this.\nAll of it.\n").unwrap();
        let typed = format!("--prompt-file {}", file.path().display());
        assert_eq!(settings(&typed).prompt, "Read this.\nAll of it.");
    }

    #[test]
    fn devices_are_parsed_and_printed() {
        for (typed, device) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu(1)),
            ("cpu:2", DeviceChoice::Cpu(2)),
            ("cuda:0", DeviceChoice::Cuda(vec![0])),
            ("cuda:3", DeviceChoice::Cuda(vec![3])),
            ("cuda:2,0,11", DeviceChoice::Cuda(vec![2, 0, 11])),
        ] {
            assert_eq!(device.to_string(), typed);
            assert_eq!(typed.parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(vec![0])));
    }

    #[test]
    fn pixel_options_replace_the_limits_of_the_model() {
        let published = PixelBudget {
            factor: 32,
            min_pixels: 65_536,
            max_pixels: 16_777_216,
        };
        let small = PixelBudget {
            factor: 32,
            min_pixels: 4_096,
            max_pixels: 100_000,
        };
        for (typed, model, expected) in [
            ("", published, (65_536, options::MAX_PIXELS)),
            ("", small, (4_096, 100_000)),
            ("--max-pixels 9000000", published, (65_536, 9_000_000)),
            ("--max-pixels 9000000", small, (4_096, 9_000_000)),
            ("--max-pixels 50000", published, (50_000, 50_000)),
            ("--max-pixels 1024", published, (1_024, 1_024)),
            ("--min-pixels 3000000", published, (3_000_000, 3_000_000)),
            (
                "--min-pixels 200 --max-pixels 70000",
                published,
                (200, 70_000),
            ),
        ] {
            let budget = settings(typed).pixel_budget(&model).unwrap();
            assert_eq!(
                (budget.min_pixels, budget.max_pixels),
                expected,
                "{typed:?}, {model:?}"
            );
        }
        assert!(
            settings("--max-pixels 1023")
                .pixel_budget(&published)
                .is_err()
        );
    }

    #[test]
    fn glob_lists_split_at_commas_outside_brackets() {
        assert_eq!(
            split_globs("*.pdf, {a,b}.png,x[,]y,"),
            ["*.pdf", "{a,b}.png", "x[,]y"]
        );
    }
}
