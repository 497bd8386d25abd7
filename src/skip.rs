//! `--skip`: pages that are not read, by what their text layer says of them.
//!
//! Only a PDF page with a text layer can be skipped: of scans nothing is known before they are read. The rules are those of
//! olmOCR's filter of PDFs (`olmocr/filter/filter.py`), which keeps documents of some languages, without forms, of which at
//! least half of the text is letters.

mod language;

use std::{fmt, str::FromStr};

pub use self::language::Language;

/// A text layer with fewer characters, white space not counted, says nothing.
const MIN_CHARACTERS: usize = 200;

/// One rule of `--skip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipRule {
    /// Pages with fields to fill in.
    Forms,
    /// Pages whose text layer is mostly figures and signs.
    NonText,
    /// Pages in this language.
    Language(Language),
    /// Pages in any language but this one and those of other rules of this kind.
    NotLanguage(Language),
}

impl SkipRule {
    const FORMS: &str = "forms";
    const NON_TEXT: &str = "non-text";
    const LANGUAGE: &str = "language:";
    const NOT_LANGUAGE: &str = "not-language:";
}

impl FromStr for SkipRule {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let typed = typed.trim();
        match typed {
            Self::FORMS => return Ok(Self::Forms),
            Self::NON_TEXT => return Ok(Self::NonText),
            _ => {}
        }
        if let Some(code) = typed.strip_prefix(Self::LANGUAGE) {
            return code.parse().map(Self::Language);
        }
        if let Some(code) = typed.strip_prefix(Self::NOT_LANGUAGE) {
            return code.parse().map(Self::NotLanguage);
        }
        Err(format!(
            "'{typed}' is no rule; use forms, non-text, language:de or not-language:en"
        ))
    }
}

impl fmt::Display for SkipRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forms => f.write_str(Self::FORMS),
            Self::NonText => f.write_str(Self::NON_TEXT),
            Self::Language(language) => write!(f, "{}{language}", Self::LANGUAGE),
            Self::NotLanguage(language) => write!(f, "{}{language}", Self::NOT_LANGUAGE),
        }
    }
}

/// The rules of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skip(Vec<SkipRule>);

impl FromIterator<SkipRule> for Skip {
    fn from_iter<I: IntoIterator<Item = SkipRule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Skip {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why a page with this text layer, and with fields to fill in or not, is skipped: the rule in the words of `--skip`, and
    /// the language that was found.
    #[must_use]
    pub fn reason(&self, text: &str, has_fields: bool) -> Option<String> {
        if has_fields && self.0.contains(&SkipRule::Forms) {
            return Some(SkipRule::Forms.to_string());
        }
        if self.0.contains(&SkipRule::NonText) && is_no_text(text) {
            return Some(SkipRule::NonText.to_string());
        }
        let by_language =
            |rule: &&SkipRule| matches!(rule, SkipRule::Language(_) | SkipRule::NotLanguage(_));
        self.0.iter().find(by_language)?;
        let language = Language::of(text)?;
        let kept = |rule: &SkipRule| match rule {
            SkipRule::NotLanguage(kept) => Some(*kept),
            _ => None,
        };
        let mut kept = self.0.iter().filter_map(kept).peekable();
        let is_other = kept.peek().is_some() && kept.all(|kept| kept != language);
        let is_named = self.0.contains(&SkipRule::Language(language));
        (is_named || is_other).then(|| SkipRule::Language(language).to_string())
    }
}

/// Whether less than half of a text is letters.
fn is_no_text(text: &str) -> bool {
    let visible = text.chars().filter(|c| !c.is_whitespace());
    let (mut all, mut letters) = (0, 0);
    for character in visible {
        all += 1;
        letters += usize::from(character.is_alphabetic());
    }
    all >= MIN_CHARACTERS && 2 * letters < all
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of \
                           foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light.";
    const GERMAN: &str = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett zu einem \
                          ungeheueren Ungeziefer verwandelt. Er lag auf seinem panzerartig harten Rücken und sah, wenn er den \
                          Kopf ein wenig hob, seinen gewölbten, braunen Bauch.";

    fn reason(rules: &str, text: &str, has_fields: bool) -> Option<String> {
        let rules = rules
            .split(',')
            .map(|rule| rule.parse::<SkipRule>().unwrap());
        rules.collect::<Skip>().reason(text, has_fields)
    }

    #[test]
    fn pages_are_skipped_by_rule() {
        let figures = "12.50 7,300 (4) 99 % ".repeat(20);
        for (rules, text, has_fields, expected) in [
            ("forms", ENGLISH, true, Some("forms")),
            ("forms", ENGLISH, false, None),
            ("non-text", &figures, false, Some("non-text")),
            ("non-text", ENGLISH, true, None),
            ("non-text", "12 34", false, None),
            ("language:de", GERMAN, false, Some("language:de")),
            (
                "language:deu,language:fr",
                GERMAN,
                false,
                Some("language:de"),
            ),
            ("language:de", ENGLISH, false, None),
            ("not-language:en", GERMAN, false, Some("language:de")),
            ("not-language:en", ENGLISH, false, None),
            ("not-language:en,not-language:de", GERMAN, false, None),
            ("not-language:en", "7", false, None),
            (
                "forms,non-text,language:en",
                ENGLISH,
                false,
                Some("language:en"),
            ),
        ] {
            assert_eq!(
                reason(rules, text, has_fields).as_deref(),
                expected,
                "{rules}"
            );
        }
    }

    #[test]
    fn rules_are_parsed_and_printed() {
        for rule in ["forms", "non-text", "language:de", "not-language:en"] {
            assert_eq!(rule.parse::<SkipRule>().unwrap().to_string(), rule);
        }
        for (typed, words) in [
            ("form", "'form' is no rule"),
            ("language:xx", "xx"),
            ("language:", "language"),
        ] {
            let error = typed.parse::<SkipRule>().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
