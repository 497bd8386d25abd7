//! One way to stop, to wait, and to run out of time.
//!
//! Whatever waits, for a pause, a channel or a child process, waits through a [`Cancel`], so that it ends at once when
//! there is no reason to go on: the run was interrupted, the part of it that waits was stopped, or a deadline passed.

use std::{
    convert::Infallible,
    io,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded};

use crate::clock;

/// Why there is no reason to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody wants the result any more.
    Stopped,
    /// This signal asked the program to end.
    Interrupted(u8),
    /// There is no more time.
    Deadline,
}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReceived {
    /// The wait was cancelled.
    Cancelled(Reason),
    /// The sender is gone.
    Disconnected,
}

/// Tells those who hold it when to stop. Cheap to clone; clones are cancelled together.
#[derive(Debug, Clone)]
pub struct Cancel {
    node: Arc<Node>,
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Node {
    reason: OnceLock<Reason>,
    /// Dropped when this is cancelled, which wakes all who wait at `woken`.
    alive: Mutex<Option<Sender<Infallible>>>,
    woken: Receiver<Infallible>,
    parent: Option<Cancel>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::with_parent(None)
    }
}

impl Cancel {
    fn with_parent(parent: Option<Self>) -> Self {
        let (alive, woken) = bounded(0);
        let node = Node {
            reason: OnceLock::new(),
            alive: Mutex::new(Some(alive)),
            woken,
            parent,
        };
        Self {
            node: Arc::new(node),
            deadline: None,
        }
    }

    /// For a part of the work: cancelled with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::with_parent(Some(self.clone()))
    }

    /// The same, but no later than `deadline`, on the [clock](clock::now) that stands still in a pause.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let earlier = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self {
            node: Arc::clone(&self.node),
            deadline: Some(earlier),
        }
    }

    /// The same, for `time` from now at most.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let now = clock::now();
        // Who has that much time has no deadline.
        now.checked_add(time)
            .map_or_else(|| self.clone(), |deadline| self.until(deadline))
    }

    /// Wakes all who wait. The first reason counts.
    pub fn cancel(&self, reason: Reason) {
        let _ = self.node.reason.set(reason);
        let alive = &self.node.alive;
        *alive.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why to stop, if there is a reason.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let parent = || self.node.parent.as_ref().and_then(Self::reason);
        let late = || {
            self.deadline
                .is_some_and(|deadline| clock::now() >= deadline)
        };
        let reason = self.node.reason.get().copied().or_else(parent);
        reason.or_else(|| late().then_some(Reason::Deadline))
    }

    /// The signal that asked the program to end, if one has.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        match self.reason() {
            Some(Reason::Interrupted(signal)) => Some(signal),
            _ => None,
        }
    }

    /// Waits for `pause`.
    ///
    /// # Errors
    /// Cancelled before or meanwhile.
    pub fn sleep(&self, pause: Duration) -> Result<(), Reason> {
        let end = clock::now().checked_add(pause);
        let mut select = Select::new();
        self.watch(&mut select);
        loop {
            if let Some(reason) = self.reason() {
                return Err(reason);
            }
            if end.is_some_and(|end| clock::now() >= end) {
                return Ok(());
            }
            self.ready(&mut select, end);
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// Cancelled, or the sender is gone.
    pub fn recv<T>(&self, from: &Receiver<T>) -> Result<T, NotReceived> {
        let mut select = Select::new();
        select.recv(from);
        self.watch(&mut select);
        loop {
            match from.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(NotReceived::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if let Some(reason) = self.reason() {
                return Err(NotReceived::Cancelled(reason));
            }
            self.ready(&mut select, None);
        }
    }

    /// Waits for the end of a child that is about to end by itself, like one that has closed its output.
    ///
    /// # Errors
    /// Cancelled meanwhile, with the child still running; or the system has no status of it.
    pub fn wait_child(&self, child: &mut Child) -> io::Result<Result<ExitStatus, Reason>> {
        const MAX_PAUSE: Duration = Duration::from_millis(50);
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Ok(status));
            }
            if let Err(reason) = self.sleep(pause) {
                return Ok(Err(reason));
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Adds what wakes the holder of this to what `select` waits for. The deadline is not among it: see
    /// [`ready`](Self::ready).
    pub fn watch<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.node.woken);
        if let Some(parent) = &self.node.parent {
            parent.watch(select);
        }
    }

    /// Waits until something that `select` watches is ready, or the earlier of `until` and the deadlines has come.
    pub fn ready(&self, select: &mut Select, until: Option<Instant>) {
        match self.deadlines().chain(until).min() {
            Some(deadline) => drop(select.ready_deadline(clock::on_system(deadline))),
            None => drop(select.ready()),
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let this = next?;
            next = this.node.parent.as_ref();
            Some(this.deadline)
        })
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::unbounded;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn cancel_ends_a_wait_at_once() {
        let run = Cancel::default();
        let part = run.child();
        let (_sender, nothing) = unbounded::<()>();
        let begun = Instant::now();
        thread::scope(|scope| {
            let sleeping = scope.spawn(|| part.sleep(LONG));
            let receiving = scope.spawn(|| part.recv(&nothing));
            thread::sleep(SHORT);
            run.cancel(Reason::Interrupted(15));
            assert_eq!(sleeping.join().unwrap(), Err(Reason::Interrupted(15)));
            let cancelled = NotReceived::Cancelled(Reason::Interrupted(15));
            assert_eq!(receiving.join().unwrap(), Err(cancelled));
        });
        assert!(begun.elapsed() < LONG / 2);
        assert_eq!(part.signal(), Some(15));
    }

    #[test]
    fn cancelling_a_child_token_leaves_its_parent() {
        let run = Cancel::default();
        let part = run.child();
        part.cancel(Reason::Stopped);
        assert_eq!((run.reason(), part.reason()), (None, Some(Reason::Stopped)));
        assert_eq!(part.sleep(LONG), Err(Reason::Stopped));
        assert_eq!(run.sleep(SHORT), Ok(()));
    }

    #[test]
    fn deadline_ends_waits_but_ready_messages_are_received() {
        let late = Cancel::default().within(SHORT);
        assert_eq!(late.reason(), None);
        assert_eq!(late.sleep(LONG), Err(Reason::Deadline));
        let (sender, messages) = unbounded();
        sender.send(7).unwrap();
        assert_eq!(late.recv(&messages), Ok(7));
        assert_eq!(
            late.child().recv(&messages),
            Err(NotReceived::Cancelled(Reason::Deadline))
        );
        drop(sender);
        assert_eq!(
            Cancel::default().recv(&messages),
            Err(NotReceived::Disconnected)
        );
    }

    #[cfg(unix)]
    #[test]
    fn waiting_for_a_child_ends_with_it_or_at_the_deadline() {
        let start = |command: &str| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", command]).spawn().unwrap()
        };
        let status = Cancel::default().wait_child(&mut start("exit 3")).unwrap();
        assert_eq!(status.unwrap().code(), Some(3));
        let mut slow = start("sleep 60");
        let late = Cancel::default().within(SHORT);
        assert_eq!(late.wait_child(&mut slow).unwrap(), Err(Reason::Deadline));
        slow.kill().unwrap();
        slow.wait().unwrap();
    }
}
