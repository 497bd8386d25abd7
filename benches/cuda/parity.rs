//! The tiny models against what the reference implementation computed, part by part, in each type.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use omnidocs::{
    generation::{
        generator::{GenerateOptions, Generator},
        model::VisionLanguageModel,
        sampler::Sampling,
    },
    models::{
        self,
        common::{model::QwenVl, parts::Deepstack, patches::patchify, positions::prompt_positions},
    },
};

use super::{GREEDY, Tally};

/// What sums in another order, and numbers of fewer bits, may differ by.
const BOUNDS: [(DType, f32); 3] = [(DType::F32, 1e-4), (DType::BF16, 6e-2), (DType::F16, 1e-2)];

pub fn check(golden: &Path, device: &Device, tally: &mut Tally) -> Result<()> {
    for (dtype, bound) in BOUNDS {
        for name in ["tiny-tied", "tiny-untied"] {
            let folder = golden.join(name);
            let mut model = models::load_parts(&folder, device, dtype.into(), None)?;
            model.config.eos_token_ids.clear();
            let cases = Case::all(&folder)?;
            for case in &cases {
                let what = |part: &str| format!("{} {name} {} {part}", dtype.as_str(), case.name);
                parts(&model, case, dtype, |part, found| {
                    tally.close(&what(part), found, case.get(part)?, bound)
                })?;
            }
            if dtype == DType::F32 {
                let mut generator = Generator::new(Arc::new(model));
                for case in &cases {
                    let is_equal = case.is_written_by(&mut generator)?;
                    tally.say(is_equal, &format!("{name} {} 32 tokens", case.name));
                }
            }
        }
    }
    Ok(())
}

/// Runs a page through the model and shows each part of what it computes, by the golden's name for it.
fn parts(
    model: &QwenVl,
    case: &Case,
    dtype: DType,
    mut show: impl FnMut(&str, &Tensor) -> Result<()>,
) -> Result<()> {
    let device = model.device();
    let (patches, grid) = patchify(&case.image()?, &model.config.patches, device, dtype)?;
    let vision = model.vision.forward(&patches, grid)?;
    show("vision", &vision.embeddings)?;
    for (i, feature) in vision.deepstack.iter().enumerate() {
        show(&format!("deepstack.{i}"), feature)?;
    }
    let tokens = case.ints("input_ids")?;
    let image_token = model.config.image_token_id;
    let merged = grid.merged(model.config.patches.merge_size);
    let start = tokens.iter().position(|&token| token == image_token);
    let start = start.context("there is no image in the prompt")?;
    let after = start + merged.len();
    let text = model.text.embed(&Tensor::new(&*tokens, device)?)?;
    let embeddings = Tensor::cat(
        &[
            &text.narrow(0, 0, start)?,
            &vision.embeddings,
            &text.narrow(0, after, tokens.len() - after)?,
        ],
        0,
    )?;
    let positions = prompt_positions(&tokens, image_token, &[merged])?.tokens;
    let mut cache = model.new_cache();
    cache.reset(positions.len())?;
    let deepstack = Deepstack {
        start,
        features: &vision.deepstack,
    };
    let mut layers = Vec::new();
    let last = model.text.forward(
        &embeddings,
        &positions,
        Some(&deepstack),
        &mut cache,
        &mut |hidden| layers.push(hidden.clone()),
    )?;
    for (i, layer) in layers.iter().enumerate() {
        show(&format!("hidden.{}", i + 1), layer)?;
    }
    // The goldens hold those of the last positions.
    let kept = case.get("logits")?.dim(0)?;
    let last = last.narrow(0, last.dim(0)? - kept, kept)?;
    show("logits", &model.text.logits(&last)?)
}

/// One page of a tiny model with all that the reference computed for it.
struct Case {
    tensors: Arc<HashMap<String, Tensor>>,
    name: String,
    prompt: String,
}

impl Case {
    fn all(folder: &Path) -> Result<Vec<Self>> {
        let path = folder.join("expected.safetensors");
        let tensors = Arc::new(candle_core::safetensors::load(&path, &Device::Cpu)?);
        let bytes = fs::read(&path)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let named = header.metadata().as_ref();
        let prompts = named.and_then(|named| named.get("prompts"));
        let prompts: Vec<String> = serde_json::from_str(prompts.context("no prompts")?)?;
        let case = |(i, prompt)| Self {
            tensors: Arc::clone(&tensors),
            name: format!("case{i}"),
            prompt,
        };
        Ok(prompts.into_iter().enumerate().map(case).collect())
    }

    fn get(&self, name: &str) -> Result<&Tensor> {
        let name = format!("{}.{name}", self.name);
        let tensor = self.tensors.get(&name);
        tensor.with_context(|| format!("the goldens have no {name}"))
    }

    fn ints(&self, name: &str) -> Result<Vec<u32>> {
        let values: Vec<i64> = self.get(name)?.flatten_all()?.to_vec1()?;
        Ok(values.into_iter().map(|value| value as u32).collect())
    }

    fn image(&self) -> Result<RgbImage> {
        let tensor = self.get("image")?;
        let (height, width, _) = tensor.dims3()?;
        let pixels = tensor.flatten_all()?.to_vec1()?;
        RgbImage::from_raw(width as u32, height as u32, pixels).context("pixels are missing")
    }

    /// Whether the model's first 32 tokens are the reference's.
    fn is_written_by(&self, generator: &mut Generator) -> Result<bool> {
        let prompt = generator.tokenizer().prompt(&self.prompt)?;
        let sampling = Sampling {
            max_new_tokens: 32,
            ..GREEDY
        };
        let options = GenerateOptions::default();
        let generated = generator.generate(&self.image()?, &prompt, sampling, options)?;
        Ok(generated.tokens == self.ints("generated")?)
    }
}
