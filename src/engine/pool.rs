//! Several engines as one: each reads on a separate thread, and a page goes to the first free one.
//!
//! No page is taken before an engine is free, so that none waits at one device while another idles. An engine that ends
//! with an error, like one whose GPU is lost, leaves the pages that it has not answered for to the others; the run ends with
//! that error if there is no other.

use std::{
    collections::{HashMap, VecDeque},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Select, unbounded};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{
    Engine,
    dispatch::{self, EngineEvent, PageSender},
};
use crate::{
    page::{DeviceStats, EngineInfo, Needs, PageId, PageOutcome, PreparedPage},
    source::{Next, PageSource},
};

/// Reads with several engines at the same time.
pub struct EnginePool {
    info: EngineInfo,
    needs: Needs,
    members: Vec<Member>,
}

/// One of the engines.
struct Member {
    engine: Box<dyn Engine>,
    /// What it spreads its work over. In a pool for all of them, one would wait for the work of another.
    threads: ThreadPool,
    stats: DeviceStats,
}

impl EnginePool {
    /// Reads with these engines, which are alike, each on the device of that name. They get an equal part of the threads of
    /// the pool that this is called from.
    ///
    /// # Errors
    /// There is no engine, or the threads can't be started.
    pub fn new(engines: impl IntoIterator<Item = (String, Box<dyn Engine>)>) -> Result<Self> {
        let engines: Vec<_> = engines.into_iter().collect();
        let (threads, count) = (rayon::current_num_threads(), engines.len());
        let members = engines.into_iter().enumerate().map(|(place, engine)| {
            let (device, engine) = engine;
            // Those that are left over go to the last ones.
            let threads = ((threads + place) / count).max(1);
            let threads = ThreadPoolBuilder::new().num_threads(threads).build();
            Ok(Member {
                engine,
                threads: threads.context("cannot start threads for an engine")?,
                stats: DeviceStats {
                    device,
                    pages: 0,
                    time: Duration::ZERO,
                    lost: false,
                },
            })
        });
        let members: Vec<_> = members.collect::<Result<_>>()?;
        let first = members.first().context("no engine is available")?;
        Ok(Self {
            info: first.engine.info().clone(),
            needs: first.engine.needs(),
            members,
        })
    }
}

/// Deals pages to the engines. It alone takes pages and hands outcomes on, on the thread of the run.
struct Dispatcher<'p, 'd> {
    pages: &'p mut dyn PageSource,
    has_ended: bool,
    done: &'d mut dyn FnMut(PageOutcome) -> Result<()>,
    started: Instant,
    /// The pages that are with an engine, and the place of that.
    dealt: HashMap<PageId, (usize, PreparedPage)>,
    /// Pages of lost engines.
    left: VecDeque<PreparedPage>,
}

impl Dispatcher<'_, '_> {
    /// Runs the engines that are not lost until there is no page for them.
    fn round(&mut self, members: &mut [Member]) -> Result<()> {
        thread::scope(|scope| {
            let (event_tx, events) = unbounded();
            let (mut senders, mut stats) = (Vec::new(), Vec::new());
            for (place, member) in members.iter_mut().enumerate() {
                let Member {
                    engine,
                    threads,
                    stats: own,
                } = member;
                let sender = if own.lost {
                    None
                } else {
                    let threads = &*threads;
                    let work = move |end: dispatch::EngineEnd| {
                        threads.install(|| end.drive(engine.as_mut()))
                    };
                    Some(dispatch::start(scope, &own.device, place, &event_tx, work)?)
                };
                senders.push(sender);
                stats.push(own);
            }
            self.deal(&events, &senders, &mut stats)
        })
    }

    /// Deals pages until all engines have ended.
    fn deal(
        &mut self,
        events: &Receiver<(usize, EngineEvent)>,
        senders: &[Option<PageSender>],
        stats: &mut [&mut DeviceStats],
    ) -> Result<()> {
        let mut running = senders.iter().flatten().count();
        let mut free = VecDeque::new();
        while running > 0 {
            // What is done is written before another page is looked for.
            while let Ok((place, event)) = events.try_recv() {
                match event {
                    EngineEvent::Free => free.push_back(place),
                    EngineEvent::Done(outcome) => {
                        self.dealt.remove(&outcome.id);
                        stats[place].pages += 1;
                        stats[place].time = self.started.elapsed();
                        (self.done)(*outcome)?;
                    }
                    EngineEvent::Ended(ended) => {
                        running -= 1;
                        free.retain(|&other| other != place);
                        if let Err(error) = ended {
                            self.lose(place, stats, error)?;
                        }
                    }
                }
            }
            while let Some(&place) = free.front() {
                let Some(sender) = &senders[place] else {
                    break;
                };
                match self.next()? {
                    Next::Item(page) => {
                        self.dealt.insert(page.id, (place, page.clone()));
                        sender.send(page);
                    }
                    Next::End => sender.end(),
                    Next::NotYet => break,
                }
                free.pop_front();
            }
            if running > 0 {
                let mut select = Select::new();
                select.recv(events);
                if !free.is_empty() {
                    self.pages.watch(&mut select);
                }
                select.ready();
            }
        }
        Ok(())
    }

    /// Goes on without the engine at `place`, if there is another one.
    fn lose(
        &mut self,
        place: usize,
        stats: &mut [&mut DeviceStats],
        error: anyhow::Error,
    ) -> Result<()> {
        stats[place].lost = true;
        let pages = self.dealt.extract_if(|_, (at, _)| *at == place);
        let mut pages: Vec<_> = pages.map(|(_, (_, page))| page).collect();
        pages.sort_by_key(|page| page.id);
        self.left.extend(pages);
        if stats.iter().all(|member| member.lost) {
            return Err(error);
        }
        let device = &stats[place].device;
        tracing::warn!("going on without {device}: {error:#}");
        Ok(())
    }

    fn next(&mut self) -> Result<Next<PreparedPage>> {
        if let Some(page) = self.left.pop_front() {
            return Ok(Next::Item(page));
        }
        if self.has_ended {
            return Ok(Next::End);
        }
        let next = self.pages.poll()?;
        self.has_ended = next == Next::End;
        Ok(next)
    }
}

impl Engine for EnginePool {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn needs(&self) -> Needs {
        self.needs
    }

    fn run(
        &mut self,
        pages: &mut dyn PageSource,
        done: &mut dyn FnMut(PageOutcome) -> Result<()>,
    ) -> Result<()> {
        let mut dispatcher = Dispatcher {
            pages,
            has_ended: false,
            done,
            started: Instant::now(),
            dealt: HashMap::new(),
            left: VecDeque::new(),
        };
        // An engine may leave pages when the others have ended, since there were no more.
        loop {
            dispatcher.round(&mut self.members)?;
            if dispatcher.left.is_empty() {
                return Ok(());
            }
        }
    }

    fn device_stats(&self) -> Vec<DeviceStats> {
        let members = self.members.iter();
        members.map(|member| member.stats.clone()).collect()
    }
}
