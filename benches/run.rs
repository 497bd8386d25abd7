//! Whole runs of the program with the small reader: `cargo bench --bench run`.
//!
//! Memory: a document of 500 pages must peak within 1.2 times of one of 20 pages. Overlap: over 100 pages, the wall
//! time must be within 1.05 times of the engine's own time, since pages are prepared while it works.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::Room;

/// The most memory that a run held, and how long it took.
struct Measured {
    peak_kib: u64,
    wall: Duration,
}

fn main() {
    let room = Room::new();
    memory(&room);
    overlap(&room);
}

fn memory(room: &Room) {
    let peak = |pages| {
        let file = format!("{pages}.pdf");
        room.put(&file, document(pages));
        let measured = run(
            room,
            &[
                &file,
                "-o",
                &format!("{pages}.jsonl"),
                "--max-new-tokens",
                "1",
            ],
        );
        assert_eq!(room.records(&format!("{pages}.jsonl")).len(), pages);
        measured.peak_kib
    };
    let (small, large) = (peak(20), peak(500));
    let ratio = large as f64 / small as f64;
    println!(
        "peak memory: 20 pages {small} KiB, 500 pages {large} KiB, ratio {ratio:.3} (at most 1.2)"
    );
    assert!(ratio <= 1.2, "memory grows with the input");
}

fn overlap(room: &Room) {
    room.put("100.pdf", document(100));
    let wall = run(room, &["100.pdf", "-o", "100.jsonl"])
        .wall
        .as_secs_f64();
    let spent =
        |record: &omnidocs::record::Record| record.timings_ms.prefill + record.timings_ms.decode;
    let engine = room.records("100.jsonl").iter().map(spent).sum::<u64>() as f64 / 1000.0;
    let ratio = wall / engine;
    println!("overlap: wall {wall:.2} s, engine {engine:.2} s, ratio {ratio:.3} (at most 1.05)");
    assert!(ratio <= 1.05, "the engine waits for pages");
}

/// A PDF whose pages differ.
fn document(pages: usize) -> Vec<u8> {
    let texts: Vec<String> = (1..=pages)
        .map(|page| format!("page {page} of {pages}"))
        .collect();
    common::pdf(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs `omnidocs extract --model examples/reader ARGS…` and watches its memory.
fn run(room: &Room, args: &[&str]) -> Measured {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_omnidocs"))
        .current_dir(room.path(""))
        .args(["extract", "-q", "--model"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader"))
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the program ends") {
            break status;
        }
        peak_kib = high_water_mark(child.id()).unwrap_or(peak_kib);
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success());
    Measured {
        peak_kib,
        wall: start.elapsed(),
    }
}

/// Linux's own account of a process's largest size, in KiB; it only grows.
fn high_water_mark(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
