//! Turns an instruction into a prompt's tokens with the model folder's tokenizer and chat template, and tokens into text.

use std::{panic::catch_unwind, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::Tokenizer;

use super::chat_template::{ChatTemplate, Question};

/// The tokenizer and the chat template of a model folder.
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    image_token_id: u32,
}

/// The model's requirements of a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelTokens<'a> {
    /// Name of the token that stands for one merged patch.
    pub image_token: &'a str,
    /// Its id.
    pub image_token_id: u32,
    /// Size of the model's vocabulary.
    pub vocab_size: usize,
}

/// An instruction as tokens, before and after the page's image tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    before: Vec<u32>,
    image_token_id: u32,
    after: Vec<u32>,
}

impl Prompt {
    /// The whole prompt for a page of `image_tokens` merged patches.
    #[must_use]
    pub fn tokens(&self, image_tokens: usize) -> Vec<u32> {
        let image = std::iter::repeat_n(self.image_token_id, image_tokens);
        self.before
            .iter()
            .copied()
            .chain(image)
            .chain(self.after.iter().copied())
            .collect()
    }

    /// Index of the first image token.
    #[must_use]
    pub fn image_start(&self) -> usize {
        self.before.len()
    }
}

impl ChatTokenizer {
    /// Reads `tokenizer.json` and the template in `chat_template.jinja`, `chat_template.json` or
    /// `tokenizer_config.json`, whichever is there first.
    ///
    /// # Errors
    /// The tokenizer is missing or broken, or its ids don't fit `tokens`.
    pub fn open(folder: &Path, tokens: ModelTokens) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        // The library panics on some damaged files.
        let read = catch_unwind(|| Tokenizer::from_file(&path));
        let tokenizer = read
            .map_err(|_| anyhow!("cannot parse {}: it is damaged", path.display()))?
            .map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
        check_ids(&tokenizer, tokens)
            .with_context(|| format!("{} does not fit config.json", path.display()))?;
        Ok(Self {
            tokenizer,
            template: ChatTemplate::read(folder)?,
            image_token_id: tokens.image_token_id,
        })
    }

    /// The prompt that asks for `instruction` about one image.
    ///
    /// # Errors
    /// The folder's template fails, or does not leave exactly one place for the image.
    pub fn prompt(&self, instruction: &str) -> Result<Prompt> {
        self.prompt_as(Question {
            instruction,
            text_first: false,
        })
    }

    /// As [`prompt`](Self::prompt), in either order.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    pub fn prompt_as(&self, question: Question) -> Result<Prompt> {
        let text = self.template.render_as(question)?;
        let tokens = self.encode(&text)?;
        let mut parts = tokens.split(|&id| id == self.image_token_id);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(before), Some(after), None) => Ok(Prompt {
                before: before.to_vec(),
                image_token_id: self.image_token_id,
                after: after.to_vec(),
            }),
            _ => Err(anyhow!(
                "the model's chat template must have exactly one place for the image; it gave {text:?}"
            )),
        }
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|error| anyhow!("{error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of generated tokens, without special ones.
    ///
    /// # Errors
    /// A token that the tokenizer does not have.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer
            .decode(tokens, true)
            .map_err(|error| anyhow!("cannot decode the answer: {error}"))
    }
}

fn check_ids(tokenizer: &Tokenizer, tokens: ModelTokens) -> Result<()> {
    let (name, wanted) = (tokens.image_token, tokens.image_token_id);
    let found = tokenizer
        .token_to_id(name)
        .with_context(|| format!("it has no token {name}"))?;
    ensure!(
        found == wanted,
        "{name} is {found} there, but image_token_id is {wanted}"
    );
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
    ensure!(
        largest < tokens.vocab_size,
        "it has a token {largest}, but vocab_size is {}",
        tokens.vocab_size
    );
    Ok(())
}
