//! What README.md says is true: its commands run, its options exist, its picture shows what the model reads.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room},
};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn readme() -> String {
    fs::read_to_string(repository("README.md")).unwrap()
}

/// Starts of lines that show what is printed.
const PRINTED: [&str; 8] = [
    "omnidocs 0",
    "read  ",
    "pages  ",
    "pace  ",
    "time  ",
    "warnings  ",
    "next  ",
    "[12/340]",
];
/// Commands that other programs or machines are needed for, and what they name here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("cargo install --path .", "Cargo.toml"),
    ("cargo test --release", "Cargo.toml"),
    ("cargo build --release --features cuda", "Cargo.toml"),
    ("omnidocs fetch Qwen/", ""),
    ("vllm serve ", ""),
    ("ray start ", ""),
    (
        "sbatch --array=1-8 examples/slurm/extract.sbatch ",
        "examples/slurm/extract.sbatch",
    ),
    (
        "omnidocs extract ./pdfs -o results.jsonl --device cuda:0,1,2,3",
        "",
    ),
];
/// Programs without which a command is not run.
const OPTIONAL: [&str; 3] = ["jq", "duckdb", "tesseract"];

/// The commands in indented blocks, without comments.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut is_fenced = false;
    let mut begun = String::new();
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        let Some(line) = line.strip_prefix("    ").filter(|_| !is_fenced) else {
            continue;
        };
        if line.starts_with(' ') && begun.is_empty()
            || PRINTED.iter().any(|start| line.starts_with(start))
        {
            continue;
        }
        let line = line.split_once(" #").map_or(line, |(command, _)| command);
        begun += line.trim();
        match begun.strip_suffix('\\') {
            Some(start) => begun = start.to_owned(),
            None => commands.push(std::mem::take(&mut begun)),
        }
    }
    commands
}

fn is_installed(program: &str) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// A room with what the commands name, and an output.
fn room() -> Room {
    let room = Room::new();
    room.put("last.txt", "");
    for (from, to) in [
        ("receipts.pdf", "pdfs/report.pdf"),
        ("note.pdf", "pdfs/drafts/note.pdf"),
        ("note.pdf", "scans/note.pdf"),
        ("receipts.pdf", "archive/receipts.pdf"),
        ("receipts.pdf", "a.pdf"),
        ("note.pdf", "examples/pages/note.pdf"),
    ] {
        let file = fs::read(repository(&format!("examples/pages/{from}"))).unwrap();
        room.put(to, file);
    }
    Ran::of(&mut room.omnidocs("extract ./pdfs --engine text-layer -o results.jsonl")).expect(0);
    // The other one is written by a command.
    for shard in [1, 3, 4] {
        let part = format!("./pdfs -o part-{{shard}}.jsonl --shard {shard}/4");
        room.extract(&part).expect(0);
    }
    for name in ["results.jsonl", "results.jsonl.meta.json"] {
        fs::copy(room.path(name), room.path(format!("kept.{name}"))).unwrap();
    }
    room
}

/// Runs a command line as it stands, but with the text layer in place of a model that is not named.
fn run(room: &Room, command: &str, server: &ChatServer) -> Ran {
    let is_new = command.contains("omnidocs extract") && !command.contains("--retry");
    let continues = !is_new && !command.starts_with("omnidocs merge");
    for name in ["results.jsonl", "results.jsonl.meta.json"] {
        let _ = fs::remove_file(room.path(name));
        if continues {
            fs::copy(room.path(format!("kept.{name}")), room.path(name)).unwrap();
        }
    }
    let command = command
        .replace("http://gpu-box:8000/v1", &server.url())
        .replace("0 2 * * * ", "")
        .replace("/archive", "archive");
    let program = Path::new(env!("CARGO_BIN_EXE_omnidocs"));
    let mut folders = vec![program.parent().unwrap().to_owned()];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    // As `omnidocs` runs, so does the shell that finds it.
    let alike = room.omnidocs("");
    let mut shell = assert_cmd::Command::new("sh");
    shell
        .args(["-c", &command])
        .current_dir(room.path(""))
        .env("PATH", env::join_paths(folders).unwrap())
        .env("HF_HOME", room.path("hub"))
        .env("OMNIDOCS_ENGINE", "text-layer")
        .env("OMNIDOCS_MAX_PIXELS", "30000")
        .env("OMNIDOCS_MIN_PIXELS", "1024");
    if command.contains("qwen") {
        shell.env("OMNIDOCS_MODEL", repository("examples/reader"));
    }
    for (name, _) in alike.get_envs().filter(|(_, value)| value.is_none()) {
        shell.env_remove(name);
    }
    Ran::of(&mut shell)
}

