//! The options of `omnidocs export`.

use std::path::PathBuf;

use clap::Args;

use super::PasswordArgs;
use crate::options::ExportKind;

const EXAMPLES: &str = "\
Examples:
  omnidocs export results.jsonl --to out
  omnidocs export results.jsonl --to out --per-page
  omnidocs export results.jsonl --to out --page-break '---'
  omnidocs export results.jsonl --to out --figures
  omnidocs export results.jsonl --to out --as dolma

The records as Parquet, with DuckDB:
  duckdb -c \"COPY (FROM 'results.jsonl') TO 'results.parquet'\"";

/// `omnidocs export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    /// Output file of omnidocs extract or merge
    #[arg(value_name = "FILE")]
    pub output: PathBuf,

    /// The folder for the files: in/a.pdf becomes DIR/in/a.pdf.md
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// What to write
    ///
    /// Dolma's lines have id (the SHA-256 of the document's file), text, source, added, created, metadata, and
    /// attributes.pdf_page_numbers, as olmOCR writes them. Copies and documents without text are left out.
    #[arg(long = "as", value_enum, value_name = "WHAT", default_value_t = ExportKind::Files)]
    pub kind: ExportKind,

    /// Write one file per page: DIR/in/a.pdf.p0003.md
    #[arg(long)]
    pub per_page: bool,

    /// Text between pages, on a line of its own; {page} is the page's number [default: a mark before each page]
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "per_page",
        allow_hyphen_values = true
    )]
    pub page_break: Option<String>,

    /// Cut the figures out of the pages, as DIR/in/a.pdf.figures/p0003-1.webp, and link the Markdown to them
    ///
    /// For records whose blocks have places: see extract --format json. The documents are opened again.
    #[arg(long)]
    pub figures: bool,

    /// Folder that relative paths of documents start from, for --figures [default: the current folder]
    #[arg(long, value_name = "DIR", requires = "figures")]
    pub root: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: PasswordArgs,
}
