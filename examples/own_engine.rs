//! An engine of one's own: it is shown every page as pixels, and answers how dark they are.
//!
//! `cargo run --release --example own_engine [FILE…]` prints one JSON line per page, as `omnidocs extract` writes them.

use std::env;

use omnidocs::{
    Reader, ReaderOptions,
    engine::{Attempt, PageResult, SingleReader},
    error::{ErrorKind, PageError, Stage},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PreparedPage},
};

struct Darkness(EngineInfo);

impl SingleReader for Darkness {
    fn info(&self) -> &EngineInfo {
        &self.0
    }

    fn needs(&self) -> Needs {
        Needs {
            pixels: true,
            text: false,
        }
    }

    fn read(&mut self, page: &PreparedPage, _: Attempt) -> PageResult {
        let image = page.pixels.as_ref().ok_or_else(|| {
            PageError::new(ErrorKind::Engine, Stage::Engine, "the page has no pixels")
        })?;
        let dark = image.pixels().filter(|pixel| pixel.0[1] < 128).count();
        let percent = 100.0 * dark as f64 / image.pixels().count() as f64;
        Ok(PageAnswer {
            content: format!("{percent:.1} % of the page is dark"),
            ..PageAnswer::default()
        })
    }
}

fn main() -> anyhow::Result<()> {
    let engine = Darkness(EngineInfo {
        engine: "darkness",
        model: None,
        output_format: OutputFormat::Text,
        device: None,
        dtype: None,
    });
    let mut reader = Reader::with_engine(engine, &ReaderOptions::default());
    let mut files: Vec<_> = env::args().skip(1).collect();
    if files.is_empty() {
        files = ["note.pdf", "notice.png"]
            .map(|name| format!("examples/pages/{name}"))
            .to_vec();
    }
    for file in files {
        for record in reader.read(&file)? {
            println!("{}", serde_json::to_string(&record)?);
        }
    }
    Ok(())
}
