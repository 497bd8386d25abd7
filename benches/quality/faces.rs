//! The typefaces of the pages: those that the reader is trained in, where they are installed, and two others.

use std::fs;

use ignore::Walk;

/// Regular and bold by turns, as in `examples/reader/pages.py`.
const TRAINED: [&str; 8] = [
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "LiberationSans-Regular",
    "LiberationSans-Bold",
    "LiberationSerif-Regular",
    "LiberationSerif-Bold",
];

const FIRST: u8 = b' ';

/// The characters beyond ASCII that the pages have, with their codes in `WinAnsiEncoding`.
const BEYOND_ASCII: [(char, u8); 3] = [('€', 0o200), ('•', 0o225), ('£', 0o243)];

/// A typeface of a PDF.
pub struct Face {
    name: &'static str,
    /// Of the codes from blank on, in thousandths of the size.
    widths: Vec<u16>,
    /// The font file; none for a face that every reader of PDF has.
    file: Option<Vec<u8>>,
}

/// The faces that the reader is trained in, regular and bold by turns; none unless all are installed.
pub fn trained() -> Vec<Face> {
    let faces: Vec<Face> = TRAINED.iter().filter_map(|name| installed(name)).collect();
    if faces.len() == TRAINED.len() {
        return faces;
    }
    Vec::new()
}

/// Two that it isn't trained in, regular and bold by turns.
pub fn others() -> Vec<Face> {
    let faces = OTHERS.map(|(name, ascii)| Face {
        name,
        widths: codes().map(|code| other_width(&ascii, code)).collect(),
        file: None,
    });
    faces.into()
}

impl Face {
    /// How wide `text` is when it is printed.
    pub fn measure(&self, size: f64, text: &str) -> f64 {
        let widths = text
            .chars()
            .map(|c| self.widths[usize::from(code_of(c) - FIRST)]);
        widths.map(f64::from).sum::<f64>() * size / 1000.0
    }

    /// The font as PDF objects, the first of which is to have the number `number`.
    pub fn objects(&self, number: usize) -> Vec<String> {
        let Self { name, widths, file } = self;
        let Some(file) = file else {
            return vec![format!(
                "<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"
            )];
        };
        let widths: String = widths.iter().map(|width| format!("{width} ")).collect();
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        vec![
            format!(
                "<< /Type /Font /Subtype /TrueType /BaseFont /{name} /Encoding /WinAnsiEncoding /FirstChar {FIRST} \
                 /LastChar 255 /Widths [{widths}] /FontDescriptor {} 0 R >>",
                number + 1
            ),
            format!(
                "<< /Type /FontDescriptor /FontName /{name} /Flags 32 /FontBBox [-1000 -300 2000 1000] /ItalicAngle 0 \
                 /Ascent 900 /Descent -240 /CapHeight 720 /StemV 80 /FontFile2 {} 0 R >>",
                number + 2
            ),
            format!(
                "<< /Length {} /Length1 {} /Filter /ASCIIHexDecode >>\nstream\n{hex}>\nendstream",
                hex.len() + 1,
                file.len()
            ),
        ]
    }
}

/// The code of a character in `WinAnsiEncoding`.
pub fn code_of(character: char) -> u8 {
    let beyond = BEYOND_ASCII.iter().find(|(c, _)| *c == character);
    beyond.map_or(character as u8, |(_, code)| *code)
}

fn codes() -> impl Iterator<Item = u8> {
    FIRST..=u8::MAX
}

fn character_of(code: u8) -> char {
    let beyond = BEYOND_ASCII.iter().find(|(_, c)| *c == code);
    beyond.map_or(code.into(), |(character, _)| *character)
}

/// The face of the file NAME.ttf, wherever the system keeps its fonts.
fn installed(name: &'static str) -> Option<Face> {
    let mut files = Walk::new("/usr/share/fonts").filter_map(Result::ok);
    let found = files.find(|file| *file.file_name() == *format!("{name}.ttf"))?;
    let file = fs::read(found.path()).ok()?;
    let font = ttf_parser::Face::parse(&file, 0).ok()?;
    let width = |code| {
        let glyph = font.glyph_index(character_of(code));
        let units = glyph.and_then(|glyph| font.glyph_hor_advance(glyph));
        let units = f64::from(units.unwrap_or_default());
        (units * 1000.0 / f64::from(font.units_per_em())).round() as u16
    };
    let widths = codes().map(width).collect();
    Some(Face {
        name,
        widths,
        file: Some(file),
    })
}

/// Both currencies beyond ASCII are as wide as a digit, and nothing is set behind a bullet.
fn other_width(ascii: &[u16; 95], code: u8) -> u16 {
    let digit = ascii[usize::from(b'0' - FIRST)];
    ascii
        .get(usize::from(code - FIRST))
        .copied()
        .unwrap_or(digit)
}

/// The widths of the characters from blank to tilde are those of Adobe's metrics.
const OTHERS: [(&str, [u16; 95]); 4] = [
    (
        "Helvetica",
        [
            278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556,
            556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667,
            667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722,
            667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500,
            556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278,
            556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
        ],
    ),
    (
        "Helvetica-Bold",
        [
            278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556,
            556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722,
            722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778, 667, 778, 722,
            667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556,
            611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333,
            611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
        ],
    ),
    (
        "Times-Roman",
        [
            250, 333, 408, 500, 500, 833, 778, 180, 333, 333, 500, 564, 250, 333, 250, 278, 500,
            500, 500, 500, 500, 500, 500, 500, 500, 500, 278, 278, 564, 564, 564, 444, 921, 722,
            667, 667, 722, 611, 556, 722, 722, 333, 389, 722, 611, 889, 722, 722, 556, 722, 667,
            556, 611, 722, 722, 944, 722, 722, 611, 333, 278, 333, 469, 500, 333, 444, 500, 444,
            500, 444, 333, 500, 500, 278, 278, 500, 278, 778, 500, 500, 500, 500, 333, 389, 278,
            500, 500, 722, 500, 500, 444, 480, 200, 480, 541,
        ],
    ),
    (
        "Times-Bold",
        [
            250, 333, 555, 500, 500, 1000, 833, 278, 333, 333, 500, 570, 250, 333, 250, 278, 500,
            500, 500, 500, 500, 500, 500, 500, 500, 500, 333, 333, 570, 570, 570, 500, 930, 722,
            667, 722, 722, 667, 611, 778, 778, 389, 500, 778, 667, 944, 722, 778, 611, 778, 722,
            556, 667, 722, 722, 1000, 722, 722, 667, 333, 278, 333, 581, 500, 333, 500, 556, 444,
            556, 444, 333, 500, 556, 278, 333, 556, 278, 833, 556, 500, 556, 556, 444, 389, 333,
            556, 500, 722, 500, 500, 444, 394, 220, 394, 520,
        ],
    ),
];
