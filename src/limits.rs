//! What the system lets this program have: open files, processes and threads, the size of a file.

use std::{io, num::NonZero, thread};

use anyhow::{Context, Result, bail};
use crossbeam_channel::bounded;

/// Address space that a run without a model takes, in bytes: mostly room that its threads keep for themselves.
const MIN_MEMORY: u64 = 512 << 20;

/// Raises what may be raised, so that only what nobody may have ends a run. A file that may not grow further is an error
/// of the write and not the end of the program.
///
/// # Errors
/// There is too little memory to begin.
pub fn prepare() -> Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::Resource;

        raise(&[Resource::Nofile, Resource::Nproc]);
        survive_file_limit();
    }
    require_memory(0)
}

/// As [`prepare`] for a worker process, which writes no files but its PDF library, to memory.
pub fn prepare_worker() {
    #[cfg(unix)]
    {
        raise(&[rustix::process::Resource::Fsize]);
        survive_file_limit();
    }
}

#[cfg(unix)]
fn raise(resources: &[rustix::process::Resource]) {
    use rustix::process::{Rlimit, getrlimit, setrlimit};

    for &resource in resources {
        let limit = getrlimit(resource);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        // Where this fails, what can't be opened or started is named.
        let _ = setrlimit(resource, raised);
    }
}

#[cfg(unix)]
fn survive_file_limit() {
    // Nobody looks at the flag: with a handler the signal does nothing.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// Fails where the limit of memory is too low for a run that holds `bytes` of its own: without memory a program can't
/// even say so.
///
/// # Errors
/// The limit, and what is needed.
pub fn require_memory(bytes: u64) -> Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};

        let (limit, needed) = (
            getrlimit(Resource::As).current,
            bytes.saturating_add(MIN_MEMORY),
        );
        if let Some(limit) = limit.filter(|&limit| limit < needed) {
            bail!(
                "the limit of memory is {} MB (ulimit -v), and this run needs {} MB or more",
                limit >> 20,
                needed >> 20
            );
        }
    }
    #[cfg(not(unix))]
    let _ = bytes;
    Ok(())
}

/// Files that this program may have open at a time; `None` for no limit, or none that is known.
#[must_use]
pub fn open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};

        // A run raises its limit to this one.
        getrlimit(Resource::Nofile).maximum
    }
    #[cfg(not(unix))]
    None
}

/// Which limit an error comes from, and how to raise it.
#[must_use]
pub fn advice(error: &anyhow::Error) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use rustix::io::Errno;

        let causes = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>());
        let limit = |cause: &io::Error| match Errno::from_io_error(cause)? {
            Errno::MFILE | Errno::NFILE => Some("allow more open files: ulimit -n"),
            Errno::AGAIN => Some("allow more processes and threads: ulimit -u"),
            Errno::NOMEM => Some("allow more memory: ulimit -v"),
            Errno::FBIG => Some("allow larger files: ulimit -f"),
            _ => None,
        };
        causes.into_iter().find_map(limit)
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        None
    }
}

/// Starts the threads for work on the CPU: `threads`, or as many as there are cores; fewer where the system has no more.
///
/// # Errors
/// It has none, or not as many as were asked for.
pub fn start_threads(threads: Option<usize>) -> Result<()> {
    let wanted = match threads {
        Some(threads) => threads,
        // A pool that can't be started can't be started again with fewer.
        None => match count_possible(available_threads()) {
            count if count == available_threads() => 0,
            count => count.max(1),
        },
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(wanted);
    pool.build_global()
        .context("cannot start the threads for the work")
}

fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// How many threads of so many can be started.
fn count_possible(wanted: usize) -> usize {
    let (stop, stopped) = bounded::<()>(0);
    let started = (0..wanted).map_while(|_| {
        let stopped = stopped.clone();
        let wait = move || {
            let _ = stopped.recv();
        };
        thread::Builder::new().spawn(wait).ok()
    });
    let started: Vec<_> = started.collect();
    let count = started.len();
    drop(stop);
    for thread in started {
        let _ = thread.join();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_as_far_as_they_start() {
        assert_eq!((count_possible(0), count_possible(3)), (0, 3));
    }
}
