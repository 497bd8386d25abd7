//! Makes an engine of a reader: fills its slots, keeps the pages' deadlines, and does with a page that failed what
//! [`recovery`](super::recovery) says.
//!
//! A page that is tried again goes back into the batch; its neighbours go on meanwhile, and the time in which it waits for
//! them is not its own.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use crossbeam_channel::Select;

use super::{
    Attempt, BatchReader, Engine, PageResult,
    recovery::{History, Step},
};
use crate::{
    backoff::Backoff,
    cancel::Cancel,
    clock,
    error::{self, ErrorKind, PageError, Stage},
    page::{EngineInfo, Needs, PageId, PageOutcome, PreparedPage},
    prepare::resize::shrink,
    source::{Next, PageSource},
};

/// How much trouble is taken over a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Maximum number of retries after transient errors; with 1 or more, a looped or cut answer is also resampled.
    pub retries: u32,
    /// All tries at a page together may take this long.
    pub page_timeout: Duration,
    /// Both sides of a page are multiples of this many pixels.
    pub factor: u32,
}

/// The engine that a reader makes.
pub struct Scheduler<R> {
    reader: R,
    policy: Policy,
}

/// A page on its way.
struct Job {
    page: PreparedPage,
    history: History,
    backoff: Backoff,
    /// When it was taken from the source.
    taken: Instant,
    /// All its tries end then; none before the first.
    deadline: Option<Instant>,
    /// Whether another answer than the one before is wanted.
    resample: bool,
    /// Whether it is read alone, to see which page causes a failure.
    alone: bool,
    /// Whether no other page is begun before it.
    first: bool,
    /// It is not begun before this.
    ready: Instant,
    /// When it was put back, and how many pages had been begun by then.
    put_back: Option<(Instant, u64)>,
}

/// The pages of a run.
struct Batch {
    /// As many as were held when memory ran out, or as the reader has.
    slots: usize,
    held: Vec<Job>,
    waiting: VecDeque<Job>,
    /// How many pages have been begun so far, each time that they were.
    begun: u64,
    ended: bool,
}

type Done<'a> = dyn FnMut(PageOutcome) -> Result<()> + 'a;

impl<R: BatchReader> Scheduler<R> {
    /// Reads with `reader`, with as much trouble as `policy` says.
    pub fn new(reader: R, policy: Policy) -> Self {
        Self { reader, policy }
    }

    /// Begins pages until the slots are full, or no page is ready. Where nothing is held, waits for one.
    fn fill(
        &mut self,
        batch: &mut Batch,
        pages: &mut dyn PageSource,
        done: &mut Done,
    ) -> Result<()> {
        while batch.held.len() < batch.slots {
            if let Some(job) = batch.next_waiting() {
                self.begin(batch, job, done)?;
                continue;
            }
            if batch.takes_new() {
                match pages.poll()? {
                    Next::Item(page) => {
                        self.begin(batch, Job::new(page), done)?;
                        continue;
                    }
                    Next::End => batch.ended = true,
                    Next::NotYet => {}
                }
            }
            if !batch.held.is_empty() || batch.is_over() {
                return Ok(());
            }
            batch.wait(pages);
        }
        Ok(())
    }

    fn begin(&mut self, batch: &mut Batch, mut job: Job, done: &mut Done) -> Result<()> {
        let attempt = job.attempt(self.policy.page_timeout, batch.begun);
        batch.begun += 1;
        match guard(|| self.reader.begin(&job.page, attempt)) {
            Ok(()) => batch.held.push(job),
            Err(error) => self.take_result(batch, job, Err(error), done)?,
        }
        Ok(())
    }

    fn step(&mut self, batch: &mut Batch, done: &mut Done) -> Result<()> {
        match guard(|| self.reader.step()) {
            Ok(finished) => {
                for (id, result) in finished {
                    if let Some(job) = batch.take(id) {
                        self.take_result(batch, job, result, done)?;
                    }
                }
                Ok(())
            }
            Err(error) => {
                let cleared = guard(|| {
                    self.reader.clear();
                    Ok(())
                });
                if let Err(error) = cleared {
                    bail!("the engine failed: {error}");
                }
                self.take_failure(batch, error, done)
            }
        }
    }

    /// All that were held have failed together.
    fn take_failure(&mut self, batch: &mut Batch, error: PageError, done: &mut Done) -> Result<()> {
        let mut held: Vec<Job> = batch.held.drain(..).collect();
        if held.len() == 1
            && let Some(job) = held.pop()
        {
            return self.take_result(batch, job, Err(error), done);
        }
        if let Some(why) = self.reader.lost() {
            // Which page it was can't be known; one of them has to be behind the next run.
            let job = held.swap_remove(0);
            done(self.outcome(&job, Err(error)))?;
            bail!(why);
        }
        let is_lack_of_memory = is_lack_of_memory(&error);
        if is_lack_of_memory {
            batch.read_fewer(held.len() / 2);
        }
        for mut job in held.into_iter().rev() {
            // Else, whose fault it was is seen when each is read alone.
            job.alone = !is_lack_of_memory;
            job.put_back(batch.begun);
            batch.waiting.push_front(job);
        }
        Ok(())
    }

