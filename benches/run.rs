//! Whole runs of the program: `cargo bench --bench run`, or `cargo bench --bench run -- memory` for one of them.
//!
//! Drafts: on born-digital pages, drafts from the text layer must save two of three decoder steps. Workers: two worker
//! processes must prepare at least 1.7 times as many pages a second as one. Resume: a run over an output of a million records
//! of 1 KB, each of another document, must end within 2 s and 100 MB, a status within 2 s and 140 MB, a merge within 6 s and
//! 150 MB.
//! Scaling: two instances on the CPU, with a thread each, must read at least 1.6 times as many pages a second as one; and
//! four shards at a time are compared with one run.
//! Memory: a document of 500 pages must peak within 1.2 times of one of 20 pages, and 100,000 documents of a page each within
//! 64 MiB: what is kept of a document is its path, its identity and where its record is. Overlap: over 100 pages, the wall
//! time must be within 1.05 times of the engine's own time, since pages are prepared while it works.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    env, fs,
    io::{BufWriter, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::Room;
use omnidocs::{
    cancel::Cancel,
    page::{PixelBudget, Source},
    prepare::{self, Raster},
};

/// A run's peak memory and its duration.
struct Measured {
    peak_kib: u64,
    wall: Duration,
}

type Bench = fn(&Room);

/// Each bench by its name.
const ALL: [(&str, Bench); 7] = [
    ("drafts", drafts),
    ("workers", workers),
    ("million_records", million_records),
    ("memory", memory),
    ("documents", documents),
    ("overlap", overlap),
    ("scaling", scaling),
];

fn main() {
    let room = Room::new();
    // Cargo adds an argument of its own.
    let wanted: Vec<String> = env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    for (name, bench) in ALL {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            bench(&room);
        }
    }
}

fn drafts(room: &Room) {
    let pages = |name| format!("{}/examples/pages/{name}", env!("CARGO_MANIFEST_DIR"));
    let (note, receipts) = (pages("note.pdf"), pages("receipts.pdf"));
    let read = |draft| {
        run(
            room,
            &[
                &note,
                &receipts,
                "-o",
                "draft.jsonl",
                "--restart",
                "--draft",
                draft,
            ],
        );
        let records = room.records("draft.jsonl");
        let passes = records.iter().filter_map(|record| record.forward_passes);
        let decode = records.iter().map(|record| record.timings_ms.decode);
        // Prefill is a step in any case.
        (
            passes.map(|passes| passes - 1).sum::<usize>(),
            decode.sum::<u64>() as f64,
        )
    };
    let (mut plain, mut drafted) = (Vec::new(), Vec::new());
    let (mut plain_passes, mut passes) = (0, 0);
    for _ in 0..5 {
        let (all, time) = read("off");
        (plain_passes, plain) = (all, [plain, vec![time]].concat());
        let (all, time) = read("auto");
        (passes, drafted) = (all, [drafted, vec![time]].concat());
    }
    let (plain, drafted) = (median(plain), median(drafted));
    println!(
        "drafts: {passes} decoder passes instead of {plain_passes} (at most a third), decode {drafted} ms instead of \
         {plain} ms, {:.1} times as fast",
        plain / drafted
    );
    assert!(
        3 * passes <= plain_passes,
        "the text layer is of little use"
    );
}

