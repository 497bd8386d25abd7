//! Checks the model on a GPU against the goldens, and measures its speed.
//!
//! `parity`, `ops`, `scores`, `speed`, `steps` and `logits` are its own subcommands; with any other it is omnidocs itself, so
//! that one binary is carried to a machine without a network. `benches/cuda/README.md` says what to carry with it. It is compiled
//! for the CPU too, where it runs with `--device cpu`.
//!
//! Prints lines that begin with `ok`, `BAD`, `speed` or `op`, and ends with 1 if anything was bad.

#[cfg(feature = "cuda")]
mod kernels;
mod ops;
mod parity;
mod reader;
mod speed;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::{CommandFactory, Parser, Subcommand};
use omnidocs::{
    cli::environment,
    commands, exit,
    generation::{model::VisionLanguageModel, sampler::Sampling},
    models::{self, common::model::QwenVl},
    nn::device::Hardware,
    options::{DTypeChoice, DeviceChoice},
};
use speed::Pages;

/// What is asked about a page where nothing else is said.
const INSTRUCTION: &str = "Extract all text from this document image.";

const GREEDY: Sampling = Sampling {
    max_new_tokens: 320,
    temperature: 0.0,
    seed: 0,
};

/// Checks and measures the model on a GPU; with any other subcommand this is omnidocs itself
#[derive(Parser)]
#[command(name = "cuda")]
struct Options {
    #[command(subcommand)]
    check: Check,
    /// Where it runs
    #[arg(long, global = true, default_value = "cuda")]
    device: DeviceChoice,
}

#[derive(Subcommand)]
enum Check {
    /// Whether a device computes what the goldens say, and reads what the reference reads
    Parity {
        #[arg(long, default_value = "tests/golden")]
        golden: PathBuf,
        #[arg(long, default_value = "examples/reader")]
        reader: PathBuf,
        /// The reader reads every so manieth page
        #[arg(long, default_value_t = 4)]
        stride: usize,
    },
    /// What single operations cost at the sizes of the published models, and whether attention and blocks are right
    Ops,
    /// Whether attention's scores are right, which need no kernel
    Scores,
    /// How long loading, prefill, and decoding of several pages take, and what of it is the host's
    Speed {
        model: PathBuf,
        #[arg(long, default_value_t = 1024)]
        width: u32,
        #[arg(long, default_value_t = 1024)]
        height: u32,
        /// Tokens of each answer
        #[arg(long, default_value_t = 96)]
        tokens: usize,
        /// Pages that are read together
        #[arg(long, value_delimiter = ',', default_value = "1")]
        batches: Vec<usize>,
        #[arg(long, value_enum, default_value = "bf16")]
        dtype: DTypeChoice,
    },
    /// Runs of the decoder alone, for a driver that counts
    Steps {
        model: PathBuf,
        /// Runs
        #[arg(long)]
        steps: usize,
        /// Pages, each of which is read from its beginning
        #[arg(long, default_value_t = 1)]
        pages: usize,
        /// Pages that are read together
        #[arg(long, default_value_t = 1)]
        batch: usize,
        /// Width and height of a page
        #[arg(long, default_value_t = 64)]
        side: u32,
        /// Waits for each token before the next run
        #[arg(long)]
        waits: bool,
        #[arg(long, value_enum, default_value = "bf16")]
        dtype: DTypeChoice,
    },
    /// Writes the first logits of an answer and the prompt's tokens, for comparison with another program
    Logits {
        model: PathBuf,
        image: PathBuf,
        /// A file of tensors (safetensors)
        out: PathBuf,
        #[arg(long, value_enum, default_value = "bf16")]
        dtype: DTypeChoice,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_own = |name: &str| {
        let subcommands = Options::command();
        subcommands
            .get_subcommands()
            .any(|own| own.get_name() == name)
    };
    match arguments.iter().find(|argument| *argument != "--bench") {
        // As `cargo bench` calls it.
        None => {
            println!("{}", Options::command().render_long_help());
            ExitCode::SUCCESS
        }
        Some(first) if is_own(first) => match check(Options::parse()) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(bad) => {
                println!("BAD  {bad} in all");
                ExitCode::FAILURE
            }
            Err(error) => {
                println!("BAD  {first}: {error:#}");
                ExitCode::FAILURE
            }
        },
        Some(_) => {
            let ended = commands::run(environment::parse());
            let exit = ended.unwrap_or_else(|error| {
                let exit = commands::exit_of(&error);
                exit::report(&error, exit);
                exit
            });
            exit.into()
        }
    }
}

