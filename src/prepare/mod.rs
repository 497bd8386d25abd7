//! Turns documents into pages that an engine can read: in input order, in parallel, and only a few ahead.
//!
//! The producer, a thread, opens the documents one after the other. For each page it sends a slot over a bounded channel,
//! and then gives the page to a pool of threads, which put the result into the slot. A full channel stops the producer, so
//! that memory is bounded whatever the size of the input. The end of the input is a slot too: a producer that is lost is
//! not taken for it.
//!
//! A [`Decoder`] opens the documents, mostly in worker processes, one for each thread and one for the producer. What
//! crashes or hangs there costs the page that was asked for, and nothing else.

mod blank;
pub mod decoder;
mod decoders;
mod done;
mod draft;
mod failure;
mod faults;
mod frames;
pub mod in_process;
mod opened;
pub mod orientation;
mod pages;
mod plan;
mod print;
mod producer;
mod protocol;
mod request_bytes;
pub mod resize;
pub mod script;
mod settings;
mod split;
pub mod worker;
pub mod worker_pool;
mod worker_process;

pub use self::{
    decoder::{Decoder, PageCount, Raster},
    done::{Done, Known, SkipCounts},
    opened::image,
    pages::{Pages, pages, pages_except},
    settings::{DecoderChoice, Settings},
    split::min_letters,
};
