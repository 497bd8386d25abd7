//! `omnidocs schema`: prints the JSON Schema of the record.

use anyhow::Result;

use crate::{exit::Exit, record::schema::json_schema, terminal};

/// Runs the command.
///
/// # Errors
/// Stdout can't be written to.
pub fn run() -> Result<Exit> {
    let text = serde_json::to_string_pretty(&json_schema())? + "\n";
    terminal::write_data(text.as_bytes())?;
    Ok(Exit::Ok)
}
