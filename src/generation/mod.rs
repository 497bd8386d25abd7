//! Generates text for a prepared page: prefill, then decoder steps until an end.
//!
//! It knows a model only as a [`VisionLanguageModel`](model::VisionLanguageModel).

pub mod chat_template;
mod decode;
pub mod draft;
pub mod generator;
pub mod kv_cache;
pub mod model;
mod prefill;
pub mod readback;
pub mod recurrent;
pub mod repetition;
pub mod sampler;
pub mod sequence;
pub mod tokenizer;
