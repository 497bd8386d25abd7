//! Colours: rows of samples as RGB on white, by what `PhotometricInterpretation` says (TIFF 6.0, sections 3 to 6, 16, 18,
//! 20, 21 and 23).

use std::io::{Read, Seek};

use super::{
    directory::{Directories, Directory},
    layout::{Layout, Sample, SampleKind, compression, photometric, tag},
    rows::Chunk,
    samples::{Extent, Scale, unpack},
};
use crate::prepare::decoders::colors::{blend, cmyk, lab, ycbcr};

/// Values of `ExtraSamples`.
const PREMULTIPLIED_ALPHA: u64 = 1;
const ALPHA: u64 = 2;
/// Samples of 16 bits that are all below this have 12 or fewer that count.
const TWELVE_BITS: f64 = 4096.0;

/// Paints the rows of a page.
pub(super) struct Painter {
    model: Model,
    /// Samples of a pixel that are colours.
    colors: usize,
    alpha: Option<Alpha>,
    scale: Scale,
    /// The range of the samples is not known but from themselves.
    is_guess: bool,
    sample: Sample,
    extent: Extent,
    row: Vec<u8>,
    part: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alpha {
    Plain,
    Premultiplied,
}

/// What colours the samples are.
enum Model {
    Grey {
        is_inverted: bool,
    },
    Rgb,
    /// The channels of the colours, one after the other.
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr(Option<Box<Conversion>>),
    Lab {
        is_signed: bool,
    },
}

/// Lightness and colour differences in another scale than JPEG's.
struct Conversion {
    /// Shares of red, green and blue in lightness.
    shares: [f32; 3],
    /// Black and white of each sample.
    ranges: [f32; 6],
}

impl Painter {
    /// How the pixels of a page are painted.
    ///
    /// # Errors
    /// Its colours are unknown.
    pub(super) fn new<R: Read + Seek>(
        file: &mut Directories<R>,
        directory: &Directory,
        layout: &Layout,
    ) -> Result<Self, String> {
        let mut sample = layout.sample;
        let is_jpeg = layout.compression == compression::JPEG;
        if is_jpeg || layout.compression == compression::WEBP {
            sample = Sample {
                bits: 8,
                kind: SampleKind::Unsigned,
            };
        }
        let mut scale = Scale::of(sample);
        let (model, colors) = match layout.photometric {
            photometric::WHITE_IS_ZERO => (Model::Grey { is_inverted: true }, 1),
            photometric::BLACK_IS_ZERO | photometric::MASK => {
                (Model::Grey { is_inverted: false }, 1)
            }
            photometric::RGB => (Model::Rgb, 3),
            photometric::PALETTE if sample.bits <= 8 => {
                scale = Scale::none();
                let table = file.values(directory, tag::COLOR_MAP).unwrap_or_default();
                (Model::Palette(palette(&table)), 1)
            }
            photometric::SEPARATED if layout.samples >= 4 => (Model::Cmyk, 4),
            photometric::YCBCR if sample.bits == 8 => {
                (Model::YCbCr(conversion(file, directory)), 3)
            }
            photometric::CIE_LAB if sample.bits == 8 || sample.bits == 16 => {
                if sample.bits == 8 {
                    scale = Scale::none();
                }
                (Model::Lab { is_signed: true }, 3)
            }
            photometric::ICC_LAB if sample.bits == 8 || sample.bits == 16 => {
                (Model::Lab { is_signed: false }, 3)
            }
            32_803 => return Err("a TIFF of a camera's raw data".to_owned()),
            32_844 | 32_845 => return Err("a TIFF with LogLuv colours".to_owned()),
            other => {
                return Err(format!(
                    "a TIFF with colour model {other} and {} bits per sample",
                    sample.bits
                ));
            }
        };
        if usize::from(layout.samples) < colors {
            return Err(format!(
                "a TIFF with {} samples per pixel where its colours have {colors}",
                layout.samples
            ));
        }
        let extra = file.number(directory, tag::EXTRA_SAMPLES);
        let has_extra = usize::from(layout.samples) > colors;
        let alpha = match extra.filter(|_| has_extra && !matches!(model, Model::Palette(_))) {
            Some(PREMULTIPLIED_ALPHA) => Some(Alpha::Premultiplied),
            Some(ALPHA) => Some(Alpha::Plain),
            // What many programs leave out, and others take for granted.
            None if matches!(model, Model::Rgb) && layout.samples == 4 => Some(Alpha::Plain),
            _ => None,
        };
        let mut is_guess = false;
        if let Scale::Range { .. } = scale {
            match named_range(file, directory) {
                Some((low, high)) => scale = Scale::Range { low, high },
                None => is_guess = true,
            }
        }
        Ok(Self {
            model,
            colors,
            alpha,
            scale,
            is_guess,
            sample,
            extent: Extent::default(),
            row: Vec::new(),
            part: Vec::new(),
        })
    }

