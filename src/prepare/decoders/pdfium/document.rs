//! Documents and their pages.
#![allow(unsafe_code, reason = "PDFium is a C library")]

use std::{
    ffi::{c_int, c_uchar, c_ulong, c_void},
    ptr, slice,
};

use pdfium_render::prelude::{
    FPDF_DOCUMENT, FPDF_FILEACCESS, FPDF_FILEWRITE, FPDF_FORMFILLINFO, FPDF_FORMHANDLE, FPDF_PAGE,
    FS_RECTF, PdfiumLibraryBindings,
};

use super::{
    file::PdfFile,
    load::Library,
    objects::{Object, Rect},
    text_page::TextPage,
};

/// Annotations are drawn, and bytes come as red, green, blue.
const RENDER_FLAGS: c_int = 0x01 | 0x10;
/// Four bytes for each pixel, of which the last one means nothing.
const BGRX: c_int = 3;
const BYTES_PER_PIXEL: usize = 4;
const WHITE: c_ulong = 0xFFFF_FFFF;
/// Larger than any page: pages are cut to their media box.
const EVERYTHING: f32 = 1e6;

/// Why a document can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// It wants a password, or another one.
    Password,
    /// It is encrypted in an unknown way.
    Security,
    /// It is no PDF, or a broken one.
    Damaged,
}

/// The forms that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormKind {
    /// None, or one of fields on pages.
    OnPages,
    /// One of XML, beside pages that show the same.
    XmlAndPages,
    /// One of XML, which the pages do not show.
    XmlAlone,
}

/// An open document.
pub struct Document<'l> {
    bindings: &'l dyn PdfiumLibraryBindings,
    handle: FPDF_DOCUMENT,
    form: FPDF_FORMHANDLE,
    // PDFium keeps pointers to both until the document is closed.
    _form_info: Box<FPDF_FORMFILLINFO>,
    _file: Box<PdfFile>,
}

