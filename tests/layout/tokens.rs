//! The words and marks of Rust's text.

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Colons,
    Mark(char),
}

/// Where the group that opens at `start` has ended.
pub fn group_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Words and marks of Rust's text, without comments, strings, characters, numbers and lifetimes.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else if first == '"' {
            rest = after_quoted(&rest[1..], '"');
        } else if first == '\'' {
            let mut after = rest[1..].chars();
            let character = after.next() == Some('\\') || after.next() == Some('\'');
            rest = if character {
                after_quoted(&rest[1..], '\'')
            } else {
                &rest[1..]
            };
        } else if word == 0 {
            let colons = rest.starts_with("::");
            tokens.push(if colons {
                Token::Colons
            } else {
                Token::Mark(first)
            });
            rest = &rest[first.len_utf8() + usize::from(colons)..];
            if first.is_whitespace() {
                tokens.pop();
            }
        } else {
            let (name, after) = rest.split_at(word);
            let hashes = after.len() - after.trim_start_matches('#').len();
            let raw = ["r", "br", "cr"].contains(&name) && after[hashes..].starts_with('"');
            let quoted = ["b", "c"].contains(&name) && after.starts_with(['"', '\'']);
            rest = after;
            if raw {
                let end = format!("\"{}", "#".repeat(hashes));
                let inside = &after[hashes + 1..];
                rest = inside.split_once(&end).map_or("", |(_, after)| after);
            } else if !quoted && !first.is_numeric() {
                tokens.push(Token::Word(name.into()));
            }
        }
    }
    tokens
}

fn after_comment(text: &str) -> &str {
    let mut depth = 0;
    let mut rest = text;
    loop {
        if rest.starts_with("/*") {
            depth += 1;
            rest = &rest[2..];
        } else if rest.starts_with("*/") {
            depth -= 1;
            rest = &rest[2..];
            if depth == 0 {
                return rest;
            }
        } else if let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
        } else {
            return rest;
        }
    }
}

fn after_quoted(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && c == quote {
            return &text[at + 1..];
        }
        escaped = !escaped && c == '\\';
    }
    ""
}
