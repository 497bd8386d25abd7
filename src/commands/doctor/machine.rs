//! What the program and the machine are.

use std::fs;

use super::check::Check;
use crate::{
    cli,
    gpu::{self, Gpu, Monitor},
    limits,
    nn::instructions,
};

/// Memory that the default model takes on a CPU, in bytes.
const DEFAULT_MODEL: u64 = 2_600_000_000;
/// Files that a run may have open at a time.
const MIN_FILES: u64 = 256;
/// The compute capability that this build's kernels were compiled for, such as 90, where the build said it.
const BUILT_FOR: Option<&str> = option_env!("CUDA_COMPUTE_CAP");
/// GPUs below it have no bf16.
const BF16: (i32, i32) = (8, 0);

pub(super) fn version() -> Check {
    let version = cli::long_version();
    let lines: Vec<_> = version.lines().collect();
    Check::ok("version", lines.join("; "))
}

pub(super) fn cpu() -> Check {
    let features = instructions::features();
    let found = format!(
        "{} kernels, {} threads ({})",
        instructions::best(),
        rayon::current_num_threads(),
        if features.is_empty() {
            "no known features".to_owned()
        } else {
            features.join(" ")
        },
    );
    if cfg!(target_arch = "x86_64") && instructions::best() == "x86_64" {
        let todo = "run the model on a machine with AVX2; this one has slow kernels only";
        return Check::warning("cpu", found, todo);
    }
    Check::ok("cpu", found)
}

pub(super) fn memory() -> Check {
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let Some((total, available)) = memory_of_machine() else {
        return Check::ok("memory", "not known on this system");
    };
    let found = format!("{:.1} of {:.1} GB available", gb(available), gb(total));
    if available < DEFAULT_MODEL {
        let todo = format!(
            "the default model takes {:.1} GB: free some, or use --dtype q4_k or a smaller --model",
            gb(DEFAULT_MODEL)
        );
        return Check::warning("memory", found, todo);
    }
    Check::ok("memory", found)
}

/// Bytes of memory, and those that are available.
fn memory_of_machine() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some((bytes("MemTotal:")?, bytes("MemAvailable:")?))
}

pub(super) fn limits() -> Check {
    let Some(files) = limits::open_files() else {
        return Check::ok("limits", "open files: no limit is known");
    };
    let found = format!("open files: {files}");
    if files < MIN_FILES {
        return Check::warning("limits", found, "allow more open files: ulimit -Hn 4096");
    }
    Check::ok("limits", found)
}

pub(super) fn gpus() -> Vec<Check> {
    gpus_of(gpu::monitor().as_deref())
}

fn gpus_of(monitor: Option<&dyn Monitor>) -> Vec<Check> {
    let has_cuda = cfg!(feature = "cuda");
    let gpus = monitor.map(Monitor::gpus).unwrap_or_default();
    let Some(monitor) = monitor.filter(|_| !gpus.is_empty()) else {
        let found = "no NVIDIA GPU, or no driver";
        return vec![if has_cuda {
            let todo = "install NVIDIA's driver and check nvidia-smi; or run on the CPU";
            Check::warning("gpu", found, todo)
        } else {
            Check::ok("gpu", format!("{found}; this build is for the CPU"))
        }];
    };
    let driver = monitor.driver();
    let cuda = driver.cuda.map_or_else(String::new, |(major, minor)| {
        format!(", CUDA up to {major}.{minor}")
    });
    let mut checks = vec![Check::ok("driver", format!("{}{cuda}", driver.version))];
    checks.extend(gpus.iter().map(|gpu| one_gpu(gpu, has_cuda, BUILT_FOR)));
    checks
}

fn one_gpu(gpu: &Gpu, has_cuda: bool, built_for: Option<&str>) -> Check {
    let mut found = gpu.name.clone();
    if let Some((major, minor)) = gpu.capability {
        found += &format!(", compute capability {major}.{minor}");
    }
    if let Some(load) = gpu.load {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        found += &format!(
            ", {:.1} of {:.1} GB free",
            gb(load.memory_free),
            gb(load.memory())
        );
    }
    if !has_cuda {
        let todo = "this build can't use it: build with cargo build --release --features cuda";
        return Check::warning("gpu", found, todo);
    }
    let built_for = built_for.and_then(|built| built.parse::<i32>().ok());
    match (gpu.capability, built_for) {
        (Some((major, minor)), Some(built)) if major * 10 + minor < built => Check::broken(
            "gpu",
            format!("{found}; this build is for {}.{}", built / 10, built % 10),
            format!("build for it with CUDA_COMPUTE_CAP={major}{minor}"),
        ),
        (Some(capability), _) if capability < BF16 => {
            Check::warning("gpu", found, "it has no bf16: use --dtype f16")
        }
        _ => Check::ok("gpu", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{commands::doctor::check::State, gpu::Load};

    #[test]
    fn gpus_are_held_against_the_capability_of_the_build() {
        let gpu = |capability| Gpu {
            name: "NVIDIA T4".to_owned(),
            uuid: "GPU-1".to_owned(),
            capability: Some(capability),
            load: Some(Load {
                memory_used: 1_000_000_000,
                memory_free: 15_000_000_000,
                utilization: None,
            }),
        };
        for (capability, has_cuda, built_for, state) in [
            ((9, 0), true, Some("90"), State::Ok),
            ((9, 0), true, Some("80"), State::Ok),
            ((8, 6), true, Some("90"), State::Broken),
            ((7, 5), true, None, State::Warning),
            ((9, 0), false, None, State::Warning),
        ] {
            let check = one_gpu(&gpu(capability), has_cuda, built_for);
            assert_eq!(check.state, state, "{check:?}");
        }
    }

    #[test]
    fn machine_without_gpu_is_fine_for_the_cpu_build() {
        let checks = gpus_of(None);
        let expected = if cfg!(feature = "cuda") {
            State::Warning
        } else {
            State::Ok
        };
        assert_eq!(checks[0].state, expected);
    }
}
