//! Writes the pages of image files as the model would see them, but at their own size: `dump_pixels FOLDER FILE…`.
//!
//! Each page becomes `FOLDER/<number of the file>-<page>.ppm`, and a line of JSON on the standard output says what came
//! of it. `benches/pillow.py` compares these with what Pillow reads.

use std::{env, fs, path::PathBuf};

use anyhow::Result;
use omnidocs::{
    page::{Format, Needs, PixelBudget},
    prepare::{
        Raster,
        decoder::{DecodedPage, Decoder, DocumentRequest, PageRequest},
        in_process::InProcess,
    },
    secrets::Passwords,
};
use serde_json::json;

/// Leaves a page of up to a hundred million pixels as it is.
const AS_IT_IS: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 100_000_000,
};

fn main() -> Result<()> {
    let mut paths = env::args_os().skip(1).map(PathBuf::from);
    let Some(folder) = paths.next() else {
        println!("usage: dump_pixels FOLDER FILE…");
        return Ok(());
    };
    let decoder = InProcess::start()?;
    for (index, path) in paths.enumerate() {
        let mut head = fs::read(&path)?;
        head.truncate(Format::HEAD);
        let line = |page: u32, result: Result<DecodedPage, String>| {
            let (warnings, blank, error) = match &result {
                Ok(page) => (page.warnings.clone(), page.blank, None),
                Err(error) => (Vec::new(), false, Some(error)),
            };
            println!(
                "{}",
                json!({ "file": index, "page": page, "warnings": warnings, "blank": blank, "error": error })
            );
        };
        let format = match Format::identify(&head) {
            Ok(Format::Pdf) => continue,
            Ok(format) => format,
            Err(error) => {
                line(0, Err(error.to_string()));
                continue;
            }
        };
        let document = DocumentRequest {
            id: index as u64,
            path,
            format,
            passwords: Passwords::default(),
        };
        let count = match decoder.page_count(&document) {
            Ok(count) => count,
            Err(error) => {
                line(0, Err(error.to_string()));
                continue;
            }
        };
        for number in 1..=count.present {
            let request = PageRequest {
                number,
                raster: Raster {
                    dpi: 72.0,
                    budget: AS_IT_IS,
                },
                needs: Needs {
                    pixels: true,
                    text: false,
                },
                upright: false,
                text_first: false,
                split: None,
            };
            let result = decoder.page(&document, request);
            if let Ok(DecodedPage {
                pixels: Some(pixels),
                ..
            }) = &result
            {
                let (width, height) = pixels.dimensions();
                let mut file = format!("P6\n{width} {height}\n255\n").into_bytes();
                file.extend(pixels.as_raw());
                fs::write(folder.join(format!("{index}-{number}.ppm")), file)?;
            }
            line(number, result.map_err(|error| error.to_string()));
        }
    }
    Ok(())
}
