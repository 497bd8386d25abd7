//! Range checks of options; errors name the flag.

use super::usage::usage_error;
use crate::{cli, exit::UsageError, options::CPU_MODEL};

const MAX_RETRIES: u32 = 100;
/// Maximum of any time option, in seconds: a year.
pub(super) const MAX_TIMEOUT: f64 = 31_536_000.0;
const DPI_RANGE: (f64, f64) = (1.0, 2400.0);
const MAX_THREADS: usize = 1024;
const MAX_BATCH_SIZE: usize = 256;
/// Far above any model's limit, far below what fills a machine's memory.
const MAX_PIXELS: u64 = 1 << 28;

pub(super) fn model(model: &cli::ModelArgs) -> Result<(), UsageError> {
    let reader = &model.reader;
    let temperature = model.temperature.unwrap_or(0.0);
    if reader.max_new_tokens == Some(0) {
        return usage_error("--max-new-tokens 0 allows no answer; use 1 or more");
    }
    if !(1..=MAX_BATCH_SIZE).contains(&reader.batch_size) {
        return usage_error(format!(
            "--batch-size {} is not between 1 and {MAX_BATCH_SIZE}",
            reader.batch_size
        ));
    }
    if let Some(threads) = reader.threads
        && !(1..=MAX_THREADS).contains(&threads)
    {
        return usage_error(format!(
            "--threads {threads} is not between 1 and {MAX_THREADS}"
        ));
    }
    if let Some(fallback) = model.fallback
        && fallback == model.engine
    {
        return usage_error(
            "--fallback and --engine name the same engine; change or omit one of them",
        );
    }
    if reader.tesseract_lang.split('+').any(str::is_empty) {
        return usage_error(format!(
            "--tesseract-lang {:?} is not a list of languages; use one like eng or eng+deu",
            reader.tesseract_lang
        ));
    }
    if !(temperature.is_finite() && temperature >= 0.0) {
        return usage_error(format!(
            "--temperature {temperature} is out of range; use 0 or more, like 0.7"
        ));
    }
    if reader
        .model
        .as_deref()
        .is_some_and(|name| name.trim().is_empty())
    {
        return usage_error(format!(
            "--model is empty; name a folder or a Hugging Face id like {CPU_MODEL}"
        ));
    }
    Ok(())
}

pub(super) fn run(run: &cli::RunArgs) -> Result<(), UsageError> {
    let cli::RunArgs {
        retries,
        page_timeout,
        ..
    } = run;
    if *retries > MAX_RETRIES {
        return usage_error(format!(
            "--retries {retries} is too large; use {MAX_RETRIES} or less"
        ));
    }
    if !(*page_timeout > 0.0 && *page_timeout <= MAX_TIMEOUT) {
        return usage_error(format!(
            "--page-timeout {page_timeout} is out of range; use a number of seconds above 0, like 600"
        ));
    }
    Ok(())
}

pub(super) fn pages(pages: &cli::PageArgs) -> Result<(), UsageError> {
    let (least, most) = DPI_RANGE;
    if !(least..=most).contains(&pages.dpi) {
        return usage_error(format!(
            "--dpi {} is not between {least} and {most}; 200 is usual",
            pages.dpi
        ));
    }
    for (flag, pixels) in [
        ("--min-pixels", pages.min_pixels),
        ("--max-pixels", pages.max_pixels),
    ] {
        if let Some(pixels) = pixels.filter(|&pixels| pixels > MAX_PIXELS) {
            return usage_error(format!(
                "{flag} {pixels} is too large for any model; use {MAX_PIXELS} or less"
            ));
        }
    }
    match (pages.min_pixels, pages.max_pixels) {
        (Some(min), Some(max)) if max < min => usage_error(format!(
            "--max-pixels {max} is below --min-pixels {min}; it must be at least as large"
        )),
        _ => Ok(()),
    }
}
