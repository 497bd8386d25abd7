//! The standard error as objects, one JSON line each and nothing else, for `--progress json`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use chrono::SecondsFormat;
use serde::Serialize;

use super::stream::{timestamp, write_once};

/// The last object of a program.
const SUMMARY: &str = "summary";

static SPEAKS: AtomicBool = AtomicBool::new(false);
static HAS_SUMMARY: AtomicBool = AtomicBool::new(false);

/// From now on the standard error holds objects only.
pub fn speak_in_objects() {
    SPEAKS.store(true, Ordering::Release);
}

/// Whether the standard error holds objects only.
#[must_use]
pub fn speaks_in_objects() -> bool {
    SPEAKS.load(Ordering::Acquire)
}

/// Whether the summary, which is the last object, has been printed.
#[must_use]
pub fn has_summary() -> bool {
    HAS_SUMMARY.load(Ordering::Acquire)
}

/// An object: what happened, when, and the fields of such an event.
#[derive(Serialize)]
struct Object<'a, T> {
    event: &'static str,
    time: String,
    #[serde(flatten)]
    fields: &'a T,
}

/// Prints an object of this event.
pub fn print_object(event: &'static str, fields: &impl Serialize) {
    let time = timestamp(SystemTime::now(), SecondsFormat::Millis);
    let object = Object {
        event,
        time,
        fields,
    };
    if event == SUMMARY {
        HAS_SUMMARY.store(true, Ordering::Release);
    }
    // All that is printed has names for keys.
    if let Ok(mut line) = serde_json::to_string(&object) {
        line.push('\n');
        write_once(&line);
    }
}

/// Prints a sentence for people as a status of its own.
pub(super) fn print_message(said: &str) {
    #[derive(Serialize)]
    struct Said<'a> {
        message: &'a str,
    }
    let message = console::strip_ansi_codes(said);
    print_object("status", &Said { message: &message });
}