/// How much was bad.
fn check(options: Options) -> Result<usize> {
    let open = |dtype| -> Result<Hardware> {
        let mut hardware = Hardware::open(&options.device, dtype)?;
        Ok(hardware.swap_remove(0))
    };
    let mut tally = Tally::default();
    match options.check {
        Check::Parity {
            golden,
            reader,
            stride,
        } => {
            let hardware = open(DTypeChoice::F32)?;
            parity::check(&golden, hardware.device(), &mut tally)?;
            reader::check(&golden, &reader, stride, hardware.device(), &mut tally)?;
        }
        Check::Ops => ops::check(open(DTypeChoice::Bf16)?.device(), &mut tally)?,
        Check::Scores => ops::scores(open(DTypeChoice::Bf16)?.device(), &mut tally)?,
        Check::Speed {
            model,
            width,
            height,
            tokens,
            batches,
            dtype,
        } => {
            let size = (width, height);
            speed::measure(&model, size, tokens, &batches, &open(dtype)?)?;
        }
        Check::Steps {
            model,
            steps,
            pages,
            batch,
            side,
            waits,
            dtype,
        } => {
            let hardware = open(dtype)?;
            let pages = Pages {
                count: pages,
                side,
                batch,
            };
            speed::steps(&model, &hardware, pages, steps, !waits)?;
        }
        Check::Logits {
            model,
            image,
            out,
            dtype,
        } => logits(&model, &image, &out, &open(dtype)?)?,
    }
    Ok(tally.bad)
}

fn load(folder: &Path, hardware: &Hardware) -> Result<QwenVl> {
    models::load_parts(folder, hardware.device(), hardware.precision(), None)
}

fn logits(folder: &Path, image: &Path, out: &Path, hardware: &Hardware) -> Result<()> {
    let model = load(folder, hardware)?;
    let image = image::open(image)?.to_rgb8();
    let prompt = model.tokenizer.prompt(INSTRUCTION)?;
    let prefilled = model.prefill(&image, &prompt, 64, &mut model.new_cache())?;
    let logits = prefilled.logits.to_dtype(DType::F32)?;
    let tokens = Tensor::new(prompt.tokens(prefilled.image_tokens), &Device::Cpu)?;
    let tensors = HashMap::from([
        ("logits", logits.to_device(&Device::Cpu)?),
        ("tokens", tokens.to_dtype(DType::I64)?),
    ]);
    candle_core::safetensors::save(&tensors, out).context("can't write the logits")
}

/// What was right and what was not.
#[derive(Default)]
struct Tally {
    bad: usize,
}

impl Tally {
    fn say(&mut self, is_good: bool, what: &str) {
        self.bad += usize::from(!is_good);
        println!("{} {what}", if is_good { "ok  " } else { "BAD " });
    }

    /// Whether `found` is within `bound` of `wanted`, of its length. NaN never is.
    fn close(&mut self, what: &str, found: &Tensor, wanted: &Tensor, bound: f32) -> Result<()> {
        let plain = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32);
        let wanted = plain(wanted)?;
        let difference = (plain(found)? - &wanted)?;
        let length = |x: &Tensor| -> candle_core::Result<f32> {
            Ok(x.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt())
        };
        let relative = length(&difference)? / length(&wanted)?.max(1e-20);
        let most: f32 = difference.abs()?.max_all()?.to_scalar()?;
        self.say(
            relative < bound,
            &format!("{what}: relative {relative:.2e}, most {most:.2e}"),
        );
        Ok(())
    }
}
