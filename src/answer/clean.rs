//! What models write around a page's text, and faults of their markup: one table of rules.
//!
//! The rules here are applied to an answer before it is parsed, those of `faults` to what is made of it. Each
//! gives the text that it changed, or nothing: text that no rule is for is left as it is, to the last space.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::options::OutputFormat;

/// A rule.
pub(super) type Rule = fn(&str, OutputFormat) -> Option<String>;

/// For an answer, in this order.
pub(super) const ANSWER: [Rule; 5] = [
    special_tokens,
    reasoning,
    control_characters,
    normalization,
    chat,
];

/// Applies the rules.
pub(super) fn apply(rules: &[Rule], text: String, format: OutputFormat) -> String {
    let apply = |text: String, rule: &Rule| rule(&text, format).unwrap_or(text);
    rules.iter().fold(text, apply)
}

/// Tokens that end a text or a turn, where a server lets them through: at the ends of the answer.
fn special_tokens(text: &str, _: OutputFormat) -> Option<String> {
    const TOKENS: [&str; 8] = [
        "<|im_end|>",
        "<|im_start|>assistant",
        "<|im_start|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|end▁of▁sentence|>",
        "</s>",
    ];
    let mut rest = text;
    loop {
        let trimmed = rest.trim();
        let cut = TOKENS.iter().find_map(|token| {
            let without_end = trimmed.strip_suffix(token);
            without_end.or_else(|| trimmed.strip_prefix(token))
        });
        match cut {
            Some(cut) => rest = cut,
            None if rest.len() == text.len() => return None,
            None => return Some(trimmed.to_owned()),
        }
    }
}

/// Reasoning before the answer, and what separates them. If it never ends, it is all of the answer.
fn reasoning(text: &str, _: OutputFormat) -> Option<String> {
    let thinking = text.trim_start().strip_prefix("<think>")?;
    let after = thinking.split_once("</think>");
    Some(after.map_or_else(String::new, |(_, after)| after.trim_start().to_owned()))
}

/// Control characters other than line ends and tabs, and byte order marks.
fn control_characters(text: &str, _: OutputFormat) -> Option<String> {
    let is_noise = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{feff}';
    text.contains(is_noise)
        .then(|| text.replace("\r\n", "\n").replace(is_noise, ""))
}

/// Unicode's form NFC: one character for a letter with its accent.
fn normalization(text: &str, _: OutputFormat) -> Option<String> {
    (is_nfc_quick(text.chars()) != IsNormalized::Yes).then(|| text.nfc().collect())
}

/// A fence around the whole answer, and the sentence before it or behind it; or such a sentence alone.
fn chat(text: &str, _: OutputFormat) -> Option<String> {
    let trimmed = text.trim();
    let (lead, body) = match trimmed.split_once('\n') {
        Some((first, rest)) if is_lead(first) => (true, rest.trim_start_matches('\n')),
        _ => (false, trimmed),
    };
    if let Some(inside) = inside_fence(body) {
        return Some(inside.to_owned());
    }
    if !lead {
        return None;
    }
    let body = match body.rsplit_once("\n\n") {
        Some((body, last)) if is_goodbye(last) => body,
        _ => body,
    };
    Some(body.trim_end().to_owned())
}

/// What is in the one fence that a text is, or that nothing but a goodbye follows. A fence that the answer's end has cut off
/// counts if it says that it is not the page's own.
fn inside_fence(text: &str) -> Option<&str> {
    const WRITTEN: [&str; 8] = [
        "",
        "markdown",
        "md",
        "html",
        "json",
        "text",
        "txt",
        "plaintext",
    ];
    let ticks = text.bytes().take_while(|&byte| byte == b'`').count();
    if ticks < 3 {
        return None;
    }
    let (fence, rest) = text.split_at(ticks);
    let (info, inside) = rest.split_once('\n').unwrap_or((rest, ""));
    let info = info.trim().to_lowercase();
    if !WRITTEN.contains(&info.as_str()) {
        return None;
    }
    // Fences in it come in pairs, one with a name and one without.
    let (mut is_inner, mut at) = (false, 0);
    for line in inside.split_inclusive('\n') {
        let mark = line.trim();
        if mark == fence && !is_inner {
            let after = inside[at + line.len()..].trim();
            let is_whole = after.is_empty() || is_goodbye(after);
            return is_whole.then(|| inside[..at].trim_end_matches('\n'));
        }
        if mark.starts_with(fence) && !mark.trim_start_matches('`').contains('`') {
            is_inner = !is_inner;
        }
        at += line.len();
    }
    (!info.is_empty()).then_some(inside)
}

