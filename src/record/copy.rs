//! Records of copies: files with the bytes of another, which was read.

use serde_json::{Map, Value};

use super::{
    Record, SCHEMA, Status, Timings,
    build::{filename, path_bytes},
};
use crate::{error::PageError, page::Document};

impl Record {
    /// The record of the same page of `copy`, which has the same bytes. It took no time to make.
    #[must_use]
    pub fn copied_to(&self, copy: &Document) -> Self {
        Self {
            path: copy.path.to_string_lossy().into_owned(),
            path_bytes: path_bytes(&copy.path),
            filename: filename(&copy.path),
            ..self.copied()
        }
    }

    /// The record of the same page at the path of `other`, a record of another file with the same bytes.
    #[must_use]
    pub fn copied_to_path_of(&self, other: &Self) -> Self {
        Self {
            path: other.path.clone(),
            path_bytes: other.path_bytes.clone(),
            filename: other.filename.clone(),
            ..self.copied()
        }
    }

    fn copied(&self) -> Self {
        Self {
            schema: SCHEMA,
            copy_of: self.copy_of.clone().or_else(|| Some(self.path.clone())),
            attempts: 0,
            timings_ms: Timings::default(),
            ..self.clone()
        }
    }

    /// The same page without its content, since it failed after all.
    #[must_use]
    pub fn with_error(self, error: PageError) -> Self {
        Self {
            status: Status::Failed,
            content: None,
            blocks: None,
            content_length: 0,
            word_count: 0,
            finish_reason: None,
            confidence: None,
            warnings: Vec::new(),
            error: Some(error),
            ..self
        }
    }

    /// Reads a line of schema 1 or 2, leaving out fields that another program added.
    ///
    /// # Errors
    /// It is not a record.
    pub fn from_line(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line).or_else(|error| {
            let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(line) else {
                return Err(error);
            };
            fields.retain(|name, _| FIELDS.contains(&name.as_str()));
            serde_json::from_value(fields.into())
        })
    }
}

/// The names of a record's fields.
const FIELDS: [&str; 39] = [
    "schema",
    "path",
    "path_bytes",
    "filename",
    "doc_id",
    "copy_of",
    "format",
    "size_bytes",
    "page",
    "last_page",
    "page_count",
    "original_width",
    "original_height",
    "rotation",
    "width",
    "height",
    "parts",
    "status",
    "skip_reason",
    "content",
    "blocks",
    "output_format",
    "content_length",
    "word_count",
    "finish_reason",
    "confidence",
    "engine",
    "model",
    "device",
    "dtype",
    "attempts",
    "prompt_tokens",
    "image_tokens",
    "completion_tokens",
    "forward_passes",
    "draft_accepted",
    "timings_ms",
    "warnings",
    "error",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{page::PageAnswer, record::tests::record};

    #[test]
    fn fields_are_those_of_a_record() {
        let record = serde_json::to_value(record(PageAnswer::default())).unwrap();
        let names: Vec<_> = record.as_object().unwrap().keys().cloned().collect();
        let mut fields = FIELDS.map(str::to_owned).to_vec();
        fields.sort();
        let mut sorted = names;
        sorted.sort();
        assert_eq!(sorted, fields);
    }

    #[test]
    fn fields_of_other_programs_are_left_out() {
        let record = record(PageAnswer::default());
        let line = serde_json::to_string(&record).unwrap();
        let more = line.replacen('{', r#"{"reviewed":true,"#, 1);
        assert_eq!(Record::from_line(more.as_bytes()).unwrap(), record);
        assert!(Record::from_line(b"{\"schema\":2}").is_err());
    }
}
