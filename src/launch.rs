//! Starts processes that end with this one.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context, Result};

/// The subcommand that makes this program another one, which ends with the program that started it.
pub const SUBCOMMAND: &str = "run-with-parent";

/// The program that runs now, to be started again.
///
/// # Errors
/// The system does not report it.
pub fn this_program() -> Result<PathBuf> {
    if cfg!(target_os = "linux") {
        // Stays the same program when its file is replaced during the run.
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe().context("the system does not report the path of this program")
}

/// Starts a process that asks the system to end it when this program ends, as [`end_with_parent`] does.
///
/// Linux takes the thread that started the process for the program, so one that lasts starts them all (`prctl(2)`,
/// `PR_SET_PDEATHSIG`).
///
/// # Errors
/// The process can't be started.
#[cfg(target_os = "linux")]
pub fn spawn(command: Command) -> io::Result<Child> {
    let (result, started) = crossbeam_channel::bounded(1);
    linux::launcher()?
        .send((command, result))
        .map_err(|_| linux::ended())?;
    started.recv().map_err(|_| linux::ended())?
}

/// Starts a process.
///
/// # Errors
/// The process can't be started.
#[cfg(not(target_os = "linux"))]
pub fn spawn(mut command: Command) -> io::Result<Child> {
    command.spawn()
}

/// A command that runs `name` so that it ends with this program: by way of `this`, which is this program, where the
/// system can do that.
#[must_use]
pub fn tied(this: Option<&Path>, name: &str) -> Command {
    match this {
        Some(this) if cfg!(target_os = "linux") => {
            let mut command = Command::new(this);
            let parent = std::process::id().to_string();
            command.args([SUBCOMMAND, parent.as_str(), name]);
            command
        }
        _ => Command::new(name),
    }
}

/// Becomes the program that [`tied`] names. Returns only if there is none.
///
/// # Errors
/// The program can't be run, or the one that asked for it is gone.
pub fn become_program(parent: u32, name: &OsString, args: &[OsString]) -> io::Result<()> {
    end_with_parent();
    #[cfg(unix)]
    {
        use std::os::unix::process::{CommandExt, parent_id};
        // The system was asked too late.
        if parent_id() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Err(Command::new(name).args(args).exec())
    }
    #[cfg(not(unix))]
    {
        let _ = (parent, name, args);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Asks the system to kill this process when the program that started it ends. It stays so when the process becomes
/// another program.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        // Without it this process still ends when its input does.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        process::{Child, Command},
        sync::{Mutex, PoisonError},
        thread,
    };

    use crossbeam_channel::{Sender, unbounded};

    type Job = (Command, Sender<io::Result<Child>>);

    static LAUNCHER: Mutex<Option<Sender<Job>>> = Mutex::new(None);

    /// The thread that starts processes, which ends with this program.
    pub(super) fn launcher() -> io::Result<Sender<Job>> {
        let mut launcher = LAUNCHER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(launcher) = &*launcher {
            return Ok(launcher.clone());
        }
        let (sender, jobs) = unbounded::<Job>();
        thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(move || {
                for (mut command, result) in jobs {
                    let _ = result.send(command.spawn());
                }
            })?;
        Ok(launcher.insert(sender).clone())
    }

    pub(super) fn ended() -> io::Error {
        io::Error::other("the thread that starts processes has ended")
    }
}
