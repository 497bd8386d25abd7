//! What a model is asked, and how it answers: as the options say, else as the model's preset does.

use crate::{
    answer::{Reading, Units, Wanted},
    generation::sampler::Sampling,
    models::preset::Preset,
    options::{self, FormatChoice, Style},
};

/// The prompt and sampling for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The instruction that goes with each page; empty for the page alone.
    pub prompt: String,
    /// Whether it comes before the page.
    pub text_first: bool,
    /// How the answer is written.
    pub reading: Reading,
    /// What becomes of it.
    pub wanted: Wanted,
    /// How the answer is written.
    pub sampling: Sampling,
    /// Whether to draft from the page's text and from the answer so far.
    pub drafts: bool,
    /// Whether the model's own head drafts too.
    pub draft_head: bool,
    /// Number of pages decoded together.
    pub batch_size: usize,
}

/// What the options say, where they say anything.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Asked {
    pub prompt: Option<String>,
    pub format: FormatChoice,
    pub style: Style,
    /// What a general model measures boxes in.
    pub units: Units,
    pub max_new_tokens: Option<usize>,
    pub temperature: Option<f64>,
    pub seed: u64,
    /// Whether to draft greedy answers.
    pub drafts: bool,
    /// Whether the model's own head is to draft them too.
    pub draft_head: bool,
    pub batch_size: usize,
}

impl Asked {
    /// The task of a model with this preset, if it has one.
    #[must_use]
    pub fn of(self, preset: Option<&Preset>) -> Task {
        let temperature = self.temperature;
        let temperature = temperature.or(preset.and_then(|preset| preset.temperature));
        let max_new_tokens = self.max_new_tokens;
        let max_new_tokens = max_new_tokens.or(preset.and_then(|preset| preset.max_new_tokens));
        let sampling = Sampling {
            max_new_tokens: max_new_tokens.unwrap_or(options::MAX_NEW_TOKENS),
            temperature: temperature.unwrap_or(0.0),
            seed: self.seed,
        };
        // Sampled answers are not guessed, so no text need be read for them.
        let drafts = self.drafts && sampling.is_greedy();
        let blocks = self.format == FormatChoice::Json;
        let own = preset.filter(|_| self.prompt.is_none());
        let own = own.and_then(|preset| preset.question_for(self.format));
        // Another prompt may be answered in the same way, and an answer in another form is read as it is.
        let reading = preset.map_or(Reading::Plain, |preset| preset.reading);
        let (prompt, format, reading) = match (own, self.prompt) {
            (Some(own), _) => (own.prompt.to_owned(), own.writes, own.reading),
            (None, Some(prompt)) => (prompt, self.format.content(), reading),
            (None, None) if blocks => {
                let prompt = self.format.default_prompt().to_owned();
                (prompt, self.format.content(), Reading::Layout(self.units))
            }
            (None, None) => {
                let prompt = self.format.default_prompt().to_owned();
                (prompt, self.format.content(), reading)
            }
        };
        Task {
            prompt,
            text_first: preset.is_some_and(|preset| preset.text_first),
            reading: match reading {
                Reading::Plain if blocks => Reading::Free(self.units),
                reading => reading,
            },
            wanted: Wanted {
                format: if blocks {
                    self.format.content()
                } else {
                    format
                },
                blocks,
                style: self.style,
            },
            sampling,
            drafts,
            draft_head: drafts && self.draft_head,
            batch_size: self.batch_size,
        }
    }
}
