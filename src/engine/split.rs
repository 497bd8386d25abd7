//! Pages that are too large or too long to be seen at once: an engine reads their parts as pages of their own, and what it reads
//! is joined.
//!
//! Whoever hands out pages to several devices or requests hands out parts in the same way, so that they are read together. A
//! part that fails fails its page: what is missing would not be seen in the rest.

mod whole;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use anyhow::Result;
use crossbeam_channel::Select;
use image::{RgbImage, imageops};

use self::whole::whole;
use super::Engine;
use crate::{
    cancel::Cancel,
    page::{DeviceStats, EngineInfo, Needs, PageId, PageOutcome, Part, PixelBudget, PreparedPage},
    prepare::resize::{resize, smart_resize},
    source::{Next, PageSource},
};

/// Ids from here on are those of parts; no run has so many pages.
const FIRST_PART: u64 = 1 << 63;

/// Reads the parts of large pages with an engine that takes pages of some size.
pub struct Split {
    engine: Box<dyn Engine>,
    budget: PixelBudget,
    cancel: Cancel,
}

impl Split {
    /// Reads with `engine`, which takes pages of this size. Once `cancel` asks the run to end, pages of which not all parts
    /// are read are left.
    #[must_use]
    pub fn new(engine: Box<dyn Engine>, budget: PixelBudget, cancel: &Cancel) -> Self {
        Self {
            engine,
            budget,
            cancel: cancel.clone(),
        }
    }
}

/// A page whose parts are being read.
struct Held {
    page: PreparedPage,
    outcomes: Vec<Option<PageOutcome>>,
    /// Parts that the engine has.
    in_flight: usize,
}

impl Held {
    /// Whether a part failed, so that no more are begun.
    fn has_failed(&self) -> bool {
        let mut ended = self.outcomes.iter().flatten();
        ended.any(|outcome| outcome.result.is_err())
    }
}

/// The parts on their way to the engine and back.
#[derive(Default)]
struct Parts {
    held: HashMap<PageId, Held>,
    /// Pages and places of parts that the engine has not got.
    waiting: VecDeque<(PageId, usize)>,
    /// Pages and places of parts that it has.
    given: HashMap<PageId, (PageId, usize)>,
    next_id: u64,
}

impl Parts {
    fn take(&mut self, page: PreparedPage) {
        let id = page.id;
        let count = page.parts.len();
        self.waiting.extend((0..count).map(|place| (id, place)));
        let held = Held {
            page,
            outcomes: (0..count).map(|_| None).collect(),
            in_flight: 0,
        };
        self.held.insert(id, held);
    }

    /// The next part to be read, as a page.
    fn next(&mut self, budget: &PixelBudget) -> Option<PreparedPage> {
        loop {
            let (id, place) = self.waiting.pop_front()?;
            let held = self.held.get_mut(&id).filter(|held| !held.has_failed());
            let Some((held, part)) = held.and_then(|held| {
                let part = *held.page.parts.get(place)?;
                Some((held, part))
            }) else {
                continue;
            };
            let part_id = PageId(FIRST_PART + self.next_id);
            self.next_id += 1;
            self.given.insert(part_id, (id, place));
            held.in_flight += 1;
            return Some(PreparedPage {
                id: part_id,
                pixels: cut(&held.page, &part, budget).map(Arc::new),
                parts: Vec::new(),
                ..held.page.clone()
            });
        }
    }

    /// Takes what became of a part, or of a page that was not cut; gives what is known of a whole page.
    fn finish(&mut self, outcome: PageOutcome) -> Option<PageOutcome> {
        let Some((id, place)) = self.given.remove(&outcome.id) else {
            return Some(outcome);
        };
        let held = self.held.get_mut(&id)?;
        held.in_flight -= 1;
        if let Some(slot) = held.outcomes.get_mut(place) {
            *slot = Some(outcome);
        }
        let is_over = held.outcomes.iter().all(Option::is_some) || held.has_failed();
        if !is_over || held.in_flight > 0 {
            return None;
        }
        let held = self.held.remove(&id)?;
        whole(&held.page, held.outcomes)
    }
}

/// The pixels of a part, at the size at which the model sees it.
fn cut(page: &PreparedPage, part: &Part, budget: &PixelBudget) -> Option<RgbImage> {
    let image = page.pixels.as_deref()?;
    let [left, top, _, _] = part.area;
    let (width, height) = part.size();
    let cut = imageops::crop_imm(image, left, top, width, height).to_image();
    let (height, width) = smart_resize(height, width, budget).ok()?;
    resize(cut, width, height).ok()
}

/// Gives the engine pages and parts.
struct Source<'s, 'p> {
    pages: &'p mut dyn PageSource,
    parts: &'s RefCell<Parts>,
    budget: &'s PixelBudget,
    cancel: &'s Cancel,
}

impl PageSource for Source<'_, '_> {
    fn poll(&mut self) -> Result<Next<PreparedPage>> {
        loop {
            if self.cancel.reason().is_some() {
                return Ok(Next::End);
            }
            if let Some(part) = self.parts.borrow_mut().next(self.budget) {
                return Ok(Next::Item(part));
            }
            match self.pages.poll()? {
                Next::Item(page) if !page.parts.is_empty() => self.parts.borrow_mut().take(page),
                next => return Ok(next),
            }
        }
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        self.pages.watch(select);
    }
}

impl Engine for Split {
    fn info(&self) -> &EngineInfo {
        self.engine.info()
    }

    fn needs(&self) -> Needs {
        self.engine.needs()
    }

    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let parts = RefCell::default();
        let mut source = Source {
            pages,
            parts: &parts,
            budget: &self.budget,
            cancel: &self.cancel,
        };
        self.engine.run(&mut source, &mut |outcome| {
            let whole = parts.borrow_mut().finish(outcome);
            whole.map_or(Ok(()), &mut *done)
        })
    }

    fn device_stats(&self) -> Vec<DeviceStats> {
        self.engine.device_stats()
    }
}
