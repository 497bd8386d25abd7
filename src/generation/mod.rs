//! From a prepared page to tokens: prefill, then step after step until an end.
//!
//! All that is known here of a model is [`VisionLanguageModel`](model::VisionLanguageModel).

pub mod chat_template;
mod decode;
pub mod draft;
pub mod generator;
pub mod kv_cache;
pub mod model;
mod prefill;
pub mod readback;
pub mod repetition;
pub mod sampler;
pub mod sequence;
pub mod tokenizer;
