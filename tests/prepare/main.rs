//! What preparation promises: upright pages at the model's size, in order, a few ahead; and for every bad file an error
//! that a person understands.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod cases;
mod cases_image;
mod damaged_files;
mod damaged_images;
mod decoders;
mod images;
mod one_page;
mod pdf;
mod pdf_pages;
mod pdf_text;
mod sizes;
mod stream;

use std::{
    fs::{self, File},
    io::Cursor,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use image::{
    DynamicImage, ExtendedColorType, GrayAlphaImage, ImageBuffer, ImageEncoder, ImageFormat, Luma,
    LumaA, Rgb, RgbImage, RgbaImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};
use omnidocs::{
    cancel::Cancel,
    error::{ErrorKind, PageError, Stage},
    journal::{Index, Resume, Retry, Target},
    page::{
        Document, Format, Needs, PageText, PixelBudget, Preparation, PreparedPage, Source, Warning,
    },
    page_selection::PageSelection,
    prepare::{
        self, Done, Known, Raster, Settings,
        resize::{max_resized_pixels, resize, smart_resize},
    },
    secrets::Passwords,
};
use proptest::prelude::*;
use tempfile::TempDir;
use tiff::encoder::{TiffEncoder, colortype};

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];

/// A budget that leaves a page of up to ten million pixels as it is.
const AS_IT_IS: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 10_000_000,
};
const QWEN: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 2_097_152,
};
const EVERYTHING: Needs = Needs {
    pixels: true,
    text: true,
};

/// One pixel per point.
fn settings() -> Settings {
    Settings {
        needs: EVERYTHING,
        prefetch: 2,
        ..Settings::of_pixels(
            Raster {
                dpi: 72.0,
                budget: AS_IT_IS,
            },
            prepare::DecoderChoice::Workers(env!("CARGO_BIN_EXE_omnidocs").into()),
        )
    }
}

/// The same at `dpi`, within `budget`.
fn settings_for(dpi: f64, budget: PixelBudget) -> Settings {
    Settings {
        raster: Raster { dpi, budget },
        ..settings()
    }
}

fn sources(paths: &[PathBuf]) -> Vec<Source> {
    let source = |path: &PathBuf| Source {
        path: path.clone(),
        size_bytes: None,
        error: None,
    };
    paths.iter().map(source).collect()
}

fn prepare_all(paths: &[PathBuf], settings: Settings) -> Vec<Preparation> {
    prepare::pages(sources(paths), settings, &Cancel::default())
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// The only page of a file.
fn only(path: &Path, settings: Settings) -> Preparation {
    let mut pages = prepare_all(&[path.to_owned()], settings);
    assert_eq!(pages.len(), 1, "{pages:?}");
    pages.remove(0)
}

/// The only page of a file with these bytes.
fn page_of(bytes: &[u8]) -> PreparedPage {
    let (_folder, path) = file("page", bytes);
    only(&path, settings()).result.unwrap()
}

fn pixels_of(bytes: &[u8]) -> RgbImage {
    std::sync::Arc::unwrap_or_clone(page_of(bytes).pixels.unwrap())
}

/// Why a file with these bytes gives no page.
fn error_of(name: &str, bytes: &[u8]) -> (u32, PageError) {
    let (_folder, path) = file(name, bytes);
    error_at(&path)
}

fn error_at(path: &Path) -> (u32, PageError) {
    let preparation = only(path, settings());
    (preparation.page.number, preparation.result.unwrap_err())
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/data").join(name)).unwrap()
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encode(image, ImageFormat::Png)
}

/// Left half red, right half blue.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        Rgb(if x < width / 2 { RED } else { BLUE })
    })
}

#[track_caller]
fn assert_near(pixel: Rgb<u8>, expected: [u8; 3], tolerance: u8) {
    let near = pixel
        .0
        .iter()
        .zip(expected)
        .all(|(&a, b)| a.abs_diff(b) <= tolerance);
    assert!(near, "{:?}, expected {expected:?}", pixel.0);
}

/// A PDF of these pages: each one's own dictionary entries, its content, and further objects, which the entries can
/// name as `4 0 R` and so on if there is one page.
fn pdf(pages: &[(&str, &str)], further: &[&str]) -> Vec<u8> {
    let kids: Vec<_> = (0..pages.len())
        .map(|page| format!("{} 0 R", 3 + further.len() + 2 * page))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [3 0 R] >> >>".to_owned(),
        format!(
            "<< /Type /Pages /Count {} /Kids [{}] >>",
            pages.len(),
            kids.join(" ")
        ),
    ];
    objects.extend(further.iter().map(|&object| object.to_owned()));
    for (entries, content) in pages {
        let content_object = objects.len() + 2;
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /Contents {content_object} 0 R /Resources << /Font << /F \
             << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> {entries} >>"
        ));
        objects.push(stream("", content));
    }
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        bytes.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    bytes.extend(
        format!("trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes(),
    );
    bytes
}

fn stream(entries: &str, content: &str) -> String {
    format!(
        "<< /Length {} {entries} >>\nstream\n{content}\nendstream",
        content.len()
    )
}

fn text_page(text: &str) -> String {
    format!("BT /F 12 Tf 10 50 Td ({text}) Tj ET")
}
