//! Turns folders of PDFs and page images into one record per page, with a Qwen-VL vision-language model that runs in this
//! process, on CUDA or on a CPU.
//!
//! Most people run the program, `omnidocs extract ./pdfs -o results.jsonl`: see the
//! [README](https://crates.io/crates/omnidocs). This page is for those who call it from Rust, and for those who change it.
//!
//! # Read pages from a program
//!
//! [`Reader`] opens a model and gives a [`Record`] for each page:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let mut reader = omnidocs::Reader::open("Qwen/Qwen3-VL-2B-Instruct")?;
//! let record = reader.read_page("report.pdf", 3)?;
//! match (record.content, record.error) {
//!     (Some(text), _) => println!("{text}"),
//!     (None, Some(error)) => eprintln!("page {}: {error}", record.page),
//!     (None, None) => {}
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`ReaderOptions`] has the device, the number type, the prompt and the limits. `examples/read_page.rs` is a whole program.
//!
//! # Bring an engine
//!
//! What reads a page when it is given one implements [`engine::SingleReader`]; what holds several at a time,
//! [`engine::BatchReader`]. [`Reader::with_engine`] reads with it: retries, deadlines and records are taken care of. See
//! `examples/own_engine.rs`.
//!
//! # Read the records
//!
//! A [`Record`] is one line of the output, [`record`] says what its fields mean. It reads back with `serde_json`.
//!
//! # The map of the code
//!
//! ```text
//! discover ──> prepare (rayon pool, bounded) ──> engine ──> record ──> journal (the JSONL file)
//! inputs        pages as pixels                   text       one line    append, sync, resume
//! ```
//!
//! Data flows one way. A stage knows only the types of the stages before it; `run` alone wires them together, for
//! `commands`.
//!
//! | what | where |
//! |---|---|
//! | what was typed, and what it means | `cli`, `config` |
//! | the nouns that the stages share | `page`, `error` |
//! | which files can be read, and by what | `formats`: one table |
//! | inputs → a sorted list of files | `discover` |
//! | files → pages as pixels or text, a few ahead | `prepare`: worker processes with PDFium and image decoders |
//! | which of the documents this run is for | `shard` |
//! | pages → text | `engine` and its implementations |
//! | several devices, and who gets the next page | `engine::pool` |
//! | the installed Tesseract, as an engine and for guesses at a model's answer | `tesseract`, `engine::tesseract` |
//! | what becomes of a page that an engine fails on | `engine::recovery`, `engine::scheduler`, `engine::fallback`, `backoff` |
//! | models: one folder a family | `models` |
//! | a model's logits → an answer's tokens | `generation` |
//! | layers, kernels, weights and devices: what models are made of | `nn` |
//! | an answer's text → a page's content | `answer` |
//! | models by name | `hub` |
//! | one line of the output | `record` |
//! | the output, and what is in it already | `journal` |
//! | the standard error: bar, log, summary | `progress`, drawn by `terminal` |
//! | what no child process may know | `secrets` |
//! | how the program ends | `exit`, `signals` |
//!
//! | all of this from a program of one's own | `reader` |
//!
//! What always holds, and the tests that hold it:
//!
//! - The model computes what the reference implementation computes: `tests/model/parity.rs`.
//! - A page's text depends on its pixels and the settings alone, not on the pages before it: `tests/model/parity.rs`.
//! - What is guessed of an answer before it is written changes nothing about it, up to rounding in bf16 and f16 and on a GPU:
//!   `tests/model/drafts.rs`, `tests/cli/drafts.rs`.
//! - Numbers that are not finite fail their page: `tests/model/not_finite.rs`.
//! - An answer is the same whether its tokens are read before or after the decoder goes on: `tests/model/ahead.rs`.
//! - Pages that are read together come out as they do alone, up to the same: `tests/model/together.rs`.
//! - Weights of few bits stay close to those in f32: `tests/model/quantized.rs`, `tests/model/fp8.rs`.
//! - A model that can't be computed is refused before its weights are fetched, and another content is another model:
//!   `tests/cli/checkpoints.rs`.
//! - Every page of every input has a record, whatever is wrong with it: `tests/prepare`, `tests/cli/bad_input.rs`.
//! - At most `--prefetch` pages are prepared ahead, so memory does not grow with the input: `tests/prepare`, and
//!   `benches/run.rs` prints the figures.
//! - What decodes a document may crash, hang or eat memory, and costs one page: `tests/cli/faults.rs`.
//! - A device may be lost, and the others read its pages: `tests/pool.rs`.
//! - A server may do whatever it likes, and no page is lost or there twice: `tests/cli/server`.
//! - Shards are disjoint and make up the whole, and merged they are what one run writes: `tests/cli/shards.rs`,
//!   `tests/cli/merge.rs`, and `tests/slurm.sh` on a real Slurm.
//! - The output file is the checkpoint: what is in it is done, whenever the run was cut off, and nothing is done twice:
//!   `tests/cli/promises.rs`, `tests/cli/kills.rs`, and the tests of `journal` for disks that fail.
//! - The exit code speaks of every page that was asked for, whichever run read it: `tests/cli/resume.rs`.
//! - A file that is no output is never changed, and an output is never destroyed: `tests/cli/foreign_output.rs`,
//!   `tests/cli/output_file.rs`.
//! - Records go to the output and everything else to the standard error: `tests/cli/output.rs`.

// What is said goes through `terminal`: these panic where nobody reads it.
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

#[doc(hidden)]
pub mod answer;
#[doc(hidden)]
pub mod backoff;
#[doc(hidden)]
pub mod cancel;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod commands;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod discover;
pub mod engine;
pub mod error;
#[doc(hidden)]
pub mod exit;
#[doc(hidden)]
pub mod formats;
#[doc(hidden)]
pub mod generation;
#[doc(hidden)]
pub mod hub;
#[doc(hidden)]
pub mod journal;
#[doc(hidden)]
pub mod model_files;
#[doc(hidden)]
pub mod models;
#[doc(hidden)]
pub mod nn;
pub mod options;
pub mod page;
#[doc(hidden)]
pub mod page_selection;
#[doc(hidden)]
pub mod prepare;
#[doc(hidden)]
pub mod progress;
mod reader;
pub mod record;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod secrets;
#[doc(hidden)]
pub mod shard;
#[doc(hidden)]
pub mod signals;
pub mod source;
#[doc(hidden)]
pub mod stamp;
#[doc(hidden)]
pub mod terminal;
#[doc(hidden)]
pub mod tesseract;
#[doc(hidden)]
pub mod words;

pub use self::{
    reader::{Reader, ReaderOptions},
    record::Record,
};
