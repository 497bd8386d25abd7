//! Turns an instruction into a prompt's tokens with the model folder's tokenizer and chat template, and tokens into text.

use std::{collections::HashSet, panic::catch_unwind, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::Tokenizer;

use super::chat_template::{ChatTemplate, Question};

/// The tokenizer and the chat template of a model folder.
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    image_token_id: u32,
    /// Special tokens that are no part of an answer in any dialect.
    unsaid: HashSet<u32>,
}

/// Special tokens that say what and where a part of the page is: Qwen2-VL's and its successors'.
const PLACES: [&str; 4] = [
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
];

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
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let unsaid = added
            .filter(|(_, token)| token.special && !PLACES.contains(&token.content.as_str()))
            .map(|(id, _)| id);
        Ok(Self {
            unsaid: unsaid.collect(),
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

    /// As [`decode`](Self::decode), with the special tokens that say where parts of the page are.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_with_places(&self, tokens: &[u32]) -> Result<String> {
        let said = tokens.iter().filter(|token| !self.unsaid.contains(token));
        let said: Vec<_> = said.copied().collect();
        self.tokenizer
            .decode(&said, false)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tokens_that_say_where_things_are_stay_where_they_are_wanted() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny-qwen2_vl-tied");
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(model).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let path = folder.path().join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        let id_of = |token: &Value| token["id"].as_u64().unwrap();
        let last = added.iter().map(id_of).max().unwrap();
        let image = added
            .iter()
            .find(|token| token["content"] == "<|image_pad|>");
        let image_token_id = id_of(image.unwrap()) as u32;
        let end = added.iter().find(|token| token["content"] == "<|im_end|>");
        let end = id_of(end.unwrap()) as u32;
        for (place, content) in PLACES.iter().enumerate() {
            added.push(json!({
                "id": last + 1 + place as u64, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            }));
        }
        fs::write(&path, tokenizer.to_string()).unwrap();
        let tokens = ModelTokens {
            image_token: "<|image_pad|>",
            image_token_id,
            vocab_size: 1 << 20,
        };
        let tokenizer = ChatTokenizer::open(folder.path(), tokens).unwrap();
        let said =
            "<|object_ref_start|>a line<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>";
        let mut answer = tokenizer.encode(said).unwrap();
        answer.push(end);
        assert_eq!(tokenizer.decode_with_places(&answer).unwrap(), said);
        assert_eq!(tokenizer.decode(&answer).unwrap(), "a line(1,2),(3,4)");
    }
}