impl<'l> Document<'l> {
    /// Opens a document, with its user's or owner's password if it needs one.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(
        library: &'l Library,
        file: PdfFile,
        password: Option<&str>,
    ) -> Result<Self, NotOpened> {
        let bindings = library.bindings();
        let mut file = Box::new(file);
        let mut access = FPDF_FILEACCESS {
            m_FileLen: file.len() as c_ulong,
            m_GetBlock: Some(read_block),
            m_Param: (&raw mut *file).cast(),
        };
        // A password ends at its first zero byte.
        let password = password.map(|password| password.split('\0').next().unwrap_or_default());
        // SAFETY: the file is in its place until the document is closed; of the struct PDFium makes a copy.
        let handle = unsafe { bindings.FPDF_LoadCustomDocument(&raw mut access, password) };
        if handle.is_null() {
            // SAFETY: it takes no arguments.
            return Err(match unsafe { bindings.FPDF_GetLastError() } {
                4 => NotOpened::Password,
                5 => NotOpened::Security,
                _ => NotOpened::Damaged,
            });
        }
        // SAFETY: all its fields are numbers, pointers that may be null, and functions that may be none.
        let mut form_info: Box<FPDF_FORMFILLINFO> = Box::new(unsafe { std::mem::zeroed() });
        form_info.version = 2;
        // SAFETY: the struct is in its place until the form is closed.
        let form = unsafe { bindings.FPDFDOC_InitFormFillEnvironment(handle, &raw mut *form_info) };
        Ok(Self {
            bindings,
            handle,
            form,
            _form_info: form_info,
            _file: file,
        })
    }

    /// Number of pages that it claims to have.
    #[must_use]
    pub fn page_count(&self) -> i32 {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDF_GetPageCount(self.handle) }
    }

    /// What kind of form it is.
    #[must_use]
    pub fn form_kind(&self) -> FormKind {
        // SAFETY: the handle is open.
        match unsafe { self.bindings.FPDF_GetFormType(self.handle) } {
            2 => FormKind::XmlAlone,
            3 => FormKind::XmlAndPages,
            _ => FormKind::OnPages,
        }
    }

    /// Number of files in it.
    #[must_use]
    pub fn attachments(&self) -> i32 {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDFDoc_GetAttachmentCount(self.handle) }
    }

    /// A page, 0-based.
    #[must_use]
    pub fn page(&self, index: i32) -> Option<Page<'_>> {
        // SAFETY: the handle is open.
        let handle = unsafe { self.bindings.FPDF_LoadPage(self.handle, index) };
        if handle.is_null() {
            return None;
        }
        if !self.form.is_null() {
            // SAFETY: the handles are open.
            unsafe { self.bindings.FORM_OnAfterLoadPage(handle, self.form) };
        }
        Some(Page {
            bindings: self.bindings,
            document: self.handle,
            form: self.form,
            handle,
        })
    }

    /// A document of nothing but this page, 0-based, as a file with readable objects; not more of it than `most` bytes.
    #[must_use]
    pub fn page_as_file(&self, index: i32, most: usize) -> Option<Vec<u8>> {
        /// What PDFium writes through; the first field is what it knows.
        #[repr(C)]
        struct Writer {
            known: FPDF_FILEWRITE,
            bytes: Vec<u8>,
            most: usize,
        }
        unsafe extern "C" fn write(
            this: *mut FPDF_FILEWRITE,
            bytes: *const c_void,
            length: c_ulong,
        ) -> c_int {
            // SAFETY: PDFium hands on the pointer that it got, and as many bytes as it says.
            let (writer, bytes) = unsafe {
                (
                    &mut *this.cast::<Writer>(),
                    slice::from_raw_parts(bytes.cast::<u8>(), length as usize),
                )
            };
            let room = writer.most.saturating_sub(writer.bytes.len());
            writer
                .bytes
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
            c_int::from(room >= bytes.len())
        }
        // SAFETY: the handles are open; what is opened here is closed here.
        unsafe {
            let copy = self.bindings.FPDF_CreateNewDocument();
            if copy.is_null() {
                return None;
            }
            let copied =
                self.bindings
                    .FPDF_ImportPagesByIndex(copy, self.handle, &raw const index, 1, 0);
            let mut writer = Writer {
                known: FPDF_FILEWRITE {
                    version: 1,
                    WriteBlock: Some(write),
                },
                bytes: Vec::new(),
                most,
            };
            if copied != 0 {
                // Where it ends early, what there is of it is of use.
                self.bindings
                    .FPDF_SaveAsCopy(copy, (&raw mut writer).cast(), 0);
            }
            self.bindings.FPDF_CloseDocument(copy);
            (copied != 0).then_some(writer.bytes)
        }
    }
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        // SAFETY: the handles are open.
        unsafe {
            self.bindings.FPDFDOC_ExitFormFillEnvironment(self.form);
            self.bindings.FPDF_CloseDocument(self.handle);
        }
    }
}

/// A C `unsigned long` has 32 bits on some systems.
#[allow(clippy::useless_conversion)]
fn u64_of(number: c_ulong) -> u64 {
    number.into()
}

/// Reads from the [`PdfFile`] for PDFium.
unsafe extern "C" fn read_block(
    file: *mut c_void,
    position: c_ulong,
    bytes: *mut c_uchar,
    length: c_ulong,
) -> c_int {
    // SAFETY: PDFium hands on the pointer that it got, and a buffer of that length.
    let (file, bytes) = unsafe {
        ptr::write_bytes(bytes, 0, length as usize);
        (
            &mut *file.cast::<PdfFile>(),
            slice::from_raw_parts_mut(bytes, length as usize),
        )
    };
    c_int::from(file.read_at(u64_of(position), bytes).is_ok())
}

/// An open page.
pub struct Page<'d> {
    bindings: &'d dyn PdfiumLibraryBindings,
    document: FPDF_DOCUMENT,
    form: FPDF_FORMHANDLE,
    handle: FPDF_PAGE,
}

