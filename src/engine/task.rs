//! What a model is asked, and how it answers: as the options say, else as the model's preset does.

use crate::{
    answer::Reading,
    generation::sampler::Sampling,
    models::preset::Preset,
    options::{self, OutputFormat},
};

/// The prompt and sampling for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The instruction that goes with each page; empty for the page alone.
    pub prompt: String,
    /// Whether it comes before the page.
    pub text_first: bool,
    /// How the answer is read.
    pub reading: Reading,
    /// What it asks for.
    pub output_format: OutputFormat,
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
    pub format: OutputFormat,
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
        let of_preset = preset.filter(|_| self.prompt.is_none());
        let own = of_preset.and_then(|preset| Some((preset, preset.prompt_for(self.format)?)));
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
        let (prompt, output_format) = if let Some((preset, prompt)) = own {
            (prompt.to_owned(), preset.writes)
        } else {
            let prompt = self.prompt;
            let prompt = prompt.unwrap_or_else(|| self.format.default_prompt().to_owned());
            (prompt, self.format)
        };
        Task {
            prompt,
            text_first: preset.is_some_and(|preset| preset.text_first),
            output_format,
            // Another prompt may be answered in the same way, and one without a front matter is read as it is.
            reading: preset.map_or(Reading::Plain, |preset| preset.reading),
            sampling,
            drafts,
            draft_head: drafts && self.draft_head,
            batch_size: self.batch_size,
        }
    }
}
