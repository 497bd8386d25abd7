//! What each subcommand prints, and its exit code.

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
    let ran = Ran::of(&mut room.omnidocs(args));
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
