//! Models by name: a folder as it is, or `owner/name[@revision]` fetched through `hf-hub` into the standard cache.
//!
//! `hf-hub` 0.5 (ureq) and not 1.0, which brings tokio, reqwest and Xet to fetch the same files from the same paths.
//! It downloads, resumes and keeps the cache's layout. What it leaves to its callers is here: one lock for a whole
//! model, blobs of another revision used again, sizes checked, connections that break or stall, words for people.
//!
//! The environment is that of the hub's own tools: `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT`,
//! `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` (seconds without a byte, 60).

mod failure;
mod fetch;
mod folder;
mod name;
mod origin;
mod progress;
mod transfer;

pub use self::{
    failure::Unreachable,
    folder::{SmallFiles, model_folder, small_files},
    progress::FetchProgress,
};
