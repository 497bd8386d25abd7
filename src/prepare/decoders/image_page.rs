//! A page that is an image, at the size at which the model sees it.

use super::pixels::shows_enough;
use crate::{
    error::PageError,
    page::{PixelBudget, Warning},
    prepare::{
        blank::is_blank,
        decoder::{DecodedPage, PageRequest, Rendered},
        split,
    },
};

/// The size at which a page is looked at again that shows nothing at the model's.
const CLOSER: PixelBudget = PixelBudget {
    factor: 1,
    min_pixels: 1,
    max_pixels: 2_000_000,
};

/// The page at a size, and what there is to say about it.
type Seen = Result<(Rendered, Vec<Warning>), PageError>;

/// The page as it is asked for; `at` gives it at a size.
///
/// # Errors
/// Those of `at`.
pub fn image_page(
    request: PageRequest,
    at: &dyn Fn(&PixelBudget) -> Seen,
) -> Result<DecodedPage, PageError> {
    let budget = &request.raster.budget;
    let (mut rendered, warnings) = at(budget)?;
    let is_blank =
        |page: &Rendered| shows_enough(page.original, &page.image) && is_blank(&page.image);
    let mut blank = is_blank(&rendered);
    if blank && rendered.image.width() < rendered.original.0 {
        // Faint print fades as it is reduced.
        blank = is_blank(&at(&CLOSER)?.0);
    }
    if let Some(min_letters) = request.split.filter(|_| !blank) {
        let seen = split::Page::seen(&rendered.image, rendered.original);
        if let Some(budget) = split::larger(&seen, budget, min_letters) {
            rendered = at(&budget)?.0;
        }
    }
    let Rendered { image, original } = rendered;
    Ok(DecodedPage {
        blank,
        pixels: Some(image),
        original: Some(original),
        page_size: Some(original),
        warnings,
        ..DecodedPage::default()
    })
}
