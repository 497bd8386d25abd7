//! Pages drawn from a fixed seed, as the files that a reader is given.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fastrand::Rng;
use image::{ImageFormat, Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use omnidocs::{
    cancel::Cancel,
    page::{PixelBudget, Source},
    prepare::{self, Raster},
};

use crate::{
    common,
    faces::Face,
    pages::{Page, between, is_strip, page},
    sheet,
};

const WHITE: Rgb<u8> = Rgb([255; 3]);

/// Pages of one size.
pub struct Stack {
    pub size: (u32, u32),
    pub pages: Vec<Page>,
    faces: Vec<Face>,
    rng: Rng,
}

impl Stack {
    /// `count` pages in these faces; of strips, which hold few words, four times as many.
    pub fn new(size: (u32, u32), count: usize, faces: Vec<Face>) -> Self {
        let (width, height) = size;
        let count = if is_strip(height) { 4 * count } else { count };
        // Pages in other faces have other words, too.
        let mut rng = Rng::with_seed(u64::from(width * height) + faces.len() as u64);
        let pages = (0..count).map(|_| page(&mut rng, &faces, size)).collect();
        Self {
            size,
            pages,
            faces,
            rng,
        }
    }

    /// Writes all pages as one PDF, whose points are pixels, and reads them as the program sees them.
    pub fn write_pdf(&self, path: &Path) -> Vec<RgbImage> {
        let sheets = self.pages.iter().map(|page| &page.sheet);
        let file = common::pdf_of(&sheet::objects(&self.faces, sheets));
        fs::write(path, file).expect("a PDF is written");
        let images = render(path.to_owned());
        assert_eq!(images.len(), self.pages.len());
        assert!(images.iter().all(|image| image.dimensions() == self.size));
        images
    }

    /// A page as a scanner sees it: not quite straight, blurred, on paper that is not white and with ink that is not
    /// black, grainy, and kept as a JPEG.
    pub fn scanned(&mut self, page: &RgbImage) -> RgbImage {
        let rng = &mut self.rng;
        let page = turned(page, between(rng, -1.0, 1.0));
        let page = imageops::blur(&page, between(rng, 0.2, 0.7) as f32);
        let page = grainy(rng, page);
        as_jpeg(&page, rng.u8(40..=80))
    }
}

/// The pages of a PDF, by the program's own preparation.
fn render(path: PathBuf) -> Vec<RgbImage> {
    let source = Source {
        path,
        size_bytes: None,
        error: None,
    };
    let settings = prepare::Settings {
        workers: 1,
        prefetch: 2,
        ..prepare::Settings::of_pixels(
            Raster {
                dpi: 72.0,
                budget: PixelBudget {
                    factor: 32,
                    min_pixels: 1 << 10,
                    max_pixels: 1 << 20,
                },
            },
            prepare::DecoderChoice::Workers(env!("CARGO_BIN_EXE_omnidocs").into()),
        )
    };
    let pages =
        prepare::pages(vec![source], settings, &Cancel::default()).expect("preparation starts");
    pages
        .map(|page| {
            let page = page.expect("the producer").result.expect("a page");
            std::sync::Arc::unwrap_or_clone(page.pixels.expect("its pixels"))
        })
        .collect()
}

/// Turned about its middle; what comes in at the corners is paper.
fn turned(page: &RgbImage, degrees: f64) -> RgbImage {
    let (sin, cos) = (degrees as f32).to_radians().sin_cos();
    let (width, height) = page.dimensions();
    let middle = ((width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0);
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 - middle.0, y as f32 - middle.1);
        let (x, y) = (middle.0 + x * cos - y * sin, middle.1 + x * sin + y * cos);
        imageops::interpolate_bilinear(page, x, y).unwrap_or(WHITE)
    })
}

fn grainy(rng: &mut Rng, mut page: RgbImage) -> RgbImage {
    let (ink, paper) = (between(rng, 0.0, 70.0), between(rng, 225.0, 255.0));
    let grain = between(rng, 4.0, 16.0);
    for pixel in page.pixels_mut() {
        // The sum of twelve even deviates is as good as a normal one.
        let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        for channel in &mut pixel.0 {
            let value = ink + (paper - ink) * f64::from(*channel) / 255.0 + grain * normal;
            *channel = value.round().clamp(0.0, 255.0) as u8;
        }
    }
    page
}

fn as_jpeg(page: &RgbImage, quality: u8) -> RgbImage {
    let mut file = Vec::new();
    page.write_with_encoder(JpegEncoder::new_with_quality(&mut file, quality))
        .expect("a JPEG is written");
    let page = image::load_from_memory_with_format(&file, ImageFormat::Jpeg);
    page.expect("a JPEG is read").into_rgb8()
}
