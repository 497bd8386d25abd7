//! Preparation.
pub mod resize;
