//! A sheet of paper that is written on from the top down, as the content of a PDF page; and a PDF of such sheets.

use std::fmt::Write;

use crate::faces::{Face, code_of};

/// Sizes count in points, from the sheet's left upper corner; a pixel is one point.
pub struct Sheet {
    pub width: f64,
    pub height: f64,
    /// Operators of a PDF's content.
    pub content: String,
}

impl Sheet {
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width: width.into(),
            height: height.into(),
            content: String::new(),
        }
    }

    /// Writes from `x` on, on a line at `y`.
    pub fn write(&mut self, face: usize, size: f64, x: f64, y: f64, text: &str) {
        let y = self.height - y;
        let text: String = text.chars().map(escaped).collect();
        let shown = format!("BT /F{face} {size:.2} Tf {x:.2} {y:.2} Td ({text}) Tj ET\n");
        self.content += &shown;
    }

    pub fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        let (top, bottom) = (self.height - from.1, self.height - to.1);
        let (left, right) = (from.0, to.0);
        writeln!(
            self.content,
            "{left:.2} {top:.2} m {right:.2} {bottom:.2} l S"
        )
        .expect("a string takes all");
    }

    /// The page as PDF objects, the first of which is to have the number `number`; the object 2 holds all pages, and the
    /// object 3 all faces, as `/F0` and so on.
    fn objects(&self, number: usize) -> [String; 2] {
        let Self {
            width,
            height,
            content,
        } = self;
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Resources 3 0 R /Contents {} 0 R >>",
            number + 1
        );
        let stream = format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        );
        [page, stream]
    }
}

/// The objects of a PDF of these pages, set in these faces.
pub fn objects<'a>(faces: &[Face], sheets: impl Iterator<Item = &'a Sheet>) -> Vec<String> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        String::new(),
        String::new(),
    ];
    let (mut fonts, mut kids) = (String::new(), String::new());
    for (index, face) in faces.iter().enumerate() {
        let number = objects.len() + 1;
        write!(fonts, "/F{index} {number} 0 R ").expect("a string takes all");
        objects.extend(face.objects(number));
    }
    let mut count = 0;
    for sheet in sheets {
        let number = objects.len() + 1;
        write!(kids, "{number} 0 R ").expect("a string takes all");
        objects.extend(sheet.objects(number));
        count += 1;
    }
    objects[1] = format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>");
    objects[2] = format!("<< /Font << {fonts}>> >>");
    objects
}

/// A character within a PDF's string, in `WinAnsiEncoding`.
fn escaped(character: char) -> String {
    match character {
        '(' | ')' | '\\' => format!("\\{character}"),
        _ if !character.is_ascii() => format!("\\{:o}", code_of(character)),
        _ => character.to_string(),
    }
}
