//! # omnidocs
//!
//! Turns folders of PDFs and page images into one JSON line per page.
//!
//! ```text
//! discover ──> prepare (rayon pool, bounded) ──> engine ──> record ──> journal (the JSONL file)
//! inputs        pages as pixels                   text       one line    append, flush
//! ```
//!
//! Data flows one way. A stage knows only the types of the stages before it; [`run`] alone wires them together.

pub mod cli;
pub mod commands;
pub mod config;
pub mod discover;
pub mod document;
pub mod engine;
pub mod error;
pub mod exit;
pub mod hub;
pub mod journal;
pub mod prepare;
pub mod progress;
pub mod qwen_vl;
pub mod record;
pub mod run;
