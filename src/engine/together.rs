//! Several pages at a time: a page that is done makes room for the next, and one that fails is tried again alone.

use std::collections::VecDeque;

use anyhow::Result;

use super::{
    Attempt, PageOutcome, PageReader, PageResult, Together,
    page_by_page::{PageByPage, guard, is_whole},
};
use crate::{
    error::{ErrorKind, PageError, Stage},
    page::PreparedPage,
};

impl<R: PageReader> PageByPage<R> {
    /// Reads pages `slots` at a time, and fewer from when memory runs out.
    pub(super) fn run_together(
        &mut self,
        mut slots: usize,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let mut held: Vec<(PreparedPage, Attempt)> = Vec::new();
        // Pages for which there was not enough memory beside others.
        let mut waiting: VecDeque<PreparedPage> = VecDeque::new();
        loop {
            while held.len() < slots {
                let Some(page) = waiting.pop_front().or_else(|| pages.next()) else {
                    break;
                };
                let attempt = self.attempt();
                match self.with_reader(|reader| reader.begin(&page, attempt)) {
                    Ok(()) => held.push((page, attempt)),
                    Err(error) if is_lack_of_memory(&error) && !held.is_empty() => {
                        slots = fewer(held.len());
                        waiting.push_front(page);
                    }
                    Err(error) => self.finish_alone(page, attempt, Some(Err(error)), done)?,
                }
            }
            if held.is_empty() {
                return Ok(());
            }
            match self.with_reader(|reader| reader.step()) {
                Ok(finished) => {
                    for (id, result) in finished {
                        let Some(at) = held.iter().position(|(page, _)| page.id == id) else {
                            continue;
                        };
                        let (page, attempt) = held.remove(at);
                        self.finish(page, attempt, result, done)?;
                    }
                }
                Err(error) => {
                    self.with_reader(|reader| {
                        reader.clear();
                        Ok(())
                    })?;
                    if is_lack_of_memory(&error) && held.len() > 1 {
                        slots = fewer(held.len() / 2);
                        let pages = held.drain(..).map(|(page, _)| page);
                        waiting = pages.chain(waiting).collect();
                        continue;
                    }
                    // Whose fault it was is seen when each is read alone.
                    let alone = held.len() == 1;
                    for (page, attempt) in held.drain(..) {
                        let first = alone.then(|| Err(error.clone()));
                        self.finish_alone(page, attempt, first, done)?;
                    }
                }
            }
        }
    }

    /// A page that came out right is done with; any other is looked at again alone.
    fn finish(
        &mut self,
        page: PreparedPage,
        attempt: Attempt,
        result: PageResult,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        match result {
            Ok(answer) if answer.finish_reason.is_none_or(is_whole) => {
                done(self.outcome(&page, Ok(answer), 1, Vec::new()))
            }
            result => self.finish_alone(page, attempt, Some(result), done),
        }
    }

    fn with_reader<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Together) -> Result<T, PageError>,
    ) -> Result<T, PageError> {
        guard(|| match self.reader.together() {
            Some(reader) => work(reader),
            None => Err(PageError::new(
                ErrorKind::Engine,
                Stage::Engine,
                "the engine reads one page at a time",
            )),
        })
    }
}

fn is_lack_of_memory(error: &PageError) -> bool {
    error.kind == ErrorKind::OutOfMemory
}

fn fewer(pages: usize) -> usize {
    tracing::warn!("out of memory: pages are read {pages} at a time from now on");
    pages
}
