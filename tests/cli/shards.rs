//! Several runs that share the documents among them, and know nothing of each other.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use crate::common::{Ran, Room, pdf};

/// Twelve documents of one to three pages, a copy of one, one without content and one that is not there.
fn room() -> Room {
    let room = Room::new();
    for document in 0..12 {
        let texts = ["one", "two", "three"].map(|page| format!("{page} of {document}"));
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        room.put(
            &format!("in/{document:02}.pdf"),
            pdf(&texts[..=document % 3]),
        );
    }
    room.put("in/copy.pdf", pdf(&["one of 0"]))
        .put("in/empty.pdf", "")
        .put("list", "in\ngone.pdf\n");
    room
}

/// Path and page of each record in a file.
fn pages(room: &Room, file: &str) -> BTreeSet<(String, u32)> {
    let records = room.records(file).into_iter();
    records.map(|record| (record.path, record.page)).collect()
}

#[test]
fn shards_are_disjoint_and_complete() {
    let room = room();
    room.extract("--files-from list -o all.jsonl").expect(3);
    let whole = pages(&room, "all.jsonl");
    assert_eq!(whole.len(), 27);
    // Nobody can tell whose a file is that has no bytes to tell it by.
    let is_unread = |page: &(String, u32)| page.1 == 0;
    assert_eq!(whole.iter().filter(|page| is_unread(page)).count(), 2);
    let (mut together, mut elsewhere) = (BTreeSet::new(), 0);
    for shard in 1..=3 {
        let ran = room.extract(&format!(
            "--files-from list -o {{shard}}.jsonl --shard {shard}/3"
        ));
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:#?}");
        assert!(
            ran.stderr
                .contains(&format!("Z shard {shard}/3, by --shard\n")),
            "{}",
            ran.stderr
        );
        let rest = ran.stderr.split("read      15 documents, ").nth(1);
        let rest = rest.and_then(|rest| rest.split(" of them in other shards").next());
        elsewhere += rest.and_then(|rest| rest.parse::<usize>().ok()).unwrap();
        let mut own = pages(&room, &format!("{shard}-of-3.jsonl"));
        assert_eq!(own.iter().filter(|page| is_unread(page)).count(), 2);
        own.retain(|page| !is_unread(page));
        assert!(!own.is_empty() && together.is_disjoint(&own));
        together.extend(own);
    }
    let whole: BTreeSet<_> = whole.into_iter().filter(|page| !is_unread(page)).collect();
    assert_eq!(together, whole);
    // The two others leave each document to the one that has it.
    assert_eq!(elsewhere, 13 * 2);
}

#[test]
fn renaming_or_adding_files_moves_no_document() {
    let room = room();
    let first = |room: &Room, output: &str| {
        room.extract(&format!("in -o {output} --shard 1/2"))
            .expect(0);
        let records = room.records(output).into_iter();
        records
            .map(|record| (record.doc_id, record.page))
            .collect::<BTreeSet<_>>()
    };
    fs::remove_file(room.path("in/empty.pdf")).unwrap();
    let before = first(&room, "before.jsonl");
    for document in 0..12 {
        let name = |place| room.path(format!("in/{place:02}.pdf"));
        fs::rename(name(document), name(99 - document)).unwrap();
    }
    room.put("in/00.pdf", pdf(&["new"]))
        .put("in/more.pdf", pdf(&["more"]));
    let after = first(&room, "after.jsonl");
    assert!(after.is_superset(&before));
    assert!(after.len() <= before.len() + 2);
}

