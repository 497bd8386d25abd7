//! From a prepared page to tokens: prefill, then step after step until an end.

pub mod decode;
pub mod draft;
pub mod kv_cache;
pub mod prefill;
pub mod readback;
pub mod repetition;
pub mod sequence;
pub mod tokenizer;
