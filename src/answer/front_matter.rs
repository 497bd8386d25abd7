//! Answers with a front matter, as olmOCR writes them: five keys between lines of three dashes, then Markdown.
//!
//! The rules are those of `olmocr/train/dataloader.py` and `olmocr/pipeline.py` (allenai/olmocr, v0.4): a page that does not
//! lie right is turned counterclockwise by `rotation_correction` degrees, as Pillow's `ROTATE_90` turns, and read again.

use crate::page::Rotation;

/// A turn, counterclockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Turn {
    Quarter,
    Half,
    ThreeQuarters,
}

impl Turn {
    /// The same turn, with the clock.
    #[must_use]
    pub fn rotation(self) -> Rotation {
        match self {
            Self::Quarter => Rotation::ThreeQuarters,
            Self::Half => Rotation::Half,
            Self::ThreeQuarters => Rotation::Quarter,
        }
    }
}

const FENCE: &str = "---";

/// The content below the front matter, and how that says that the page must be turned. An answer without one is its content.
pub(super) fn read(text: String) -> (String, Option<Turn>) {
    match split(&text) {
        Some((matter, content)) => (content.trim().to_owned(), turn(matter)),
        None => (text, None),
    }
}

/// The lines between the fences, and what follows the second one.
fn split(text: &str) -> Option<(&str, &str)> {
    let inside = text.trim_start().strip_prefix(FENCE)?.trim_start();
    let (matter, content) = inside.split_once(&format!("\n{FENCE}"))?;
    // A page may begin with a rule and hold another one.
    let is_key = |line: &str| line.split_once(':').is_some_and(|(key, _)| is_plain(key));
    matter
        .lines()
        .all(is_key)
        .then_some((matter, content.trim_start_matches('-')))
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn turn(matter: &str) -> Option<Turn> {
    let value = |wanted: &str| {
        let mut pairs = matter.lines().filter_map(|line| line.split_once(':'));
        pairs
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.trim())
    };
    if !value("is_rotation_valid")?.eq_ignore_ascii_case("false") {
        return None;
    }
    match value("rotation_correction")? {
        "90" => Some(Turn::Quarter),
        "180" => Some(Turn::Half),
        "270" => Some(Turn::ThreeQuarters),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matter(valid: &str, correction: &str) -> String {
        format!(
            "---\nprimary_language: en\nis_rotation_valid: {valid}\nrotation_correction: {correction}\nis_table: False\n\
             is_diagram: False\n---\n"
        )
    }

    #[test]
    fn front_matter_is_taken_off_the_content() {
        let (content, turn) = read(matter("True", "0") + "# Title\n\n---\n\nkey: value\n");
        assert_eq!(content, "# Title\n\n---\n\nkey: value");
        assert_eq!(turn, None);
        assert_eq!(read(matter("True", "0")).0, "");
        for text in [
            "# Title",
            "---\nA rule, and more.\n---\ntext",
            "---\nopen: yes",
            "",
        ] {
            assert_eq!(read(text.to_owned()).0, text);
        }
    }

    #[test]
    fn front_matter_says_how_a_page_must_be_turned() {
        for (valid, correction, turn) in [
            ("False", "90", Some(Turn::Quarter)),
            ("false", "180", Some(Turn::Half)),
            ("False", "270", Some(Turn::ThreeQuarters)),
            ("False", "0", None),
            ("False", "45", None),
            ("True", "90", None),
        ] {
            assert_eq!(read(matter(valid, correction) + "text").1, turn);
        }
    }
}
