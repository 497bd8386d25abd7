//! Runs that end before their time: by signals at random moments, and by a disk that is full.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader},
    process::{Child, Command},
    thread,
    time::Duration,
};

use crate::common::{Ran, Room, pdf, spawn};

const OUT: &str = "out.jsonl";
const ARGS: &str = "in -o out.jsonl -v --progress off";
const DOCUMENTS: u64 = 24;
const PAGES: u64 = 20;

/// Enough pages that a run takes some hundredths of a second.
fn room() -> Room {
    let room = Room::new();
    for document in 0..DOCUMENTS {
        let texts: Vec<String> = (1..=PAGES)
            .map(|page| format!("document {document} page {page}"))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        room.put(&format!("in/{document:02}.pdf"), pdf(&texts));
    }
    room
}

/// How often the dice are thrown: less often unless `OMNIDOCS_LONG_TESTS` is set.
fn rounds(all: u64) -> u64 {
    if std::env::var_os("OMNIDOCS_LONG_TESTS").is_some() {
        all
    } else {
        all / 10
    }
}

/// A reproducible number below `below` for each round.
fn dice(round: u64, below: u64) -> u64 {
    let mut state = round.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (state ^ (state >> 27)) % below
}

#[cfg(unix)]
fn signal(name: &str, child: &Child) {
    let ended = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(ended.unwrap().success(), "nobody has waited for it yet");
}

/// The pages of the whole lines of the output, as `--verbose` names them.
fn recorded(room: &Room) -> Vec<String> {
    let text = fs::read_to_string(room.path(OUT)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let records = crate::common::records(whole).into_iter();
    records
        .map(|record| format!("{}, page {}", record.path, record.page))
        .collect()
}

/// Starts a run, ends it by `signal` after up to `most` milliseconds, and returns which pages it said that it had done.
#[cfg(unix)]
fn interrupted(room: &Room, name: &str, most: u64, round: u64) -> (Ran, BTreeSet<String>) {
    let child = spawn(&mut room.text_layer(ARGS));
    thread::sleep(Duration::from_millis(dice(round, most)));
    signal(name, &child);
    let ran = Ran::end_of(child);
    let said = BufReader::new(ran.stderr.as_bytes())
        .lines()
        .filter_map(|line| {
            let line = line.ok()?;
            let (_, line) = line.split_once("] ")?;
            let (page, _) = line.split_once(" ✓ ")?;
            Some(page.replace(" p.", ", page "))
        });
    let said = said.collect();
    (ran, said)
}

/// All pages are there, each once.
#[track_caller]
fn assert_complete(room: &Room) {
    let pages = recorded(room);
    let different: BTreeSet<_> = pages.iter().collect();
    assert_eq!(different.len() as u64, DOCUMENTS * PAGES);
    assert_eq!(pages.len(), different.len(), "a page is there twice");
}

#[cfg(unix)]
#[test]
fn promise_4_random_kills_lose_and_repeat_nothing() {
    let room = room();
    let (mut kills, mut said) = (0, BTreeSet::new());
    for round in 0..rounds(200) {
        let before = recorded(&room);
        let (ran, pages) = interrupted(&room, "KILL", 120, round);
        kills += u64::from(ran.code.is_none());
        said.extend(pages);
        let after = recorded(&room);
        // What was there is there, in its place; and so is all that the program said.
        assert_eq!(after[..before.len()], before, "round {round}");
        let there: BTreeSet<_> = after.iter().cloned().collect();
        assert!(said.is_subset(&there), "round {round}: {said:?}");
        assert_eq!(
            there.len(),
            after.len(),
            "round {round}: a page is there twice"
        );
        if after.len() as u64 == DOCUMENTS * PAGES {
            fs::remove_file(room.path(OUT)).unwrap();
            said.clear();
        }
    }
    assert!(
        kills > rounds(200) / 4,
        "only {kills} runs were still at work"
    );
    assert!(matches!(room.extract(ARGS).code, Some(0)));
    assert_complete(&room);
}

#[cfg(unix)]
#[test]
fn promise_8_random_signals_exit_with_their_code_and_resume() {
    let room = room();
    let mut codes = BTreeSet::new();
    for round in 0..rounds(60) {
        let (name, code) = [("INT", 130), ("TERM", 143)][(round % 2) as usize];
        let (ran, _) = interrupted(&room, name, 120, round);
        // A run that has no page in hand yet is ended by the signal itself; one may also be done before.
        assert!(
            matches!(ran.code, None | Some(0)) || ran.code == Some(code),
            "{name} in round {round}: {ran:#?}"
        );
        codes.extend(ran.code);
        let text = fs::read_to_string(room.path(OUT)).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "round {round}");
        if recorded(&room).len() as u64 == DOCUMENTS * PAGES {
            fs::remove_file(room.path(OUT)).unwrap();
        }
    }
    assert!(codes.contains(&130) || codes.contains(&143), "{codes:?}");
    room.extract(ARGS).expect(0);
    assert_complete(&room);
}