    /// A page's try has ended: it is done, or tried again.
    fn take_result(
        &mut self,
        batch: &mut Batch,
        mut job: Job,
        result: PageResult,
        done: &mut Done,
    ) -> Result<()> {
        if result.as_ref().is_err_and(is_lack_of_memory) && !batch.held.is_empty() {
            // It may fit once the others are done.
            batch.read_fewer(batch.held.len());
            job.put_back(batch.begun);
            batch.waiting.push_front(job);
            return Ok(());
        }
        let step = if self.reader.lost().is_none() {
            job.history.after(result, self.policy.retries)
        } else {
            // No other try will end better.
            job.history.attempts += 1;
            Step::Finish(result)
        };
        match step {
            Step::Finish(result) => {
                done(self.outcome(&job, result))?;
                // The page that broke the reader has its record: were it left out, the next run would begin and end with it.
                return match self.reader.lost() {
                    Some(why) => bail!(why),
                    None => Ok(()),
                };
            }
            Step::Again => job.ready = clock::now() + job.backoff.pause(),
            Step::Resample => job.resample = true,
            Step::Shrink(part, error) => {
                let image = job.page.pixels.as_deref();
                let Some(smaller) = image.and_then(|image| shrink(image, part, self.policy.factor))
                else {
                    job.history.shrunk -= 1;
                    return done(self.outcome(&job, Err(error)));
                };
                job.page.pixels = Some(Arc::new(smaller));
                // Another process may be giving memory back just now.
                job.ready = clock::now() + job.backoff.pause();
                job.first = true;
            }
        }
        job.put_back(batch.begun);
        batch.waiting.push_front(job);
        Ok(())
    }

    fn outcome(&self, job: &Job, result: PageResult) -> PageOutcome {
        let size = job.page.pixels.as_ref().map(|image| image.dimensions());
        PageOutcome {
            id: job.page.id,
            result,
            by: self.reader.info().clone(),
            attempts: job.history.attempts,
            size: size.filter(|_| self.reader.needs().pixels),
            warnings: job.history.warnings(),
            elapsed: clock::since(job.taken),
        }
    }
}

impl<R: BatchReader> Engine for Scheduler<R> {
    fn info(&self) -> &EngineInfo {
        self.reader.info()
    }

    fn needs(&self) -> Needs {
        self.reader.needs()
    }

    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let mut batch = Batch {
            slots: self.reader.slots().max(1),
            held: Vec::new(),
            waiting: VecDeque::new(),
            begun: 0,
            ended: false,
        };
        loop {
            self.fill(&mut batch, pages, done)?;
            if batch.held.is_empty() {
                return Ok(());
            }
            self.step(&mut batch, done)?;
        }
    }
}

impl Job {
    fn new(page: PreparedPage) -> Self {
        let now = clock::now();
        Self {
            page,
            history: History::default(),
            backoff: Backoff::default(),
            taken: now,
            deadline: None,
            resample: false,
            alone: false,
            first: false,
            ready: now,
            put_back: None,
        }
    }

    fn put_back(&mut self, begun: u64) {
        self.put_back = Some((clock::now(), begun));
    }

    /// The next try. Time in which the page waited for others is added to its deadline.
    fn attempt(&mut self, timeout: Duration, begun: u64) -> Attempt {
        let now = clock::now();
        let deadline = *self.deadline.get_or_insert(now + timeout);
        let waited = match self.put_back.take() {
            Some((since, before)) if before != begun => {
                now.saturating_duration_since(since.max(self.ready))
            }
            _ => Duration::ZERO,
        };
        self.deadline = Some(deadline + waited);
        Attempt {
            deadline: deadline + waited,
            resample: self.resample,
        }
    }
}

impl Batch {
    fn take(&mut self, id: PageId) -> Option<Job> {
        let at = self.held.iter().position(|job| job.page.id == id)?;
        Some(self.held.remove(at))
    }

    fn read_fewer(&mut self, slots: usize) {
        self.slots = slots;
        tracing::warn!("out of memory: decoding {slots} pages together from now on");
    }

    /// The next page of those that wait, if it may be begun now.
    fn next_waiting(&mut self) -> Option<Job> {
        if self.held.iter().any(|job| job.alone) {
            return None;
        }
        let now = clock::now();
        let may_begin = |job: &Job| job.ready <= now && (self.held.is_empty() || !job.alone);
        let at = self.candidates().position(may_begin)?;
        self.waiting.remove(at)
    }

    /// Those that wait, up to one that no other is to be begun before.
    fn candidates(&self) -> impl Iterator<Item = &Job> {
        let until = self.waiting.iter().position(|job| job.first);
        let count = until.map_or(self.waiting.len(), |first| first + 1);
        self.waiting.iter().take(count)
    }

    /// Whether a page may be begun that was not begun before.
    fn takes_new(&self) -> bool {
        let goes_first = |job: &Job| job.first || job.alone;
        !self.ended && !self.waiting.iter().chain(&self.held).any(goes_first)
    }

    fn is_over(&self) -> bool {
        self.ended && self.waiting.is_empty() && self.held.is_empty()
    }

    /// Waits for a page, or for the end of a pause.
    fn wait(&self, pages: &dyn PageSource) {
        let mut select = Select::new();
        if self.takes_new() {
            pages.watch(&mut select);
        }
        let ready = self.candidates().map(|job| job.ready).min();
        // Without a source to watch there is a pause to wait for.
        Cancel::default().ready(&mut select, ready);
    }
}

fn is_lack_of_memory(error: &PageError) -> bool {
    error.kind == ErrorKind::OutOfMemory
}

/// Makes a panic the error of one page.
fn guard<T>(work: impl FnOnce() -> Result<T, PageError>) -> Result<T, PageError> {
    error::guard(Stage::Engine, "the engine", work)
}
