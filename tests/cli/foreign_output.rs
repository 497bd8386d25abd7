//! What is not an output of omnidocs is never changed, whatever it looks like.

use std::fs;

use crate::common::{Ran, Room, pdf};

/// Files that may be named by mistake, and what is in them.
fn foreign_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no newline.txt", b"something dear".to_vec()),
        ("list.txt", b"a.pdf\nb.pdf\nc.pdf".to_vec()),
        (
            "old mac.pdf",
            b"%PDF-1.4\r1 0 obj\r<< >>\rendobj\r".to_vec(),
        ),
        ("config.json", br#"{"schema": "draft-07", "a": 1}"#.to_vec()),
        (
            "minified.json",
            br#"{"schema":"https://json-schema.org"}"#.to_vec(),
        ),
        ("numbered.json", br#"{"schema":1,"tables":[]}"#.to_vec()),
        ("pretty.json", b"{\n  \"schema\": 1\n}\n".to_vec()),
        ("zeros.img", vec![0; 5000]),
        ("blank.txt", b"   ".to_vec()),
        ("brace.txt", b"{\"id\"".to_vec()),
        ("foreign.jsonl", b"{\"id\":1}\n{\"id\":2}\n".to_vec()),
        ("a.pdf", pdf(&["dear"])),
    ]
}

#[test]
fn foreign_file_is_named_and_unchanged() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    for (name, content) in foreign_files() {
        for more in [None, Some("--restart"), Some("--dry-run")] {
            room.put(name, &content);
            let mut command = room.text_layer("in");
            let ran = Ran::of(command.args(["-o", name]).args(more)).expect(1);
            let expected = match more {
                Some("--restart") => "is not an omnidocs output; name another file",
                _ => "is not an omnidocs output; nothing was changed",
            };
            assert!(
                ran.stderr.contains(&format!("{name} {expected}"))
                    || ran.stderr.contains(&format!("--output {name} {expected}")),
                "{name} {more:?}: {}",
                ran.stderr
            );
            assert!(
                more == Some("--restart") || !ran.stderr.contains("--restart"),
                "{name}: {}",
                ran.stderr
            );
            assert_eq!(fs::read(room.path(name)).unwrap(), content, "{name}");
            assert!(!room.path(format!("{name}.bak")).exists(), "{name}");
            assert!(!room.path(format!("{name}.meta.json")).exists(), "{name}");
        }
    }
}

#[test]
fn empty_file_or_half_a_record_is_an_output() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"])).put("out.jsonl", "");
    room.extract("in -o out.jsonl").expect(0);
    let whole = room.read("out.jsonl");
    assert_eq!(whole.lines().count(), 1);
    for length in [1, 9, 10, 15, 60, whole.len() - 1] {
        room.put("out.jsonl", &whole[..length]);
        let ran = room.extract("in -o out.jsonl").expect(0);
        assert!(ran.stderr.contains("an unfinished line"), "{}", ran.stderr);
        assert_eq!(room.records("out.jsonl").len(), 1);
    }
}

#[test]
fn foreign_tail_is_named_and_not_cut_off() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one", "two"]));
    room.extract("in -o out.jsonl").expect(0);
    let noted = room.read("out.jsonl") + "a note of mine without an end";
    room.put("out.jsonl", &noted);
    let ran = room.extract("in -o out.jsonl").expect(1);
    assert!(
        ran.stderr.contains("out.jsonl is damaged") && ran.stderr.contains("line 3"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read("out.jsonl"), noted);
}

#[test]
fn merge_names_a_file_that_is_not_an_output() {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["one"]));
    room.extract("in -o out.jsonl").expect(0);
    for (name, content) in [("list", "a\nb\n"), ("config", "{\"a\":1}")] {
        room.put(name, content).put(
            &format!("{name}.meta.json"),
            room.read("out.jsonl.meta.json"),
        );
        let ran = Ran::of(&mut room.omnidocs(&format!("merge out.jsonl {name}"))).expect(1);
        let expected = format!("{name} is not an omnidocs output");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    }
}
