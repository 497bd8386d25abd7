//! Several engines as one: each reads on a thread of its own, and a page goes to the first that is free for it.
//!
//! No page is taken before an engine is free, so that none waits at one device while another idles. An engine that ends
//! with an error, like one whose GPU is lost, leaves the pages that it has not answered for to the others; the run ends with
//! that error if there is no other.

use std::{
    collections::{HashMap, VecDeque},
    iter::{self, Fuse},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, Sender, SyncSender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Engine, EngineFacts, PageOutcome, Share};
use crate::page::{Needs, PageId, PreparedPage};

/// Reads with several engines at the same time.
pub struct Several {
    facts: EngineFacts,
    needs: Needs,
    parts: Vec<Part>,
}

/// One of the engines.
struct Part {
    engine: Box<dyn Engine>,
    /// What it spreads its work over. In a pool for all of them, one would wait for the work of another.
    pool: ThreadPool,
    share: Share,
}

impl Several {
    /// Reads with these engines, which are alike, each on the device of that name. They get an equal part of the threads of
    /// the pool that this is called from.
    ///
    /// # Errors
    /// There is no engine, or the threads can't be started.
    pub fn new(engines: impl IntoIterator<Item = (String, Box<dyn Engine>)>) -> Result<Self> {
        let engines: Vec<_> = engines.into_iter().collect();
        let (threads, count) = (rayon::current_num_threads(), engines.len());
        let parts = engines.into_iter().enumerate().map(|(place, engine)| {
            let (device, engine) = engine;
            // Those that are left over go to the last ones.
            let threads = ((threads + place) / count).max(1);
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            Ok(Part {
                engine,
                pool: pool.context("no threads can be started for an engine")?,
                share: Share {
                    device,
                    pages: 0,
                    time: Duration::ZERO,
                    lost: false,
                },
            })
        });
        let parts: Vec<_> = parts.collect::<Result<_>>()?;
        let first = parts.first().context("there is no engine to read with")?;
        Ok(Self {
            facts: first.engine.facts().clone(),
            needs: first.engine.needs(),
            parts,
        })
    }
}

/// What an engine tells the dealer.
enum Word {
    /// It is free for a page.
    Free,
    Done(Box<PageOutcome>),
    Ended(Result<()>),
}

/// Deals pages to the engines. It alone takes pages and hands outcomes on, on the thread of the run.
struct Dealer<'p, 'd> {
    pages: Fuse<&'p mut dyn Iterator<Item = PreparedPage>>,
    done: &'d mut dyn FnMut(PageOutcome) -> Result<()>,
    started: Instant,
    /// The pages that are with an engine, and the place of that.
    dealt: HashMap<PageId, (usize, PreparedPage)>,
    /// Those that an engine left.
    left: VecDeque<PreparedPage>,
}

impl Dealer<'_, '_> {
    /// Runs the engines that are not lost until there is no page for them.
    fn round(&mut self, parts: &mut [Part]) -> Result<()> {
        thread::scope(|scope| {
            let (tell, words) = mpsc::channel();
            let (mut doors, mut shares) = (Vec::new(), Vec::new());
            for (place, part) in parts.iter_mut().enumerate() {
                let Part {
                    engine,
                    pool,
                    share,
                } = part;
                let (door, pages) = mpsc::sync_channel(1);
                doors.push((!share.lost).then_some(door));
                if !share.lost {
                    let worker = Worker {
                        place,
                        tell: tell.clone(),
                        pages,
                    };
                    thread::Builder::new()
                        .name(share.device.clone())
                        .spawn_scoped(scope, move || pool.install(|| worker.run(engine.as_mut())))
                        .context("no thread can be started for an engine")?;
                }
                shares.push(share);
            }
            drop(tell);
            self.deal(&words, &mut doors, &mut shares)
        })
    }

    /// Deals pages through the engines' `doors`, until all of them have ended.
    fn deal(
        &mut self,
        words: &Receiver<(usize, Word)>,
        doors: &mut [Option<SyncSender<PreparedPage>>],
        shares: &mut [&mut Share],
    ) -> Result<()> {
        let mut free = VecDeque::new();
        loop {
            // What is done is written before another page is waited for.
            let word = if free.is_empty() {
                let Ok(word) = words.recv() else {
                    return Ok(());
                };
                Some(word)
            } else {
                words.try_recv().ok()
            };
            match word {
                Some((place, Word::Free)) => free.push_back(place),
                Some((place, Word::Done(outcome))) => {
                    self.dealt.remove(&outcome.id);
                    shares[place].pages += 1;
                    shares[place].time = self.started.elapsed();
                    (self.done)(*outcome)?;
                }
                Some((_, Word::Ended(Ok(())))) => {}
                Some((place, Word::Ended(Err(error)))) => {
                    shares[place].lost = true;
                    self.take_back(place);
                    if shares.iter().all(|share| share.lost) {
                        return Err(error);
                    }
                    let device = &shares[place].device;
                    tracing::warn!("going on without {device}: {error:#}");
                }
                None => {
                    if let Some(place) = free.pop_front() {
                        self.serve(place, &mut doors[place]);
                    }
                }
            }
        }
    }

    /// Hands the engine at `place` a page, or closes its door if there is none.
    fn serve(&mut self, place: usize, door: &mut Option<SyncSender<PreparedPage>>) {
        let Some(open) = door else {
            return;
        };
        let Some(page) = self.next() else {
            *door = None;
            return;
        };
        self.dealt.insert(page.id, (place, page.clone()));
        // If the engine has ended, its word on that is on the way.
        let _ = open.send(page);
    }

    fn next(&mut self) -> Option<PreparedPage> {
        self.left.pop_front().or_else(|| self.pages.next())
    }

    /// Takes the pages back that the engine at `place` has not answered for.
    fn take_back(&mut self, place: usize) {
        let pages = self.dealt.extract_if(|_, (at, _)| *at == place);
        let mut pages: Vec<_> = pages.map(|(_, (_, page))| page).collect();
        pages.sort_by_key(|page| page.id);
        self.left.extend(pages);
    }
}

/// An engine's end of the channels.
struct Worker {
    place: usize,
    tell: Sender<(usize, Word)>,
    pages: Receiver<PreparedPage>,
}

impl Worker {
    fn run(self, engine: &mut dyn Engine) {
        let tell = |word| {
            let told = self.tell.send((self.place, word));
            told.map_err(|_| anyhow!("the run has ended"))
        };
        let pages = iter::from_fn(|| {
            tell(Word::Free).ok()?;
            self.pages.recv().ok()
        });
        let mut done = |outcome| tell(Word::Done(Box::new(outcome)));
        let run = AssertUnwindSafe(|| engine.run(&mut pages.fuse(), &mut done));
        let ended = catch_unwind(run)
            .unwrap_or_else(|_| Err(anyhow!("the engine's thread failed; this is a bug")));
        // If nobody is there any more, the run has ended.
        let _ = tell(Word::Ended(ended));
    }
}

impl Engine for Several {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn needs(&self) -> Needs {
        self.needs
    }

    fn run(
        &mut self,
        pages: &mut dyn Iterator<Item = PreparedPage>,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let mut dealer = Dealer {
            pages: pages.fuse(),
            done,
            started: Instant::now(),
            dealt: HashMap::new(),
            left: VecDeque::new(),
        };
        // An engine may leave pages when the others have ended, since there were no more.
        loop {
            dealer.round(&mut self.parts)?;
            if dealer.left.is_empty() {
                return Ok(());
            }
        }
    }

    fn shares(&self) -> Vec<Share> {
        self.parts.iter().map(|part| part.share.clone()).collect()
    }
}
