//! A page's content as HTML that can only be looked at: a few elements without attributes, and text.
//!
//! What a model wrote comes from a stranger's document. Markdown becomes HTML first, raw HTML included; of the HTML, only the
//! elements of [`ALLOWED`] stay, built anew from their names, each closed where it was opened. All else is text.

use std::borrow::Cow;

use pulldown_cmark::{Options, Parser, html::push_html};

use crate::{
    answer::tags::{Tag, is_reference},
    options::OutputFormat,
};

/// Elements of text and tables. Anything else is shown as it was written.
const ALLOWED: [&str; 48] = [
    "b",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "ins",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "s",
    "section",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];
/// Elements that are left out, and whose content stays.
const DROPPED: [&str; 6] = ["a", "article", "body", "html", "img", "main"];
/// Elements without an end.
const VOID: [&str; 3] = ["br", "col", "hr"];
/// Elements nested deeper than this are text, as browsers give up on them.
const MAX_DEPTH: usize = 64;
/// Maximum value of an attribute.
const MAX_NUMBER: u32 = 1000;

/// The content of a page in its format.
#[must_use]
pub fn render(content: &str, format: OutputFormat) -> String {
    match format {
        OutputFormat::Text => format!("<pre>{}</pre>", escape(content)),
        OutputFormat::Html => clean(content),
        OutputFormat::Markdown => {
            let extensions = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
            let mut html = String::with_capacity(content.len() * 3 / 2);
            push_html(&mut html, Parser::new_ext(content, extensions));
            clean(&html)
        }
    }
}

/// Text for an element or a quoted attribute.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '\0']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\0' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped.into()
}

/// HTML with the allowed elements alone, all of them closed.
fn clean(html: &str) -> String {
    let mut cleaned = String::with_capacity(html.len() + 64);
    let mut open: Vec<&'static str> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        push_text(&mut cleaned, &rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some((tag, after)) = Tag::parse(rest) else {
            cleaned += "&lt;";
            rest = &rest[1..];
            continue;
        };
        let written = &rest[..rest.len() - after.len()];
        rest = after;
        if DROPPED.contains(&tag.name.as_str()) {
            continue;
        }
        match ALLOWED.into_iter().find(|name| *name == tag.name) {
            Some(name) if tag.closes => close(&mut cleaned, &mut open, name),
            Some(name) if open.len() < MAX_DEPTH => {
                cleaned += &format!("<{name}{}>", numbers(&tag, name));
                if !VOID.contains(&name) {
                    open.push(name);
                }
            }
            _ => cleaned += &escape(written),
        }
    }
    push_text(&mut cleaned, rest);
    while let Some(name) = open.pop() {
        cleaned += &format!("</{name}>");
    }
    cleaned
}

/// Closes the latest element of this name, and what is open in it. An end without a beginning is left out.
fn close(cleaned: &mut String, open: &mut Vec<&'static str>, name: &str) {
    if !open.contains(&name) {
        return;
    }
    while let Some(inner) = open.pop() {
        *cleaned += &format!("</{inner}>");
        if inner == name {
            return;
        }
    }
}

/// Text between tags. Character references stay what they are.
fn push_text(cleaned: &mut String, text: &str) {
    for (place, piece) in text.split('&').enumerate() {
        if place > 0 {
            *cleaned += if is_reference(piece) { "&" } else { "&amp;" };
        }
        *cleaned += &piece.replace('>', "&gt;").replace('\0', "\u{fffd}");
    }
}

