//! NVIDIA GPUs, as the driver's management library (NVML) reports them: what they are, and how busy.
//!
//! The library comes with the driver and is loaded when the program runs. Without it there is no GPU.

use std::env;

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name, like `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Its identity, like `GPU-6b0bf1a2-…`.
    pub uuid: String,
    /// Compute capability, major and minor.
    pub capability: Option<(i32, i32)>,
    /// The load when it was asked.
    pub load: Option<Load>,
}

/// What a GPU is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Bytes of memory in use, by all programs.
    pub memory_used: u64,
    /// Bytes of memory that are free.
    pub memory_free: u64,
    /// Percent of the last moments in which a kernel ran.
    pub utilization: Option<u32>,
}

impl Load {
    /// Bytes of memory.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory_used + self.memory_free
    }
}

/// The driver, as `doctor` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Its version, like `550.54.15`.
    pub version: String,
    /// The CUDA version that it runs, major and minor.
    pub cuda: Option<(i32, i32)>,
}

/// Where GPUs are asked.
pub trait Monitor: Send {
    /// The GPUs, in the order of the management library.
    fn gpus(&self) -> Vec<Gpu>;
    /// The load of the GPU in this place.
    fn load(&self, place: u32) -> Option<Load>;
    /// The driver.
    fn driver(&self) -> Driver;
}

/// The management library; `None` where there is no NVIDIA driver.
#[must_use]
pub fn monitor() -> Option<Box<dyn Monitor>> {
    #[cfg(any(target_os = "linux", windows))]
    {
        let nvml = nvml_wrapper::Nvml::init().ok()?;
        Some(Box::new(nvml))
    }
    #[cfg(not(any(target_os = "linux", windows)))]
    None
}

#[cfg(any(target_os = "linux", windows))]
impl Monitor for nvml_wrapper::Nvml {
    fn gpus(&self) -> Vec<Gpu> {
        let count = self.device_count().unwrap_or(0);
        let devices = (0..count).map(|place| self.device_by_index(place).ok());
        devices.map(|device| describe(device.as_ref())).collect()
    }

    fn load(&self, place: u32) -> Option<Load> {
        load(&self.device_by_index(place).ok()?)
    }

    fn driver(&self) -> Driver {
        let cuda = self.sys_cuda_driver_version().ok();
        Driver {
            version: self.sys_driver_version().unwrap_or_default(),
            cuda: cuda.map(|version| {
                (
                    nvml_wrapper::cuda_driver_version_major(version),
                    nvml_wrapper::cuda_driver_version_minor(version),
                )
            }),
        }
    }
}

/// A GPU that does not answer keeps its place.
#[cfg(any(target_os = "linux", windows))]
fn describe(device: Option<&nvml_wrapper::Device>) -> Gpu {
    let capability = device.and_then(|device| device.cuda_compute_capability().ok());
    Gpu {
        name: device
            .and_then(|device| device.name().ok())
            .unwrap_or_else(|| "unknown".to_owned()),
        uuid: device
            .and_then(|device| device.uuid().ok())
            .unwrap_or_default(),
        capability: capability.map(|capability| (capability.major, capability.minor)),
        load: device.and_then(load),
    }
}

#[cfg(any(target_os = "linux", windows))]
fn load(device: &nvml_wrapper::Device) -> Option<Load> {
    let memory = device.memory_info().ok()?;
    Some(Load {
        memory_used: memory.total.saturating_sub(memory.free),
        memory_free: memory.free,
        utilization: device.utilization_rates().ok().map(|rates| rates.gpu),
    })
}

/// The place among `gpus` of each of these devices, which are named like `cuda:0`.
#[must_use]
pub fn places_of(devices: &[String], gpus: &[Gpu]) -> Vec<Option<u32>> {
    let place = |name: &String| {
        let number = name.strip_prefix("cuda:")?.parse().ok()?;
        place_of(number, gpus)
    };
    devices.iter().map(place).collect()
}

/// The place among `gpus` of the device that CUDA numbers so, as the environment has it; `None` if that is not certain.
fn place_of(cuda_number: usize, gpus: &[Gpu]) -> Option<u32> {
    let variable = |name| env::var(name).ok();
    let by_bus = variable("CUDA_DEVICE_ORDER").as_deref() == Some("PCI_BUS_ID");
    place_among(
        cuda_number,
        gpus,
        variable("CUDA_VISIBLE_DEVICES").as_deref(),
        by_bus,
    )
}

/// CUDA numbers the fastest device first, unless `by_bus`; the management library always goes by the bus. Among equal devices
/// both orders are the same.
fn place_among(
    cuda_number: usize,
    gpus: &[Gpu],
    visible: Option<&str>,
    by_bus: bool,
) -> Option<u32> {
    let are_equal = gpus.windows(2).all(|pair| pair[0].name == pair[1].name);
    let numbered = |number: usize| (number < gpus.len() && (by_bus || are_equal)).then_some(number);
    let place = match visible {
        None => numbered(cuda_number),
        Some(visible) => {
            let name = visible.split(',').nth(cuda_number)?.trim();
            match name.parse() {
                Ok(number) => numbered(number),
                Err(_) if name.is_empty() => None,
                Err(_) => gpus.iter().position(|gpu| gpu.uuid.starts_with(name)),
            }
        }
    };
    place.and_then(|place| u32::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(names: &[&str]) -> Vec<Gpu> {
        let gpu = |(place, name): (usize, &&str)| Gpu {
            name: (*name).to_owned(),
            uuid: format!("GPU-{place}abc"),
            capability: None,
            load: None,
        };
        names.iter().enumerate().map(gpu).collect()
    }

    #[test]
    fn cuda_devices_are_found_among_the_gpus() {
        let (equal, mixed) = (gpus(&["H100", "H100"]), gpus(&["T4", "H100"]));
        for (number, gpus, visible, by_bus, place) in [
            (1, &equal, None, false, Some(1)),
            (2, &equal, None, false, None),
            // The fastest one comes first, whichever that is.
            (0, &mixed, None, false, None),
            (0, &mixed, None, true, Some(0)),
            (0, &equal, Some("1"), false, Some(1)),
            (1, &equal, Some("1"), false, None),
            (0, &mixed, Some("GPU-1a"), false, Some(1)),
            (0, &mixed, Some("MIG-1a"), false, None),
            (0, &equal, Some(""), false, None),
        ] {
            let found = place_among(number, gpus, visible, by_bus);
            assert_eq!(found, place, "{number} {visible:?} {by_bus}");
        }
    }
}
