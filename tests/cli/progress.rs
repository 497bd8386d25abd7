//! What programs read of a run: `--progress json`, and the status line that SIGUSR1 asks for.

use std::{collections::BTreeSet, fs, path::Path, process, thread, time::Duration};

use serde_json::Value;

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf, spawn},
};

/// A good document of two pages, and one that is none.
fn room() -> Room {
    let room = Room::new();
    room.put("in/good.pdf", pdf(&["all is well", "here too"]))
        .put("in/no.pdf", "not a PDF");
    room
}

/// The objects on the standard error, which holds nothing else.
#[track_caller]
fn objects(ran: &Ran) -> Vec<Value> {
    let objects: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for object in &objects {
        let time = object["time"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(time).unwrap();
        assert!(time.ends_with('Z'), "{time}");
    }
    let summaries = objects.iter().filter(|object| object["event"] == "summary");
    assert_eq!(summaries.count(), 1, "{}", ran.stderr);
    assert_eq!(
        objects.last().unwrap()["event"],
        "summary",
        "{}",
        ran.stderr
    );
    assert_eq!(
        objects.last().unwrap()["exit_code"].as_i64(),
        ran.code.map(i64::from)
    );
    objects
}

fn of_event<'a>(objects: &'a [Value], event: &str) -> Vec<&'a Value> {
    let matching = objects.iter().filter(|object| object["event"] == event);
    matching.collect()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn progress_json_prints_one_object_a_line_and_nothing_else() {
    let room = room();
    let ran = room.extract("in -o r.jsonl --progress json").expect(3);
    let objects = objects(&ran);
    let start = of_event(&objects, "start")[0];
    assert_eq!(start["engine"], "text-layer");
    assert_eq!(
        (&start["documents"], &start["output"]),
        (&2.into(), &"r.jsonl".into())
    );
    let pages = of_event(&objects, "page");
    let told: Vec<_> = pages
        .iter()
        .map(|page| {
            (
                page["path"].as_str().unwrap(),
                page["page"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("in/good.pdf", 1), ("in/good.pdf", 2), ("in/no.pdf", 0)]
    );
    assert_eq!(
        (&pages[0]["status"], &pages[0]["words"]),
        (&"ok".into(), &3.into())
    );
    assert_eq!(
        (&pages[2]["status"], &pages[2]["pages_done"]),
        (&"failed".into(), &3.into())
    );
    assert_eq!(pages[2]["error"]["kind"], "unsupported");
    let stages: BTreeSet<_> = of_event(&objects, "status")
        .iter()
        .filter_map(|status| status["stage"].as_str())
        .collect();
    assert!(
        stages.contains("listing") && stages.contains("reading"),
        "{stages:?}"
    );
    let summary = objects.last().unwrap();
    assert_eq!(
        summary["pages"],
        serde_json::json!({"ok": 2, "failed": 1, "blank": 0, "skipped": 0})
    );
    assert_eq!(summary["failures"][0]["path"], "in/no.pdf");
    let next = summary["next"].as_str().unwrap();
    assert!(
        next.ends_with("-o r.jsonl --progress json --retry-failed"),
        "{next}"
    );

    // Resumed, with an option that is none.
    let mut again = room.text_layer("in -o r.jsonl --progress json");
    let ran = Ran::of(again.env("OMNIDOCS_DPII", "1")).expect(3);
    let objects = self::objects(&ran);
    let warning = of_event(&objects, "warning")[0];
    assert_eq!(warning["level"], "warning");
    assert!(
        warning["message"]
            .as_str()
            .unwrap()
            .starts_with("OMNIDOCS_DPII is not an option")
    );
    let messages = of_event(&objects, "status").into_iter();
    let messages: Vec<_> = messages
        .map(|status| status["message"].as_str().unwrap())
        .collect();
    assert!(
        messages.contains(&"resuming r.jsonl, which has 3 pages"),
        "{messages:?}"
    );
    assert_eq!(objects.last().unwrap()["before"]["ok"], 2);
}

#[test]
fn progress_json_ends_in_a_summary_whatever_happens() {
    let room = room();
    for (args, code, says) in [
        ("gone.pdf", 1, "gone.pdf"),
        ("in --batch-size 0", 2, "--batch-size 0"),
        ("in --nonsense", 2, "unexpected argument '--nonsense'"),
        ("in --progress=json --pages 0", 2, "pages count from 1"),
    ] {
        let ran = room
            .extract(&format!("{args} --progress json"))
            .expect(code);
        let objects = objects(&ran);
        let error = objects.last().unwrap()["error"].as_str().unwrap();
        assert!(error.contains(says), "{error}");
    }
    for args in ["in --dry-run", "in -q", "in/good.pdf -vv"] {
        let ran = room.extract(&format!("{args} --progress json"));
        let objects = objects(&ran);
        assert_eq!(
            objects.last().unwrap().get("error"),
            Some(&Value::Null),
            "{args}"
        );
        if args.contains("-q") {
            assert_eq!(objects.len(), 1, "{}", ran.stderr);
        }
    }
}

#[test]
fn progress_json_has_the_fields_that_the_readme_names() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let named = readme
        .lines()
        .filter(|line| line.starts_with("{\"event\":"))
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    let named: Vec<_> = named.collect();
    let room = room();
    let mut command = room.text_layer("in -o r.jsonl --progress json");
    let ran = Ran::of(command.env("OMNIDOCS_DPII", "1")).expect(3);
    let objects = objects(&ran);
    for event in ["start", "page", "status", "warning", "summary"] {
        let (there, printed) = (of_event(&named, event), of_event(&objects, event));
        let printed = printed
            .iter()
            .max_by_key(|object| keys(object).len())
            .unwrap();
        assert_eq!(there.len(), 1, "{event}");
        assert_eq!(keys(there[0]), keys(printed), "{event}");
        for (name, value) in printed.as_object().unwrap() {
            if value.is_object() && there[0][name].is_object() {
                assert_eq!(keys(&there[0][name]), keys(value), "{event} {name}");
            }
        }
    }
}

#[cfg(unix)]
fn signal(process: u32, name: &str) {
    let process = process.to_string();
    let sent = process::Command::new("kill")
        .args([name, &process])
        .status();
    assert!(sent.unwrap().success());
}

/// A run that reads from a slow server.
#[cfg(unix)]
fn slow_run(room: &Room, server: &ChatServer, args: &str) -> assert_cmd::Command {
    let url = server.url();
    room.omnidocs(&format!(
        "extract in/good.pdf -o r.jsonl --engine server --server-url {url} --max-pixels 30000 --min-pixels 1024 \
         --concurrency 1 {args}"
    ))
}

#[cfg(unix)]
#[test]
fn sigusr1_prints_the_status_line() {
    let room = room();
    for args in ["", "--progress off --restart", "--progress json --restart"] {
        let server = ChatServer::with(Duration::from_millis(700), |_, _| Reply::Text);
        let child = spawn(&mut slow_run(&room, &server, args));
        server.wait_for_requests(2);
        // The record of the first page is written meanwhile.
        thread::sleep(Duration::from_millis(150));
        signal(child.id(), "-USR1");
        let ran = Ran::end_of(child).expect(0);
        if args.contains("json") {
            let objects = objects(&ran);
            let asked = of_event(&objects, "status");
            let asked = asked.iter().find(|status| status["pages_done"] == 1);
            let asked = asked.unwrap_or_else(|| panic!("{}", ran.stderr));
            assert_eq!(asked["percent"], 50.0);
            assert_eq!(asked["document"], "in/good.pdf");
            assert!(asked["seconds_left"].as_f64().unwrap() > 0.0);
        } else {
            let line = ran
                .stderr
                .lines()
                .find(|line| line.contains(" 50% · 1/2 pages · "));
            let line = line.unwrap_or_else(|| panic!("{}", ran.stderr));
            assert!(line.ends_with(" left · in/good.pdf"), "{line}");
        }
    }
}

#[cfg(unix)]
#[test]
fn interrupted_json_run_says_so_in_its_summary() {
    let room = room();
    let server = ChatServer::with(Duration::from_millis(400), |_, _| Reply::Text);
    let child = spawn(&mut slow_run(&room, &server, "--progress json"));
    server.wait_for_requests(1);
    signal(child.id(), "-INT");
    let ran = Ran::end_of(child).expect(130);
    let objects = objects(&ran);
    let summary = objects.last().unwrap();
    assert_eq!(
        (&summary["interrupted"], &summary["next"]),
        (&true.into(), &Value::Null)
    );
    let heard = of_event(&objects, "status");
    let heard = heard.iter().any(|status| {
        let message = status["message"].as_str().unwrap();
        message.starts_with("interrupted: finishing the pages in hand (1)")
    });
    assert!(heard, "{}", ran.stderr);
}

/// A folder with a library like NVIDIA's, or nothing where there is no C compiler.
#[cfg(all(target_os = "linux", not(feature = "cuda")))]
pub(crate) fn with_gpu(room: &Room) -> Option<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/nvml.c");
    room.put("gpu/made", "");
    let compiled = process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(room.path("gpu/libnvidia-ml.so.1"))
        .arg(source)
        .status();
    let is_there = compiled.is_ok_and(|status| status.success());
    is_there.then(|| room.path("gpu").to_str().unwrap().to_owned())
}

#[cfg(all(target_os = "linux", not(feature = "cuda")))]
#[test]
fn cpu_build_beside_a_gpu_says_how_to_get_the_other() {
    let room = Room::new();
    let Some(library) = with_gpu(&room) else {
        return;
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).display();
    let run = |args: &str| {
        let mut command = room.omnidocs(&format!(
            "extract {repository}/examples/pages/label.png --model {repository}/examples/reader {args}"
        ));
        Ran::of(command.env("LD_LIBRARY_PATH", &library))
            .expect(0)
            .stderr
    };
    let line = "this machine has a GPU (NVIDIA H100 80GB HBM3) that this build can't use: it is for the CPU alone; build one \
                for CUDA with cargo build --release --features cuda\n";
    let shown = run("");
    assert!(shown.contains(line), "{shown}");
    for args in ["--device cpu", "-q", "--engine tesseract --dry-run"] {
        let shown = run(args);
        assert!(!shown.contains("GPU"), "{args}: {shown}");
    }
}
