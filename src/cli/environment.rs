//! Options that are set in the environment: those that are set to nothing, and those that are no options.

use std::{collections::BTreeSet, env, ffi::OsString, path::Path, process};

use clap::{
    CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue},
};

use super::Cli;
use crate::{
    exit::{Exit, end_objects},
    terminal::{self, printable},
};

/// What all our variables begin with.
const PREFIX: &str = "OMNIDOCS_";
/// Variables that are read elsewhere.
const OTHERS: [&str; 11] = [
    "OMNIDOCS_INCLUDE",
    "OMNIDOCS_EXCLUDE",
    "OMNIDOCS_SERVER_API_KEY",
    "OMNIDOCS_SHARDS",
    // For building and testing.
    "OMNIDOCS_CASES",
    "OMNIDOCS_COMMIT",
    "OMNIDOCS_KILLS",
    "OMNIDOCS_FONTS",
    "OMNIDOCS_PDFIUM",
    "OMNIDOCS_WORKER_FAULTS",
    "OMNIDOCS_LONG_TESTS",
];
/// More edits make another word.
const MAX_DISTANCE: usize = 4;

/// Parses the command line and the environment, where an empty variable counts as none. Ends the program with a message
/// where that can't be done, or where help was asked for.
#[must_use]
pub fn parse() -> Cli {
    let unset = |arg: clap::Arg| match arg.get_env() {
        Some(name) if env::var_os(name).is_some_and(|value| value.is_empty()) => arg.env(None),
        _ => arg,
    };
    let mut command = Cli::command().mut_subcommands(|command| command.mut_args(unset));
    let parsed = match command.try_get_matches_from_mut(env::args_os()) {
        Ok(matches) => Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command)),
        Err(error) => Err(error),
    };
    parsed.unwrap_or_else(|mut error| {
        add_tip(&mut error);
        exit(&error)
    })
}

/// A tip for those who leave out the subcommand: `omnidocs ./pdfs`.
fn add_tip(error: &mut clap::Error) {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    if Path::new(typed).exists() {
        let tip = format!("to read it, run omnidocs extract {typed}").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        error.remove(ContextKind::SuggestedSubcommand);
    }
}

/// Ends the program with what clap says. A name in it that would move the cursor is shown without colours, but safely.
fn exit(error: &clap::Error) -> ! {
    if error.use_stderr() && wants_objects() {
        terminal::speak_in_objects();
        end_objects(Exit::Usage, Some(error.render().to_string().trim_end()));
        process::exit(error.exit_code());
    }
    let has_control = |arg: OsString| printable(&arg.to_string_lossy()) != arg.to_string_lossy();
    if error.use_stderr() && env::args_os().any(has_control) {
        let said = error.render().to_string();
        let lines: Vec<_> = said.lines().map(printable).collect();
        terminal::print(&lines.join("\n"));
        process::exit(error.exit_code());
    }
    error.exit()
}

/// Whether `--progress json` was asked for, on a command line that can't be parsed.
fn wants_objects() -> bool {
    let args: Vec<_> = env::args_os().collect();
    let typed = args.windows(2).any(|pair| pair == ["--progress", "json"])
        || args.iter().any(|arg| arg == "--progress=json");
    typed || env::var_os("OMNIDOCS_PROGRESS").is_some_and(|value| value == "json")
}

/// A sentence on each variable that looks like an option and is none, with the name that it is nearest to.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let known = known();
    let set = env::vars_os().filter(|(_, value)| !value.is_empty());
    unknown(set.map(|(name, _)| name), &known)
}

fn unknown(set: impl Iterator<Item = OsString>, known: &BTreeSet<String>) -> Vec<String> {
    let set = set.map(|name| name.to_string_lossy().into_owned());
    let unknown: BTreeSet<_> = set
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .collect();
    let sentences = unknown.iter().map(|name| {
        let near = known
            .iter()
            .map(|option| (strsim::damerau_levenshtein(name, option), option))
            .min();
        match near {
            Some((distance, option)) if distance <= MAX_DISTANCE => {
                format!("{name} is not an option and is ignored; did you mean {option}?")
            }
            _ => format!("{name} is not an option and is ignored"),
        }
    });
    sentences.collect()
}

fn known() -> BTreeSet<String> {
    let command = Cli::command();
    let options = command.get_subcommands().flat_map(|command| {
        let names = command.get_arguments().filter_map(clap::Arg::get_env);
        names.map(|name| name.to_string_lossy().into_owned())
    });
    options.chain(OTHERS.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_variable_gets_the_nearest_option() {
        let set = [
            "OMNIDOCS_MAX_TOKENS",
            "OMNIDOCS_OUTPT",
            "OMNIDOCS_DPI",
            "OMNIDOCS_SHARDS",
            "OMNIDOCS_SOMETHING_ELSE",
            "PATH",
        ];
        assert_eq!(
            unknown(set.into_iter().map(OsString::from), &known()),
            [
                "OMNIDOCS_MAX_TOKENS is not an option and is ignored; did you mean OMNIDOCS_MAX_NEW_TOKENS?",
                "OMNIDOCS_OUTPT is not an option and is ignored; did you mean OMNIDOCS_OUTPUT?",
                "OMNIDOCS_SOMETHING_ELSE is not an option and is ignored",
            ]
        );
    }
}
