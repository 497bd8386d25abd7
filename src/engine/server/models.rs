//! Which of the server's models reads, and whether there is a server at all.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    client::{Client, Failure},
    settings::Server,
};
use crate::{
    backoff::Backoff,
    cancel::{Cancel, Reason},
};

/// A list of models is a matter of moments.
const LISTING: Duration = Duration::from_secs(30);

/// The model that `--model` names, or else the only one that the server has. A server that is only just starting is waited
/// for.
///
/// # Errors
/// There is no server, it does not let us in, or it has not one model but none or several.
pub fn find_model(server: &Server, wanted: Option<&str>, cancel: &Cancel) -> Result<String> {
    let client = Client::new(server)?;
    let models = wait_for_models(&client, server.wait, wanted.is_none(), cancel);
    let models = match (models, wanted) {
        (Ok(models), _) => models,
        (Err(failure), Some(_)) if needs_no_list(&failure) => Vec::new(),
        (Err(failure), _) => bail!("{}", failure.message()),
    };
    match (wanted, &models[..]) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, []) => bail!(
            "the server at {} has no model; name one with --model",
            server.url
        ),
        (None, several) => bail!(
            "the server at {} has several models; name one with --model: {}",
            server.url,
            several.join(", ")
        ),
    }
}

/// Whether the server is available although it lists no models. Not all servers list them, and a known name needs no
/// list.
fn needs_no_list(failure: &Failure) -> bool {
    match failure {
        Failure::Passing { answered, .. } => *answered,
        Failure::Garbled(_) | Failure::Refused(_) | Failure::NotFound(_) => true,
        Failure::Final(_) => false,
    }
}

/// Asks until there is an answer; where no `list` is needed, of any kind.
fn wait_for_models(
    client: &Client,
    wait: Duration,
    list: bool,
    cancel: &Cancel,
) -> Result<Vec<String>, Failure> {
    let cancel = cancel.within(wait);
    let mut backoff = Backoff::default();
    let mut is_first = true;
    loop {
        let is_last = cancel.reason().is_some();
        let failure = match client.models(LISTING) {
            Err(failure @ Failure::Passing { .. })
                if !is_last && (list || !needs_no_list(&failure)) =>
            {
                failure
            }
            ended => return ended,
        };
        if std::mem::take(&mut is_first) {
            let seconds = wait.as_secs();
            let message = failure.message();
            tracing::warn!("{message}; retrying for up to {seconds} s");
        }
        match backoff.wait(&cancel) {
            Ok(()) | Err(Reason::Deadline) => {}
            Err(_) => return Err(failure),
        }
    }
}
