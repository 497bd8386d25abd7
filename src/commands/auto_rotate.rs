//! What turns the pages of a run upright.

use anyhow::Result;

use crate::{
    config::Settings, launch, page::Needs, prepare::orientation::AutoRotate, tesseract::Tesseract,
};

/// Tesseract's data for finding out how a page lies.
const DATA: &str = "osd";

/// Finds it, if pages are turned and there are pixels to turn. Without Tesseract, print alone says how a page lies.
///
/// # Errors
/// This program can't be found, which Tesseract is tied to.
pub(super) fn find(settings: &Settings, needs: Needs) -> Result<Option<AutoRotate>> {
    if !settings.auto_rotate || !needs.pixels {
        return Ok(None);
    }
    let tesseract = match Tesseract::find("--auto-rotate", DATA) {
        Ok(found) => Some(found.on_one_core().tied_to(launch::this_program()?)),
        Err(_) => None,
    };
    Ok(Some(AutoRotate::new(tesseract)))
}
