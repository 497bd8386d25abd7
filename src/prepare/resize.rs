//! The size at which the model sees a page, and the resampling that brings an image there.

use std::fmt::Display;

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image::RgbImage;

use crate::{
    error::{ErrorKind, PageError, Stage},
    page::PixelBudget,
};

/// The longest side of a page over its shortest that the model's preprocessing accepts.
const MAX_ASPECT_RATIO: f64 = 200.0;

/// The height and width at which the model sees a page of `height` × `width` pixels.
///
/// The rule is `smart_resize` of `transformers` 5.23 (`models/qwen2_vl/image_processing_qwen2_vl.py`): both sides are
/// rounded (halves to even) to multiples of [`PixelBudget::factor`], then scaled by one factor into the budget. Sides
/// that round to zero become one `factor`, where the reference would give an image without pixels.
///
/// # Errors
///
/// [`ErrorKind::Render`] for a page without pixels or with one side more than 200 times the other.
pub fn smart_resize(
    height: u32,
    width: u32,
    budget: &PixelBudget,
) -> Result<(u32, u32), PageError> {
    let (h, w) = (f64::from(height), f64::from(width));
    let (long, short) = (h.max(w), h.min(w));
    if short < 1.0 || long / short > MAX_ASPECT_RATIO {
        return Err(PageError::new(
            ErrorKind::Render,
            Stage::Prepare,
            format!(
                "the page is {width} × {height} pixels; the model takes no page that is more than \
                 {MAX_ASPECT_RATIO} times as long as it is wide, so cut it into pieces"
            ),
        ));
    }
    let factor = f64::from(budget.factor);
    let (min, max) = (budget.min_pixels as f64, budget.max_pixels as f64);
    let round = |side: f64| (side / factor).round_ties_even() * factor;
    let (rounded_h, rounded_w) = (round(h), round(w));
    let (h, w) = if rounded_h * rounded_w > max {
        let beta = (h * w / max).sqrt();
        let reduce = |side: f64| (side / beta / factor).floor() * factor;
        (reduce(h), reduce(w))
    } else if rounded_h * rounded_w < min {
        let beta = (min / (h * w)).sqrt();
        let enlarge = |side: f64| (side * beta / factor).ceil() * factor;
        (enlarge(h), enlarge(w))
    } else {
        (rounded_h, rounded_w)
    };
    Ok((h.max(factor) as u32, w.max(factor) as u32))
}

/// More pixels than [`smart_resize`] gives any page: its rounding, and sides that become one factor, exceed the budget.
#[must_use]
pub fn max_resized_pixels(budget: &PixelBudget) -> u64 {
    let pixels = budget.max_pixels.max(budget.min_pixels) as f64;
    let factor = f64::from(budget.factor);
    let (long, short) = ((pixels * MAX_ASPECT_RATIO).sqrt(), pixels.sqrt());
    ((long + factor) * factor + short * factor + pixels).ceil() as u64
}

/// Resamples an image to `width` × `height` as `BICUBIC` of Pillow 13 does: Catmull-Rom, antialiased where it shrinks, on
/// u8. An image that has this size already comes back as it is.
///
/// # Errors
///
/// [`ErrorKind::Render`] if the resampler refuses, which no size from [`smart_resize`] makes it do.
pub fn resize(image: RgbImage, width: u32, height: u32) -> Result<RgbImage, PageError> {
    // Values are cut to 0..=255 between the two passes, so that their order shows at hard edges. This is Pillow 13's
    // rule; earlier ones always begin with the rows.
    let (fewer_columns, fewer_rows) = (
        i64::from(image.width()) - i64::from(width),
        i64::from(image.height()) - i64::from(height),
    );
    let columns_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
    let (between_width, between_height) = if columns_first {
        (image.width(), height)
    } else {
        (width, image.height())
    };
    let between = resize_one_axis(image, between_width, between_height)?;
    resize_one_axis(between, width, height)
}

/// An image of at most `part` of the pixels that this one has, its sides multiples of `factor`; none if it can't be made
/// that much smaller.
#[must_use]
pub fn shrink(image: &RgbImage, part: f64, factor: u32) -> Option<RgbImage> {
    let (width, height) = image.dimensions();
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    let budget = PixelBudget {
        factor,
        min_pixels: 0,
        max_pixels: (pixels(width, height) as f64 * part) as u64,
    };
    let (height, width) = smart_resize(height, width, &budget).ok()?;
    if pixels(width, height) > budget.max_pixels {
        return None;
    }
    resize(image.clone(), width, height).ok()
}

fn resize_one_axis(image: RgbImage, width: u32, height: u32) -> Result<RgbImage, PageError> {
    if image.dimensions() == (width, height) {
        return Ok(image);
    }
    let failed = |reason: &dyn Display| {
        let (old_width, old_height) = image.dimensions();
        let message = format!(
            "the image could not be resized from {old_width} × {old_height} to {width} × {height} \
             pixels: {reason}"
        );
        PageError::new(ErrorKind::Render, Stage::Prepare, message)
    };
    let (from_width, from_height) = image.dimensions();
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    // The typed interface compiles code for this one pixel type instead of all of them.
    let source = TypedImageRef::<U8x3>::from_buffer(from_width, from_height, image.as_raw())
        .map_err(|error| failed(&error))?;
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels)
        .map_err(|error| failed(&error))?;
    let bicubic = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new()
        .resize_typed(&source, &mut target, &bicubic)
        .map_err(|error| failed(&error))?;
    RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| failed(&"the result has the wrong size"))
}
