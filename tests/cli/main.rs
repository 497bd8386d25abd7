//! What `omnidocs extract` promises to those who type it, shown on the real program.

#[path = "../common/mod.rs"]
mod common;

mod help;
mod inputs;
mod model;
mod options;
mod output;
