//! A page's characters.
#![allow(unsafe_code, reason = "PDFium is a C library")]

use pdfium_render::prelude::{
    FPDF_DOCUMENT, FPDF_PAGE, FPDF_TEXTPAGE, FS_RECTF, PdfiumLibraryBindings,
};

use super::objects::{Object, Rect};

/// The text of a page, character by character in the order of its content.
pub struct TextPage<'p> {
    bindings: &'p dyn PdfiumLibraryBindings,
    document: FPDF_DOCUMENT,
    page: FPDF_PAGE,
    handle: FPDF_TEXTPAGE,
}

/// A character, in the page's own coordinates.
pub struct Char<'t> {
    text: &'t TextPage<'t>,
    index: i32,
}

impl<'p> TextPage<'p> {
    /// `page` is open for `'p`.
    pub(super) fn load(
        bindings: &'p dyn PdfiumLibraryBindings,
        document: FPDF_DOCUMENT,
        page: FPDF_PAGE,
    ) -> Option<Self> {
        // SAFETY: the page is open.
        let handle = unsafe { bindings.FPDFText_LoadPage(page) };
        (!handle.is_null()).then_some(Self {
            bindings,
            document,
            page,
            handle,
        })
    }

    /// All characters.
    pub fn chars(&self) -> impl Iterator<Item = Char<'_>> {
        // SAFETY: the handle is open.
        let count = unsafe { self.bindings.FPDFText_CountChars(self.handle) };
        (0..count.max(0)).map(|index| Char { text: self, index })
    }
}

impl Drop for TextPage<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDFText_ClosePage(self.handle) };
    }
}

impl<'t> Char<'t> {
    fn bindings(&self) -> &'t dyn PdfiumLibraryBindings {
        self.text.bindings
    }

    /// A code point, or a unit of UTF-16.
    #[must_use]
    pub fn unicode(&self) -> u32 {
        // SAFETY: the handle is open.
        unsafe {
            self.bindings()
                .FPDFText_GetUnicode(self.text.handle, self.index)
        }
    }

    /// Whether it is a space or a line's end that is not in the page's content.
    #[must_use]
    pub fn is_generated(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe {
            self.bindings()
                .FPDFText_IsGenerated(self.text.handle, self.index)
                == 1
        }
    }

    /// Whether its font does not say which character it is.
    #[must_use]
    pub fn is_unmapped(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe {
            self.bindings()
                .FPDFText_HasUnicodeMapError(self.text.handle, self.index)
                == 1
        }
    }

    /// The text that it is part of.
    #[must_use]
    pub fn object(&self) -> Option<Object<'t>> {
        // SAFETY: the handle is open.
        let handle = unsafe {
            self.bindings()
                .FPDFText_GetTextObject(self.text.handle, self.index)
        };
        Object::new(self.bindings(), self.text.document, self.text.page, handle)
    }

    /// What it is filled with: red, green, blue, alpha.
    #[must_use]
    pub fn fill(&self) -> Option<[u8; 4]> {
        let mut channels = [0; 4];
        let [red, green, blue, alpha] = &mut channels;
        // SAFETY: the handle is open, and the pointers are to numbers.
        let found = unsafe {
            self.bindings().FPDFText_GetFillColor(
                self.text.handle,
                self.index,
                red,
                green,
                blue,
                alpha,
            )
        };
        (found != 0).then(|| channels.map(|channel| channel as u8))
    }

    /// From its origin to the next one's, and as high as its font.
    #[must_use]
    pub fn loose_box(&self) -> Option<Rect> {
        let mut rect = FS_RECTF {
            left: 0.0,
            top: 0.0,
            right: 0.0,
            bottom: 0.0,
        };
        // SAFETY: the handle is open, and the pointer is to a rectangle.
        let found = unsafe {
            self.bindings()
                .FPDFText_GetLooseCharBox(self.text.handle, self.index, &raw mut rect)
        };
        (found != 0).then(|| Rect {
            left: rect.left.min(rect.right),
            bottom: rect.bottom.min(rect.top),
            right: rect.right.max(rect.left),
            top: rect.top.max(rect.bottom),
        })
    }

    /// Where it is placed.
    #[must_use]
    pub fn origin(&self) -> Option<(f32, f32)> {
        let (mut x, mut y) = (0.0, 0.0);
        // SAFETY: the handle is open, and the pointers are to numbers.
        let found = unsafe {
            self.bindings().FPDFText_GetCharOrigin(
                self.text.handle,
                self.index,
                &raw mut x,
                &raw mut y,
            )
        };
        (found != 0).then_some((x as f32, y as f32))
    }

    /// The direction in which its line runs, in radians with the clock.
    #[must_use]
    pub fn angle(&self) -> f32 {
        // SAFETY: the handle is open.
        unsafe {
            self.bindings()
                .FPDFText_GetCharAngle(self.text.handle, self.index)
        }
    }
}
