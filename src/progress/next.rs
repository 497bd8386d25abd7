//! The next command to type, for the summary.

use std::{env, ffi::OsString, path::Path};

/// The option that retries failed pages.
const RETRY: &str = "--retry-failed";
/// Maximum length of a command that is repeated in full.
const MAX_LENGTH: usize = 300;

/// The command of this run with the retry option, ready to paste; or what to add to it.
pub(super) fn retry() -> String {
    let restarts = env::var_os("OMNIDOCS_RESTART").is_some_and(|value| !value.is_empty());
    let args: Vec<_> = env::args_os().collect();
    let repeated = (!restarts).then(|| repeat(&args)).flatten();
    repeated.unwrap_or_else(|| format!("the same command with {RETRY} and without --restart"))
}

/// The command that writes the texts in `output` to files; `None` if its words can't be typed.
pub(super) fn export(output: &Path) -> Option<String> {
    let program = env::args_os().next()?;
    let words = [program.to_str()?, "export", output.to_str()?, "--to", "out"];
    let can_be_typed = words.iter().all(|word| !word.contains(char::is_control));
    can_be_typed.then(|| words.map(quoted).join(" "))
}

/// `None` if the arguments can't be repeated: not text, too long, a password, a list on stdin.
fn repeat(args: &[OsString]) -> Option<String> {
    let args: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    let args = args?;
    let is_shown = |arg: &&str| !arg.starts_with("--password") && !arg.contains(char::is_control);
    if !args.iter().all(is_shown) || args.windows(2).any(|pair| pair == ["--files-from", "-"]) {
        return None;
    }
    let kept = args
        .iter()
        .copied()
        .filter(|&arg| arg != "--restart" && arg != RETRY);
    let words: Vec<_> = kept.map(quoted).chain([RETRY.to_owned()]).collect();
    let command = words.join(" ");
    (command.len() <= MAX_LENGTH).then_some(command)
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain =
        |character: char| character.is_alphanumeric() || "/.,:=@%+-_{}".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(args: &[&str]) -> Option<String> {
        repeat(&args.iter().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn retry_command_never_restarts() {
        assert_eq!(
            repeated(&[
                "omnidocs",
                "extract",
                "my scans",
                "it's",
                "-o",
                "r.jsonl",
                "--restart"
            ]),
            Some(r"omnidocs extract 'my scans' 'it'\''s' -o r.jsonl --retry-failed".to_owned())
        );
        assert_eq!(
            repeated(&["omnidocs", "extract", "--retry-failed", "in"]),
            Some("omnidocs extract in --retry-failed".to_owned())
        );
    }

    #[test]
    fn retry_command_omits_secrets_and_untypeable_arguments() {
        assert_eq!(
            repeated(&["omnidocs", "extract", "--password", "abc"]),
            None
        );
        assert_eq!(
            repeated(&["omnidocs", "extract", "--files-from", "-"]),
            None
        );
        assert_eq!(repeated(&["omnidocs", "extract", "a\u{1b}.pdf"]), None);
        assert_eq!(repeated(&["omnidocs", &"x".repeat(400)]), None);
    }
}
