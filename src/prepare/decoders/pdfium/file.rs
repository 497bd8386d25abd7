//! A PDF's bytes as PDFium asks for them.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use memchr::memmem;

/// Bytes before the header (PDF 1.7, appendix H, note 13).
const MAX_JUNK: u64 = 1024;
/// The header as PDFium knows it.
const HEADER: &[u8] = b"%PDF-";

/// A PDF file that begins with its header, whatever is before that, and however the header is written.
#[derive(Debug)]
pub struct PdfFile {
    file: File,
    /// Where the header is; positions count from here.
    start: u64,
    length: u64,
}

impl PdfFile {
    /// Opens a file and finds its header.
    ///
    /// # Errors
    /// The file can't be opened or read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        let mut head = Vec::new();
        let length = MAX_JUNK + HEADER.len() as u64;
        Read::by_ref(&mut file)
            .take(length)
            .read_to_end(&mut head)?;
        let start = memmem::find(&head, b"%PDF").unwrap_or(0) as u64;
        Ok(Self {
            file,
            start,
            length: end - start.min(end),
        })
    }

    /// Number of bytes from the header on.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Fills `bytes` from a position on.
    ///
    /// # Errors
    /// The file can't be read, or ends before that.
    pub fn read_at(&mut self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.start + position))?;
        self.file.read_exact(bytes)?;
        // Some programs write `%PDF 1.7`.
        let header = HEADER.iter().skip(position as usize);
        if position < HEADER.len() as u64 {
            bytes
                .iter_mut()
                .zip(header)
                .for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }
}