    /// Paints row `y` of a band of strips or tiles, those of the first plane first. Says how many pixels are there; the
    /// others are white.
    pub(super) fn row(&mut self, layout: &Layout, band: &[Chunk], y: u32, rgb: &mut [u8]) -> usize {
        let across = layout.across as usize;
        let width = layout.chunk.0 as usize;
        let mut there = 0;
        for (column, target) in rgb.chunks_mut(3 * width).enumerate() {
            let pixels = target.len() / 3;
            let planes = band.iter().skip(column).step_by(across);
            if self.gather(layout, planes, y, pixels) {
                self.paint(layout, target);
                there += pixels;
            } else {
                target.fill(255);
            }
        }
        there
    }

    /// Puts the samples of a row side by side; not, if some of them are missing.
    fn gather<'a>(
        &mut self,
        layout: &Layout,
        planes: impl Iterator<Item = &'a Chunk>,
        y: u32,
        pixels: usize,
    ) -> bool {
        self.row.clear();
        let samples = usize::from(layout.samples);
        let wanted = self.colors + usize::from(self.alpha.is_some());
        for (plane, chunk) in planes.enumerate() {
            if plane >= wanted {
                break;
            }
            let Some(row) = chunk.row(y) else {
                return false;
            };
            let sample = Sample {
                bits: chunk.bits,
                ..self.sample
            };
            let count = pixels * layout.interleaved() as usize;
            if row.len() * 8 < count * usize::from(chunk.bits) {
                return false;
            }
            let (scale, extent) = (&self.scale, &mut self.extent);
            self.part.clear();
            let samples_to = if layout.is_planar {
                &mut self.part
            } else {
                &mut self.row
            };
            unpack(
                row,
                sample,
                chunk.big_endian,
                count,
                scale,
                extent,
                samples_to,
            );
            if !layout.is_planar {
                return true;
            }
            if plane == 0 {
                self.row.resize(pixels * samples, 0);
            }
            for (pixel, &value) in self.row.chunks_exact_mut(samples).zip(&self.part) {
                pixel[plane] = value;
            }
        }
        true
    }

    /// Paints the samples that were gathered.
    fn paint(&self, layout: &Layout, target: &mut [u8]) {
        let samples = usize::from(layout.samples);
        let pixels = self.row.chunks_exact(samples);
        for (rgb, pixel) in target.chunks_exact_mut(3).zip(pixels) {
            let mut color = match &self.model {
                Model::Grey { is_inverted } => [pixel[0] ^ if *is_inverted { 255 } else { 0 }; 3],
                Model::Rgb => [pixel[0], pixel[1], pixel[2]],
                Model::Palette(colors) => colors
                    .get(usize::from(pixel[0]))
                    .copied()
                    .unwrap_or_default(),
                Model::Cmyk => cmyk([pixel[0], pixel[1], pixel[2], pixel[3]]),
                Model::YCbCr(None) => ycbcr(pixel[0], pixel[1], pixel[2]),
                Model::YCbCr(Some(conversion)) => conversion.rgb(pixel),
                Model::Lab { is_signed } => {
                    let difference = |value: u8| {
                        if *is_signed && self.sample.bits == 8 {
                            f32::from(value as i8)
                        } else {
                            f32::from(value) - 128.0
                        }
                    };
                    let lightness = f32::from(pixel[0]) * 100.0 / 255.0;
                    lab(lightness, difference(pixel[1]), difference(pixel[2]))
                }
            };
            if let Some(alpha) = self.alpha {
                let opacity = pixel[self.colors];
                color = color.map(|value| match alpha {
                    Alpha::Plain => blend(value, opacity),
                    Alpha::Premultiplied => value.saturating_add(255 - opacity),
                });
            }
            rgb.copy_from_slice(&color);
        }
    }

