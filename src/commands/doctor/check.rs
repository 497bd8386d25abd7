//! One line of what the doctor says.

use serde::Serialize;

use crate::terminal::{Colour, Lines};

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    /// Usable, but not for all or not well.
    Warning,
    /// Not usable.
    Broken,
}

/// A thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    pub(super) state: State,
    found: String,
    /// What to do; null where all is well.
    todo: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            todo: None,
        }
    }

    pub(super) fn warning(
        name: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Warning,
            todo: Some(todo.into()),
            ..Self::ok(name, found)
        }
    }

    pub(super) fn broken(
        name: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Broken,
            ..Self::warning(name, found, todo)
        }
    }

    /// Adds its line.
    pub(super) fn add_to(&self, lines: &mut Lines) {
        let (word, colour) = match self.state {
            State::Ok => ("ok", Colour::Green),
            State::Warning => ("warning", Colour::Yellow),
            State::Broken => ("broken", Colour::Red),
        };
        let todo = self.todo.as_ref();
        let todo = todo.map_or_else(String::new, |todo| format!(" → {todo}"));
        lines.add_in(colour, self.name, format!("{word:<8} {}{todo}", self.found));
    }
}
