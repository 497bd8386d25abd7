//! Scripts, and the packages with fonts for them.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};

/// A script that a font is missing for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Script {
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    Indic,
    Thai,
    Han,
    Kana,
    Hangul,
    Other,
}

impl Script {
    /// The script of a letter; digits are Latin.
    #[must_use]
    pub fn of(letter: char) -> Self {
        match u32::from(letter) {
            0..=0x036F | 0x1E00..=0x1EFF | 0x2C60..=0x2C7F | 0xA720..=0xA7FF | 0xFB00..=0xFB06 => {
                Self::Latin
            }
            0x0370..=0x03FF | 0x1F00..=0x1FFF => Self::Greek,
            0x0400..=0x052F | 0x1C80..=0x1C8F | 0x2DE0..=0x2DFF | 0xA640..=0xA69F => Self::Cyrillic,
            0x0590..=0x05FF | 0xFB1D..=0xFB4F => Self::Hebrew,
            0x0600..=0x077F | 0x08A0..=0x08FF | 0xFB50..=0xFDFF | 0xFE70..=0xFEFF => Self::Arabic,
            0x0900..=0x0DFF => Self::Indic,
            0x0E00..=0x0E7F => Self::Thai,
            0x3040..=0x30FF | 0x31F0..=0x31FF | 0xFF66..=0xFF9F => Self::Kana,
            0x1100..=0x11FF | 0x3130..=0x318F | 0xA960..=0xA97F | 0xAC00..=0xD7FF => Self::Hangul,
            0x2E80..=0x2FDF
            | 0x3005..=0x3007
            | 0x3021..=0x3029
            | 0x3400..=0x4DBF
            | 0x4E00..=0x9FFF
            | 0xF900..=0xFAFF
            | 0x20000..=0x3FFFF => Self::Han,
            _ => Self::Other,
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latin => "Latin",
            Self::Greek => "Greek",
            Self::Cyrillic => "Cyrillic",
            Self::Hebrew => "Hebrew",
            Self::Arabic => "Arabic",
            Self::Indic => "Indic",
            Self::Thai => "Thai",
            Self::Han => "Chinese (Han)",
            Self::Kana => "Japanese",
            Self::Hangul => "Korean",
            Self::Other => "other",
        }
    }

    /// What makes its letters visible.
    ///
    /// PDFium takes any installed font for what it knows to be Chinese, Japanese or Korean; for other scripts it takes one
    /// of the same name as in the PDF, or its own, which has Latin letters only.
    #[must_use]
    pub fn remedy(self) -> String {
        let package = match self {
            Self::Han | Self::Kana | Self::Hangul => {
                return "install a font (package fonts-noto-cjk on Debian and Ubuntu)".to_owned();
            }
            Self::Latin | Self::Greek | Self::Cyrillic => "fonts-dejavu",
            Self::Hebrew | Self::Arabic | Self::Indic | Self::Thai | Self::Other => {
                "fonts-noto-core"
            }
        };
        format!(
            "put fonts into the PDF with `pdftocairo -pdf in.pdf out.pdf` (packages poppler-utils and {package} on Debian and \
             Ubuntu)"
        )
    }
}

impl Script {
    /// Says once for each script where its letters are missing, and what has them.
    pub(super) fn report(self, path: &Path, page: u32) {
        static REPORTED: AtomicU32 = AtomicU32::new(0);
        let this = 1 << self as u32;
        if REPORTED.fetch_or(this, Ordering::Relaxed) & this == 0 {
            tracing::warn!(
                "{}, page {page}: its {} letters are not in the fonts at hand and are missing from the page; {} \
                 (reported once)",
                path.display(),
                self.name(),
                self.remedy()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_the_script_that_a_font_is_chosen_by() {
        for (letters, script) in [
            ("aZ9ßé", Script::Latin),
            ("Жя", Script::Cyrillic),
            ("αΩ", Script::Greek),
            ("漢字", Script::Han),
            ("かナ", Script::Kana),
            ("한글", Script::Hangul),
            ("שלום", Script::Hebrew),
            ("سلام", Script::Arabic),
            ("हत", Script::Indic),
            ("ไทย", Script::Thai),
            ("ᚠ", Script::Other),
        ] {
            for letter in letters.chars() {
                assert_eq!(Script::of(letter), script, "{letter}");
            }
        }
    }
}
