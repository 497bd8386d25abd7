//! What was typed or set in the environment → what is meant. Every error names its flag and says what would be right.

mod check;
mod prompt;
mod scheduler;
mod server;
mod settings;
mod usage;

pub use self::{scheduler::Assigned, settings::Settings};
