//! The `omnidocs` program.

fn main() {}
