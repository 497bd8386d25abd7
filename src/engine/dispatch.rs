//! An engine on a separate thread: it requests pages and sends outcomes through channels.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, unbounded};

use super::Engine;
use crate::{
    page::{PageOutcome, PreparedPage},
    source::{Next, PageSource},
};

/// An event from an engine to the dispatcher.
pub(super) enum EngineEvent {
    /// It has room for a page.
    Free,
    Done(Box<PageOutcome>),
    /// It takes no more pages.
    Ended(Result<()>),
}

/// The reply to an engine that is free.
enum Delivery {
    Page(Box<PreparedPage>),
    /// There are no more pages.
    End,
}

/// Sends pages to an engine.
pub(super) struct PageSender(Sender<Delivery>);

impl PageSender {
    /// Sends a page. If the engine has ended, its word on that is on the way.
    pub(super) fn send(&self, page: PreparedPage) {
        let _ = self.0.send(Delivery::Page(Box::new(page)));
    }

    /// Tells the engine that there are no more pages.
    pub(super) fn end(&self) {
        let _ = self.0.send(Delivery::End);
    }
}

/// Does `work` on a thread of `scope`, which is to [drive](EngineEnd::drive) an engine until it has no more pages. Its events
/// come with `place`.
pub(super) fn start<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: &str,
    place: usize,
    events: &Sender<(usize, EngineEvent)>,
    work: impl FnOnce(EngineEnd) -> Result<()> + Send + 'scope,
) -> Result<PageSender> {
    let (page_tx, page_rx) = unbounded();
    let events = events.clone();
    let end = EngineEnd {
        place,
        events: events.clone(),
        page_rx,
        has_asked: false,
        has_ended: false,
    };
    let work = move || {
        let ended = catch_unwind(AssertUnwindSafe(|| work(end)))
            .unwrap_or_else(|_| Err(anyhow!("the engine's thread failed; this is a bug")));
        // If nobody is there any more, the run has ended.
        let _ = events.send((place, EngineEvent::Ended(ended)));
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .context("cannot start a thread for an engine")?;
    Ok(PageSender(page_tx))
}

/// An engine's end of the channels.
pub(super) struct EngineEnd {
    place: usize,
    events: Sender<(usize, EngineEvent)>,
    page_rx: Receiver<Delivery>,
    /// Whether it is free and has not received a page since.
    has_asked: bool,
    has_ended: bool,
}

impl EngineEnd {
    /// Runs `engine` until it has no more pages.
    pub(super) fn drive(mut self, engine: &mut dyn Engine) -> Result<()> {
        let (place, events) = (self.place, self.events.clone());
        engine.run(&mut self, &mut |outcome| {
            send(&events, place, EngineEvent::Done(Box::new(outcome)))
        })
    }
}

impl PageSource for EngineEnd {
    fn poll(&mut self) -> Result<Next<PreparedPage>> {
        if self.has_ended {
            return Ok(Next::End);
        }
        if !self.has_asked {
            send(&self.events, self.place, EngineEvent::Free)?;
            self.has_asked = true;
        }
        match self.page_rx.try_recv() {
            Ok(Delivery::Page(page)) => {
                self.has_asked = false;
                Ok(Next::Item(*page))
            }
            Ok(Delivery::End) => {
                self.has_ended = true;
                Ok(Next::End)
            }
            Err(TryRecvError::Empty) => Ok(Next::NotYet),
            Err(TryRecvError::Disconnected) => bail!("the run has ended"),
        }
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.page_rx);
    }
}

fn send(events: &Sender<(usize, EngineEvent)>, place: usize, event: EngineEvent) -> Result<()> {
    let sent = events.send((place, event));
    sent.map_err(|_| anyhow!("the run has ended"))
}
