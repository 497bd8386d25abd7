//! Speed of each stage alone: `cargo bench --bench stages`.
//!
//! Preparation in pages per second. Prefill and decode use the small reader, so they show the overhead around the products
//! more than the products.

use std::{fs, hint::black_box, path::Path, process::Command, sync::Arc};

use candle_core::{DType, Device};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::RgbImage;
use omnidocs::{
    cancel::Cancel,
    generation::{
        generator::{GenerateOptions, Generator},
        model::VisionLanguageModel,
        sampler::Sampling,
    },
    models::{self, common::patches::patchify},
    page::{PixelBudget, Source},
    prepare::{self, Raster},
};

/// A typical page size of published models.
const MEGAPIXEL: PixelBudget = PixelBudget {
    factor: 32,
    min_pixels: 65_536,
    max_pixels: 1 << 20,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages of `copies` copies of one example, by two workers.
fn prepare_all(file: &str, copies: usize) -> usize {
    let path = root().join("examples/pages").join(file);
    let source = Source {
        size_bytes: fs::metadata(&path).ok().map(|data| data.len()),
        path,
        error: None,
    };
    let settings = prepare::Settings::of_pixels(
        Raster {
            dpi: 200.0,
            budget: MEGAPIXEL,
        },
        prepare::DecoderChoice::Workers(env!("CARGO_BIN_EXE_omnidocs").into()),
    );
    let pages = prepare::pages(vec![source; copies], settings, &Cancel::default())
        .expect("preparation starts");
    pages
        .filter(|page| page.as_ref().is_ok_and(|page| page.result.is_ok()))
        .count()
}

fn preparation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prepare");
    group.sample_size(10);
    for file in ["receipts.pdf", "scan.jpg"] {
        group.throughput(Throughput::Elements(prepare_all(file, 8) as u64));
        group.bench_function(file, |bencher| bencher.iter(|| prepare_all(file, 8)));
    }
    group.finish();
}

fn patches(criterion: &mut Criterion) {
    let config = models::config(&root().join("examples/reader")).expect("the reader's config");
    let page = RgbImage::from_fn(1024, 1024, |x, y| {
        image::Rgb([x as u8, y as u8, (x ^ y) as u8])
    });
    let mut group = criterion.benchmark_group("patchify");
    group.throughput(Throughput::Elements(1));
    group.bench_function("1 megapixel", |bencher| {
        bencher.iter(|| patchify(black_box(&page), &config.patches, &Device::Cpu, DType::F32));
    });
    group.finish();
}

fn model(criterion: &mut Criterion) {
    let folder = root().join("examples/reader");
    let mut reader = models::load_parts(&folder, &Device::Cpu, DType::F32.into(), None)
        .expect("the reader loads");
    let page = image::open(root().join("examples/pages/scan.jpg"))
        .expect("an example page")
        .to_rgb8();
    let prompt = reader
        .tokenizer
        .prompt("Transcribe this page.")
        .expect("a prompt");
    let mut group = criterion.benchmark_group("reader");
    group.sample_size(20);
    let mut cache = reader.new_cache();
    group.bench_function("prefill 256×64", |bencher| {
        bencher.iter(|| {
            reader
                .prefill(&page, &prompt, 64, &mut cache)
                .expect("prefill")
                .next
        });
    });
    // One token a page would measure prefill; the difference between two budgets is decoding.
    reader.config.eos_token_ids.clear();
    let mut generator = Generator::new(Arc::new(reader));
    for tokens in [1, 33] {
        let sampling = Sampling {
            max_new_tokens: tokens,
            temperature: 0.0,
            seed: 0,
        };
        group.bench_function(format!("page of {tokens} tokens"), |bencher| {
            bencher.iter(|| {
                generator
                    .generate(&page, &prompt, sampling, GenerateOptions::default())
                    .expect("an answer")
                    .tokens
                    .len()
            });
        });
    }
    group.finish();
}

fn end_to_end(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("omnidocs extract");
    group.sample_size(10);
    group.bench_function("examples/pages", |bencher| {
        bencher.iter(|| {
            let status = Command::new(env!("CARGO_BIN_EXE_omnidocs"))
                .current_dir(root())
                .args([
                    "extract",
                    "examples/pages",
                    "--model",
                    "examples/reader",
                    "-q",
                ])
                .output()
                .expect("the program starts")
                .status;
            assert!(status.success());
        });
    });
    group.finish();
}

criterion_group!(stages, preparation, patches, model, end_to_end);
criterion_main!(stages);
