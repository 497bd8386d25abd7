//! Reads a page with every engine that is there.

use std::{path::Path, time::Instant};

use anyhow::Result;

use super::{check::Check, sample};
use crate::{
    cli,
    engine::{tesseract::TesseractEngine, text_layer::TextLayer},
    hub,
    models::preset,
    options::{CPU_MODEL, CUDA_MODEL, EngineChoice},
    reader::{Reader, ReaderOptions},
    record::Record,
    tesseract::Tesseract,
    words::{counted, human},
};

/// Tokens of the model's answer: enough to see that it answers.
const MAX_TOKENS: usize = 32;

pub(super) fn text_layer() -> Check {
    let begun = Instant::now();
    match sample::read(sample::NOTE, TextLayer::default()) {
        Ok(record) if has_word(&record) => Check::ok("text", took(&record, begun)),
        read => Check::broken("text", describe(read), "report this as a bug"),
    }
}

pub(super) fn tesseract(typed: &cli::Doctor) -> Check {
    let is_asked_for = typed.engine == Some(EngineChoice::Tesseract);
    let program = match Tesseract::find("--engine", &typed.tesseract_lang) {
        Ok(program) => program,
        Err(error) => {
            // It ends in what to do.
            let found = format!("{error:#}");
            let todo = "needed for --engine, --fallback and --draft tesseract alone";
            return if is_asked_for {
                Check::broken("tesseract", found, "install what is named")
            } else {
                Check::warning("tesseract", found, todo)
            };
        }
    };
    let about = format!("{}, {}", program.version(), program.installed().join(" "));
    let begun = Instant::now();
    match sample::read(sample::NOTE, TesseractEngine::new(program, false)) {
        Ok(record) if has_word(&record) => {
            Check::ok("tesseract", format!("{about}; {}", took(&record, begun)))
        }
        read => {
            let (found, todo) = (format!("{about}; {}", describe(read)), "install it again");
            if is_asked_for {
                Check::broken("tesseract", found, todo)
            } else {
                Check::warning("tesseract", found, todo)
            }
        }
    }
}

/// The model that was asked for; else whether the default one is there.
pub(super) fn model(typed: &cli::Doctor) -> Check {
    let Some(model) = typed.model.as_deref() else {
        let default = if cfg!(feature = "cuda") {
            CUDA_MODEL
        } else {
            CPU_MODEL
        };
        return if hub::is_cached(default) {
            let found = format!("{default}, the default, is in the cache");
            Check::ok("model", found)
        } else {
            let found = format!("{default}, the default, is not in the cache");
            let todo = "the first extract downloads it; test another one with --model";
            Check::warning("model", found, todo)
        };
    };
    let name = preset::resolve(model);
    if !Path::new(name).is_dir() {
        if let Err(error) = hub::check_name(name) {
            return Check::broken(
                "model",
                format!("{error:#}"),
                "name a folder or a model of the hub",
            );
        }
        if !hub::is_cached(name) {
            let found = format!("{name} is not in the cache, or not all of it");
            return Check::warning("model", found, "the first extract downloads it");
        }
    }
    let begun = Instant::now();
    let options = ReaderOptions {
        device: typed.device.clone(),
        max_new_tokens: Some(MAX_TOKENS),
        ..ReaderOptions::default()
    };
    let mut reader = match Reader::open_with(name, &options) {
        Ok(reader) => reader,
        Err(error) => {
            return Check::broken(
                "model",
                format!("{error:#}"),
                "choose another --model or --device",
            );
        }
    };
    let loaded = human(begun.elapsed());
    let begun = Instant::now();
    match sample::read_with(&mut reader, sample::NOTE) {
        Ok(record) if record.word_count > 0 => {
            let on = record.device.as_deref().unwrap_or("cpu").to_owned();
            let dtype = record.dtype.as_deref().unwrap_or_default();
            let took = took(&record, begun);
            Check::ok(
                "model",
                format!("{name} {dtype} on {on}: loaded in {loaded}, {took}"),
            )
        }
        read => Check::broken(
            "model",
            format!("{name}: {}", describe(read)),
            "choose another model",
        ),
    }
}

fn has_word(record: &Record) -> bool {
    let content = record.content.as_deref();
    content.is_some_and(|content| content.contains(sample::WORD))
}

fn took(record: &Record, begun: Instant) -> String {
    let words = counted(record.word_count, "word", "words");
    format!("read the test page in {} ({words})", human(begun.elapsed()))
}

/// What went wrong with the test page.
fn describe(read: Result<Record>) -> String {
    match read {
        Ok(Record {
            error: Some(error), ..
        }) => format!("the test page failed: {error}"),
        Ok(_) => "the test page was read without its words".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}
