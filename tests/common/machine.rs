//! A user's machine that asks a loopback hub for models.
//!
//! The hub's settings are environment variables, so each call of `model_folder` runs in a process of its own: the test
//! binary again, with nothing but the test [`in_its_own_process`].

// Every test binary that includes this file uses a part of it.
#![allow(dead_code)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use omnidocs::{
    cancel::Cancel,
    hub::{FetchProgress, model_folder},
};
use tempfile::TempDir;

use crate::hub_server::HubServer;

pub const MODEL: &str = "org/reader";
pub const WEIGHTS: &str = "model.safetensors";

/// Calls `model_folder` with what the parent put into the environment, and prints what it returned.
#[test]
#[ignore = "started by the other tests"]
fn in_its_own_process() {
    let Ok(model) = env::var("TEST_MODEL") else {
        return;
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let progress = match env::var("TEST_PROGRESS").as_deref() {
        Ok("off") => FetchProgress::Off,
        _ => FetchProgress::auto(),
    };
    match model_folder(&model, progress, &Cancel::default()) {
        Ok(folder) => println!("FOLDER {}", folder.display()),
        Err(error) => println!("ERROR {error:#}"),
    }
}

/// A user's machine: a home with an empty cache, and the address of a hub.
pub struct Machine {
    pub home: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    pub fn new(hub: &HubServer) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let hf_home = home.path().display().to_string();
        Self {
            home,
            variables: Vec::new(),
        }
        .with("HF_HOME", &hf_home)
        .with("HF_ENDPOINT", &hub.url())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn start(&self, model: &str) -> Child {
        let mut command = Command::new(env::current_exe().expect("this test's path"));
        for (name, _) in env::vars() {
            if name.starts_with("HF_") || name.to_ascii_uppercase().ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command
            .args([
                "machine::in_its_own_process",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("TEST_MODEL", model)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test starts again")
    }

    pub fn fetch(&self, model: &str) -> Outcome {
        Outcome::of(self.start(model))
    }

    /// Where the model's files are kept.
    pub fn cached(&self) -> PathBuf {
        self.home.path().join("hub/models--org--reader")
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.cached().join("snapshots").join(commit)
    }
}

/// What a call of `model_folder` returned, and what was shown meanwhile.
pub struct Outcome {
    pub result: Result<PathBuf, String>,
    pub stderr: String,
}

impl Outcome {
    pub fn of(child: Child) -> Self {
        let Output { stdout, stderr, .. } = child.wait_with_output().expect("the process ends");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&stdout).into_owned(),
            String::from_utf8_lossy(&stderr).into_owned(),
        );
        let after = |word: &str| Some(stdout.split_once(word)?.1.lines().next()?.to_owned());
        let result = match (after("FOLDER "), after("ERROR ")) {
            (Some(folder), _) => Ok(PathBuf::from(folder)),
            (None, Some(error)) => Err(error),
            (None, None) => panic!("no answer:\n{stdout}\n{stderr}"),
        };
        Self { result, stderr }
    }

    #[track_caller]
    pub fn folder(&self) -> &Path {
        self.result
            .as_ref()
            .unwrap_or_else(|error| panic!("{error}\n{}", self.stderr))
    }

    /// The error, which holds all of `words`.
    #[track_caller]
    pub fn error_with(&self, words: &[&str]) {
        let error = self.result.as_ref().expect_err("this must fail");
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The first thing that `child` says is that it waits.
#[track_caller]
pub fn expect_waiting(child: &mut Child) -> impl BufRead + use<> {
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    stderr.read_line(&mut said).expect("a line");
    let (_time, words) = said.split_once(' ').expect("a time");
    assert_eq!(
        words,
        "another process is fetching org/reader: waiting for it\n"
    );
    stderr
}

pub fn reader() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/reader")
}

pub fn serve_reader() -> HubServer {
    HubServer::new(MODEL, &reader())
}

/// A model folder of some bytes, with its weights in two parts.
pub fn model_in_parts() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for name in [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        write(folder.path(), name, "{}");
    }
    write(
        folder.path(),
        "chat_template.json",
        "{\"chat_template\":\"\"}",
    );
    write(folder.path(), "README.md", "not for us");
    let index = r#"{"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors","c":"model-1-of-2.safetensors"}}"#;
    write(folder.path(), "model.safetensors.index.json", index);
    write(folder.path(), "model-1-of-2.safetensors", &"1".repeat(1000));
    write(folder.path(), "model-2-of-2.safetensors", &"2".repeat(2000));
    folder
}

pub fn write(folder: &Path, name: &str, content: &str) {
    fs::write(folder.join(name), content).expect("a file in a temporary folder");
}

/// `folder` has all that a model needs of what `original` has, byte by byte: neither its README nor scripts.
#[track_caller]
pub fn assert_same_files(folder: &Path, original: &Path) {
    for entry in fs::read_dir(original).expect("the original's files") {
        let entry = entry.expect("the original's files");
        let copy = folder.join(entry.file_name());
        let needed = entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "safetensors");
        let expected = fs::read(entry.path()).ok().filter(|_| needed);
        assert!(
            fs::read(&copy).ok() == expected,
            "{} is not its original",
            copy.display()
        );
    }
}
