//! `omnidocs fetch`: fetches a model ahead of a run.

use std::path::Path;

use anyhow::Result;

use crate::{
    cancel::Cancel,
    cli,
    exit::{Exit, UsageError},
    hub::{self, FetchProgress, SmallFiles},
    models::{self, preset, spec::ModelSpec},
    signals::SignalHandlers,
    terminal,
};

/// Runs the command.
///
/// # Errors
/// There is no such model, it is of a kind that can't be run, or it can't be fetched.
pub fn run(typed: &cli::Fetch) -> Result<Exit> {
    let name = preset::resolve(&typed.model);
    if Path::new(name).is_dir() {
        let message =
            format!("{name} is a folder, there is nothing to fetch: use it with --model {name}");
        return Err(UsageError(message).into());
    }
    let cancel = Cancel::default();
    let _signals = SignalHandlers::install(&cancel, |_| {})?;
    let progress = if typed.quiet {
        FetchProgress::Off
    } else {
        FetchProgress::auto()
    };
    let check = |files: &SmallFiles| -> Result<()> {
        ModelSpec::read(files.folder(), name)?;
        models::pixel_budget(files.folder()).map(drop)
    };
    let folder = if let Some(folder) = &typed.to {
        hub::fetch_into(name, folder, check, progress, &cancel)?;
        folder.clone()
    } else {
        let files = hub::small_files(name, progress, &cancel)?;
        check(&files)?;
        files.fetch_weights()?
    };
    terminal::write_data(format!("{}\n", folder.display()).as_bytes())?;
    Ok(Exit::Ok)
}
