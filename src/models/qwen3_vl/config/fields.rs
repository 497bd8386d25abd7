//! Fields that several of the JSON files' objects have.

use anyhow::{Result, bail};
use serde::Deserialize;

#[derive(Deserialize, Default)]
pub(super) struct RawRope {
    pub(super) rope_type: Option<String>,
    pub(super) rope_theta: Option<f64>,
    pub(super) mrope_section: Option<[usize; 3]>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl From<OneOrMany> for Vec<u32> {
    fn from(ids: OneOrMany) -> Self {
        match ids {
            OneOrMany::One(id) => vec![id],
            OneOrMany::Many(ids) => ids,
        }
    }
}

/// Takes the value of a field that must be there and not be zero.
macro_rules! required {
    ($raw:ident.$field:ident) => {
        match $raw.$field {
            Some(0) => bail!(concat!(stringify!($field), " is 0")),
            Some(value) => value,
            None => bail!(concat!(stringify!($field), " is missing")),
        }
    };
}
pub(super) use required;

/// That the activation function is the one that is computed here, if it is named.
pub(super) fn check_activation(found: Option<&str>, wanted: &str) -> Result<()> {
    match found {
        Some(found) if found != wanted => {
            bail!("hidden_act {found} is not supported, only {wanted}")
        }
        _ => Ok(()),
    }
}