/// Whether a line introduces an answer: `Here is the text of the image in Markdown:`.
fn is_lead(line: &str) -> bool {
    const STARTS: [&str; 9] = [
        "here is",
        "here's",
        "here are",
        "sure",
        "certainly",
        "of course",
        "okay",
        "below is",
        "the following is",
    ];
    const WORDS: [&str; 9] = [
        "extracted",
        "transcri",
        "converted",
        "markdown",
        "html",
        "json",
        "plain text",
        "ocr",
        "the image",
    ];
    let line = line.trim().replace('’', "'").to_lowercase();
    let starts = STARTS.iter().any(|start| line.starts_with(start));
    starts && line.ends_with(':') && line.len() < 200 && WORDS.iter().any(|it| line.contains(it))
}

/// Whether a paragraph offers more help.
fn is_goodbye(text: &str) -> bool {
    const STARTS: [&str; 6] = [
        "let me know",
        "please let me know",
        "i hope this helps",
        "if you need",
        "feel free",
        "is there anything else",
    ];
    let text = text.trim().to_lowercase();
    !text.contains("\n\n") && text.len() < 300 && STARTS.iter().any(|it| text.starts_with(it))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What each rule makes of an answer, or that it leaves it as it is.
    pub(in crate::answer) fn assert_rule(
        rule: Rule,
        format: OutputFormat,
        cases: &[(&str, Option<&str>)],
    ) {
        for (written, cleaned) in cases {
            assert_eq!(rule(written, format).as_deref(), *cleaned, "{written:?}");
        }
    }

    #[test]
    fn special_tokens_go_from_the_ends() {
        let cases = [
            ("# Bill\n<|im_end|>", Some("# Bill")),
            (
                "<|im_start|>assistant\nA line<|im_end|>\n<|endoftext|>",
                Some("A line"),
            ),
            ("A model ends with <|im_end|> here", None),
            ("  spaces stay \n", None),
        ];
        assert_rule(special_tokens, OutputFormat::Markdown, &cases);
    }

    #[test]
    fn reasoning_goes_from_the_beginning() {
        let cases = [
            ("<think>\n\n</think>\n\n# Title\n", Some("# Title\n")),
            ("\n<think>Hm.\nA page.</think>text", Some("text")),
            ("<think>I was cut off", Some("")),
            ("text with <think> and </think>", None),
        ];
        assert_rule(reasoning, OutputFormat::Markdown, &cases);
    }

    #[test]
    fn control_characters_go_and_line_ends_are_one() {
        let cases = [
            ("a\r\nb\u{0}c\u{7f}\u{9d}d\u{feff}", Some("a\nbcd")),
            ("tab\tand\nline", None),
            ("soft\u{ad}hyphen", None),
        ];
        assert_rule(control_characters, OutputFormat::Text, &cases);
    }

    #[test]
    fn accents_are_composed() {
        let cases = [
            ("Gro\u{308}\u{df}e", Some("Gr\u{f6}\u{df}e")),
            ("Gr\u{f6}\u{df}e \u{fb01}ne \u{b5}", None),
        ];
        assert_rule(normalization, OutputFormat::Text, &cases);
    }

    #[test]
    fn fences_and_chat_around_an_answer_go() {
        let cases = [
            (
                "```markdown\n# Bill\n\n5 nuts\n```",
                Some("# Bill\n\n5 nuts"),
            ),
            ("```html\n<p>x</p>\n```\n", Some("<p>x</p>")),
            ("````md\n```\ncode\n```\n````", Some("```\ncode\n```")),
            (
                "```md\n# A\n```python\nx\n```\ny\n```",
                Some("# A\n```python\nx\n```\ny"),
            ),
            (
                "```json\n[{\"bbox_2d\": [1, 2",
                Some("[{\"bbox_2d\": [1, 2"),
            ),
            (
                "Here is the extracted text from the image in Markdown:\n\n```markdown\nA line\n```\n\nLet me know if you need more!",
                Some("A line"),
            ),
            (
                "Sure! Here\u{2019}s the transcription of the document:\n\nA line\n\nI hope this helps!",
                Some("A line"),
            ),
            ("```python\nprint(1)\n```", None),
            ("```\nlet x\n```\n\nand\n\n```\ny\n```", None),
            ("Here is the plan:\n\n1. Eat", None),
            ("Dear Ann,\n\nLet me know if you can come.", None),
            ("# A\n\n```\ncode\n```", None),
        ];
        assert_rule(chat, OutputFormat::Markdown, &cases);
    }
}
