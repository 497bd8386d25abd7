//! What becomes of a page that a reader failed on: another try, with fewer pixels, or with its best answer kept.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use backon::BackoffBuilder;

use super::{
    Attempt, Engine, EngineFacts, FinishReason, PageAnswer, PageOutcome, PageReader, PageResult,
};
use crate::{
    backoff::{pauses, retry},
    error::{self, ErrorKind, PageError, Stage},
    page::{Needs, PreparedPage},
    prepare::resize::shrink,
    record::Warning,
};

/// What a page keeps of its pixels each time that memory runs out over it, and how often.
const FEWER_PIXELS: [f64; 2] = [0.7, 0.7];

/// How much trouble is taken over a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often a page is tried again after what may pass, and whether an answer that looped or was cut off gets a
    /// second look.
    pub retries: u32,
    /// All tries at a page together may take this long.
    pub page_timeout: Duration,
    /// Both sides of a page are multiples of this many pixels.
    pub factor: u32,
}

/// The engine that a reader makes.
pub struct PageByPage<R> {
    pub(super) reader: R,
    policy: Policy,
}

impl<R: PageReader> PageByPage<R> {
    /// Reads with `reader`, with as much trouble as `policy` says.
    pub fn new(reader: R, policy: Policy) -> Self {
        Self { reader, policy }
    }

    /// Reads one page; an `Err` if there is no use in reading another. The page that broke the reader has its record: were
    /// it left out, the next run would begin with it and end with it.
    ///
    /// `first` is what came of a try at it before.
    pub(super) fn finish_alone(
        &mut self,
        page: PreparedPage,
        attempt: Attempt,
        first: Option<PageResult>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        done(self.read_alone(page, attempt, first))?;
        match self.reader.broken() {
            Some(why) => bail!(why),
            None => Ok(()),
        }
    }

    fn read_alone(
        &mut self,
        mut page: PreparedPage,
        attempt: Attempt,
        first: Option<PageResult>,
    ) -> PageOutcome {
        let mut warnings = Vec::new();
        let (mut result, mut attempts) = match first {
            Some(first) => (first, 1),
            None => self.read(&page, attempt),
        };
        let mut pauses = pauses(FEWER_PIXELS.len() as u32).build();
        for part in FEWER_PIXELS {
            let out_of_memory =
                matches!(&result, Err(error) if error.kind == ErrorKind::OutOfMemory);
            let smaller = page.pixels.as_ref().filter(|_| out_of_memory);
            let Some(smaller) = smaller.and_then(|image| shrink(image, part, self.policy.factor))
            else {
                break;
            };
            // Another process may be giving memory back just now.
            thread::sleep(pauses.next().unwrap_or_default());
            page.pixels = Some(smaller);
            warnings = vec![Warning::DownscaledAfterOom];
            let (again, tried) = self.read(&page, attempt);
            (result, attempts) = (again, attempts + tried);
        }
        if let Ok(answer) = &mut result
            && !answer.finish_reason.is_none_or(is_whole)
            && self.policy.retries > 0
        {
            attempts += 1;
            let again = Attempt {
                second_look: true,
                ..attempt
            };
            if let Ok(second) = guard(|| self.reader.read(&page, again))
                && worth(&second) > worth(answer)
            {
                *answer = second;
            }
        }
        self.outcome(&page, result, attempts, warnings)
    }

    /// Reads the page, again if what went wrong may pass; says how often it was tried.
    fn read(
        &mut self,
        page: &PreparedPage,
        attempt: Attempt,
    ) -> (Result<PageAnswer, PageError>, u32) {
        retry(self.policy.retries, || {
            guard(|| self.reader.read(page, attempt))
        })
    }

    pub(super) fn attempt(&self) -> Attempt {
        Attempt {
            deadline: Instant::now() + self.policy.page_timeout,
            second_look: false,
        }
    }

    pub(super) fn outcome(
        &self,
        page: &PreparedPage,
        result: Result<PageAnswer, PageError>,
        attempts: u32,
        warnings: Vec<Warning>,
    ) -> PageOutcome {
        let size = page.pixels.as_ref().map(image::RgbImage::dimensions);
        PageOutcome {
            id: page.id,
            result,
            by: self.reader.facts().clone(),
            attempts,
            size: size.filter(|_| self.reader.needs().pixels),
            warnings,
        }
    }
}

impl<R: PageReader> Engine for PageByPage<R> {
    fn facts(&self) -> &EngineFacts {
        self.reader.facts()
    }

    fn needs(&self) -> Needs {
        self.reader.needs()
    }

    fn run(
        &mut self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        if let Some(together) = self.reader.together() {
            let slots = together.slots();
            return self.run_together(slots, pages, done);
        }
        for page in pages {
            let attempt = self.attempt();
            self.finish_alone(page, attempt, None, done)?;
        }
        Ok(())
    }
}

pub(super) fn is_whole(reason: FinishReason) -> bool {
    reason == FinishReason::Stop
}

/// Orders answers: whole ones before those that were cut off, and these before those that looped.
pub(super) fn worth(answer: &PageAnswer) -> u8 {
    match answer.finish_reason {
        None | Some(FinishReason::Stop) => 2,
        Some(FinishReason::Length) => 1,
        Some(FinishReason::Repetition) => 0,
    }
}

/// Makes a panic the error of one page.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, PageError>) -> Result<T, PageError> {
    error::guard(Stage::Engine, "the engine", work)
}
