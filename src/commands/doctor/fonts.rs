//! Which letters of PDFs without their own fonts are seen, as PDFium finds fonts for them.

use anyhow::Result;

use super::{check::Check, sample};
use crate::{
    commands::made_pdf,
    engine::{Attempt, PageResult, SingleReader},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PreparedPage, Warning},
    prepare::script::Script,
    record::Status,
};

/// A script, a font without a file, and a word.
struct Sample {
    script: Script,
    font: &'static str,
    word: &'static str,
}

const SAMPLES: [Sample; 5] = [
    Sample {
        script: Script::Cyrillic,
        font: "<< /Type /Font /Subtype /TrueType /BaseFont /ArialMT /FirstChar 65 /LastChar 67 /Widths [700 700 700] \
               /Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [65 /afii10017 /afii10018 /afii10019] >> >>",
        word: "(ABC)",
    },
    Sample {
        script: Script::Arabic,
        font: "<< /Type /Font /Subtype /TrueType /BaseFont /ArialMT /FirstChar 65 /LastChar 67 /Widths [700 700 700] \
               /Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [65 /afii57409 /afii57416 /afii57418] >> >>",
        word: "(ABC)",
    },
    Sample {
        script: Script::Han,
        font: "<< /Type /Font /Subtype /Type0 /BaseFont /Unknown /Encoding /UniGB-UCS2-H /DescendantFonts [<< /Type \
               /Font /Subtype /CIDFontType0 /BaseFont /Unknown /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) \
               /Supplement 2 >> >>] >>",
        word: "<6587672C5B57>",
    },
    Sample {
        script: Script::Kana,
        font: "<< /Type /Font /Subtype /Type0 /BaseFont /Unknown /Encoding /UniJIS-UCS2-H /DescendantFonts [<< /Type \
               /Font /Subtype /CIDFontType0 /BaseFont /Unknown /CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) \
               /Supplement 2 >> >>] >>",
        word: "<30423042306E>",
    },
    Sample {
        script: Script::Hangul,
        font: "<< /Type /Font /Subtype /Type0 /BaseFont /Unknown /Encoding /UniKS-UCS2-H /DescendantFonts [<< /Type \
               /Font /Subtype /CIDFontType0 /BaseFont /Unknown /CIDSystemInfo << /Registry (Adobe) /Ordering (Korea1) \
               /Supplement 1 >> >>] >>",
        word: "<D55CAE00D55C>",
    },
];

/// Looks at a page in each script.
pub(super) fn fonts() -> Vec<Check> {
    look().unwrap_or_else(|error| {
        let todo = "let this program write to the temporary folder (TMPDIR)";
        vec![Check::broken("fonts", format!("{error:#}"), todo)]
    })
}

fn look() -> Result<Vec<Check>> {
    let (mut seen, mut missing) = (Vec::new(), Vec::new());
    for sample in &SAMPLES {
        let record = sample::read(&pdf(sample), Looker::new())?;
        if record.status == Status::Ok && !record.warnings.contains(&Warning::MissingGlyphs) {
            seen.push(sample.script.name());
        } else {
            missing.push(sample.script);
        }
    }
    let mut checks = Vec::new();
    if !seen.is_empty() {
        checks.push(Check::ok(
            "fonts",
            format!("there are some for {}", seen.join(", ")),
        ));
    }
    let mut remedies: Vec<(String, Vec<&str>)> = Vec::new();
    for script in missing {
        let remedy = script.remedy();
        match remedies.iter_mut().find(|(known, _)| *known == remedy) {
            Some((_, scripts)) => scripts.push(script.name()),
            None => remedies.push((remedy, vec![script.name()])),
        }
    }
    checks.extend(remedies.into_iter().map(|(remedy, scripts)| {
        let scripts = scripts.join(", ");
        let found =
            format!("none for {scripts}: PDFs without fonts of their own lose these letters");
        Check::warning("fonts", found, remedy)
    }));
    Ok(checks)
}

/// A PDF with one word in a font that it does not have.
fn pdf(sample: &Sample) -> Vec<u8> {
    let drawn = format!("BT /F 24 Tf 20 60 Td {} Tj ET", sample.word);
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 120] /Contents 4 0 R /Resources << /Font << /F {} >> >> >>",
            sample.font
        ),
        format!("<< /Length {} >>\nstream\n{drawn}\nendstream", drawn.len()),
    ];
    made_pdf::of(&objects)
}

/// Looks at a page and reads nothing.
struct Looker(EngineInfo);

impl Looker {
    fn new() -> Self {
        Self(EngineInfo {
            engine: "looker",
            model: None,
            output_format: OutputFormat::Text,
            device: None,
            dtype: None,
        })
    }
}

impl SingleReader for Looker {
    fn info(&self) -> &EngineInfo {
        &self.0
    }

    fn needs(&self) -> Needs {
        Needs {
            pixels: true,
            text: true,
        }
    }

    fn read(&mut self, _: &PreparedPage, _: Attempt) -> PageResult {
        Ok(PageAnswer::default())
    }
}