/// Waits until the program, which was asked for its log, has a page in hand.
fn wait_for_page_in_hand(child: &mut Child) {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("model loaded") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it loads the model");
    }
    // Nobody else reads what comes now.
    thread::spawn(move || io::copy(&mut log, &mut io::sink()));
    thread::sleep(Duration::from_millis(500));
}

#[cfg(target_os = "linux")]
#[test]
fn promise_8_second_signal_stops_at_once_with_a_valid_file() {
    let room = Room::new();
    // A page of almost as many tokens as the model holds takes half a minute.
    let args = "extract -vv -o out.jsonl --min-pixels 3900000 --max-pixels 3900000 --model";
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut command = room.omnidocs(args);
    let mut child = spawn(command.args([
        format!("{examples}/reader"),
        format!("{examples}/pages/notice.png"),
    ]));
    wait_for_page_in_hand(&mut child);
    signal("TERM", &child);
    thread::sleep(Duration::from_millis(500));
    let state = child.try_wait().unwrap();
    assert_eq!(state, None, "it finishes the page in hand");
    signal("TERM", &child);
    Ran::end_of(child).expect(143);
    assert_eq!(room.records(OUT), []);
}

#[cfg(target_os = "linux")]
#[test]
fn promise_8_signal_lets_two_instances_finish_their_pages() {
    let room = Room::new();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let extract = || {
        // Each page takes a second or so.
        let mut command = room.omnidocs(
            "extract -o out.jsonl --device cpu:2 --min-pixels 700000 --max-pixels 700000 --max-new-tokens 9 --retries 0",
        );
        command.arg(format!("--model={examples}/reader"));
        command.arg(format!("{examples}/pages"));
        command
    };
    let mut child = spawn(&mut extract());
    while recorded(&room).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "it is at work");
        thread::sleep(Duration::from_millis(5));
    }
    // One has written its first page, and the other has one in hand.
    signal("TERM", &child);
    let ran = Ran::end_of(child).expect(143);
    let pages = recorded(&room);
    assert!((2..7).contains(&pages.len()), "{pages:?}");
    for nothing in ["cpu 1: 0 pages", "cpu 2: 0 pages"] {
        assert!(!ran.stderr.contains(nothing), "{}", ran.stderr);
    }
    Ran::of(&mut extract()).expect(0);
    let all = recorded(&room);
    assert_eq!(all[..pages.len()], pages);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 7);
    assert_eq!(all.len(), 7);
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_ends_the_run_and_resume_completes() {
    let room = room();
    let command = room.text_layer(ARGS);
    let program = command.get_program().to_str().unwrap();
    let args: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_str().unwrap())
        .collect();
    // A disk of 64 KiB, and what is on it when it is full; then it grows.
    let script = format!(
        "mkdir disk && mount -t tmpfs -o size=64k tmpfs disk || exit 99
         run() {{ {program} {args}; }}
         run; echo \"exit $?\" >&2; cp disk/out.jsonl full.jsonl
         mount -o remount,size=8m disk; run; echo \"exit $?\" >&2; cp disk/out.jsonl out.jsonl",
        args = args.join(" ").replace(OUT, "disk/out.jsonl"),
    );
    let mut shell = assert_cmd::Command::new("unshare");
    shell.args(["-rm", "sh", "-c", &script]);
    let ran = Ran::of(shell.current_dir(room.path("")));
    if ran.code != Some(0) && !ran.stderr.contains("exit") {
        println!("skipped: no disk can be made here: {}", ran.stderr);
        return;
    }
    let lines: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error") || line.starts_with("exit"))
        .collect();
    let [error, "exit 1", "exit 0"] = lines[..] else {
        panic!("{}", ran.stderr);
    };
    for words in [
        "cannot write to disk/out.jsonl",
        "free some space",
        "No space left",
    ] {
        assert!(error.contains(words), "{error}");
    }
    let full = room.read("full.jsonl");
    assert!(
        full.ends_with('\n') && full.len() > 40_000,
        "{}",
        full.len()
    );
    assert!(room.read(OUT).starts_with(&full));
    assert_complete(&room);
}

#[cfg(target_os = "linux")]
#[test]
fn device_output_cannot_resume_and_reports_when_full() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["one"]));
    let ran = room.extract("a.pdf -o /dev/full").expect(1);
    assert!(
        ran.stderr.contains("cannot write to /dev/full"),
        "{}",
        ran.stderr
    );
    for _ in 0..2 {
        let ran = room.extract("a.pdf -o /dev/null").expect(0);
        assert!(ran.stderr.contains("1 ok"), "{}", ran.stderr);
    }
}
