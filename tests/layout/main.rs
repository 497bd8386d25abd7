//! The shape of the code: which file may use which, how long a file gets, and where Candle is named.
//!
//! The imports of `src` are read from its text: `use` lines and paths in the code, without comments, strings and what is
//! compiled for tests alone. A name that passes through a module, as in `pub use page::Page`, belongs to the file that
//! defines it, so that a `mod.rs` may pass on what its own children have and be used by them.

mod source;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use source::{Edges, File, Import, Source};

/// A room, which is a file or a folder of `src`, and its floor. A room uses no room above it.
const FLOORS: [(&str, u8); 44] = [
    ("main", 9),
    ("lib", 9),
    ("commands", 8),
    ("run", 7),
    ("reader", 7),
    ("config", 7),
    ("cli", 6),
    ("progress", 6),
    ("views", 6),
    ("journal", 5),
    ("engine", 5),
    ("answer", 4),
    ("models", 4),
    ("generation", 3),
    ("prepare", 3),
    ("nn", 2),
    ("discover", 2),
    ("hub", 2),
    ("tesseract", 2),
    ("record", 2),
    ("page", 1),
    ("block", 1),
    ("options", 1),
    ("formats", 1),
    ("cancel", 1),
    ("clock", 1),
    ("confidence", 1),
    ("gpu", 1),
    ("http", 1),
    ("launch", 1),
    ("limits", 1),
    ("backoff", 1),
    ("error", 1),
    ("exit", 1),
    ("secrets", 1),
    ("shard", 1),
    ("terminal", 1),
    ("words", 1),
    ("source", 1),
    ("signals", 1),
    ("page_selection", 1),
    ("skip", 1),
    ("model_files", 1),
    ("stamp", 1),
];
/// Rooms that may name Candle.
const CANDLE: [&str; 3] = ["nn", "generation", "models"];
const MAX_LINES: usize = 450;

#[test]
fn no_files_import_each_other_in_a_circle() {
    let source = Source::read();
    assert_none(&circles(&source.edges()));
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let mut rooms = Edges::new();
    for (from, to) in Source::read().edges() {
        let uses = rooms.entry(room(&from).to_owned()).or_default();
        uses.extend(to.iter().map(|to| room(to).to_owned()));
        uses.remove(room(&from));
    }
    assert_none(&circles(&rooms));
}

