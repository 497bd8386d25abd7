//! Options and environment → validated settings. Every error names the flag and a valid value.

mod check;
mod password;
mod prompt;
mod scheduler;
mod server;
mod settings;
mod usage;

pub use self::{
    password::passwords,
    scheduler::Assigned,
    settings::{Given, Settings},
};
