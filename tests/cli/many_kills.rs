//! Thousands of kills over all engines: nothing is lost, and nothing is there twice.
//!
//! Takes minutes, so it runs with `OMNIDOCS_LONG_TESTS` alone. `OMNIDOCS_KILLS` is how often it kills.

use std::{
    collections::BTreeSet,
    env, fs,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use crate::{
    chat_server::ChatServer,
    common::{Ran, Room, pdf, spawn},
};

const DEFAULT_KILLS: u32 = 200;
const SHARDS: u32 = 3;

/// One way to read, and its share of the kills.
struct Way {
    name: &'static str,
    /// Of 20.
    share: u32,
    documents: u32,
    pages: u32,
    args: String,
    /// A kill comes after at most so many milliseconds.
    most: u64,
    shards: u32,
}

fn ways(server: &ChatServer) -> Vec<Way> {
    let reader = format!(
        "--model {}/examples/reader --max-new-tokens 3 --min-pixels 1024 --max-pixels 12000 --draft off --retries 0",
        env!("CARGO_MANIFEST_DIR")
    );
    let asking = format!(
        "--engine server --server-url {} --max-pixels 30000 --min-pixels 1024 --concurrency 4",
        server.url()
    );
    let way = |name, share, documents, pages, args: &str, most| Way {
        name,
        share,
        documents,
        pages,
        args: args.to_owned(),
        most,
        shards: 1,
    };
    vec![
        way("text layer", 12, 12, 20, "--engine text-layer", 150),
        way("server", 3, 6, 8, &asking, 400),
        Way {
            shards: SHARDS,
            ..way("shards", 3, 12, 12, "--engine text-layer", 150)
        },
        way(
            "batches",
            1,
            3,
            6,
            &format!("{reader} --batch-size 4"),
            2500,
        ),
        way(
            "two instances",
            1,
            3,
            6,
            &format!("{reader} --device cpu:2"),
            2500,
        ),
    ]
}

fn room(way: &Way) -> Room {
    let room = Room::new();
    for document in 0..way.documents {
        let texts: Vec<String> = (1..=way.pages)
            .map(|page| format!("document {document} page {page}"))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        room.put(&format!("in/{document:02}.pdf"), pdf(&texts));
    }
    room
}

/// The pages of the whole lines of an output.
fn recorded(room: &Room, output: &str) -> Vec<(String, u32)> {
    let text = fs::read_to_string(room.path(output)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let records = crate::common::records(whole).into_iter();
    records.map(|record| (record.path, record.page)).collect()
}

fn start(room: &Room, way: &Way, shard: u32) -> Child {
    let output = output(way, shard);
    let part = if way.shards > 1 {
        format!("--shard {shard}/{}", way.shards)
    } else {
        String::new()
    };
    spawn(&mut room.omnidocs(&format!(
        "extract in -o {output} --progress off {part} {}",
        way.args
    )))
}

fn output(way: &Way, shard: u32) -> String {
    format!("{}-{shard}.jsonl", way.name.replace(' ', "-"))
}

/// Kills runs of one way until it has killed `kills`; says how many sets were finished.
fn kill(way: &Way, kills: u32) -> u32 {
    let room = room(way);
    let (mut killed, mut round, mut finished) = (0, 0, 0);
    let mut random = fastrand::Rng::new();
    while killed < kills {
        let shard = 1 + round % way.shards;
        round += 1;
        let output = output(way, shard);
        let before = recorded(&room, &output);
        let mut child = start(&room, way, shard);
        thread::sleep(Duration::from_micros(random.u64(..way.most * 1000)));
        child.kill().unwrap();
        let ran = Ran::end_of(child);
        assert!(
            ran.code.is_none() || ran.code == Some(0),
            "{}: {ran:#?}",
            way.name
        );
        killed += u32::from(ran.code.is_none());
        let after = recorded(&room, &output);
        // What was there is there, in its place.
        assert_eq!(after[..before.len()], before, "{}, round {round}", way.name);
        let pages: BTreeSet<_> = after.iter().collect();
        assert_eq!(
            pages.len(),
            after.len(),
            "{}, round {round}: a page is there twice",
            way.name
        );
        let done: usize = (1..=way.shards)
            .map(|shard| recorded(&room, &self::output(way, shard)).len())
            .sum();
        if done as u32 == way.documents * way.pages {
            finish(&room, way);
            finished += 1;
        }
    }
    finish(&room, way);
    finished + 1
}

/// Finishes a set, checks that it is whole, and begins anew.
fn finish(room: &Room, way: &Way) {
    for shard in 1..=way.shards {
        Ran::end_of(start(room, way, shard)).expect(0);
    }
    let outputs: Vec<_> = (1..=way.shards).map(|shard| output(way, shard)).collect();
    let merged = room.omnidocs(&format!("merge --force -o all.jsonl {}", outputs.join(" ")));
    Ran::of(&mut { merged }).expect(0);
    let pages: Vec<_> = recorded(room, "all.jsonl");
    let different: BTreeSet<_> = pages.iter().collect();
    assert_eq!(
        different.len() as u32,
        way.documents * way.pages,
        "{}",
        way.name
    );
    assert_eq!(pages.len(), different.len(), "{}", way.name);
    for output in outputs {
        fs::remove_file(room.path(output)).unwrap();
    }
}

#[test]
fn kills_of_every_engine_lose_and_repeat_nothing() {
    if env::var_os("OMNIDOCS_LONG_TESTS").is_none() {
        return;
    }
    let kills = env::var("OMNIDOCS_KILLS")
        .ok()
        .and_then(|count| count.parse().ok());
    let kills: u32 = kills.unwrap_or(DEFAULT_KILLS);
    let server = ChatServer::new();
    for way in ways(&server) {
        let (begin, share) = (Instant::now(), (kills * way.share).div_ceil(20));
        let finished = kill(&way, share);
        println!(
            "{}: {share} kills, {finished} finished sets of {} pages, {:.0} s",
            way.name,
            way.documents * way.pages,
            begin.elapsed().as_secs_f64()
        );
    }
}
