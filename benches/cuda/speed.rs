//! How long loading, prefill and decoding take, and what of it is the host's own time.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Result, bail, ensure};
use candle_core::{D, DType, Device, Tensor};
use image::RgbImage;
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        model::{SequenceSlice, VisionLanguageModel},
        sampler::Sampling,
        sequence::{Ending, Sequence},
        tokenizer::Prompt,
    },
    models::common::{model::QwenVl, patches::patchify},
    nn::device::Hardware,
};

use super::{GREEDY, INSTRUCTION, load};

/// Runs of the decoder that are not counted, before those that are.
const WARM_UP: usize = 4;
/// Runs of the decoder that nothing is read of.
const UNREAD: u32 = 8;

pub fn measure(
    folder: &Path,
    size: (u32, u32),
    tokens: usize,
    batches: &[usize],
    hardware: &Hardware,
) -> Result<()> {
    let start = Instant::now();
    let device = hardware.device();
    let model = without_end(folder, hardware)?;
    device.synchronize()?;
    let took = start.elapsed().as_secs_f64();
    println!("speed load {took:.2} s{}", memory(device));
    let page = noise(size);
    let prompt = model.tokenizer.prompt(INSTRUCTION)?;
    prefill(&model, &page, &prompt, tokens, hardware)?;
    let mut generator = Generator::new(model.clone());
    for &batch in batches {
        for pipelined in [false, true] {
            generator.pipelined = pipelined;
            decode(&mut generator, &page, &prompt, batch, tokens)?;
        }
        unread_steps(&*model, &page, &prompt, batch, tokens)?;
    }
    Ok(())
}

/// A model whose answers no token ends.
fn without_end(folder: &Path, hardware: &Hardware) -> Result<Arc<QwenVl>> {
    let mut model = load(folder, hardware)?;
    model.config.eos_token_ids.clear();
    Ok(Arc::new(model))
}

fn noise((width, height): (u32, u32)) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let mixed = x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503);
        let [red, green, blue, _] = mixed.wrapping_mul(2_246_822_519).to_be_bytes();
        image::Rgb([red, green, blue])
    })
}

fn prefill(
    model: &QwenVl,
    page: &RgbImage,
    prompt: &Prompt,
    tokens: usize,
    hardware: &Hardware,
) -> Result<()> {
    let device = hardware.device();
    let activations = hardware.precision().activations();
    let mut cache = model.new_cache();
    for round in 0..3 {
        let start = Instant::now();
        let (patches, grid) = patchify(page, &model.config.patches, device, activations)?;
        device.synchronize()?;
        let patched = ms(start);
        let start = Instant::now();
        let vision = model.vision.forward(&patches, grid)?;
        let asked = ms(start);
        device.synchronize()?;
        let seen = ms(start);
        drop(vision);
        let start = Instant::now();
        let prefilled = model.prefill(page, prompt, tokens, &mut cache)?;
        let queued = ms(start);
        device.synchronize()?;
        println!(
            "speed prefill round {round}: {} tokens of {}; patches {patched:.1} ms, vision {seen:.1} ms (host {asked:.1}), \
             all {:.1} ms (host {queued:.1}){}",
            prefilled.image_tokens,
            prefilled.prompt_tokens,
            ms(start),
            memory(device)
        );
    }
    Ok(())
}

fn begin(
    generator: &mut Generator,
    page: &RgbImage,
    prompt: &Prompt,
    batch: usize,
    tokens: usize,
) -> Result<Vec<Sequence>> {
    let sampling = Sampling {
        max_new_tokens: tokens + 64,
        ..GREEDY
    };
    let begun =
        (0..batch).map(|_| generator.begin(page, prompt, sampling, GenerateOptions::default()));
    begun.collect()
}

fn advance(generator: &mut Generator, sequences: &mut [Sequence]) -> Result<()> {
    let mut open: Vec<_> = sequences.iter_mut().collect();
    let is_open = |sequence: &&mut Sequence| sequence.ending().is_none();
    ensure!(open.iter().all(is_open), "an answer ended early");
    generator.advance(&mut open)
}

