//! The languages that a text can be recognised to be written in.

use std::{fmt, str::FromStr};

use whatlang::{Lang, detect};

/// Texts with fewer letters are not looked at: names and headings are in any language.
const MIN_LETTERS: usize = 100;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(Lang);

/// The codes of ISO 639-1, and the languages by ISO 639-3.
const CODES: [(&str, Lang); 68] = [
    ("af", Lang::Afr),
    ("ak", Lang::Aka),
    ("am", Lang::Amh),
    ("ar", Lang::Ara),
    ("az", Lang::Aze),
    ("be", Lang::Bel),
    ("bg", Lang::Bul),
    ("bn", Lang::Ben),
    ("ca", Lang::Cat),
    ("cs", Lang::Ces),
    ("cy", Lang::Cym),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("eo", Lang::Epo),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fa", Lang::Pes),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("gu", Lang::Guj),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("hy", Lang::Hye),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("jv", Lang::Jav),
    ("ka", Lang::Kat),
    ("km", Lang::Khm),
    ("kn", Lang::Kan),
    ("ko", Lang::Kor),
    ("la", Lang::Lat),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("mk", Lang::Mkd),
    ("ml", Lang::Mal),
    ("mr", Lang::Mar),
    ("my", Lang::Mya),
    ("nb", Lang::Nob),
    ("ne", Lang::Nep),
    ("nl", Lang::Nld),
    ("or", Lang::Ori),
    ("pa", Lang::Pan),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("si", Lang::Sin),
    ("sk", Lang::Slk),
    ("sl", Lang::Slv),
    ("sn", Lang::Sna),
    ("sr", Lang::Srp),
    ("sv", Lang::Swe),
    ("ta", Lang::Tam),
    ("te", Lang::Tel),
    ("th", Lang::Tha),
    ("tk", Lang::Tuk),
    ("tl", Lang::Tgl),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("ur", Lang::Urd),
    ("uz", Lang::Uzb),
    ("vi", Lang::Vie),
    ("zh", Lang::Cmn),
];

impl Language {
    /// The language of a text; none if it is short, or not clear.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let letters = text.chars().filter(|c| c.is_alphabetic());
        if letters.take(MIN_LETTERS).count() < MIN_LETTERS {
            return None;
        }
        let found = detect(text).filter(whatlang::Info::is_reliable)?;
        Some(Self(found.lang()))
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, String> {
        let lower = code.to_lowercase();
        let named = CODES.iter().find(|(short, _)| *short == lower);
        let named = named.map(|(_, language)| *language);
        let language = named.or_else(|| Lang::from_code(lower));
        language.map(Self).ok_or_else(|| {
            let codes: Vec<_> = CODES.iter().map(|(code, _)| *code).collect();
            format!(
                "'{code}' is no language that can be recognised; use one of {}",
                codes.join(" ")
            )
        })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = CODES.iter().find(|(_, language)| *language == self.0);
        f.write_str(short.map_or(self.0.code(), |(short, _)| short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_code_of_its_own() {
        for language in Lang::all() {
            let shown = Language(*language).to_string();
            assert_eq!(shown.parse(), Ok(Language(*language)), "{shown}");
        }
        for pair in CODES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{pair:?}");
        }
    }

    #[test]
    fn language_of_short_texts_is_not_guessed() {
        assert_eq!(Language::of("Table of contents"), None);
        assert_eq!(Language::of(&"1234 ".repeat(100)), None);
        let russian = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. Все смешалось \
                       в доме Облонских. Жена узнала, что муж был в связи с бывшею в их доме француженкою-гувернанткой, и объявила \
                       мужу, что не может жить с ним в одном доме.";
        assert_eq!(Language::of(russian), Some(Language(Lang::Rus)));
    }
}
