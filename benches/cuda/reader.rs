//! The reader's pages: alone, several together, pipelined, and with drafts.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use image::RgbImage;
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        sequence::Generated,
    },
    models,
    nn::precision::Precision,
};
use serde::Deserialize;

use super::{GREEDY, Tally};

/// Pages of more pixels take long.
const MAX_PIXELS: u32 = 286_720;
/// Sides are multiples of it where the reader sees a page at its own size.
const FACTOR: u32 = 32;
/// How often the same is done again to find a race.
const ROUNDS: usize = 3;

struct Page {
    image: RgbImage,
    prompt: String,
    text: String,
    /// What the reference writes in f32, without the token that ends it.
    tokens: Vec<u32>,
}

fn pages(golden: &Path, stride: usize) -> Result<Vec<Page>> {
    #[derive(Deserialize)]
    struct Golden {
        image: String,
        prompt: String,
        text: String,
        tokens: Vec<u32>,
    }

    let root = golden.parent().and_then(Path::parent);
    let root = root.context("the goldens are not in tests/golden")?;
    let cases: Vec<Golden> = serde_json::from_slice(&fs::read(golden.join("reader.json"))?)?;
    let mut pages = Vec::new();
    for mut case in cases.into_iter().step_by(stride) {
        let image = image::open(root.join(&case.image))?.to_rgb8();
        let (width, height) = image.dimensions();
        let is_whole = width.is_multiple_of(FACTOR) && height.is_multiple_of(FACTOR);
        if is_whole && width * height <= MAX_PIXELS {
            case.tokens.pop();
            pages.push(Page {
                image,
                prompt: case.prompt,
                text: case.text,
                tokens: case.tokens,
            });
        }
    }
    Ok(pages)
}

pub fn check(
    golden: &Path,
    reader: &Path,
    stride: usize,
    device: &Device,
    tally: &mut Tally,
) -> Result<()> {
    let pages = pages(golden, stride)?;
    for precision in [DType::F32.into(), DType::BF16.into(), Precision::Q8_0] {
        let model = models::load(reader, device, precision, None)?;
        check_in(precision, &mut Generator::new(model), &pages, tally)?;
    }
    Ok(())
}

fn check_in(
    precision: Precision,
    generator: &mut Generator,
    pages: &[Page],
    tally: &mut Tally,
) -> Result<()> {
    let (name, all) = (precision.name(), pages.len());
    // In fewer bits, what a page is read together with decides between logits that are about equal.
    let exact = precision == DType::F32.into();
    let mut run = |pipelined: bool, slots: usize, drafts: bool| {
        generator.pipelined = pipelined;
        read(generator, pages, slots, drafts)
    };
    let alone = run(false, 1, false)?;
    let right = count(&alone, pages, |answer, page| answer.tokens == page.tokens);
    tally.say(
        right == all || !exact && right * 10 >= all * 7,
        &format!("{name} reader: {right} of {all} pages as the reference (f32) reads them"),
    );
    let is_same = |a: &Generated, b: &Generated| a.tokens == b.tokens && a.ending == b.ending;
    // The same kernels over the same shapes: any difference is a race.
    for round in 0..ROUNDS {
        let same = count(&run(true, 1, false)?, &alone, is_same);
        tally.say(
            same == all,
            &format!("{name} pipelined, round {round}: {same} of {all}"),
        );
    }
    for slots in [3, 8] {
        let waiting = run(false, slots, false)?;
        let same = count(&run(true, slots, false)?, &waiting, is_same);
        tally.say(
            same == all,
            &format!("{name} {slots} together, pipelined or not: {same} of {all}"),
        );
        let same = count(&waiting, &alone, is_same);
        tally.say(
            same == all || !exact,
            &format!("{name} {slots} together or alone: {same} of {all}"),
        );
    }
    for slots in [1, 3] {
        let drafted = run(true, slots, true)?;
        let same = count(&drafted, &alone, is_same);
        let accepted: usize = drafted.iter().map(|answer| answer.draft_accepted).sum();
        tally.say(
            (same == all || !exact) && accepted > 0,
            &format!("{name} drafts, {slots} together: {same} of {all}, {accepted} tokens drafted"),
        );
    }
    Ok(())
}

fn count<A, B>(found: &[A], wanted: &[B], is_right: impl Fn(&A, &B) -> bool) -> usize {
    let pairs = found.iter().zip(wanted);
    pairs
        .filter(|(found, wanted)| is_right(found, wanted))
        .count()
}

/// Reads all pages, `slots` of them at a time; one that is done makes room for the next.
fn read(
    generator: &mut Generator,
    pages: &[Page],
    slots: usize,
    drafts: bool,
) -> Result<Vec<Generated>> {
    let mut waiting = pages.iter().enumerate();
    let mut held = Vec::new();
    let mut done: Vec<Option<Generated>> = pages.iter().map(|_| None).collect();
    loop {
        while held.len() < slots
            && let Some((i, page)) = waiting.next()
        {
            let options = GenerateOptions {
                draft: drafts.then_some(&*page.text),
                ..GenerateOptions::default()
            };
            let prompt = generator.tokenizer().prompt(&page.prompt)?;
            held.push((i, generator.begin(&page.image, &prompt, GREEDY, options)?));
        }
        if held.is_empty() {
            return Ok(done.into_iter().flatten().collect());
        }
        for (i, sequence) in std::mem::take(&mut held) {
            match sequence.ending() {
                Some(ending) => done[i] = Some(generator.finish(sequence, ending)),
                None => held.push((i, sequence)),
            }
        }
        if held.len() == slots || waiting.len() == 0 && !held.is_empty() {
            let mut open: Vec<_> = held.iter_mut().map(|held| &mut held.1).collect();
            generator.advance(&mut open)?;
        }
    }
}