fn decode(
    generator: &mut Generator,
    page: &RgbImage,
    prompt: &Prompt,
    batch: usize,
    tokens: usize,
) -> Result<()> {
    let device = generator.model().device().clone();
    let start = Instant::now();
    let mut sequences = begin(generator, page, prompt, batch, tokens)?;
    let prefill = ms(start) / batch as f64;
    let mut timed = |steps: usize| -> Result<f64> {
        device.synchronize()?;
        let start = Instant::now();
        for _ in 0..steps {
            advance(generator, &mut sequences)?;
        }
        device.synchronize()?;
        Ok(ms(start) / steps as f64)
    };
    timed(WARM_UP)?;
    let step = timed(tokens.saturating_sub(2 * WARM_UP).max(1))?;
    println!(
        "speed decode batch {batch} {}: {step:.2} ms a step, {:.1} tokens/s; prefill {prefill:.1} ms a page{}",
        if generator.pipelined {
            "pipelined"
        } else {
            "waiting"
        },
        batch as f64 / step * 1000.0,
        memory(&device)
    );
    Ok(())
}

/// How long the host takes to ask for a run of the decoder, and the device to do it, when nothing is read.
fn unread_steps(
    model: &dyn VisionLanguageModel,
    page: &RgbImage,
    prompt: &Prompt,
    batch: usize,
    tokens: usize,
) -> Result<()> {
    let device = model.device();
    let mut caches: Vec<_> = (0..batch).map(|_| model.new_cache()).collect();
    let mut next = 0;
    for cache in &mut caches {
        next = model.prefill(page, prompt, tokens.max(64), cache)?.next;
    }
    let mut token = Tensor::zeros(batch, DType::U32, device)?;
    device.synchronize()?;
    let start = Instant::now();
    for step in 0..UNREAD {
        let slice = |cache| SequenceSlice {
            tokens: 1,
            position: next + step,
            cache,
        };
        let mut slices: Vec<_> = caches.iter_mut().map(slice).collect();
        token = model.forward(&token, &mut slices)?.argmax(D::Minus1)?;
    }
    let asked = ms(start) / f64::from(UNREAD);
    device.synchronize()?;
    let done = ms(start) / f64::from(UNREAD);
    println!("speed step batch {batch}: host {asked:.2} ms to ask, {done:.2} ms until done");
    Ok(())
}

/// Pages to read.
#[derive(Clone, Copy)]
pub struct Pages {
    pub count: usize,
    /// Width and height.
    pub side: u32,
    /// How many are read together.
    pub batch: usize,
}

/// Reads `pages` for `steps` runs of the decoder each, and prints nothing.
///
/// # Errors
/// What was read of a device is no token.
pub fn steps(
    folder: &Path,
    hardware: &Hardware,
    pages: Pages,
    steps: usize,
    pipelined: bool,
) -> Result<()> {
    let model = without_end(folder, hardware)?;
    let prompt = model.tokenizer.prompt(INSTRUCTION)?;
    let page = noise((pages.side, pages.side));
    let vocab = model.config.vocab_size as u32;
    let mut generator = Generator::new(model);
    generator.pipelined = pipelined;
    for _ in 0..pages.count.div_ceil(pages.batch) {
        let mut sequences = begin(&mut generator, &page, &prompt, pages.batch, 256)?;
        for _ in 0..steps {
            advance(&mut generator, &mut sequences)?;
        }
        for sequence in sequences {
            let answer = generator.finish(sequence, Ending::Length);
            let early = answer.tokens.iter().find(|&&token| token >= vocab);
            if let Some(token) = early {
                bail!("{token:#x} was read, which is no token: its copy had not arrived");
            }
        }
    }
    Ok(())
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// What the device holds, to go behind a figure.
fn memory(device: &Device) -> String {
    #[cfg(feature = "cuda")]
    if device.is_cuda()
        && let Ok((free, total)) = candle_core::cuda_backend::cudarc::driver::result::mem_get_info()
    {
        return format!(", {:.2} GB used", (total - free) as f64 / 1e9);
    }
    let _ = device;
    String::new()
}
