//! The JSON Schema of the record.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Record;

/// The JSON Schema (draft 2020-12) of the lines that this version writes, made from [`Record`].
#[must_use]
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Record>();
    schema.insert("title".to_owned(), "omnidocs record".into());
    schema.to_value()
}