fn workers(room: &Room) {
    let lines = "A line of text as long as the lines of a page are in most documents.\n".repeat(40);
    room.put("print.pdf", common::pdf(&vec![lines.as_str(); 60]));
    let source = Source {
        path: room.path("print.pdf"),
        size_bytes: None,
        error: None,
    };
    let pace = |workers| {
        let settings = prepare::Settings {
            workers,
            prefetch: 2 * workers,
            ..prepare::Settings::of_pixels(
                Raster {
                    dpi: 200.0,
                    budget: PixelBudget {
                        factor: 32,
                        min_pixels: 65_536,
                        max_pixels: 2_097_152,
                    },
                },
                prepare::DecoderChoice::Workers(env!("CARGO_BIN_EXE_omnidocs").into()),
            )
        };
        let pages = prepare::pages(vec![source.clone()], settings, &Cancel::default())
            .expect("preparation starts");
        let begin = Instant::now();
        assert_eq!(
            pages
                .filter(|page| page.as_ref().is_ok_and(|page| page.result.is_ok()))
                .count(),
            60
        );
        60.0 / begin.elapsed().as_secs_f64()
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        one.push(pace(1));
        two.push(pace(2));
    }
    let (one, two) = (median(one), median(two));
    let ratio = two / one;
    println!(
        "workers: one {one:.1} pages/s, two {two:.1} pages/s, ratio {ratio:.2} (at least 1.7)"
    );
    assert!(ratio >= 1.7, "a second worker is not worth its while");
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn million_records(room: &Room) {
    const RECORDS: u64 = 1_000_000;
    const LENGTH: usize = 1000;
    room.put("one.pdf", document(1));
    let args = ["one.pdf", "--engine", "text-layer", "-o", "million.jsonl"];
    run(room, &args);
    let record = room.read("million.jsonl");
    let id = room.records("million.jsonl").remove(0).doc_id;
    let (before, after) = record
        .split_once(&id.expect("a file that could be read"))
        .expect("a record with its document");
    let mut output = BufWriter::new(
        fs::OpenOptions::new()
            .append(true)
            .open(room.path("million.jsonl"))
            .expect("the output"),
    );
    // As long as a record of a page of print.
    let text = r#""content":""#;
    let more = "More words. ".repeat(LENGTH.saturating_sub(record.len()) / 12);
    let after = after.replacen(text, &format!("{text}{more}"), 1);
    for number in 0..RECORDS {
        // Checksums differ in their first half.
        let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let path = format!("in/{:03}/{number:07}.pdf", number / 1000);
        let before = before.replacen("one.pdf", &path, 1);
        write!(output, "{before}{id:016x}{id:048x}{after}").expect("room on the disk");
    }
    drop(output);
    // Programs to compare with, like an older one, are named in a variable.
    let others = env::var("OMNIDOCS_COMPARE").unwrap_or_default();
    let programs = [env!("CARGO_BIN_EXE_omnidocs")].into_iter();
    for program in programs.chain(others.split_whitespace()) {
        let measured = |args: &[&str]| {
            let command = || {
                let mut command = Command::new(program);
                command.current_dir(room.path("")).args(args);
                command
            };
            let rounds: Vec<_> = (0..3).map(|_| watch(command())).collect();
            let seconds = median(rounds.iter().map(|it| it.wall.as_secs_f64()).collect());
            let peak = rounds.iter().map(|it| it.peak_kib).max();
            (seconds, peak.unwrap_or(0) / 1000)
        };
        let resume = measured(&[&["extract", "-q"], &args[..]].concat());
        let status = measured(&["status", "million.jsonl"]);
        let merge = measured(&["merge", "million.jsonl", "-o", "merged.jsonl", "--force"]);
        for (what, (seconds, megabytes), most, room) in [
            ("resume", resume, 2.0, 100),
            ("status", status, 2.0, 140),
            ("merge", merge, 6.0, 150),
        ] {
            println!(
                "{what} of {RECORDS} records: {seconds:.2} s (at most {most}), {megabytes} MB (at most {room}); {program}"
            );
            assert!(
                !others.is_empty() || seconds <= most && megabytes <= room,
                "a {what} takes too much"
            );
        }
    }
    for file in ["million.jsonl", "merged.jsonl"] {
        fs::remove_file(room.path(file)).expect("the output");
    }
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
                // No second look at answers that were cut off.
                "--retries",
                "0",
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

fn documents(room: &Room) {
    const FOLDERS: usize = 100;
    let peak = |documents: usize| {
        let (folder, output) = (format!("{documents}"), format!("{documents}.jsonl"));
        for number in 0..documents {
            let text = format!("document {number}");
            let path = format!("{folder}/{}/{number}.pdf", number % FOLDERS);
            room.put(&path, common::pdf(&[&text]));
        }
        let args = [&folder, "-o", &output, "--engine", "text-layer"];
        let measured = run(room, &args);
        assert_eq!(room.read(&output).lines().count(), documents);
        (measured.peak_kib, measured.wall.as_secs_f64())
    };
    let ((few, _), (many, wall)) = (peak(1000), peak(100_000));
    println!(
        "documents: peak memory of 1,000 {few} KiB, of 100,000 {many} KiB (at most 65536), which take {wall:.0} s"
    );
    assert!(many <= 64 << 10, "memory grows with the documents");
}

fn overlap(room: &Room) {
    room.put("100.pdf", document(100));
    let wall = run(room, &["100.pdf", "-o", "100.jsonl"])
        .wall
        .as_secs_f64();
    let spent =
        |record: &omnidocs::record::Record| record.timings_ms.prefill + record.timings_ms.decode;
    let records = room.records("100.jsonl");
    // Both figures are cut to whole milliseconds, which takes half of one from each on average.
    let engine = records.iter().map(|record| spent(record) + 1).sum::<u64>() as f64 / 1000.0;
    let ratio = wall / engine;
    println!("overlap: wall {wall:.2} s, engine {engine:.2} s, ratio {ratio:.3} (at most 1.05)");
    assert!(ratio <= 1.05, "the engine waits for pages");
}

fn scaling(room: &Room) {
    const PAGES: usize = 48;
    for number in 0..PAGES {
        let text = format!("note number {number}");
        room.put(&format!("notes/{number:02}.pdf"), common::pdf(&[&text]));
    }
    let read = |device: &str, threads: &str, shard: &str| {
        let output = format!("{device}-{shard}.jsonl").replace(['/', ':'], "-");
        let args = [
            "notes",
            "-o",
            &output,
            "--restart",
            "--device",
            device,
            // Quantized, the reader's narrow layers use Candle's process-wide pool, for which instances would compete; those of
            // published models are wide enough not to.
            "--dtype",
            "f32",
            "--threads",
            threads,
            "--shard",
            shard,
            "--workers",
            "1",
            "--max-new-tokens",
            "24",
            "--retries",
            "0",
        ];
        run(room, &args);
        room.records(&output).len()
    };
    let pace = |read: &dyn Fn() -> usize| {
        let begin = Instant::now();
        assert_eq!(read(), PAGES);
        PAGES as f64 / begin.elapsed().as_secs_f64()
    };
    let four = || {
        thread::scope(|scope| {
            let shards = ["1/4", "2/4", "3/4", "4/4"];
            let runs = shards.map(|shard| scope.spawn(move || read("cpu", "1", shard)));
            runs.into_iter()
                .map(|run| run.join().expect("the run ends"))
                .sum::<usize>()
        })
    };
    let (mut one, mut two, mut wide, mut shards) = (vec![], vec![], vec![], vec![]);
    for _ in 0..3 {
        one.push(pace(&|| read("cpu", "1", "1/1")));
        two.push(pace(&|| read("cpu:2", "2", "1/1")));
        wide.push(pace(&|| read("cpu", "2", "1/1")));
        shards.push(pace(&four));
    }
    let [one, two, wide, shards] = [one, two, wide, shards].map(median);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ratio = two / one;
    println!(
        "scaling on {cores} cores: one instance with a thread {one:.1} pages/s, two {two:.1}, ratio {ratio:.2} (at least \
         1.6); one with two threads {wide:.1}; four shards at a time, a thread each {shards:.1}, ratio {:.2}",
        shards / one
    );
    assert!(
        cores < 2 || ratio >= 1.6,
        "a second instance is not worth its while"
    );
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnidocs"));
    command
        .current_dir(room.path(""))
        .args(["extract", "-q", "--model"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader"))
        .args(args);
    watch(command)
}

/// Runs a program and watches its memory.
fn watch(mut command: Command) -> Measured {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
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
