//! What a page is drawn of.
#![allow(unsafe_code, reason = "PDFium is a C library")]

use std::{marker::PhantomData, ptr};

use pdfium_render::prelude::{FPDF_DOCUMENT, FPDF_PAGE, FPDF_PAGEOBJECT, PdfiumLibraryBindings};

/// A clip path with more points is not looked at.
const MAX_CLIP_POINTS: i32 = 1000;

/// A rectangle in a page's own coordinates, which count upwards.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    /// The smaller x.
    pub left: f32,
    /// The smaller y.
    pub bottom: f32,
    /// The larger x.
    pub right: f32,
    /// The larger y.
    pub top: f32,
}

impl Rect {
    /// Its area; 0 for one without.
    #[must_use]
    pub fn area(&self) -> f32 {
        (self.right - self.left).max(0.0) * (self.top - self.bottom).max(0.0)
    }

    /// What both share.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Self {
        Self {
            left: self.left.max(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.min(other.right),
            top: self.top.min(other.top),
        }
    }

    /// Whether a point lies in it.
    #[must_use]
    pub fn holds(&self, x: f32, y: f32) -> bool {
        (self.left..=self.right).contains(&x) && (self.bottom..=self.top).contains(&y)
    }
}

/// What kind of thing is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ObjectKind {
    Text,
    Path,
    Image,
    Shading,
    /// A content stream of its own.
    Form,
    Other,
}

/// One of the things that a page, or a form on it, is drawn of.
#[derive(Clone, Copy)]
pub struct Object<'p> {
    bindings: &'p dyn PdfiumLibraryBindings,
    document: FPDF_DOCUMENT,
    page: FPDF_PAGE,
    handle: FPDF_PAGEOBJECT,
    lifetime: PhantomData<&'p ()>,
}

impl<'p> Object<'p> {
    /// `handle` belongs to the page, which is open for `'p`.
    pub(super) fn new(
        bindings: &'p dyn PdfiumLibraryBindings,
        document: FPDF_DOCUMENT,
        page: FPDF_PAGE,
        handle: FPDF_PAGEOBJECT,
    ) -> Option<Self> {
        let lifetime = PhantomData;
        (!handle.is_null()).then_some(Self {
            bindings,
            document,
            page,
            handle,
            lifetime,
        })
    }

    /// Tells it from other objects of the page.
    #[must_use]
    pub fn id(&self) -> usize {
        self.handle as usize
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        // SAFETY: the handle is open.
        match unsafe { self.bindings.FPDFPageObj_GetType(self.handle) } {
            1 => ObjectKind::Text,
            2 => ObjectKind::Path,
            3 => ObjectKind::Image,
            4 => ObjectKind::Shading,
            5 => ObjectKind::Form,
            _ => ObjectKind::Other,
        }
    }

    /// Whether content names it: an image or a form.
    #[must_use]
    pub fn is_named(&self) -> bool {
        matches!(self.kind(), ObjectKind::Image | ObjectKind::Form)
    }

    /// Where it is, in the coordinates of what it is part of.
    #[must_use]
    pub fn bounds(&self) -> Option<Rect> {
        let mut rect = Rect::default();
        // SAFETY: the handle is open, and the pointers are to floats.
        let found = unsafe {
            self.bindings.FPDFPageObj_GetBounds(
                self.handle,
                &raw mut rect.left,
                &raw mut rect.bottom,
                &raw mut rect.right,
                &raw mut rect.top,
            )
        };
        (found != 0).then_some(rect)
    }

    /// The matrix from its own coordinates to those of what it is part of: a, b, c, d, e, f.
    #[must_use]
    pub fn matrix(&self) -> [f32; 6] {
        // SAFETY: all its fields are numbers.
        let mut matrix: pdfium_render::prelude::FS_MATRIX = unsafe { std::mem::zeroed() };
        // SAFETY: the handle is open, and the pointer is to a matrix.
        let found = unsafe {
            self.bindings
                .FPDFPageObj_GetMatrix(self.handle, &raw mut matrix)
        };
        if found == 0 {
            return [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        }
        [matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f]
    }

    /// The objects of a form.
    pub fn children(&self) -> impl Iterator<Item = Object<'p>> + use<'p> {
        let this = *self;
        // SAFETY: the handle is open.
        let count = match this.kind() {
            ObjectKind::Form => unsafe { this.bindings.FPDFFormObj_CountObjects(this.handle) },
            _ => 0,
        };
        (0..count.max(0)).filter_map(move |index| {
            // SAFETY: the handle is open.
            let handle = unsafe { this.bindings.FPDFFormObj_GetObject(this.handle, index as _) };
            Self::new(this.bindings, this.document, this.page, handle)
        })
    }

    /// Takes it out of what is drawn, or back.
    pub fn set_active(&self, active: bool) {
        // SAFETY: the handle is open.
        unsafe {
            self.bindings
                .FPDFPageObj_SetIsActive(self.handle, active.into())
        };
    }

    /// The names of the marked content that it is in, with the name that the mark's properties give.
    #[must_use]
    pub fn marks(&self) -> Vec<(String, String)> {
        // SAFETY: the handles are open, and the buffers as long as is said.
        unsafe {
            let count = self.bindings.FPDFPageObj_CountMarks(self.handle);
            (0..count.max(0))
                .map(|index| {
                    let mark = self.bindings.FPDFPageObj_GetMark(self.handle, index as _);
                    let name = utf16(|buffer, length, needed| {
                        self.bindings
                            .FPDFPageObjMark_GetName(mark, buffer, length, needed)
                    });
                    let title = utf16(|buffer, length, needed| {
                        self.bindings.FPDFPageObjMark_GetParamStringValue(
                            mark, "Name", buffer, length, needed,
                        )
                    });
                    (name, title)
                })
                .collect()
        }
    }

    /// Whether a text is only there to be found: neither filled nor stroked, nor a window onto what is drawn next.
    #[must_use]
    pub fn is_invisible_text(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDFTextObj_GetTextRenderMode(self.handle) == 3 }
    }

