//! Brings PDFium into the program: finds the library for the target, checks it, and leaves it where
//! `src/prepare/decoders/pdfium/load.rs` embeds it from (`$OUT_DIR/pdfium`).
//!
//! With the feature `cuda` it also compiles the kernels in `src/nn/cuda/kernels`, as `candle-kernels` compiles its own: to PTX for
//! the card that `CUDA_COMPUTE_CAP` names, else for this machine's.
//!
//! Three sources of PDFium are tried in this order: the file that `OMNIDOCS_PDFIUM` names, the Python wheel `pypdfium2`, the
//! release archive of pdfium-binaries. Wheel and archive hold the same file of the same build, so one checksum of the
//! library decides about both; a library that is already there and has that checksum is kept.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, exit},
};

use sha2::{Digest, Sha256};

/// The newest `pypdfium2` that repackages pdfium-binaries. `pdfium-render`'s feature in `Cargo.toml` must not be newer
/// than [`PDFIUM_BUILD`], since its bindings want every symbol of their own build.
const WHEEL: &str = "pypdfium2==5.14.0";
/// The PDFium build inside that wheel, as its `pypdfium2_raw/version.json` says.
const PDFIUM_BUILD: u32 = 8076;

/// What is known of one target's library.
struct Pin {
    /// `target_os`-`target_arch`.
    target: &'static str,
    /// What pip calls the platform.
    platform: &'static str,
    /// What pdfium-binaries calls the platform.
    archive: &'static str,
    /// The library's path in the archive; in the wheel it is the same file name below `pypdfium2_raw`.
    library: &'static str,
    wheel_sha256: &'static str,
    library_sha256: &'static str,
}

const PINS: [Pin; 5] = [
    Pin {
        target: "linux-x86_64",
        platform: "manylinux2014_x86_64",
        archive: "linux-x64",
        library: "lib/libpdfium.so",
        wheel_sha256: "11f281613fa22313d9c7ab89947665e84eccf8ebe40e1198a84a88352305648d",
        library_sha256: "fd4de9f91f183476d04b1bc3fd17dacd95aba349c55d2c376512d95e082b441e",
    },
    Pin {
        target: "linux-aarch64",
        platform: "manylinux2014_aarch64",
        archive: "linux-arm64",
        library: "lib/libpdfium.so",
        wheel_sha256: "f1b696e6901e16f114a2ec6332e5e3f8f5033a901614ead28499ab18ca6024f5",
        library_sha256: "2c6b186b84596e1e6c370b9058c8dfd64b3d944f4878e51993b3cddb160209e2",
    },
    Pin {
        target: "macos-x86_64",
        platform: "macosx_13_0_x86_64",
        archive: "mac-x64",
        library: "lib/libpdfium.dylib",
        wheel_sha256: "e4e203ea9710fd00e5448edb6f1615dc8587035357f75f40b432dde0c33e8da1",
        library_sha256: "f8f4e387fb58f16ea24031e66744d8c3e9ae3e03b73e9c13d466a55ea0b5005f",
    },
    Pin {
        target: "macos-aarch64",
        platform: "macosx_13_0_arm64",
        archive: "mac-arm64",
        library: "lib/libpdfium.dylib",
        wheel_sha256: "2de384df66ba55fcaab0775f30f28ec1090af3dfa60276a07821efc96d993118",
        library_sha256: "8de224826cb9784c8f8540ba36a174dd710f1f4f59e72211b7b882a2618aa401",
    },
    Pin {
        target: "windows-x86_64",
        platform: "win_amd64",
        archive: "win-x64",
        library: "bin/pdfium.dll",
        wheel_sha256: "149fd5c6397b8df8bf7911a93506eff0be874f877afe7ac936cf5d37d21a6a06",
        library_sha256: "69f1e860f6742fbaafcc4db80e785eec9a4ee0da36ea6d1dc0867ea0f18baea6",
    },
];

