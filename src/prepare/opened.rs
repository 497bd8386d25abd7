//! A document that pages are asked of, and what is made of each page for an engine.

use std::sync::Arc;

use image::RgbImage;

use super::{
    decoder::{DecodedPage, Decoder, DocumentRequest, PageRequest, Rendered},
    decoders::image_page::image_page,
    resize::{resize, smart_resize},
    settings::Settings,
    split,
};
use crate::{
    cancel::Cancel,
    error::PageError,
    page::{Format, Needs, PageId, PageRef, PageText, PreparedPage, Rotation},
};

/// A document that pages can be asked of.
pub(super) struct Opened {
    pub(super) decoder: Arc<dyn Decoder>,
    pub(super) request: DocumentRequest,
}

impl Opened {
    /// A page as the engine needs it, or as it is left out.
    pub(super) fn page(
        &self,
        id: PageId,
        page: &PageRef,
        settings: &Settings,
        cancel: &Cancel,
    ) -> Result<PreparedPage, PageError> {
        let request = settings.request(page.number);
        if let Some(skipped) = self.skip(id, request, settings) {
            return Ok(skipped);
        }
        let decoded = self.decoder.page(&self.request, request)?;
        if let Some(script) = decoded.missing_script {
            script.report(&page.document.path, page.number);
        }
        Ok(prepared(id, decoded, settings, cancel))
    }

    /// The page, if a rule of `--skip` leaves it out. One that can't be looked at fails when it is read.
    fn skip(&self, id: PageId, request: PageRequest, settings: &Settings) -> Option<PreparedPage> {
        if settings.skip.is_empty() || self.request.format != Format::Pdf {
            return None;
        }
        let look = PageRequest {
            needs: Needs {
                pixels: false,
                text: true,
            },
            upright: false,
            ..request
        };
        let seen = self.decoder.page(&self.request, look).ok()?;
        let text = seen.text.unwrap_or_default();
        let reason = settings.skip.reason(&text, seen.has_fields)?;
        Some(PreparedPage {
            id,
            page_size: seen.page_size,
            skip: Some(reason),
            ..PreparedPage::default()
        })
    }
}

/// An image as a page of its own.
///
/// # Errors
/// It has no size that the model takes.
pub fn image(
    image: &RgbImage,
    settings: &Settings,
    cancel: &Cancel,
) -> Result<PreparedPage, PageError> {
    let original = image.dimensions();
    let decoded = image_page(settings.request(1), &|budget| {
        let (height, width) = smart_resize(original.1, original.0, budget)?;
        let image = resize(image.clone(), width, height)?;
        Ok((Rendered { image, original }, Vec::new()))
    })?;
    Ok(prepared(PageId::default(), decoded, settings, cancel))
}

/// A decoded page, upright and cut into parts.
fn prepared(
    id: PageId,
    decoded: DecodedPage,
    settings: &Settings,
    cancel: &Cancel,
) -> PreparedPage {
    let rotation = rotation_of(&decoded, settings, cancel);
    let pixels = match rotation {
        Rotation::None => decoded.pixels,
        rotation => decoded.pixels.map(|page| rotation.turn(&page)),
    };
    let to_cut = |_: &&RgbImage| settings.split.is_some() && !decoded.blank;
    let parts = pixels.as_ref().filter(to_cut);
    let length = decoded
        .original
        .map_or(0, |(width, height)| width.max(height));
    let parts = parts.map(|page| split::parts(page, length, &settings.raster.budget));
    PreparedPage {
        id,
        pixels: pixels.map(Arc::new),
        rotation,
        original: decoded.original,
        page_size: decoded.page_size,
        blank: decoded.blank,
        text: decoded.text.map(|text| PageText {
            text,
            places: decoded.places,
        }),
        is_scan: decoded.is_scan,
        warnings: decoded.warnings,
        draft: None,
        parts: parts.unwrap_or_default(),
        skip: None,
    }
}

/// The turn that rights a page; none for one that shows nothing.
fn rotation_of(page: &DecodedPage, settings: &Settings, cancel: &Cancel) -> Rotation {
    let pixels = page.pixels.as_ref().filter(|_| !page.blank);
    let finder = settings.auto_rotate.as_ref().zip(pixels);
    let rotation = finder.map(|(finder, pixels)| finder.rotation_of(pixels, page.upright, cancel));
    rotation.unwrap_or_default()
}
