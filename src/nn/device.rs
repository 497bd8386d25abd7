//! The devices that a model runs on.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};

use crate::{
    nn::{precision::Precision, quantized::QuantizedFile, weights},
    options::{DTypeChoice, DeviceChoice},
};

/// A device, and the precision of the weights on it.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Its name for people: `cuda:1`, or `cpu 2` for the second instance on the CPU.
    name: String,
    device: Device,
    /// The precision of the weights.
    precision: Precision,
}

impl Hardware {
    /// Opens the devices, which are all CUDA devices or all the CPU; at least one.
    ///
    /// # Errors
    /// A CUDA device was asked for, and can't be used or is not part of this build.
    pub fn open(choice: &DeviceChoice, dtype: DTypeChoice) -> Result<Vec<Self>> {
        let devices = open_devices(choice)?.into_iter();
        Ok(devices
            .map(|(name, device)| Self::new(name, device, dtype))
            .collect())
    }

    fn new(name: String, device: Device, dtype: DTypeChoice) -> Self {
        let precision = match dtype {
            DTypeChoice::Auto if device.is_cuda() => DType::BF16.into(),
            DTypeChoice::Auto | DTypeChoice::Q8_0 => Precision::Q8_0,
            DTypeChoice::Q4K => Precision::Q4_K,
            DTypeChoice::F32 => DType::F32.into(),
            DTypeChoice::Bf16 => DType::BF16.into(),
            DTypeChoice::F16 => DType::F16.into(),
        };
        Self {
            name,
            device,
            precision,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision of the weights.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether it is a GPU.
    #[must_use]
    pub fn is_cuda(&self) -> bool {
        self.device.is_cuda()
    }

    /// The number type of the weights, as `--dtype` spells it.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        self.precision.name()
    }

    /// The file for quantized weights of a model with this identity; none if keeping them does not pay.
    #[must_use]
    pub fn quantized_file(&self, folder: &Path, identity: &str) -> Option<QuantizedFile> {
        let Precision::Quantized(_) = self.precision else {
            return None;
        };
        if weights::size(folder).ok()? < MIN_KEPT_BYTES {
            return None;
        }
        let name = format!("{}-{}.safetensors", &identity[..32], self.precision.name());
        let path = dirs::cache_dir()?.join("omnidocs").join(name);
        Some(QuantizedFile::open(path))
    }
}

/// Models with fewer bytes of weights than this are quantized at each start: it takes a moment.
const MIN_KEPT_BYTES: u64 = 256 << 20;

/// The devices with their names.
fn open_devices(choice: &DeviceChoice) -> Result<Vec<(String, Device)>> {
    let cpu = || ("cpu".to_owned(), Device::Cpu);
    match choice {
        DeviceChoice::Cpu(1) => Ok(vec![cpu()]),
        DeviceChoice::Cpu(count) => Ok((1..=*count)
            .map(|number| (format!("cpu {number}"), Device::Cpu))
            .collect()),
        DeviceChoice::Auto if !cfg!(feature = "cuda") => Ok(vec![cpu()]),
        DeviceChoice::Auto => Ok(vec![match open_cuda(0) {
            Ok(device) => ("cuda:0".to_owned(), device),
            Err(error) => {
                tracing::warn!("no CUDA device is usable, using the CPU: {error}");
                cpu()
            }
        }]),
        DeviceChoice::Cuda(numbers) => {
            let open = |&number| {
                let name = format!("cuda:{number}");
                let device = open_cuda(number).with_context(|| {
                    format!("cannot use --device {name} (--device cpu needs no GPU)")
                })?;
                Ok((name, device))
            };
            numbers.iter().map(open).collect()
        }
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<Device> {
    crate::nn::cuda::open(index)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize) -> Result<Device> {
    anyhow::bail!(
        "this omnidocs was built for the CPU only; build it for CUDA with `cargo build --release --features cuda`"
    )
}
