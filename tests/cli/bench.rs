//! `omnidocs bench`: measures on pages that it makes, or on given ones.

use serde_json::Value;

use crate::common::{Ran, Room, pdf};

fn run(room: &Room, args: &str) -> Ran {
    Ran::of(&mut room.omnidocs(args))
}

#[test]
fn bench_reads_made_pages_and_prints_one_table() {
    let room = Room::new();
    let ran = run(&room, "bench --engine text-layer --pages 7").expect(0);
    let value = |label: &str| {
        let mut lines = ran.stdout.lines();
        let line = lines.find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label} in {}", ran.stdout))
            .trim()
            .to_owned()
    };
    assert_eq!(value("engine "), "text-layer");
    assert_eq!(value("pages "), "7");
    assert_eq!(value("failed "), "0");
    assert!(value("words ").replace(',', "").parse::<u32>().unwrap() > 7 * 300);
    assert!(value("pages/s ").parse::<f64>().unwrap() > 0.0);
    assert!(cfg!(not(target_os = "linux")) || value("memory ").ends_with(" GB"));
    assert_eq!(value("GPU memory "), "not known");
    // Nothing is left in the folder.
    assert_eq!(std::fs::read_dir(room.path("")).unwrap().count(), 0);
}

#[test]
fn bench_json_compares_engines_on_given_pages() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["One", "Two", "Three"]));
    room.put("in/b.pdf", pdf(&["Four"]));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
    let args = format!(
        "bench in --pages 2 --json --engine text-layer --engine qwen --model {model} --max-new-tokens 8 -q"
    );
    let ran = run(&room, &args).expect(0);
    assert_eq!(ran.stderr, "");
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let engines = json["engines"].as_array().unwrap();
    assert_eq!(engines.len(), 2, "{json:#}");
    for engine in engines {
        assert_eq!(engine["pages"], 2, "{json:#}");
        assert!(
            engine["pages_per_second"].as_f64().unwrap() > 0.0,
            "{json:#}"
        );
        assert!(engine["load_seconds"].as_f64().unwrap() >= 0.0, "{json:#}");
    }
    assert_eq!(engines[0]["words"], 2, "{json:#}");
    assert_eq!(engines[0]["model"], Value::Null, "{json:#}");
    assert_eq!(engines[1]["model"], model, "{json:#}");
    assert_eq!(engines[1]["devices"][0], "cpu", "{json:#}");
    assert!(engines[1]["tokens"].as_u64().unwrap() > 0, "{json:#}");
    assert!(
        engines[1]["tokens_per_second"].as_f64().unwrap() > 0.0,
        "{json:#}"
    );
}

#[test]
fn bench_reports_failed_pages_and_missing_inputs() {
    let room = Room::new();
    room.put("bad.pdf", "This is no PDF.");
    let ran = run(&room, "bench bad.pdf --engine text-layer").expect(3);
    assert!(ran.stdout.contains("failed      1\n"), "{}", ran.stdout);
    room.put("empty/readme.txt", "no page");
    let ran = run(&room, "bench empty --engine text-layer").expect(1);
    assert!(
        ran.stderr.contains("no pages to read") || ran.stderr.contains("error"),
        "{}",
        ran.stderr
    );
    run(&room, "bench --pages 0").expect(2);
}
