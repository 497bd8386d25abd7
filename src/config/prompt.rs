//! The model's prompt.

use std::{fs, path::Path};

use super::usage::usage_error;
use crate::{exit::UsageError, options::FormatChoice};

/// The given prompt, else that of the format.
pub fn prompt(
    format: FormatChoice,
    text: Option<String>,
    file: Option<&Path>,
) -> Result<String, UsageError> {
    let (flag, text) = match (text, file) {
        (Some(_), Some(_)) => {
            return usage_error("--prompt and --prompt-file are both given; use one of them");
        }
        (Some(text), None) => ("--prompt".to_owned(), text),
        (None, Some(file)) => match fs::read_to_string(file) {
            Ok(text) => (
                format!("--prompt-file {}", file.display()),
                text.trim_end().to_owned(),
            ),
            Err(error) => {
                return usage_error(format!(
                    "cannot read --prompt-file {}: {error}",
                    file.display()
                ));
            }
        },
        (None, None) => return Ok(format.default_prompt().to_owned()),
    };
    if text.trim().is_empty() {
        return usage_error(format!(
            "{flag} is empty; leave it out to ask for {}",
            format_name(format)
        ));
    }
    Ok(text)
}

fn format_name(format: FormatChoice) -> &'static str {
    match format {
        FormatChoice::Markdown => "Markdown",
        FormatChoice::Html => "HTML",
        FormatChoice::Text => "plain text",
        FormatChoice::Json => "blocks",
    }
}