    /// Whether the font of a text is part of the file.
    #[must_use]
    pub fn has_embedded_font(&self) -> bool {
        // SAFETY: the handle is open; a null font is none.
        unsafe {
            let font = self.bindings.FPDFTextObj_GetFont(self.handle);
            !font.is_null() && self.bindings.FPDFFont_GetIsEmbedded(font) == 1
        }
    }

    /// What it is cut to, in the coordinates of what it is part of; `None` if it is not, or by too much to tell.
    #[must_use]
    pub fn clip(&self) -> Option<Rect> {
        // SAFETY: the handles are open, and the pointers are to floats.
        unsafe {
            let clip = self.bindings.FPDFPageObj_GetClipPath(self.handle);
            let paths = self.bindings.FPDFClipPath_CountPaths(clip).max(0);
            let mut clipped = None;
            for path in 0..paths {
                let points = self.bindings.FPDFClipPath_CountPathSegments(clip, path);
                if points > MAX_CLIP_POINTS {
                    continue;
                }
                let mut rect = Rect {
                    left: f32::INFINITY,
                    bottom: f32::INFINITY,
                    right: f32::NEG_INFINITY,
                    top: f32::NEG_INFINITY,
                };
                for point in 0..points {
                    let segment = self.bindings.FPDFClipPath_GetPathSegment(clip, path, point);
                    let (mut x, mut y) = (0.0, 0.0);
                    self.bindings
                        .FPDFPathSegment_GetPoint(segment, &raw mut x, &raw mut y);
                    rect.left = rect.left.min(x);
                    rect.bottom = rect.bottom.min(y);
                    rect.right = rect.right.max(x);
                    rect.top = rect.top.max(y);
                }
                clipped = Some(clipped.map_or(rect, |before: Rect| before.shared_with(&rect)));
            }
            clipped
        }
    }

    /// Whether an image can be decoded. Takes as long as decoding it does.
    #[must_use]
    pub fn is_decodable(&self) -> bool {
        // SAFETY: the handle is open; the bitmap is closed.
        unsafe {
            let bitmap = self.bindings.FPDFImageObj_GetBitmap(self.handle);
            if bitmap.is_null() {
                return false;
            }
            self.bindings.FPDFBitmap_Destroy(bitmap);
        }
        if self.has_filter("JBIG2Decode") {
            return self.draws();
        }
        let has_codec = ["DCTDecode", "JPXDecode", "CCITTFaxDecode"]
            .iter()
            .any(|filter| self.has_filter(filter));
        has_codec || self.has_data()
    }

    /// Whether there is data for at least half of the image, at one bit for each pixel.
    fn has_data(&self) -> bool {
        let (mut width, mut height) = (0, 0);
        // SAFETY: the handle is open, and the pointers are to numbers; without a buffer the length is told.
        let length = unsafe {
            self.bindings.FPDFImageObj_GetImagePixelSize(
                self.handle,
                &raw mut width,
                &raw mut height,
            );
            self.bindings
                .FPDFImageObj_GetImageDataDecoded(self.handle, ptr::null_mut(), 0)
        };
        length as u64 >= u64::from(width).div_ceil(8) * u64::from(height) / 2
    }

    /// Whether anything of an image is seen when it is drawn.
    fn draws(&self) -> bool {
        // SAFETY: the handles are open; the bitmap is closed, and read while it is open.
        unsafe {
            let bitmap =
                self.bindings
                    .FPDFImageObj_GetRenderedBitmap(self.document, self.page, self.handle);
            if bitmap.is_null() {
                return false;
            }
            let draws = self
                .bindings
                .FPDFBitmap_GetBuffer_as_slice(bitmap)
                .iter()
                .any(|&byte| byte != 0);
            self.bindings.FPDFBitmap_Destroy(bitmap);
            draws
        }
    }

    fn has_filter(&self, name: &str) -> bool {
        // SAFETY: the handle is open, and the buffer as long as is said.
        unsafe {
            let count = self.bindings.FPDFImageObj_GetImageFilterCount(self.handle);
            (0..count.max(0)).any(|index| {
                let mut buffer = [0_u8; 32];
                let length = self.bindings.FPDFImageObj_GetImageFilter(
                    self.handle,
                    index,
                    buffer.as_mut_ptr().cast(),
                    buffer.len() as _,
                );
                buffer.get(..(length as usize).saturating_sub(1)) == Some(name.as_bytes())
            })
        }
    }
}

/// Asks for a UTF-16 text of unknown length.
fn utf16(
    ask: impl Fn(
        *mut pdfium_render::prelude::FPDF_WCHAR,
        std::ffi::c_ulong,
        *mut std::ffi::c_ulong,
    ) -> i32,
) -> String {
    let mut needed = 0;
    if ask(ptr::null_mut(), 0, &raw mut needed) == 0 || needed > 1 << 16 {
        return String::new();
    }
    let mut units = vec![0; needed as usize / 2 + 1];
    let length = 2 * units.len() as std::ffi::c_ulong;
    if ask(units.as_mut_ptr(), length, &raw mut needed) == 0 {
        return String::new();
    }
    let text = String::from_utf16_lossy(&units);
    text.trim_end_matches('\0').to_owned()
}
