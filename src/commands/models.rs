//! `omnidocs models`: the models that are known by name.

use anyhow::Result;

use crate::{
    exit::Exit,
    hub,
    models::preset::{PRESETS, Preset, Size},
    terminal::{self, Lines, wrap_line},
    words::number,
};

/// `--dtype`, and the bits that a weight takes. Of q4_k, few weights are kept in 8 bits.
const DTYPES: [(&str, f64); 3] = [("bf16", 16.0), ("q8_0", 8.5), ("q4_k", 4.5)];

/// Runs the command.
///
/// # Errors
/// Stdout can't be written to.
pub fn run() -> Result<Exit> {
    let (width, coloured) = (terminal::stdout_width(), terminal::stdout_has_colours());
    let mut text = String::new();
    for preset in &PRESETS {
        let names = [&[preset.short], preset.ids].concat().join("  ");
        text += &width.map_or(names.as_str().into(), |width| wrap_line(&names, width));
        text.push('\n');
        text += &describe(preset).render(width, coloured);
        text.push('\n');
    }
    let mut lines = Lines::default();
    let note = "memory is that of the weights; a page and its answer take more. Facts are those of the sources, not measured here";
    lines.add("note", note.to_owned());
    text += &lines.render(width, coloured);
    terminal::write_data(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn describe(preset: &Preset) -> Lines {
    let mut lines = Lines::default();
    let memory = DTYPES.map(|(name, bits)| format!("{:.1} GB {name}", preset.bytes(bits) / 1e9));
    let size = format!("{} billion parameters", preset.billions);
    lines.add("size", format!("{size}: {}", memory.join(", ")));
    lines.add(
        "licence",
        preset.licence.unwrap_or("see its card").to_owned(),
    );
    lines.add("good at", preset.good_at.to_owned());
    if let Some((score, whose)) = preset.quality {
        lines.add("quality", format!("{score} ({whose})"));
    }
    match preset.size {
        Size::Default => {}
        Size::Pixels(pixels) => {
            lines.add(
                "pages",
                format!("at most {} pixels", number(pixels as usize)),
            );
        }
        Size::LongestSide(side) => {
            lines.add("pages", format!("about {side} pixels on the long side"));
        }
    }
    let cached = preset.ids.iter().copied().filter(|id| hub::is_cached(id));
    let cached: Vec<&str> = cached.collect();
    if !cached.is_empty() {
        lines.add("cached", cached.join(", "));
    }
    lines.add("source", preset.source.to_owned());
    lines
}
