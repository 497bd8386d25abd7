//! The first line of a run: program, model, device, documents, output.

use std::fmt;

use crate::{journal::Target, terminal::printable, words::counted};

/// The content of the first line.
#[derive(Debug, Clone)]
pub struct RunInfo<'a> {
    /// The engine's name in records.
    pub engine: &'a str,
    /// The model as the user named it; `None` for an engine without one.
    pub model: Option<&'a str>,
    /// The dtype of the model's weights; `None` if it runs elsewhere.
    pub dtype: Option<&'a str>,
    /// Its devices, like `cpu` or `cuda:0`; none if it runs elsewhere.
    pub devices: Vec<&'a str>,
    /// Compute threads, and their instruction set.
    pub cpu: Option<(usize, &'a str)>,
    /// Pages that are decoded together.
    pub batch_size: usize,
    /// Documents found.
    pub documents: usize,
    /// The output.
    pub output: &'a Target,
}

impl fmt::Display for RunInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "omnidocs {} · ", env!("CARGO_PKG_VERSION"))?;
        match self.model {
            // Without its owner, and without what all of them have at their ends.
            Some(model) => f.write_str(&printable(short(model)))?,
            None => f.write_str(self.engine)?,
        }
        if let Some(dtype) = self.dtype {
            write!(f, " {dtype}")?;
        } else if self.model.is_some() {
            write!(f, " ({})", self.engine)?;
        }
        if !self.devices.is_empty() {
            write!(f, " on {}", self.devices.join(", "))?;
        }
        if let Some((threads, instructions)) = self.cpu {
            let threads = counted(threads, "thread", "threads");
            write!(f, " ({threads}, {instructions})")?;
        }
        let documents = counted(self.documents, "document", "documents");
        write!(f, " · {documents} → {}", self.output)
    }
}

/// `Qwen3-VL-2B` of `Qwen/Qwen3-VL-2B-Instruct` or of a folder's path.
fn short(model: &str) -> &str {
    let model = model.trim_end_matches(['/', '\\']);
    let name = model.rsplit(['/', '\\']).next().unwrap_or(model);
    name.strip_suffix("-Instruct").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_model_device_documents_and_output() {
        let output = Target::File("r.jsonl".into());
        let reader = RunInfo {
            engine: "qwen",
            model: Some("Qwen/Qwen3-VL-2B-Instruct"),
            dtype: Some("q8_0"),
            devices: vec!["cpu"],
            cpu: Some((2, "AVX2")),
            batch_size: 1,
            documents: 20,
            output: &output,
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            reader.to_string(),
            format!(
                "omnidocs {version} · Qwen3-VL-2B q8_0 on cpu (2 threads, AVX2) · 20 documents → r.jsonl"
            )
        );
        let server = RunInfo {
            engine: "server",
            model: Some("./models/tiny/"),
            dtype: None,
            devices: Vec::new(),
            cpu: None,
            batch_size: 1,
            documents: 1,
            output: &Target::Stdout,
        };
        assert_eq!(
            server.to_string(),
            format!("omnidocs {version} · tiny (server) · 1 document → the standard output")
        );
    }
}
