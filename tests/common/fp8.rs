//! Checkpoints in FP8 with block scales, made of dense ones as published ones are.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor, safetensors};
use serde_json::{Value, json};

const BLOCK: usize = 128;
/// The largest number of E4M3.
const MAX: f32 = 448.0;

/// Makes of the model in `folder` one in FP8, in `fp8`, and the one that its weights are equal to, in `dense`.
pub fn quantize(folder: &Path, fp8: &Path, dense: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        let (fp8, dense) = (fp8.join(name), dense.join(name));
        if name.to_str().unwrap().starts_with("model") && path.extension().unwrap() == "safetensors"
        {
            quantize_file(&path, &fp8, &dense);
        } else {
            fs::copy(&path, &fp8).unwrap();
            fs::copy(&path, &dense).unwrap();
        }
    }
    let path = fp8.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["quantization_config"] = json!({
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK],
        "modules_to_not_convert": ["lm_head", "model.visual.pos_embed"],
    });
    fs::write(path, config.to_string()).unwrap();
}

fn quantize_file(path: &Path, fp8: &Path, dense: &Path) {
    let (mut small, mut equal) = (HashMap::new(), HashMap::new());
    for (name, tensor) in safetensors::load(path, &Device::Cpu).unwrap() {
        let is_linear = name.ends_with(".weight") && tensor.rank() == 2 && !name.contains("embed");
        if is_linear && name != "lm_head.weight" {
            let (numbers, scales, same) = quantize_matrix(&tensor);
            small.insert(format!("{name}_scale_inv"), scales);
            small.insert(name.clone(), numbers);
            equal.insert(name, same);
        } else {
            small.insert(name.clone(), tensor.clone());
            equal.insert(name, tensor);
        }
    }
    assert!(small.len() > equal.len());
    safetensors::save(&small, fp8).unwrap();
    safetensors::save(&equal, dense).unwrap();
}

/// The numbers in FP8, the scales of their blocks, and what both make.
fn quantize_matrix(weight: &Tensor) -> (Tensor, Tensor, Tensor) {
    let (rows, columns) = weight.dims2().unwrap();
    let to_rows = |tensor: &Tensor| -> Vec<Vec<f32>> {
        tensor.to_dtype(DType::F32).unwrap().to_vec2().unwrap()
    };
    let numbers = to_rows(weight);
    let (down, across) = (rows.div_ceil(BLOCK), columns.div_ceil(BLOCK));
    let mut largest = vec![0f32; down * across];
    let block = |row: usize, column: usize| row / BLOCK * across + column / BLOCK;
    for (row, numbers) in numbers.iter().enumerate() {
        for (column, number) in numbers.iter().enumerate() {
            let largest = &mut largest[block(row, column)];
            *largest = largest.max(number.abs());
        }
    }
    let scales: Vec<f32> = largest.iter().map(|largest| largest / MAX).collect();
    let scales = Tensor::from_vec(scales, (down, across), &Device::Cpu).unwrap();
    let scales = scales.to_dtype(DType::BF16).unwrap();
    let rounded = to_rows(&scales).concat();
    let times = |numbers: &[Vec<f32>], factor: &dyn Fn(f32) -> f32| {
        let all = numbers.iter().enumerate().flat_map(|(row, numbers)| {
            let rounded = &rounded;
            let numbers = numbers.iter().enumerate();
            numbers.map(move |(column, number)| number * factor(rounded[block(row, column)]))
        });
        Tensor::from_vec(all.collect::<Vec<f32>>(), (rows, columns), &Device::Cpu).unwrap()
    };
    let quantized = times(&numbers, &|scale| 1.0 / scale);
    let quantized = quantized.to_dtype(DType::F8E4M3).unwrap();
    let same = times(&to_rows(&quantized), &|scale| scale);
    (quantized, scales, same)
}
