//! HTML as a tree. Models leave ends out, invent elements and are cut off: nothing is an error, and what is no element of
//! HTML is text.

use std::borrow::Cow;

use super::tags::{Tag, decode};

/// The elements that are read as such, by what they do to others.
const BLOCKS: [&str; 41] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "colgroup",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
];
const CELLS: [&str; 2] = ["td", "th"];
const INLINE: [&str; 31] = [
    "a", "abbr", "b", "big", "br", "button", "chem", "cite", "code", "col", "del", "em", "i",
    "img", "input", "ins", "kbd", "label", "mark", "math", "q", "s", "samp", "small", "span",
    "strike", "strong", "sub", "sup", "u", "var",
];
/// Elements without an end.
const VOID: [&str; 7] = ["br", "col", "hr", "img", "input", "link", "meta"];
/// Elements that say nothing of the page, with all that is in them.
const SILENT: [&str; 5] = ["head", "link", "meta", "script", "style"];
/// Elements nested deeper than this are left out, and their content stays.
const MAX_DEPTH: usize = 48;

/// A part of the tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    Text(Cow<'a, str>),
    Element(Element<'a>),
}

/// An element and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Element<'a> {
    pub(super) tag: Tag<'a>,
    pub(super) children: Vec<Node<'a>>,
}

impl Element<'_> {
    pub(super) fn name(&self) -> &str {
        &self.tag.name
    }

    pub(super) fn is_block(&self) -> bool {
        is_block(self.name())
    }

    /// Whether an element below it is such.
    pub(super) fn any(&self, is: &dyn Fn(&Element) -> bool) -> bool {
        self.children.iter().any(|child| match child {
            Node::Text(_) => false,
            Node::Element(element) => is(element) || element.any(is),
        })
    }

    /// All text in it.
    pub(super) fn text(&self) -> String {
        let texts = self.children.iter().map(|child| match child {
            Node::Text(text) => text.to_string(),
            Node::Element(element) if element.name() == "br" => "\n".to_owned(),
            Node::Element(element) => element.text(),
        });
        texts.collect()
    }
}

/// Whether an element is one of HTML's.
pub(super) fn is_known(name: &str) -> bool {
    is_block(name)
        || CELLS.contains(&name)
        || INLINE.contains(&name)
        || SILENT.contains(&name)
        || VOID.contains(&name)
}

fn is_block(name: &str) -> bool {
    BLOCKS.contains(&name)
}

/// The tree of a text.
pub(super) fn parse(html: &str) -> Vec<Node<'_>> {
    let mut tree = Tree::default();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        tree.text(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = after_comment(rest) {
            rest = after;
            continue;
        }
        match Tag::parse(rest) {
            Some((tag, after)) if is_known(&tag.name) => {
                rest = after;
                if SILENT.contains(&tag.name.as_str()) {
                    if !tag.closes && !VOID.contains(&tag.name.as_str()) {
                        rest = after_end(rest, &tag.name);
                    }
                } else if tag.closes {
                    tree.close(&tag.name);
                } else {
                    tree.open(tag);
                }
            }
            _ if is_cut_off(rest) => rest = "",
            _ => {
                tree.text("<");
                rest = &rest[1..];
            }
        }
    }
    tree.text(rest);
    tree.finish()
}

/// What follows a comment, a document type or a processing instruction.
fn after_comment(text: &str) -> Option<&str> {
    if let Some(comment) = text.strip_prefix("<!--") {
        return Some(comment.split_once("-->").map_or("", |(_, after)| after));
    }
    let is_declaration = |start: &str| {
        let head = text.get(..start.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    if is_declaration("<!doctype") || is_declaration("<?xml") {
        return Some(text.split_once('>').map_or("", |(_, after)| after));
    }
    None
}

/// What follows the end of an element whose content is not read.
fn after_end<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(start) = rest.find("</") {
        rest = &rest[start..];
        match Tag::parse(rest) {
            Some((tag, after)) if tag.name == name => return after,
            _ => rest = &rest[2..],
        }
    }
    // An end that is missing costs no text.
    text
}

/// Whether a text is the beginning of a tag, cut off.
fn is_cut_off(text: &str) -> bool {
    let inner = text.trim_start_matches('<').trim_start_matches('/');
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric());
    let (name, attributes) = inner.split_at(end.unwrap_or(inner.len()));
    let begun = attributes.trim_start();
    let is_tag = begun.is_empty()
        || attributes.starts_with(char::is_whitespace)
            && (begun.contains('=') || begun.starts_with("data") || begun.starts_with("class"));
    !text.contains('>') && is_tag && is_known(&name.to_ascii_lowercase())
}

/// A tree that grows.
#[derive(Default)]
struct Tree<'a> {
    /// What is outside of all elements.
    top: Vec<Node<'a>>,
    /// The elements that have begun and not ended.
    open: Vec<Element<'a>>,
}

impl<'a> Tree<'a> {
    /// Where what comes next belongs.
    fn siblings(&mut self) -> &mut Vec<Node<'a>> {
        match self.open.last_mut() {
            Some(element) => &mut element.children,
            None => &mut self.top,
        }
    }

    fn push(&mut self, node: Node<'a>) {
        self.siblings().push(node);
    }

    fn text(&mut self, text: &'a str) {
        match self.siblings().last_mut() {
            _ if text.is_empty() => {}
            Some(Node::Text(before)) => before.to_mut().push_str(&decode(text)),
            _ => self.push(Node::Text(decode(text))),
        }
    }

    fn open(&mut self, tag: Tag<'a>) {
        self.imply_ends(&tag.name);
        let is_void = VOID.contains(&tag.name.as_str());
        let element = Element {
            tag,
            children: Vec::new(),
        };
        if is_void {
            self.push(Node::Element(element));
        } else if self.open.len() < MAX_DEPTH {
            self.open.push(element);
        }
    }

    /// Ends the elements that cannot hold one of this name.
    fn imply_ends(&mut self, name: &str) {
        let (ends, within): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl"]),
            "td" | "th" => (&["td", "th"], &["tr", "table"]),
            "tr" => (&["tr"], &["table"]),
            "thead" | "tbody" | "tfoot" => (&["thead", "tbody", "tfoot", "caption"], &["table"]),
            name if is_block(name) => (&["p"], &["td", "th", "li", "div", "blockquote", "table"]),
            _ => return,
        };
        let mut open = self.open.iter().map(Element::name).rev();
        let ended = open.position(|open| ends.contains(&open) || within.contains(&open));
        let Some(above) = ended else { return };
        let place = self.open.len() - 1 - above;
        if ends.contains(&self.open[place].name()) {
            self.end_from(place);
        }
    }

    /// Ends the latest element of this name, and what is open in it. Ends of what is outside of a cell don't end the cell.
    fn close(&mut self, name: &str) {
        let is_of_table = ["table", "thead", "tbody", "tfoot", "tr"].contains(&name);
        let mut open = self.open.iter().map(Element::name).rev();
        let found = open.position(|open| {
            open == name || (!is_of_table && (open == "table" || CELLS.contains(&open)))
        });
        let Some(above) = found else { return };
        let place = self.open.len() - 1 - above;
        if self.open[place].name() == name {
            self.end_from(place);
        }
    }

    fn end_from(&mut self, place: usize) {
        while self.open.len() > place
            && let Some(element) = self.open.pop()
        {
            self.push(Node::Element(element));
        }
    }

    fn finish(mut self) -> Vec<Node<'a>> {
        self.end_from(0);
        self.top
    }
}
