//! Turns folders of PDFs and page images into one record per page, with a Qwen-VL vision-language model that runs in this
//! process, on CUDA or on a CPU.
//!
//! Most people run the program, `omnidocs extract ./pdfs -o results.jsonl`: see its README. This page is for those who call
//! it from Rust, and for those who change it.
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
//! | options and settings | `cli`, `config` |
//! | the types that the stages share | `page`, `block`, `error` |
//! | input formats and their decoders | `formats`: one table |
//! | inputs → a sorted list of files | `discover` |
//! | files → pages as pixels or text, prefetched | `prepare`: worker processes with PDFium and image decoders |
//! | which documents this run reads | `shard` |
//! | which pages are left out by their text layer | `skip` |
//! | large and long pages: where they are cut, and what is made of their parts | `prepare::split`, `engine::split` |
//! | pages → text | `engine` and its implementations |
//! | several devices, and which gets the next page | `engine::pool` |
//! | the installed Tesseract, as an engine and for drafts | `tesseract`, `engine::tesseract` |
//! | retries, smaller pages and fallbacks after a failure | `engine::recovery`, `engine::scheduler`, `engine::fallback`, `backoff` |
//! | models, one folder per family; known models | `models`, `models::preset` |
//! | a model's logits → an answer's tokens | `generation` |
//! | layers, kernels, weights and devices | `nn` |
//! | an answer's text → a page's content and blocks | `answer` |
//! | models by name | `hub` |
//! | certificates and proxies | `http` |
//! | NVIDIA GPUs: what they are, how busy | `gpu` |
//! | one line of the output | `record` |
//! | the output, and resuming it | `journal` |
//! | an output, as people look at it: status, pages, files, report | `views` |
//! | stderr: bar, log, summary | `progress`, drawn by `terminal` |
//! | secrets withheld from child processes | `secrets` |
//! | exit codes and signals | `exit`, `signals` |
//! | child processes that end with this one | `launch` |
//! | open files, processes, threads | `limits` |
//! | stopping, waiting, deadlines | `cancel`, `clock` |
//! | how sure a model was | `confidence` |
//! | reading from a Rust program | `reader` |
//!
//! Invariants, and the tests that hold them:
//!
//! - The model matches the reference implementation: `tests/model/parity.rs`.
//! - A page's text depends only on its pixels and the settings, not on earlier pages: `tests/model/parity.rs`.
//! - Drafts never change the output, up to rounding in bf16 and f16 and on a GPU:
//!   `tests/model/drafts.rs`, `tests/model/draft_head.rs`, `tests/model/qwen3_5.rs`, `tests/cli/drafts.rs`.
//! - Parsing an answer loses no letter, and boxes stay on the page: the tests of `answer`; `--format json` with each engine:
//!   `tests/cli/blocks.rs`.
//! - Non-finite numbers fail their page: `tests/model/not_finite.rs`.
//! - Pipelined decoding never changes the output: `tests/model/ahead.rs`.
//! - Batches never change the output, up to the same rounding: `tests/model/together.rs`.
//! - CUDA kernels stay close to double precision: `benches/cuda/kernels`, which `benches/check-cuda.sh` runs.
//! - Quantized weights stay close to f32: `tests/model/quantized.rs`, `tests/model/fp8.rs`.
//! - An unsupported model is refused before its weights are downloaded; other content is another model:
//!   `tests/cli/checkpoints.rs`.
//! - Every page of every input has a record, failed ones too: `tests/prepare`, `tests/cli/bad_input.rs`.
//! - At most `--prefetch` pages are prepared ahead, so memory does not grow with the input: `tests/prepare`;
//!   `benches/run.rs` measures it.
//! - A worker that crashes, hangs or fills the memory costs one page: `tests/cli/faults.rs`.
//! - If a device is lost, the others read its pages: `tests/pool.rs`.
//! - Whatever a server does, no page is lost or recorded twice: `tests/cli/server`.
//! - Shards are disjoint and complete; merged, they equal one run's output: `tests/cli/shards.rs`,
//!   `tests/cli/merge.rs`, and `tests/slurm.sh` on a real Slurm.
//! - Each path has its records, files with the same bytes are read once: `tests/cli/copies.rs`.
//! - A document that changes while it is read fails: `tests/cli/changed.rs`.
//! - The output file is the checkpoint: after a kill at any time nothing is lost and nothing is done twice:
//!   `tests/cli/promises.rs`, `tests/cli/kills.rs`, and the tests of `journal` for disks that fail.
//! - The exit code covers every requested page, whichever run read it: `tests/cli/resume.rs`.
//! - A foreign file is never changed, and an output is never destroyed: `tests/cli/foreign_output.rs`,
//!   `tests/cli/output_file.rs`.
//! - Records go to the output, everything else to stderr: `tests/cli/output.rs`; with `--progress json`, as objects and
//!   nothing else: `tests/cli/progress.rs`.
//! - The README's commands run: `tests/cli/readme.rs`.

// Print through `terminal`: these macros panic when the stream is closed.
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

#[doc(hidden)]
pub mod answer;
#[doc(hidden)]
pub mod backoff;
pub mod block;
#[doc(hidden)]
pub mod cancel;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod commands;
#[doc(hidden)]
pub mod confidence;
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
#[cfg(test)]
#[path = "../tests/common/fuzz.rs"]
mod fuzz;
#[doc(hidden)]
pub mod generation;
#[doc(hidden)]
pub mod gpu;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod hub;
#[doc(hidden)]
pub mod journal;
#[doc(hidden)]
pub mod launch;
#[doc(hidden)]
pub mod limits;
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
pub mod skip;
pub mod source;
#[doc(hidden)]
pub mod stamp;
#[doc(hidden)]
pub mod terminal;
#[doc(hidden)]
pub mod tesseract;
#[doc(hidden)]
pub mod views;
#[doc(hidden)]
pub mod words;

pub use self::{
    reader::{Reader, ReaderOptions},
    record::Record,
};
