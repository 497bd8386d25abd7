//! What `omnidocs extract` promises to those who type it, shown on the real program.

#[cfg(unix)]
#[path = "../common/browser.rs"]
mod browser;
#[path = "../common/chat_server.rs"]
mod chat_server;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/hub_server.rs"]
mod hub_server;
#[cfg(target_os = "linux")]
#[path = "../common/pty.rs"]
mod pty;

mod bad_input;
mod bench;
mod blocks;
mod changed;
mod checkpoints;
mod copies;
mod corpus;
mod doctor;
mod draft_head;
mod drafts;
mod faults;
mod fetch;
mod foreign_output;
mod help;
mod inputs;
mod kills;
#[cfg(unix)]
mod limits;
#[cfg(unix)]
mod many_kills;
mod merge;
mod models;
mod network;
mod options;
mod output;
mod output_file;
mod passwords;
mod progress;
mod promises;
mod ranges;
mod reading;
mod readme;
mod report;
mod resume;
mod rotation;
mod schema;
mod screens;
mod server;
mod shards;
#[cfg(target_os = "linux")]
mod skip;
mod split;
mod stops;
#[cfg(target_os = "linux")]
mod terminal;
mod tesseract;
#[cfg(unix)]
mod unread;
mod views;