#[cfg(unix)]
#[test]
fn readme_commands_run() {
    let (room, text) = (room(), readme());
    let server = ChatServer::with(Duration::ZERO, |_, _| Reply::Text);
    let commands = commands(&text);
    assert!(commands.len() > 30, "{commands:#?}");
    // Checks of the project look for this line as it is.
    assert!(text.contains("\n    cargo test --release\n"));
    for command in commands {
        if let Some((_, file)) = ELSEWHERE
            .iter()
            .find(|(start, _)| command.starts_with(start))
        {
            assert!(repository(file).exists(), "{command}");
            continue;
        }
        let missing = OPTIONAL.iter().find(|program| {
            command.split_whitespace().any(|word| word == **program) && !is_installed(program)
        });
        if missing.is_some() {
            continue;
        }
        let first = command
            .trim_start_matches("0 2 * * * ")
            .trim_start_matches("HF_HUB_OFFLINE=1 ");
        let first = first.split_whitespace().next().unwrap_or_default();
        assert!(
            ["omnidocs", "find", "jq", "duckdb"].contains(&first),
            "this command is not known here: {command}"
        );
        let ran = run(&room, &command, &server);
        assert_eq!(ran.code, Some(0), "{command}\n{}", ran.stderr);
    }
    assert!(!server.requests().is_empty(), "the server is asked");
}

#[test]
fn readme_python_runs_where_pandas_is_installed() {
    let text = readme();
    let (_, code) = text.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let Ok(asked) = Command::new("python3")
        .args(["-c", "import pandas"])
        .output()
    else {
        return;
    };
    if asked.status.success() {
        let ran = Command::new("python3")
            .args(["-c", code])
            .current_dir(room().path(""))
            .status();
        assert!(ran.unwrap().success());
    }
}

#[test]
fn readme_options_exist() {
    let room = Room::new();
    let mut known = BTreeSet::new();
    let subcommands = [
        "extract",
        "merge",
        "status",
        "show",
        "export",
        "models",
        "doctor",
        "completions",
        "man",
    ];
    for subcommand in subcommands {
        let help = Ran::of(&mut room.omnidocs(&format!("{subcommand} --help"))).expect(0);
        known.extend(options(&help.stdout));
    }
    // Those of other programs.
    for other in [
        "--release",
        "--features",
        "--path",
        "--array",
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--distributed-executor-backend",
        "--head",
        "--address",
    ] {
        known.insert(other.to_owned());
    }
    let unknown: Vec<_> = options(&readme()).difference(&known).cloned().collect();
    assert_eq!(unknown, [""; 0]);
}

fn options(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| !character.is_ascii_lowercase() && character != '-';
    let words = text.split(is_part);
    let options =
        words.filter(|word| word.len() > 3 && word.starts_with("--") && !word.starts_with("---"));
    options
        .map(|word| word.trim_end_matches('-').to_owned())
        .collect()
}

#[test]
fn readme_shows_what_the_example_model_reads_and_prints() {
    let room = Room::new();
    fs::create_dir_all(room.path("examples")).unwrap();
    #[cfg(unix)]
    for name in ["pages", "reader"] {
        std::os::unix::fs::symlink(
            repository(&format!("examples/{name}")),
            room.path(format!("examples/{name}")),
        )
        .unwrap();
    }
    let text = readme();
    let command = "omnidocs extract examples/pages --model examples/reader -o examples.jsonl";
    assert!(text.contains(&format!("    {command}\n")));
    let ran = Ran::of(&mut room.omnidocs(command.strip_prefix("omnidocs ").unwrap())).expect(0);
    let printed = ran.stderr.split_once("omnidocs ").unwrap().1;
    let (_, shown) = text.split_once("    omnidocs 0").unwrap();
    let shown = shown.split("\n\n").next().unwrap();
    let words = |text: &str, label: &str| -> String {
        let lines = text.lines().map(str::trim_start);
        let rest = lines.skip_while(|line| !line.starts_with(label));
        let own = rest.take_while(|line| line.starts_with(label) || !is_labelled(line));
        own.flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for label in ["read ", "pages ", "warnings "] {
        assert_eq!(words(shown, label), words(printed, label));
    }
    let picture = fs::read_to_string(repository("examples/page.svg")).unwrap();
    let records = room.records("examples.jsonl").into_iter();
    for record in records.filter(|record| {
        [("note.pdf", 1), ("receipts.pdf", 2)].contains(&(record.filename.as_str(), record.page))
    }) {
        for line in record
            .content
            .unwrap()
            .lines()
            .filter(|line| !line.is_empty())
        {
            assert!(picture.contains(&format!(">{line}</text>")), "{line}");
        }
    }
}

fn is_labelled(line: &str) -> bool {
    ["read ", "pages ", "pace ", "time ", "warnings ", "next "]
        .iter()
        .any(|label| line.starts_with(label))
}
