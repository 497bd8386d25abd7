//! What people look at, made from an output: its status, its pages, its documents as files.

pub mod advice;
pub mod export;
pub mod histogram;
pub mod listing;
pub mod show;
pub mod status;

use serde::Serialize;

/// The name of a kind or a warning, as records spell it.
fn name(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