/// The attributes with a number that shape a table or a list, written anew.
fn numbers(tag: &Tag, name: &str) -> String {
    let kept: &[&str] = match name {
        "td" | "th" => &["colspan", "rowspan"],
        "ol" => &["start"],
        _ => &[],
    };
    let numbers = kept.iter().filter_map(|kept| {
        let value = tag.attribute(kept)?;
        let end = value
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(value.len());
        let number: u32 = value[..end].parse().ok()?;
        Some(format!(" {kept}=\"{}\"", number.clamp(1, MAX_NUMBER)))
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_tables_and_html_tables_stay_tables() {
        let html = render(
            "# Bill\n\n| a | b |\n|---|--:|\n| 1 | 2 < 3 |\n\n<table><tr><td colspan=\"2\" onclick='x()'>x & y</td></tr></table>",
            OutputFormat::Markdown,
        );
        for part in [
            "<h1>Bill</h1>",
            "<th>a</th><th>b</th>",
            "<td>2 &lt; 3</td>",
            "<table><tr><td colspan=\"2\">x &amp; y</td></tr></table>",
        ] {
            assert!(html.contains(part), "no {part} in {html}");
        }
        assert!(!html.contains("onclick"), "{html}");
    }

    #[test]
    fn scripts_attributes_and_links_are_text_or_gone() {
        for (written, shown) in [
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            ("<img src=x onerror=alert(1)>", ""),
            ("<a href=\"javascript:alert(1)\">x</a>", "x"),
            ("<b style=\"x\" onmouseover=\"y\">z", "<b>z</b>"),
            ("</div></main></body>", ""),
            ("<td colspan=99999999999>", "<td></td>"),
            ("<td rowspan=3000>", "<td rowspan=\"1000\"></td>"),
            (
                "<ol start=3 type=A><li>c",
                "<ol start=\"3\"><li>c</li></ol>",
            ),
            ("<svg/onload=alert(1)>", "&lt;svg/onload=alert(1)&gt;"),
            ("<b title='>'><i>x</b>y", "<b><i>x</i></b>y"),
            ("1 < 2 <3 <", "1 &lt; 2 &lt;3 &lt;"),
            ("<p title=\"", "&lt;p title=\""),
            ("a<!-- <script> -->b<!--c", "ab"),
            (
                "&lt;b&gt; &copy; &#60; &nope &;",
                "&lt;b&gt; &copy; &#60; &amp;nope &amp;;",
            ),
        ] {
            assert_eq!(clean(written), shown);
        }
        let text = render("<b>&\u{0}", OutputFormat::Text);
        assert_eq!(text, "<pre>&lt;b&gt;&amp;\u{fffd}</pre>");
        let link = render(
            "[x](javascript:alert(1)) ![y](data:z)",
            OutputFormat::Markdown,
        );
        assert_eq!(link, "<p>x </p>\n");
    }

    #[test]
    fn deep_nesting_ends() {
        let deep = clean(&"<div>".repeat(10_000));
        assert_eq!(deep.matches("<div>").count(), MAX_DEPTH);
        assert_eq!(deep.matches("</div>").count(), MAX_DEPTH);
    }

    /// Fails unless every `<` of `html` begins an allowed tag, and every tag is closed in order.
    fn assert_harmless(html: &str) {
        let mut open = Vec::new();
        for piece in html.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').expect("a whole tag");
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{html}");
            } else {
                assert!(ALLOWED.contains(&name), "{name:?} in {html}");
                if !VOID.contains(&name) {
                    open.push(name);
                }
            }
            let plain = |c: char| c.is_ascii_digit() || "colspanrwet=\" ".contains(c);
            assert!(attributes.chars().all(plain), "{attributes:?}");
        }
        assert!(open.is_empty(), "{html}");
    }

    proptest! {
        #[test]
        fn any_content_becomes_harmless_html(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("<script>"), Just("</script"), Just("<td colspan=\"2\">"), Just("<table>"), Just("</td>"),
                    Just("<b"), Just(">"), Just("\""), Just("'"), Just("<!--"), Just("-->"), Just("`"), Just("\n\n"),
                    Just("| a |\n|---|\n"), Just("[x](javascript:y)"), Just("<img src=x onerror=y>"), Just("</"), Just("&"),
                    Just("<plaintext>"), Just("<svg>"), Just("x"), Just(" "), Just("\0"), Just("é"),
                ],
                0..24,
            )
        ) {
            let content = pieces.concat();
            for format in [OutputFormat::Markdown, OutputFormat::Html] {
                assert_harmless(&render(&content, format));
            }
        }
    }
}
