//! SIGINT, SIGTERM and SIGHUP: the first one asks the run to end after the pages in hand, the second ends it at once.
//! SIGUSR1 asks how the run goes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use crossbeam_channel::bounded;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::{
    cancel::{Cancel, Reason},
    terminal,
};

#[cfg(unix)]
const ENDING: [i32; 3] = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const ENDING: [i32; 2] = [SIGINT, SIGTERM];

/// A signal that the user should hear about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The run ends after the pages in hand.
    Ending(u8),
    /// Somebody asks how it goes.
    Status,
}

/// Clearing the status line takes no longer than this, or the terminal is stopped.
const MAX_CLEARING: Duration = Duration::from_millis(200);

/// The handlers of this program's signals.
#[derive(Debug, Clone)]
pub struct SignalHandlers {
    /// Whether the next signal ends the program at once.
    ends_at_once: Arc<AtomicBool>,
}

impl SignalHandlers {
    /// Takes the signals over from the system's default, which a process with the number 1 does not have. Until
    /// [`pages_in_hand`](Self::pages_in_hand), an ending signal ends the program at once: there is nothing to finish.
    /// `heard` is called on a thread of its own.
    ///
    /// A signal that the parent ignores, as `nohup` does with SIGHUP and a shell with SIGINT of what runs in the
    /// background, stays ignored.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn install(cancel: &Cancel, heard: impl Fn(Heard) + Send + 'static) -> Result<Self> {
        let ignored = ignored_signals();
        let is_handled = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
        let ending: Vec<i32> = ENDING.into_iter().filter(is_handled).collect();
        let ends_at_once = Arc::new(AtomicBool::new(true));
        // The thread that listens has its hands full; then a signal's handler ends the program itself.
        let is_busy = Arc::new(AtomicBool::new(false));
        for &signal in &ending {
            // In this order: the first signal finds the flag unset, and sets it for the next one. Every line that was
            // written is whole; what is torn is cut off by the next run.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_busy))
                .and_then(|_| flag::register(signal, Arc::clone(&is_busy)))
                .context("cannot handle signals")?;
        }
        let (cancel, ends) = (cancel.clone(), Arc::clone(&ends_at_once));
        let on_signal = move |signal: i32| {
            if !ENDING.contains(&signal) {
                heard(Heard::Status);
                return;
            }
            if ends.swap(true, Ordering::AcqRel) {
                end(signal);
            }
            cancel.cancel(Reason::Interrupted(signal as u8));
            heard(Heard::Ending(signal as u8));
            is_busy.store(false, Ordering::Release);
        };
        listen(&ending, on_signal).context("cannot start the thread that handles signals")?;
        #[cfg(unix)]
        explain_aborts().context("cannot handle signals")?;
        Ok(Self { ends_at_once })
    }

    /// From now on a first signal lets the pages in hand be finished.
    pub fn pages_in_hand(&self) {
        self.ends_at_once.store(false, Ordering::Release);
    }
}

/// Ends the program at once, with a clear line for what the shell writes next.
fn end(signal: i32) -> ! {
    let (done, cleared) = bounded::<()>(0);
    let clear = move || {
        terminal::clear_status();
        drop(done);
    };
    if thread::Builder::new().spawn(clear).is_ok() {
        let _ = Cancel::default().within(MAX_CLEARING).recv(&cleared);
    }
    signal_hook::low_level::exit(128 + signal)
}

/// What is said after Rust's own line when the program has to stop.
#[cfg(unix)]
const ABORTED: &str = "omnidocs: stopped for lack of memory, or by a fault of the program (see the line above). What was written is kept; \
                       lower --batch-size, --max-pixels or --prefetch, or give it more memory, and run the same command again.\n";

/// Ends the program with a sentence and as any other error where the standard library aborts, which it does when there is no
/// memory: a core dump helps nobody, and a shell's word for it is no advice.
#[cfg(unix)]
#[allow(
    unsafe_code,
    reason = "what is called in a handler must be safe there: write and _exit are"
)]
fn explain_aborts() -> io::Result<()> {
    let explain = || {
        // The descriptor alone: the stream's lock may be held.
        let _ = rustix::io::write(io::stderr(), ABORTED.as_bytes());
        signal_hook::low_level::exit(1)
    };
    // SAFETY: the handler allocates nothing, takes no lock and does not return.
    unsafe { signal_hook::low_level::register(signal_hook::consts::SIGABRT, explain) }.map(drop)
}

#[cfg(unix)]
fn listen(ending: &[i32], on_signal: impl Fn(i32) + Send + 'static) -> io::Result<()> {
    use signal_hook::{consts::SIGUSR1, iterator::Signals};

    let mut signals = Signals::new(ending.iter().chain([&SIGUSR1]))?;
    let listen = move || signals.forever().for_each(on_signal);
    let name = thread::Builder::new().name("signals".to_owned());
    name.spawn(listen).map(drop)
}

#[cfg(not(unix))]
fn listen(ending: &[i32], on_signal: impl Fn(i32) + Send + 'static) -> io::Result<()> {
    use std::sync::atomic::AtomicUsize;

    let latest = Arc::new(AtomicUsize::new(0));
    for &signal in ending {
        flag::register_usize(signal, Arc::clone(&latest), signal as usize)?;
    }
    let listen = move || loop {
        // Such a system has nothing to wait at.
        thread::sleep(Duration::from_millis(50));
        match latest.swap(0, Ordering::Relaxed) {
            0 => {}
            signal => on_signal(signal as i32),
        }
    };
    let name = thread::Builder::new().name("signals".to_owned());
    name.spawn(listen).map(drop)
}

/// The ignored signals, bit 0 is signal 1; 0 if the system does not report them.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or(0)
}