    /// Takes the range from the samples themselves where no tag gives it and the usual one can't be meant. Says whether
    /// that makes a difference.
    pub(super) fn learn_range(&mut self) -> bool {
        let Scale::Range { low, high } = self.scale else {
            return false;
        };
        let Extent {
            low: least,
            high: most,
        } = self.extent;
        if !self.is_guess || least >= most {
            return false;
        }
        self.is_guess = false;
        let fits = |high: f64| least >= 0.0 && most <= high;
        let (new_low, new_high) = match (self.sample.kind, self.sample.bits) {
            (SampleKind::Unsigned, 9..=15) | (SampleKind::Signed, 9..=16) => return false,
            (SampleKind::Unsigned, 16) if !(256.0..TWELVE_BITS).contains(&most) => {
                return false;
            }
            (SampleKind::Unsigned, 16) => (0.0, most.log2().floor().exp2() * 2.0 - 1.0),
            // Nobody says what white is: the next usual one above all samples.
            _ => [1.0, 255.0, 65_535.0]
                .into_iter()
                .find(|&high| fits(high) && (high > 1.0 || self.sample.kind == SampleKind::Float))
                .map_or((least, most), |high| (0.0, high)),
        };
        self.scale = Scale::Range {
            low: new_low,
            high: new_high,
        };
        (new_low, new_high) != (low, high)
    }
}

/// What the tags name as black and white, of samples that have more than 8 bits.
fn named_range<R: Read + Seek>(
    file: &mut Directories<R>,
    directory: &Directory,
) -> Option<(f64, f64)> {
    let mut first = |tag: u16| file.reals(directory, tag)?.first().copied();
    let high = first(tag::S_MAX_SAMPLE).or_else(|| first(tag::MAX_SAMPLE))?;
    let low = first(tag::S_MIN_SAMPLE).or_else(|| first(tag::MIN_SAMPLE));
    let low = low.unwrap_or(0.0);
    (low.is_finite() && high.is_finite() && low < high).then_some((low, high))
}

/// The colours of a table, which has all reds, then all greens, then all blues.
fn palette(table: &[u64]) -> Vec<[u8; 3]> {
    // Some programs write colours of 8 bits where 16 belong, as libtiff's `checkcmap` finds out too.
    let is_narrow = table.iter().all(|&value| value < 256);
    // The high byte: some programs write 255 as 0xFF00, others as 0xFFFF.
    let value = |value: u64| (value >> if is_narrow { 0 } else { 8 }) as u8;
    let count = table.len() / 3;
    (0..count)
        .map(|color| [0, 1, 2].map(|channel| value(table[channel * count + color])))
        .collect()
}

fn conversion<R: Read + Seek>(
    file: &mut Directories<R>,
    directory: &Directory,
) -> Option<Box<Conversion>> {
    const SHARES: [f64; 3] = [0.299, 0.587, 0.114];
    const RANGES: [f64; 6] = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];
    let is_usual =
        |values: &[f64], usual: &[f64]| values.iter().zip(usual).all(|(a, b)| (a - b).abs() < 1e-3);
    let shares = file.reals(directory, tag::YCBCR_COEFFICIENTS);
    let shares = shares.filter(|shares| shares.len() == 3 && shares[1] > 0.0);
    let shares = shares.unwrap_or(SHARES.to_vec());
    let ranges = file.reals(directory, tag::REFERENCE_BLACK_WHITE);
    let ranges = ranges.filter(|ranges| {
        ranges.len() == 6 && ranges.chunks(2).all(|pair| pair[1] - pair[0] >= 1.0)
    });
    let ranges = ranges.unwrap_or(RANGES.to_vec());
    if is_usual(&shares, &SHARES) && is_usual(&ranges, &RANGES) {
        return None;
    }
    Some(Box::new(Conversion {
        shares: std::array::from_fn(|at| shares[at] as f32),
        ranges: std::array::from_fn(|at| ranges[at] as f32),
    }))
}

impl Conversion {
    /// TIFF 6.0, section 21.
    fn rgb(&self, pixel: &[u8]) -> [u8; 3] {
        let from = |at: usize, most: f32| {
            let (black, white) = (self.ranges[2 * at], self.ranges[2 * at + 1]);
            (f32::from(pixel[at]) - black) * most / (white - black)
        };
        let (luma, blue, red) = (from(0, 255.0), from(1, 127.0), from(2, 127.0));
        let [red_share, green_share, blue_share] = self.shares;
        let red = red * (2.0 - 2.0 * red_share) + luma;
        let blue = blue * (2.0 - 2.0 * blue_share) + luma;
        let green = (luma - blue_share * blue - red_share * red) / green_share;
        [red, green, blue].map(|value| value.round() as u8)
    }
}