impl Page<'_> {
    /// (width, height) of what is shown of it, turned, in its own units.
    #[must_use]
    pub fn size(&self) -> (f32, f32) {
        // SAFETY: the handle is open.
        unsafe {
            (
                self.bindings.FPDF_GetPageWidthF(self.handle),
                self.bindings.FPDF_GetPageHeightF(self.handle),
            )
        }
    }

    /// Shows all of its media box.
    pub fn uncrop(&self) {
        // SAFETY: the handle is open.
        unsafe {
            self.bindings.FPDFPage_SetCropBox(
                self.handle,
                -EVERYTHING,
                -EVERYTHING,
                EVERYTHING,
                EVERYTHING,
            );
        }
    }

    /// How often it is turned by a quarter, with the clock.
    #[must_use]
    pub fn quarter_turns(&self) -> u8 {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDFPage_GetRotation(self.handle) }.rem_euclid(4) as u8
    }

    /// What is shown of it.
    #[must_use]
    pub fn shown(&self) -> Rect {
        let mut rect = FS_RECTF {
            left: 0.0,
            top: 0.0,
            right: 0.0,
            bottom: 0.0,
        };
        // SAFETY: the handle is open, and the pointer is to a rectangle.
        unsafe {
            self.bindings
                .FPDF_GetPageBoundingBox(self.handle, &raw mut rect);
        }
        Rect {
            left: rect.left.min(rect.right),
            bottom: rect.bottom.min(rect.top),
            right: rect.right.max(rect.left),
            top: rect.top.max(rect.bottom),
        }
    }

    /// Draws it on `background` (0xAARRGGBB), with its annotations and form fields: red, green, blue and one byte without a
    /// meaning for each pixel.
    #[must_use]
    pub fn draw(&self, width: u32, height: u32, background: Option<u32>) -> Option<Vec<u8>> {
        let stride = (width as usize).checked_mul(BYTES_PER_PIXEL)?;
        let mut pixels = vec![0_u8; stride.checked_mul(height as usize)?];
        let (w, h) = (c_int::try_from(width).ok()?, c_int::try_from(height).ok()?);
        let colour = background.map_or(WHITE, c_ulong::from);
        // SAFETY: the handles are open, and the bitmap, which is closed here, is as large as its pixels.
        unsafe {
            let stride = c_int::try_from(stride).ok()?;
            let bitmap =
                self.bindings
                    .FPDFBitmap_CreateEx(w, h, BGRX, pixels.as_mut_ptr().cast(), stride);
            if bitmap.is_null() {
                return None;
            }
            self.bindings
                .FPDFBitmap_FillRect(bitmap, 0, 0, w, h, colour as _);
            self.bindings
                .FPDF_RenderPageBitmap(bitmap, self.handle, 0, 0, w, h, 0, RENDER_FLAGS);
            if !self.form.is_null() {
                self.bindings.FPDF_FFLDraw(
                    self.form,
                    bitmap,
                    self.handle,
                    0,
                    0,
                    w,
                    h,
                    0,
                    RENDER_FLAGS,
                );
            }
            self.bindings.FPDFBitmap_Destroy(bitmap);
        }
        Some(pixels)
    }

    /// What it is drawn of, without annotations.
    pub fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        // SAFETY: the handle is open.
        let count = unsafe { self.bindings.FPDFPage_CountObjects(self.handle) };
        (0..count.max(0)).filter_map(|index| {
            // SAFETY: the handle is open.
            let handle = unsafe { self.bindings.FPDFPage_GetObject(self.handle, index) };
            Object::new(self.bindings, self.document, self.handle, handle)
        })
    }

    /// Number of annotations.
    #[must_use]
    pub fn annotations(&self) -> i32 {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDFPage_GetAnnotCount(self.handle) }
    }

    /// Whether it has fields to fill in: for text, to check or to choose, and not to sign or to press alone.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        // As FPDF_FORMFIELD_CHECKBOX to FPDF_FORMFIELD_TEXTFIELD count.
        const TO_FILL_IN: std::ops::RangeInclusive<c_int> = 2..=6;
        if self.form.is_null() {
            return false;
        }
        (0..self.annotations()).any(|index| {
            // SAFETY: the handles are open, and that of the annotation is closed here.
            unsafe {
                let annotation = self.bindings.FPDFPage_GetAnnot(self.handle, index);
                if annotation.is_null() {
                    return false;
                }
                let kind = self
                    .bindings
                    .FPDFAnnot_GetFormFieldType(self.form, annotation);
                self.bindings.FPDFPage_CloseAnnot(annotation);
                TO_FILL_IN.contains(&kind)
            }
        })
    }

    /// Makes annotations and form fields part of the page's content; they are when it is opened again.
    pub fn flatten(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { self.bindings.FPDFPage_Flatten(self.handle, 0) == 1 }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> Option<TextPage<'_>> {
        TextPage::load(self.bindings, self.document, self.handle)
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // SAFETY: the handles are open.
        unsafe {
            if !self.form.is_null() {
                self.bindings.FORM_OnBeforeClosePage(self.handle, self.form);
            }
            self.bindings.FPDF_ClosePage(self.handle);
        }
    }
}