fn main() {
    // The documentation is built without a network, and runs nothing.
    if env::var_os("DOCS_RS").is_some() {
        let library = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("pdfium");
        if let Err(error) = fs::write(&library, b"") {
            println!("cargo::error={}: {error}", library.display());
        }
        return;
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=OMNIDOCS_PDFIUM");
    if let Err(message) = provide(&PathBuf::from(variable("OUT_DIR"))) {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
    #[cfg(feature = "cuda")]
    if let Err(error) = compile_kernels() {
        println!("cargo::error=the CUDA kernels could not be compiled: {error}");
        exit(1);
    }
}

/// Leaves a file of PTX for each of the kernels' number types in `$OUT_DIR`.
#[cfg(feature = "cuda")]
fn compile_kernels() -> cudaforge::Result<()> {
    let file = |name: &str| format!("src/nn/cuda/kernels/{name}");
    let types = ["bf16", "f16", "f32"].map(|name| file(&format!("layer_{name}.cu")));
    cudaforge::KernelBuilder::new()
        .source_files(types.iter())
        .watch([file("layer.cuh"), file("numbers.cuh")])
        .args(["-std=c++17", "-O3"])
        .build_ptx()?;
    Ok(())
}

/// Leaves the library at `folder/pdfium`, or says what failed and what to do.
fn provide(folder: &Path) -> Result<(), String> {
    let destination = folder.join("pdfium");
    if let Some(given) = env::var_os("OMNIDOCS_PDFIUM").filter(|value| !value.is_empty()) {
        let given = PathBuf::from(given);
        println!("cargo::rerun-if-changed={}", given.display());
        let library = fs::read(&given).map_err(|error| {
            format!(
                "OMNIDOCS_PDFIUM={}: {error}\nit must name a PDFium library for the target",
                given.display()
            )
        })?;
        println!("cargo::rustc-env=PDFIUM_BUILD_NAME=of the library that OMNIDOCS_PDFIUM named");
        return write_if_changed(&destination, &library);
    }
    println!("cargo::rustc-env=PDFIUM_BUILD_NAME=build {PDFIUM_BUILD}");
    let target = format!(
        "{}-{}",
        variable("CARGO_CFG_TARGET_OS"),
        variable("CARGO_CFG_TARGET_ARCH")
    );
    let pin = PINS.iter().find(|pin| pin.target == target && variable("CARGO_CFG_TARGET_ENV") != "musl").ok_or_else(|| {
        format!(
            "no PDFium library is known for {}\n\
             set OMNIDOCS_PDFIUM=/path/to/the/library of PDFium build {PDFIUM_BUILD} or later for this target",
            variable("TARGET")
        )
    })?;
    if fs::read(&destination).is_ok_and(|library| sha256(&library) == pin.library_sha256) {
        return Ok(());
    }
    let scratch = folder.join("download");
    let library = from_wheel(pin, &scratch).or_else(|wheel| {
        from_archive(pin, &scratch).map_err(|archive| {
            format!(
                "the PDFium library, which becomes part of the program, could not be fetched\n\
                 1. the Python wheel {WHEEL}: {wheel}\n\
                 2. the release archive of pdfium-binaries, build {PDFIUM_BUILD}: {archive}\n\
                 connect to the network, with pip or curl on the PATH, and build again; or fetch the library of \
                 PDFium build {PDFIUM_BUILD} for {target} yourself and set OMNIDOCS_PDFIUM=/path/to/{}",
                file_name(pin)
            )
        })
    })?;
    write_if_changed(&destination, &library)?;
    // What is left there is only clutter.
    let _ = fs::remove_dir_all(&scratch);
    Ok(())
}

/// Downloads the wheel with the first pip that can, and takes the library out of it.
fn from_wheel(pin: &Pin, scratch: &Path) -> Result<Vec<u8>, String> {
    let mut failures = Vec::new();
    for pip in [
        &["python3", "-m", "pip"][..],
        &["python", "-m", "pip"],
        &["pip3"],
        &["pip"],
    ] {
        match download_wheel(pip, pin, scratch) {
            Ok(wheel) => {
                require(&wheel, pin.wheel_sha256, "the wheel")?;
                let mut archive = zip::ZipArchive::new(io::Cursor::new(wheel))
                    .map_err(|error| error.to_string())?;
                let member = format!("pypdfium2_raw/{}", file_name(pin));
                let mut library = Vec::new();
                archive
                    .by_name(&member)
                    .map_err(|error| format!("{member}: {error}"))?
                    .read_to_end(&mut library)
                    .map_err(|error| format!("{member}: {error}"))?;
                require(&library, pin.library_sha256, "the library in the wheel")?;
                return Ok(library);
            }
            Err(message) => failures.push(format!("`{}`: {message}", pip.join(" "))),
        }
    }
    Err(failures.join("; "))
}

fn download_wheel(pip: &[&str], pin: &Pin, scratch: &Path) -> Result<Vec<u8>, String> {
    empty(scratch)?;
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]);
    command.args([
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--retries",
        "2",
    ]);
    command.args([
        "--no-deps",
        "--only-binary=:all:",
        "--platform",
        pin.platform,
        "--dest",
    ]);
    command
        .arg(scratch)
        .arg(WHEEL)
        .env("PIP_REQUIRE_VIRTUALENV", "false");
    run(&mut command)?;
    let wheel = fs::read_dir(scratch)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("it left no wheel")?;
    fs::read(wheel).map_err(|error| error.to_string())
}

/// Downloads the release archive and takes the library out of it.
fn from_archive(pin: &Pin, scratch: &Path) -> Result<Vec<u8>, String> {
    empty(scratch)?;
    let archive = scratch.join("pdfium.tgz");
    let address = format!(
        "https://github.com/bblanchon/pdfium-binaries/releases/download/chromium%2F{PDFIUM_BUILD}/pdfium-{}.tgz",
        pin.archive
    );
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--location",
        "--silent",
        "--show-error",
        "--connect-timeout",
        "20",
        "--output",
    ]);
    run(curl.arg(&archive).arg(&address))
        .map_err(|message| format!("`curl {address}`: {message}"))?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(scratch)
        .arg(pin.library);
    run(&mut tar).map_err(|message| format!("`tar`: {message}"))?;
    let library =
        fs::read(scratch.join(pin.library)).map_err(|error| format!("{}: {error}", pin.library))?;
    require(&library, pin.library_sha256, "the library in the archive")?;
    Ok(library)
}

/// Runs a command to its end; the error is the last line that it wrote to stderr.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "not installed".to_owned(),
        _ => error.to_string(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    Err(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()))
}

fn empty(folder: &Path) -> Result<(), String> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Writes the library unless the same bytes are there already, so that nothing is built again for nothing.
fn write_if_changed(destination: &Path, library: &[u8]) -> Result<(), String> {
    if fs::read(destination).is_ok_and(|there| there == library) {
        return Ok(());
    }
    fs::write(destination, library).map_err(|error| format!("{}: {error}", destination.display()))
}

fn require(bytes: &[u8], expected: &str, what: &str) -> Result<(), String> {
    let found = sha256(bytes);
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{what} has the SHA-256 {found}, expected {expected}"
    ))
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn file_name(pin: &Pin) -> &'static str {
    pin.library.rsplit('/').next().unwrap_or(pin.library)
}

/// A variable that Cargo sets for every build script.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
