//! Two engines as one: the second reads what the first one failed on.

use std::{cell::RefCell, collections::HashMap, iter};

use anyhow::Result;

use super::{Engine, EngineFacts, PageOutcome};
use crate::{
    error::PageError,
    page::{Needs, PreparedPage},
    record::Warning,
};

/// Reads with one engine, and with another one where that fails.
pub struct Fallback {
    first: Box<dyn Engine>,
    second: Box<dyn Engine>,
}

impl Fallback {
    /// Reads with `first`, then with `second`.
    #[must_use]
    pub fn new(first: Box<dyn Engine>, second: Box<dyn Engine>) -> Self {
        Self { first, second }
    }
}

impl Engine for Fallback {
    fn facts(&self) -> &EngineFacts {
        self.first.facts()
    }

    fn needs(&self) -> Needs {
        self.first.needs().and(self.second.needs())
    }

    fn run(
        &mut self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let Self { first, second } = self;
        // The pages that the first engine has not answered for.
        let kept = RefCell::new(HashMap::new());
        let mut pages = pages.inspect(|page| {
            kept.borrow_mut().insert(page.id, page.clone());
        });
        first.run(&mut pages, &mut |outcome| {
            let page = kept.borrow_mut().remove(&outcome.id);
            match (&outcome.result, page) {
                (Err(error), Some(page)) => {
                    let mut again = Vec::new();
                    second.run(&mut iter::once(page), &mut |answer| {
                        again.push(answer);
                        Ok(())
                    })?;
                    let answer = again.pop().map(|answer| merge(&outcome, error, answer));
                    done(answer.unwrap_or(outcome))
                }
                _ => done(outcome),
            }
        })
    }
}

/// What becomes of a page that the first engine failed on with `error` and that the second one has answered for.
fn merge(first: &PageOutcome, error: &PageError, second: PageOutcome) -> PageOutcome {
    let attempts = first.attempts + second.attempts;
    let why = match &second.result {
        Ok(answer) if !answer.content.trim().is_empty() => {
            let mut warnings = second.warnings;
            warnings.push(Warning::FallbackUsed);
            return PageOutcome {
                attempts,
                warnings,
                ..second
            };
        }
        // Nothing is no answer where the first engine has not found that there is nothing.
        Ok(_) => "it found no text".to_owned(),
        Err(error) => error.message.clone(),
    };
    let message = format!(
        "{}; {} did not help: {why}",
        error.message, second.by.engine
    );
    PageOutcome {
        id: first.id,
        result: Err(PageError::new(error.kind, error.stage, message)),
        by: first.by.clone(),
        attempts,
        size: first.size,
        warnings: first.warnings.clone(),
    }
}
