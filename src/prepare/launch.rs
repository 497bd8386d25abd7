//! Starts processes that end with this one.

use std::{
    io,
    process::{Child, Command},
};

/// Starts a process that asks the system to end it when this program ends.
///
/// Linux takes the thread that started the process for the program, so one that lasts starts them all (`prctl(2)`,
/// `PR_SET_PDEATHSIG`).
///
/// # Errors
/// The process can't be started.
#[cfg(target_os = "linux")]
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let (result, started) = std::sync::mpsc::sync_channel(1);
    linux::launcher()?
        .send((command, result))
        .map_err(|_| linux::ended())?;
    started.recv().map_err(|_| linux::ended())?
}

#[cfg(not(target_os = "linux"))]
pub(super) fn spawn(mut command: Command) -> io::Result<Child> {
    command.spawn()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        process::{Child, Command},
        sync::{
            Mutex, PoisonError,
            mpsc::{self, Sender, SyncSender},
        },
        thread,
    };

    type Job = (Command, SyncSender<io::Result<Child>>);

    static LAUNCHER: Mutex<Option<Sender<Job>>> = Mutex::new(None);

    /// The thread that starts processes, which ends with this program.
    pub(super) fn launcher() -> io::Result<Sender<Job>> {
        let mut launcher = LAUNCHER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(launcher) = &*launcher {
            return Ok(launcher.clone());
        }
        let (sender, jobs) = mpsc::channel::<Job>();
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
