//! Checkpoints in FP8 with block scales are computed as the weights that they stand for.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor, safetensors};
use image::{Rgb, RgbImage};
use omnidocs::{generation::model::VisionLanguageModel, models, nn::precision::Precision};
use tempfile::TempDir;

use super::{TINY_MODELS, example, golden, load, reader_cases};

#[path = "../common/fp8.rs"]
mod checkpoint;

/// One in FP8, and the one that its weights are equal to.
fn both(folder: &Path) -> (TempDir, TempDir) {
    let (fp8, dense) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    checkpoint::quantize(folder, fp8.path(), dense.path());
    (fp8, dense)
}

fn logits(model: &dyn VisionLanguageModel, page: &RgbImage) -> Vec<f32> {
    let prompt = model.tokenizer().prompt("Read.").unwrap();
    let prefilled = model
        .prefill(page, &prompt, 1, &mut model.new_cache())
        .unwrap();
    let logits = prefilled.logits.flatten_all().unwrap();
    logits.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

#[test]
fn fp8_logits_match_dequantized_weights() {
    let page_for = |folder: &Path| {
        let factor = models::pixel_budget(folder).unwrap().factor;
        RgbImage::from_fn(3 * factor, 2 * factor, |x, y| {
            Rgb([(x * 2) as u8, (y * 3) as u8, 90])
        })
    };
    let reader_page = reader_cases().swap_remove(0).image;
    let folders = TINY_MODELS.map(|name| (golden(name), page_for(&golden(name))));
    for (folder, page) in folders
        .into_iter()
        .chain([(example("reader"), reader_page)])
    {
        let (fp8, dense) = both(&folder);
        for precision in [DType::F32.into(), DType::BF16.into(), Precision::Q8_0] {
            let logits = |folder: &Path| {
                let model = models::load(folder, &Device::Cpu, precision, None);
                logits(&*model.unwrap(), &page)
            };
            let found = logits(fp8.path());
            assert!(found.iter().all(|logit| logit.is_finite()));
            assert!(
                found == logits(dense.path()),
                "{} {precision:?}",
                folder.display()
            );
        }
    }
}

/// What loading says when the tensors of a checkpoint in FP8 were changed so.
fn error_after(change: impl FnOnce(&mut HashMap<String, Tensor>)) -> String {
    let (fp8, _) = both(&golden("tiny-tied"));
    let path = fp8.path().join("model.safetensors");
    let mut tensors = safetensors::load(&path, &Device::Cpu).unwrap();
    change(&mut tensors);
    safetensors::save(&tensors, &path).unwrap();
    match load(fp8.path()) {
        Ok(_) => panic!("the weights were taken"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn fp8_tensor_without_scales_is_refused_by_name() {
    const NAME: &str = "model.language_model.layers.1.mlp.down_proj.weight";
    let scales = format!("{NAME}_scale_inv");
    let missing = error_after(|tensors| {
        tensors.remove(&scales).unwrap();
    });
    let shape = error_after(|tensors| {
        let other = Tensor::ones((2, 1), DType::BF16, &Device::Cpu).unwrap();
        tensors.insert(scales.clone(), other).unwrap();
    });
    let kind = error_after(|tensors| {
        let other = Tensor::ones((1, 1), DType::U8, &Device::Cpu).unwrap();
        tensors.insert(scales.clone(), other).unwrap();
    });
    let integers = error_after(|tensors| {
        let shape = tensors[NAME].shape().clone();
        let packed = Tensor::ones(shape, DType::I32, &Device::Cpu).unwrap();
        tensors.insert(NAME.to_owned(), packed).unwrap();
    });
    for (error, words) in [
        (missing, "are missing"),
        (
            shape,
            "have shape [2, 1], but blocks of 128 × 128 need [1, 1]",
        ),
        (kind, "are kept as U8"),
        (integers, "is kept as I32"),
    ] {
        assert!(error.contains(NAME) && error.contains(words), "{error}");
    }
}