#[test]
fn dry_run_counts_documents_in_other_shards() {
    let room = room();
    fs::remove_file(room.path("in/copy.pdf")).unwrap();
    let dry = room.extract("in --dry-run --shard 1/2").expect(0);
    let own = dry.stdout.lines().count();
    assert!(
        dry.stderr
            .contains(&format!("; {} documents are in other shards", 13 - own)),
        "{}",
        dry.stderr
    );
    // Files that have just been written may change once more within the same tick of the clock.
    thread::sleep(Duration::from_millis(3100));
    let first = room.extract("in -o out.jsonl --shard 1/2");
    let known = fs::read_to_string(room.path("out.jsonl.hashes")).unwrap();
    assert_eq!(known.lines().count(), 12, "those of other shards too");
    // An empty file has a failed record in each shard.
    let again = room.extract("in -o out.jsonl --shard 1/2").expect(3);
    let report = |ran: &Ran| {
        ran.stderr
            .split("read ")
            .nth(1)
            .map(|rest| rest.lines().next().map(str::to_owned))
    };
    assert_eq!(report(&again), report(&first));
}

#[test]
fn shard_is_detected_in_job_arrays() {
    let room = room();
    let run = |args: &str, variables: &str| {
        let mut command = room.text_layer(&format!("in --pages 1 -o {{shard}}.jsonl {args}"));
        command.envs(variables.split(' ').filter_map(|set| set.split_once('=')));
        Ran::of(&mut command)
    };
    let slurm = "SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_MIN=5 SLURM_ARRAY_TASK_MAX=9 SLURM_ARRAY_TASK_COUNT=3";
    for (args, variables, first_line, file) in [
        (
            "",
            slurm,
            "shard 2/3, by SLURM_ARRAY_TASK_ID=7 of 3 from 5 to 9",
            "2-of-3",
        ),
        (
            "",
            "JOB_COMPLETION_INDEX=0 OMNIDOCS_SHARDS=12",
            "shard 1/12, by JOB_COMPLETION_INDEX=0 and OMNIDOCS_SHARDS=12",
            "01-of-12",
        ),
        (
            "",
            "AWS_BATCH_JOB_ARRAY_INDEX=1 AWS_BATCH_JOB_ARRAY_SIZE=2",
            "shard 2/2, by AWS_BATCH_JOB_ARRAY_INDEX=1 and AWS_BATCH_JOB_ARRAY_SIZE=2",
            "2-of-2",
        ),
        ("--shard 1/1", slurm, "shard 1/1, by --shard", "1-of-1"),
        ("", "OMNIDOCS_SHARD=1/4", "shard 1/4, by --shard", "1-of-4"),
    ] {
        let ran = run(args, variables);
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:#?}");
        let first = ran.stderr.lines().next();
        let untimed = first.and_then(|line| Some(line.split_once(' ')?.1));
        assert_eq!(untimed, Some(first_line));
        assert!(room.path(format!("{file}.jsonl")).exists(), "{file}");
    }
    for (args, variables, hint) in [
        (
            "",
            "SLURM_ARRAY_TASK_ID=3",
            "SLURM_ARRAY_TASK_MIN is not set",
        ),
        (
            "",
            "JOB_COMPLETION_INDEX=3",
            "JOB_COMPLETION_INDEX=3 sets the shard, but not the number of shards",
        ),
        (
            "",
            "",
            "--output {shard}.jsonl contains {shard}, but no shard is set",
        ),
        ("--shard 5/4", "", "there is no shard 5 of 4"),
        ("--shard 0/4", "", "shards count from 1"),
        (
            "--shard two",
            "",
            "use the shard and the number of shards, like 2/4",
        ),
    ] {
        let ran = run(args, variables).expect(2);
        assert!(
            ran.stderr.contains(hint),
            "{args} {variables}: {}",
            ran.stderr
        );
    }
}

#[test]
fn output_of_another_shard_is_refused() {
    let room = room();
    room.extract("in/00.pdf in/01.pdf -o out.jsonl --shard 1/2");
    for (args, now) in [("--shard 2/2", r#""2/2" now"#), ("", "null now")] {
        let ran = room
            .extract(&format!("in/00.pdf in/01.pdf -o out.jsonl {args}"))
            .expect(10);
        assert!(
            ran.stderr
                .contains(&format!(r#"shard: "1/2" recorded, {now}"#)),
            "{}",
            ran.stderr
        );
    }
}
