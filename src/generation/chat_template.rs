//! Renders an instruction as the prompt's text with the model folder's chat template.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use minijinja::{Environment, Value, context, syntax::SyntaxConfig};
use serde::Deserialize;

use crate::model_files::read_json;

/// One user turn with an image and a text, for folders without a template.
const DEFAULT: &str = "\
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}\
{%- for part in message.content %}\
{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}{%- else %}{{- part.text }}{%- endif %}\
{%- endfor %}{{- '<|im_end|>\n' }}{%- endfor %}\
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}";

/// What is asked about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// In words; empty to show the image alone.
    pub instruction: &'a str,
    /// Whether the words come before the image.
    pub text_first: bool,
}

/// A Jinja template that renders messages as a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate(String);

impl ChatTemplate {
    /// Reads the template in `chat_template.jinja`, `chat_template.json` or `tokenizer_config.json`, whichever is there
    /// first; where there is none, that of Qwen's models.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(Self(
            read_template(folder)?.unwrap_or_else(|| DEFAULT.to_owned()),
        ))
    }

    /// Whether it has a switch that turns thinking off.
    #[must_use]
    pub fn can_skip_thinking(&self) -> bool {
        self.0.contains("enable_thinking")
    }

    /// The prompt with `instruction` and one image, up to where the answer begins; thinking is off where the template has the
    /// switch.
    ///
    /// # Errors
    /// The template is broken, or refuses.
    pub fn render(&self, instruction: &str) -> Result<String> {
        self.render_as(Question {
            instruction,
            text_first: false,
        })
    }

    /// As [`render`](Self::render), in either order. Without an instruction the image is all that there is.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_as(&self, question: Question) -> Result<String> {
        let Question {
            instruction,
            text_first,
        } = question;
        let mut environment = Environment::new();
        // As transformers sets its templates up.
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()?,
        );
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, minijinja::Error> {
                Err(minijinja::Error::new(
                    minijinja::ErrorKind::InvalidOperation,
                    message,
                ))
            },
        );
        let image = Value::from_pairs([("type", "image")]);
        let text = Value::from_pairs([("type", "text"), ("text", instruction)]);
        let content = match (instruction, text_first) {
            ("", _) => vec![image],
            (_, true) => vec![text, image],
            (_, false) => vec![image, text],
        };
        let messages = vec![context! { role => "user", content }];
        let rendered = environment.render_str(
            &self.0,
            context! { messages, add_generation_prompt => true, enable_thinking => false },
        );
        rendered.context("the model's chat template failed")
    }
}

#[derive(Deserialize, Default)]
struct TemplateFile {
    chat_template: Option<OneOrNamed>,
}

/// A template, or several by name, as transformers writes them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrNamed {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl OneOrNamed {
    fn default_one(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Named(templates) => {
                let mut templates = templates.into_iter();
                let default = templates.find(|template| template.name == "default");
                default.map(|named| named.template)
            }
        }
    }
}

fn read_template(folder: &Path) -> Result<Option<String>> {
    let jinja = folder.join("chat_template.jinja");
    if jinja.exists() {
        return fs::read_to_string(&jinja)
            .map(Some)
            .with_context(|| format!("cannot read {}", jinja.display()));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        if folder.join(name).exists() {
            let file: TemplateFile = read_json(folder, name)?;
            let template = file.chat_template.and_then(OneOrNamed::default_one);
            if template.is_some() {
                return Ok(template);
            }
        }
    }
    Ok(None)
}
