//! The names of a record's fields. They are looked for in the order in which they are written: comparing a name with the one
//! that should come takes a fraction of the time of looking where it ends and which one it is.

use super::walk::Walk;

/// A field that is read; all others are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Schema,
    Path,
    PathBytes,
    DocId,
    CopyOf,
    Page,
    LastPage,
    PageCount,
    Status,
    FinishReason,
    Warnings,
    Error,
    WordCount,
    CompletionTokens,
    Engine,
    Timings,
    Other,
}

/// The names as they are written.
const WRITTEN: [(&str, Field); 39] = [
    ("\"schema\":", Field::Schema),
    ("\"path\":", Field::Path),
    ("\"path_bytes\":", Field::PathBytes),
    ("\"filename\":", Field::Other),
    ("\"doc_id\":", Field::DocId),
    ("\"copy_of\":", Field::CopyOf),
    ("\"format\":", Field::Other),
    ("\"size_bytes\":", Field::Other),
    ("\"page\":", Field::Page),
    ("\"last_page\":", Field::LastPage),
    ("\"page_count\":", Field::PageCount),
    ("\"original_width\":", Field::Other),
    ("\"original_height\":", Field::Other),
    ("\"rotation\":", Field::Other),
    ("\"width\":", Field::Other),
    ("\"height\":", Field::Other),
    ("\"parts\":", Field::Other),
    ("\"status\":", Field::Status),
    ("\"skip_reason\":", Field::Other),
    ("\"content\":", Field::Other),
    ("\"blocks\":", Field::Other),
    ("\"output_format\":", Field::Other),
    ("\"content_length\":", Field::Other),
    ("\"word_count\":", Field::WordCount),
    ("\"finish_reason\":", Field::FinishReason),
    ("\"confidence\":", Field::Other),
    ("\"engine\":", Field::Engine),
    ("\"model\":", Field::Other),
    ("\"device\":", Field::Other),
    ("\"dtype\":", Field::Other),
    ("\"attempts\":", Field::Other),
    ("\"prompt_tokens\":", Field::Other),
    ("\"image_tokens\":", Field::Other),
    ("\"completion_tokens\":", Field::CompletionTokens),
    ("\"forward_passes\":", Field::Other),
    ("\"draft_accepted\":", Field::Other),
    ("\"timings_ms\":", Field::Timings),
    ("\"warnings\":", Field::Warnings),
    ("\"error\":", Field::Error),
];

impl Walk<'_> {
    /// The field whose name stands here, and goes on to its value. `next` is the place in [`WRITTEN`] of the name that
    /// should come.
    pub(super) fn field(&mut self, next: &mut usize) -> Option<Field> {
        let rest = self.bytes.get(self.at..)?;
        if let Some((name, field)) = WRITTEN.get(*next)
            && rest.starts_with(name.as_bytes())
        {
            self.at += name.len();
            *next += 1;
            return Some(*field);
        }
        let start = self.at;
        self.plain_text()?;
        self.expect(b':')?;
        let name = self.text.get(start..self.at)?;
        let place = WRITTEN.iter().position(|(known, _)| *known == name);
        *next = place.map_or(*next, |place| place + 1);
        Some(place.map_or(Field::Other, |place| WRITTEN[place].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_in_the_order_in_which_they_are_written() {
        let page = crate::page::PageRef::new(
            &std::sync::Arc::new(crate::page::Document::at("a.pdf".into())),
            1,
        );
        let engine = crate::page::EngineInfo {
            engine: "none",
            model: None,
            output_format: crate::options::OutputFormat::Text,
            device: None,
            dtype: None,
        };
        let facts = crate::record::PageFacts::unprepared(page, std::time::Duration::ZERO, 1);
        let record = crate::record::Record::blank(&facts, &engine);
        let line = serde_json::to_string(&record).unwrap();
        let mut rest = line.as_str();
        for (name, _) in WRITTEN {
            let (_, after) = rest
                .split_once(name)
                .unwrap_or_else(|| panic!("{name} in {rest}"));
            rest = after;
        }
        let fields = serde_json::from_str::<serde_json::Value>(&line).unwrap();
        assert_eq!(fields.as_object().unwrap().len(), WRITTEN.len());
    }
}
