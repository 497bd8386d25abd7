//! `omnidocs models`: the models that are known by name.

use std::fmt::Write;

use anyhow::Result;

use crate::{
    exit::Exit,
    hub,
    models::preset::{PRESETS, Preset, Size},
    terminal,
};

/// `--dtype`, and the bits that a weight takes. Of q4_k, few weights are kept in 8 bits.
const DTYPES: [(&str, f64); 3] = [("bf16", 16.0), ("q8_0", 8.5), ("q4_k", 4.5)];

/// Runs the command.
pub fn run() -> Result<Exit> {
    let mut text = String::new();
    for preset in &PRESETS {
        describe(&mut text, preset);
    }
    text.push_str(
        "Memory is that of the weights; a page and its answer take more. Facts are of the sources named, not measured here.\n",
    );
    terminal::write_data(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn describe(text: &mut String, preset: &Preset) {
    text.push_str(&[&[preset.short], preset.ids].concat().join("  "));
    text.push('\n');
    // Writing to a string does not fail.
    let mut line = |what: &str, words: &str| {
        let _ = writeln!(text, "  {what:<9} {words}");
    };
    let memory = DTYPES.map(|(name, bits)| format!("{:.1} GB {name}", preset.bytes(bits) / 1e9));
    let size = format!("{} billion parameters", preset.billions);
    line("size", &format!("{size}: {}", memory.join(", ")));
    line("licence", preset.licence.unwrap_or("see its card"));
    line("good at", preset.good_at);
    if let Some((score, whose)) = preset.quality {
        line("quality", &format!("{score} ({whose})"));
    }
    match preset.size {
        Size::Default => {}
        Size::Pixels(pixels) => line("pages", &format!("at most {pixels} pixels")),
        Size::LongestSide(side) => line("pages", &format!("about {side} pixels on the long side")),
    }
    let cached: Vec<&str> = preset
        .ids
        .iter()
        .copied()
        .filter(|id| hub::is_cached(id))
        .collect();
    if !cached.is_empty() {
        line("cached", &cached.join(", "));
    }
    line("source", preset.source);
    text.push('\n');
}
