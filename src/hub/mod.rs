//! Models by name: a folder as it is, or `owner/name[@revision]` fetched into the standard cache.
//!
//! `hf-hub` knows the cache's layout and the hub's paths. Its own downloads trust only certificates that are compiled in,
//! take any proxy for any host and can't be stopped, so the requests are made here, with `http`: one lock for a whole
//! model, blobs of another revision used again, sizes checked, connections that break or stall, words for people.
//!
//! The environment is that of the hub's own tools: `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT`,
//! `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` (seconds without a byte, 60).

mod carry;
mod failure;
mod fetch;
mod folder;
mod name;
mod origin;
mod progress;
mod request;
mod transfer;

pub use self::{
    carry::fetch_into,
    failure::Unreachable,
    folder::{SmallFiles, cache_folder, check_name, is_cached, model_folder, small_files},
    progress::FetchProgress,
};
