//! What every engine is to the pipeline: it pulls prepared pages and pushes outcomes, and knows nothing else.
//!
//! An engine that reads in this process is a [`BatchReader`]: it has slots, and a page in each of them goes on at every
//! step. [`scheduler`] makes an [`Engine`] of it, [`pool`] one of several, [`split`] one that reads large pages in parts,
//! [`fallback`] one of two that differ. What becomes of a page that fails is decided in [`recovery`] for all of them, a server
//! included.

mod dispatch;
pub mod fallback;
pub mod pool;
pub mod qwen;
pub mod recovery;
pub mod scheduler;
pub mod server;
pub mod split;
pub mod task;
pub mod tesseract;
pub mod text_layer;
mod traits;

pub use self::traits::{Attempt, BatchReader, Engine, OneSlot, PageResult, SingleReader};
