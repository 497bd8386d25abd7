//! Two engines as one: the second reads what the first one failed on, while the first goes on.

use std::{
    collections::{HashMap, VecDeque},
    thread,
};

use anyhow::Result;
use crossbeam_channel::{Receiver, Select, unbounded};

use super::{
    Engine,
    dispatch::{self, EngineEvent, PageSender},
};
use crate::{
    error::PageError,
    page::{DeviceStats, EngineInfo, Needs, PageId, PageOutcome, PreparedPage, Warning},
    source::{Next, PageSource},
};

/// Maximum number of pages waiting for the second engine; beyond it the first one gets no more.
const MAX_WAITING: usize = 8;
const FIRST: usize = 0;
const SECOND: usize = 1;

/// Makes an engine, which may take minutes.
pub type Load = Box<dyn FnOnce() -> Result<Box<dyn Engine>> + Send>;

/// Reads with one engine, and with another one where that fails.
pub struct Fallback {
    first: Box<dyn Engine>,
    second: Second,
    second_needs: Needs,
}

/// Made when the first page needs it.
enum Second {
    Later(Option<Load>),
    There(Box<dyn Engine>),
}

impl Fallback {
    /// Reads with `first`, then with the engine that `second` makes, which looks at `second_needs`.
    #[must_use]
    pub fn new(first: Box<dyn Engine>, second: Load, second_needs: Needs) -> Self {
        Self {
            first,
            second: Second::Later(Some(second)),
            second_needs,
        }
    }
}

impl Second {
    fn get(&mut self) -> Result<&mut dyn Engine> {
        if let Self::Later(load) = self
            && let Some(load) = load.take()
        {
            *self = Self::There(load()?);
        }
        match self {
            Self::There(engine) => Ok(engine.as_mut()),
            Self::Later(_) => anyhow::bail!("the fallback could not be loaded"),
        }
    }
}

/// Hands pages to the first engine, and those that it failed on to the second.
struct Router<'p, 'd> {
    pages: &'p mut dyn PageSource,
    done: &'d mut dyn FnMut(PageOutcome) -> Result<()>,
    /// The pages that the first engine has.
    with_first: HashMap<PageId, PreparedPage>,
    /// What the first engine failed on, and how.
    failed: VecDeque<(PreparedPage, PageOutcome)>,
    /// The first engine's errors for the pages that the second one has.
    with_second: HashMap<PageId, PageOutcome>,
    /// Whether they can take a page.
    is_free: [bool; 2],
    has_ended: [bool; 2],
    /// Why the first engine ended before the input did.
    broken: Option<anyhow::Error>,
}

impl Router<'_, '_> {
    fn take(&mut self, place: usize, event: EngineEvent) -> Result<()> {
        match event {
            EngineEvent::Free => self.is_free[place] = true,
            EngineEvent::Done(outcome) if place == FIRST => {
                let page = self.with_first.remove(&outcome.id);
                match page.filter(|_| outcome.result.is_err()) {
                    Some(page) => self.failed.push_back((page, *outcome)),
                    None => (self.done)(*outcome)?,
                }
            }
            EngineEvent::Done(outcome) => {
                let Some(first) = self.with_second.remove(&outcome.id) else {
                    return Ok(());
                };
                (self.done)(merge(first, *outcome))?;
            }
            EngineEvent::Ended(ended) => {
                self.has_ended[place] = true;
                self.is_free[place] = false;
                match ended {
                    Err(error) if place == FIRST => self.broken = Some(error),
                    ended => ended?,
                }
            }
        }
        Ok(())
    }

    /// Gives the first engine a page if it is free for one.
    fn feed_first(&mut self, sender: &PageSender) -> Result<()> {
        if !self.first_takes_more() {
            return Ok(());
        }
        match self.pages.poll()? {
            Next::Item(page) => {
                self.with_first.insert(page.id, page.clone());
                sender.send(page);
            }
            Next::End => sender.end(),
            Next::NotYet => return Ok(()),
        }
        self.is_free[FIRST] = false;
        Ok(())
    }

    fn first_takes_more(&self) -> bool {
        self.is_free[FIRST] && self.failed.len() < MAX_WAITING
    }

    /// Gives the second engine a page if it is free for one.
    fn feed_second(&mut self, sender: &PageSender) {
        if !self.is_free[SECOND] {
            return;
        }
        if let Some((page, outcome)) = self.failed.pop_front() {
            self.with_second.insert(page.id, outcome);
            sender.send(page);
        } else if self.has_ended[FIRST] {
            sender.end();
        } else {
            return;
        }
        self.is_free[SECOND] = false;
    }

    fn wait(&self, events: &Receiver<(usize, EngineEvent)>) {
        let mut select = Select::new();
        select.recv(events);
        if self.first_takes_more() {
            self.pages.watch(&mut select);
        }
        select.ready();
    }
}

impl Engine for Fallback {
    fn info(&self) -> &EngineInfo {
        self.first.info()
    }

    fn needs(&self) -> Needs {
        self.first.needs().and(self.second_needs)
    }

    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let Self { first, second, .. } = self;
        let mut router = Router {
            pages,
            done,
            with_first: HashMap::new(),
            failed: VecDeque::new(),
            with_second: HashMap::new(),
            is_free: [false; 2],
            has_ended: [false; 2],
            broken: None,
        };
        thread::scope(|scope| {
            let (event_tx, events) = unbounded();
            let drive_first = |end: dispatch::EngineEnd| end.drive(first.as_mut());
            let first = dispatch::start(scope, "engine", FIRST, &event_tx, drive_first)?;
            let mut drive_second = Some(|end: dispatch::EngineEnd| end.drive(second.get()?));
            let mut second = None;
            loop {
                while let Ok((place, event)) = events.try_recv() {
                    router.take(place, event)?;
                }
                router.feed_first(&first)?;
                if !router.failed.is_empty()
                    && let Some(work) = drive_second.take()
                {
                    let started = dispatch::start(scope, "fallback", SECOND, &event_tx, work)?;
                    second = Some(started);
                }
                if let Some(second) = &second {
                    router.feed_second(second);
                }
                if router.has_ended[FIRST] && (second.is_none() || router.has_ended[SECOND]) {
                    return router.broken.take().map_or(Ok(()), Err);
                }
                router.wait(&events);
            }
        })
    }

    fn device_stats(&self) -> Vec<DeviceStats> {
        self.first.device_stats()
    }
}

/// What becomes of a page that the first engine failed on and that the second one has answered for.
fn merge(first: PageOutcome, second: PageOutcome) -> PageOutcome {
    let attempts = first.attempts + second.attempts;
    let elapsed = first.elapsed + second.elapsed;
    let why = match &second.result {
        Ok(answer) if !answer.content.trim().is_empty() => {
            let mut warnings = second.warnings;
            warnings.push(Warning::FallbackUsed);
            return PageOutcome {
                attempts,
                warnings,
                elapsed,
                ..second
            };
        }
        // Nothing is no answer where the first engine has not found that there is nothing.
        Ok(_) => "it found no text",
        Err(error) => error.message.as_str(),
    };
    let engine = second.by.engine;
    let result = first.result.map_err(|error| {
        let message = format!("{}; fallback {engine} failed too: {why}", error.message);
        PageError { message, ..error }
    });
    PageOutcome {
        result,
        attempts,
        elapsed,
        ..first
    }
}
