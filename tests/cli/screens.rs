//! What each subcommand prints, and its exit code.

use std::collections::HashSet;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::common::{Ran, Room, pdf};

/// Without what differs from run to run: times, paces, and the program's path.
fn steady(text: &str) -> String {
    let text = text.replace(env!("CARGO_BIN_EXE_omnidocs"), "omnidocs");
    let mut lines = Vec::new();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    for line in text.lines() {
        if line.starts_with("time  ") {
            lines.push("time      #".to_owned());
            continue;
        }
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for place in 0..words.len() {
            let next = words
                .get(place + 1)
                .map(|word| word.trim_end_matches([',', ';', ')', ':']));
            let is_measured = next.is_some_and(|unit| ["ms", "s", "pages/s"].contains(&unit));
            let is_time = words[place].ends_with('Z') && words[place].starts_with("20");
            if is_time
                || is_measured && words[place].starts_with(|first: char| first.is_ascii_digit())
            {
                "#".clone_into(&mut words[place]);
            }
        }
        let line = words
            .join(" ")
            .replace("under # ms", "# ms")
            .replace("# s", "# ms");
        lines.push(line);
    }
    lines.join("\n")
}

fn printed(room: &Room, args: &str) -> String {
    screen(args, &Ran::of(&mut offline(room, args)))
}

/// `omnidocs ARGS…` with an empty cache and no network.
fn offline(room: &Room, args: &str) -> Command {
    let mut command = room.omnidocs(args);
    command
        .env("HF_HOME", room.path("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HUB_CACHE");
    command
}

fn screen(args: &str, ran: &Ran) -> String {
    format!(
        "$ omnidocs {args}\n{}\n--- stderr, exit code {}\n{}\n",
        steady(&ran.stdout),
        ran.code.unwrap_or(-1),
        steady(&ran.stderr)
    )
}

#[test]
fn subcommand_output_snapshots() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["First page", "Second page"]))
        .put("in/copy of a.pdf", pdf(&["First page", "Second page"]))
        .put("in/bad.pdf", "This is no PDF.");
    let all = [
        "extract in --engine text-layer -o r.jsonl",
        "extract in --engine text-layer -o r.jsonl --dry-run",
        "extract in/a.pdf --engine text-layer -o good.jsonl",
        "extract in --engine text-layer -o r.jsonl --format html",
        "merge good.jsonl -o merged.jsonl",
        "status good.jsonl --failed",
        "status r.jsonl --failed",
        "show good.jsonl a.pdf:2",
        "show r.jsonl bad.pdf",
        "export r.jsonl --to out",
    ]
    .map(|args| printed(&room, args));
    insta::assert_snapshot!(all.join("\n"));
}

/// A long output with all there is to tell: a failure, a warning, a pending page, times of its pages and of its run.
fn told(room: &Room) {
    room.put(
        "in/a.pdf",
        pdf(&["First page", "Second page", "Third page"]),
    )
    .put("in/bad.pdf", "This is no PDF.");
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    let text = room.read("r.jsonl");
    let lines = text.lines().filter_map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let page = record["page"].as_u64().unwrap();
        record["timings_ms"] =
            json!({"prepare": 40, "prefill": 300, "decode": 700 * page, "total": 340 + 700 * page});
        record["completion_tokens"] = (100 * page).into();
        if page == 1 {
            record["warnings"] = json!(["truncated"]);
        }
        (page != 3).then(|| format!("{record}\n"))
    });
    room.put("r.jsonl", lines.collect::<String>());
    let mut meta: Value = serde_json::from_str(&room.read("r.jsonl.meta.json")).unwrap();
    let started = meta["run"]["started"].as_u64().unwrap();
    meta["run"]["finished"] = (started + 12).into();
    room.put("r.jsonl.meta.json", meta.to_string());
}

#[test]
fn status_snapshots() {
    let room = Room::new();
    told(&room);
    room.put("foreign.txt", "none of ours\n");
    let all = [
        "status r.jsonl --price-per-hour 2.5",
        "status r.jsonl --warnings",
        "status r.jsonl --json",
        "status r.jsonl --print0",
        "status foreign.txt",
        "status missing.jsonl",
    ]
    .map(|args| {
        let ran = Ran::of(&mut offline(&room, args));
        format!(
            "$ omnidocs {args}\n{}--- stderr, exit code {}\n{}\n",
            ran.stdout,
            ran.code.unwrap_or(-1),
            ran.stderr
        )
    });
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn models_snapshot() {
    insta::assert_snapshot!(printed(&Room::new(), "models"));
}

/// What the doctor says of each machine anew, by the names of its checks.
const OF_MACHINE: [&str; 8] = [
    "version",
    "cpu",
    "memory",
    "gpu",
    "limits",
    "pdfium",
    "fonts",
    "tesseract",
];
/// What it says of some machines alone.
const OF_SOME: &str = "driver";

#[test]
fn doctor_snapshots() {
    let room = Room::new();
    room.put("models/reader/config.json", "{}");
    let mut all = Vec::new();
    for args in [
        "doctor",
        "doctor --model models/redaer",
        "doctor --engine server",
    ] {
        let mut ran = Ran::of(&mut offline(&room, args));
        let room = room.path("");
        let shown = ran.stdout.replace(room.to_str().unwrap(), "ROOM/");
        let mut seen = HashSet::new();
        let lines = shown.lines().filter_map(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            if name == OF_SOME {
                return None;
            }
            if OF_MACHINE.contains(&name) {
                return seen.insert(name).then(|| format!("{name:<10}#\n"));
            }
            Some(format!("{line}\n"))
        });
        ran.stdout = lines.collect();
        all.push(screen(args, &ran));
    }
    let ran = Ran::of(&mut offline(&room, "doctor --json"));
    let mut report: Value = serde_json::from_str(&ran.stdout).unwrap();
    report["version"] = "VERSION".into();
    let checks = report["checks"].as_array_mut().unwrap();
    checks.retain(|check| {
        let name = check["name"].as_str().unwrap();
        name != OF_SOME && !OF_MACHINE.contains(&name)
    });
    let json = serde_json::to_string_pretty(&report).unwrap();
    let json = json.replace(room.path("").to_str().unwrap(), "ROOM/");
    all.push(format!("$ omnidocs doctor --json\n{}\n", steady(&json)));
    insta::assert_snapshot!(all.join("\n"));
}