#[test]
fn no_room_imports_one_on_a_higher_floor() {
    let floor = |file: &str| {
        let row = FLOORS.iter().find(|(name, _)| *name == room(file));
        row.map(|(_, floor)| *floor)
    };
    let mut wrong = Vec::new();
    for (from, to) in Source::read().edges() {
        let Some(here) = floor(&from) else {
            wrong.push(format!(
                "{from} is on no floor: give its room a row in FLOORS"
            ));
            continue;
        };
        for to in to {
            if let Some(there) = floor(&to)
                && there > here
            {
                wrong.push(format!("{from} (floor {here}) uses {to} (floor {there})"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_file_is_longer_than_450_lines() {
    let long = |file: &File| file.lines > MAX_LINES;
    let files = Source::read().files;
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| long(file))
        .map(|file| format!("{} has {} lines", file.path, file.lines))
        .collect();
    assert_none(&wrong);
}

#[test]
fn only_the_rooms_of_the_model_name_candle() {
    let wrong: Vec<_> = Source::read()
        .files
        .iter()
        .filter(|file| file.names_candle && !CANDLE.contains(&room(&file.path)))
        .map(|file| format!("{} names Candle", file.path))
        .collect();
    assert_none(&wrong);
}

#[test]
fn use_trees_are_read_to_their_leaves() {
    let file = File::parse(
        "engine/pool.rs",
        "use crate::{a::{b, c as d}, e::{self, f::*}};\npub(crate) use super::Engine;\nuse std::fs;",
    );
    let leaves: Vec<_> = file.imports.iter().map(Import::describe).collect();
    assert_eq!(
        leaves,
        [
            "crate::a::b as b",
            "crate::a::c as d",
            "crate::e as e",
            "crate::e::f::* as *",
            "pub super::Engine as Engine",
            "std::fs as fs",
        ]
    );
}

#[test]
fn comments_strings_and_tests_are_not_read() {
    let file = File::parse(
        "page.rs",
        r##"
        //! [`crate::a::A`]
        /* use crate::b::B; /* inner */ use crate::c::C; */
        const TEXT: &str = "use crate::d::D; \" crate::e::E";
        const RAW: &[u8] = br#"crate::f::F " "#;
        fn quote<'a>(c: char) -> bool { c == '"' || c == '\'' || crate::here::is(c) }
        #[cfg(test)]
        use crate::g::G;
        #[cfg(all(test, unix))]
        #[allow(dead_code)]
        fn helper<A, B>(_: [u8; 3]) { crate::h::h() }
        #[cfg(test)]
        mod fake;
        #[cfg(not(test))]
        fn real() { super::there::go() }
        #[cfg(test)]
        mod tests { use crate::i::I; }
        "##,
    );
    assert!(file.imports.is_empty(), "{:?}", file.imports);
    let paths: Vec<_> = file.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::here::is", "super::there::go"]);
    assert_eq!(file.test_modules, ["fake"]);
}

#[test]
fn names_belong_to_the_file_that_defines_them() {
    let source = Source::of(&[
        ("lib.rs", "pub mod engine; pub mod page; pub mod run;"),
        (
            "engine/mod.rs",
            "mod qwen; pub use qwen::Qwen; use crate::page::Page; pub trait Engine { fn read(&self, page: Page); }",
        ),
        (
            "engine/qwen.rs",
            "use super::{Engine, Page}; pub struct Qwen; impl Engine for Qwen {}",
        ),
        ("page.rs", "pub struct Page;"),
        (
            "run.rs",
            "use crate::{engine, engine::Qwen}; fn run(_: &dyn engine::Engine) {}",
        ),
        (
            "main.rs",
            "use omnidocs::run; fn main() { run::run(&omnidocs::engine::Qwen) }",
        ),
    ]);
    let edges: Vec<_> = source
        .edges()
        .into_iter()
        .flat_map(|(from, to)| to.into_iter().map(move |to| format!("{from} > {to}")))
        .collect();
    assert_eq!(
        edges,
        [
            "engine/mod.rs > page.rs",
            "engine/qwen.rs > engine/mod.rs",
            "engine/qwen.rs > page.rs",
            "main.rs > engine/qwen.rs",
            "main.rs > run.rs",
            "run.rs > engine/mod.rs",
            "run.rs > engine/qwen.rs",
        ]
    );
    assert!(circles(&source.edges()).is_empty());
}

#[test]
fn a_parent_that_uses_the_child_that_uses_it_is_a_circle() {
    let source = Source::of(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod b; pub use b::B; pub struct A; fn f() -> B { B }",
        ),
        ("a/b.rs", "pub struct B; fn f() -> super::A { super::A }"),
    ]);
    assert_eq!(
        circles(&source.edges()),
        ["a/b.rs → a/mod.rs → a/b.rs".to_owned()]
    );
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The first part of a file's path in `src`, without `.rs`.
fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Circles, each as short as it gets, until every file that is in one has been named in one.
fn circles(edges: &Edges) -> Vec<String> {
    let mut named = BTreeSet::new();
    let mut circles = Vec::new();
    for start in edges.keys() {
        if named.contains(start) {
            continue;
        }
        let mut before: BTreeMap<&String, &String> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(file) = queue.pop_front() {
            for next in edges.get(file).into_iter().flatten() {
                if !before.contains_key(next) {
                    before.insert(next, file);
                    queue.push_back(next);
                }
            }
        }
        if !before.contains_key(start) {
            continue;
        }
        let mut circle = vec![start];
        while circle.len() == 1 || circle[circle.len() - 1] != start {
            circle.push(before[circle[circle.len() - 1]]);
        }
        named.extend(circle.iter().copied());
        circle.reverse();
        let names: Vec<_> = circle.into_iter().map(String::as_str).collect();
        circles.push(names.join(" → "));
    }
    circles
}
