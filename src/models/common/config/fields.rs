//! Fields that several of the JSON files' objects have.

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

/// How positions turn queries and keys.
#[derive(Deserialize, Default)]
#[allow(missing_docs)]
pub struct RawRope {
    pub rope_type: Option<String>,
    /// An older name of `rope_type`.
    pub r#type: Option<String>,
    pub rope_theta: Option<f64>,
    pub mrope_section: Option<[usize; 3]>,
    pub partial_rotary_factor: Option<f64>,
}

impl RawRope {
    /// That positions are not stretched. `mrope` is what Qwen2-VL's files call that.
    ///
    /// # Errors
    /// They are.
    pub fn check_type(&self) -> Result<()> {
        let rope_type = self.rope_type.as_deref().or(self.r#type.as_deref());
        let rope_type = rope_type.unwrap_or("default");
        ensure!(
            ["default", "mrope"].contains(&rope_type),
            "rope_type {rope_type} is not supported, only default"
        );
        Ok(())
    }
}

/// A token, or several.
#[derive(Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum OneOrMany {
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
            Some(0) => anyhow::bail!(concat!(stringify!($field), " is 0")),
            Some(value) => value,
            None => anyhow::bail!(concat!(stringify!($field), " is missing")),
        }
    };
}
pub(in crate::models) use required;

/// That the activation function is the one that is computed here, if it is named.
///
/// # Errors
/// It is another one.
pub fn check_activation(found: Option<&str>, wanted: &str) -> Result<()> {
    match found {
        Some(found) if found != wanted => {
            bail!("hidden_act {found} is not supported, only {wanted}")
        }
        _ => Ok(()),
    }
}

/// That pixels have three colours, if anything is said.
///
/// # Errors
/// They have another number of them.
pub fn check_channels(channels: Option<usize>) -> Result<()> {
    match channels {
        Some(channels) if channels != 3 => bail!("in_channels {channels} is not supported, only 3"),
        _ => Ok(()),
    }
}
