//! `omnidocs doctor`: whether this machine is ready, and what to do where it is not.

mod check;
mod engines;
mod fonts;
mod machine;
mod sample;

use std::{fs, path::Path};

use anyhow::Result;
use serde::Serialize;

use self::check::{Check, State};
use crate::{
    cli,
    exit::{Exit, UsageError},
    hub,
    options::EngineChoice,
    prepare::in_process::InProcess,
    terminal::{self, Lines},
    words::counted,
};

/// Runs the command.
///
/// # Errors
/// Stdout can't be written to, or the command line makes no sense.
pub fn run(typed: &cli::Doctor) -> Result<Exit> {
    if typed.engine == Some(EngineChoice::Server) {
        let message = "--engine server: omnidocs extract --dry-run asks the server";
        return Err(UsageError(message.to_owned()).into());
    }
    let mut checks = vec![machine::version(), machine::cpu(), machine::memory()];
    checks.extend(machine::gpus());
    checks.push(machine::limits());
    let pdfium = pdfium();
    let has_pdfium = pdfium.state == State::Ok;
    checks.push(pdfium);
    checks.push(cache());
    if has_pdfium {
        checks.extend(fonts::fonts());
        checks.push(engines::text_layer());
        checks.push(engines::tesseract(typed));
        checks.push(engines::model(typed));
    }
    let is_usable = checks.iter().all(|check| check.state != State::Broken);
    let text = if typed.json {
        #[derive(Serialize)]
        struct Report<'a> {
            version: &'static str,
            usable: bool,
            checks: &'a [Check],
        }
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            usable: is_usable,
            checks: &checks,
        };
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        let mut lines = Lines::default();
        for check in &checks {
            check.add_to(&mut lines);
        }
        lines.render(terminal::stdout_width(), terminal::stdout_has_colours())
    };
    terminal::write_data(text.as_bytes())?;
    Ok(if is_usable { Exit::Ok } else { Exit::Fatal })
}

/// The PDF library, which is part of the program.
fn pdfium() -> Check {
    let build = option_env!("PDFIUM_BUILD_NAME").unwrap_or("of its own build");
    match InProcess::start() {
        Ok(_) => Check::ok("pdfium", build),
        Err(error) => Check::broken(
            "pdfium",
            format!("{error:#}"),
            "let programs be run from TMPDIR",
        ),
    }
}

/// Where models are kept.
fn cache() -> Check {
    let folder = match hub::cache_folder() {
        Ok(folder) => folder,
        Err(error) => return Check::broken("cache", format!("{error:#}"), "set HF_HOME"),
    };
    let is_model = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("models--")
    };
    let models = fs::read_dir(&folder).into_iter().flatten().flatten();
    let models = models.filter(is_model).count();
    let found = format!(
        "{}: {}, {:.1} GB",
        folder.display(),
        counted(models, "model", "models"),
        size(&folder) as f64 / 1e9
    );
    Check::ok("cache", found)
}

/// Bytes of the files in a folder; links are not followed.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    });
    sizes.sum()
}
