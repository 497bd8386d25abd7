//! What is shown to those who ask.

use crate::common::{Ran, Room};

#[test]
fn help_is_short_with_one_dash_and_full_with_two() {
    let room = Room::new();
    let help = |args: &str| Ran::of(&mut room.omnidocs(args)).expect(0).stdout;
    insta::assert_snapshot!("help", help("--help"));
    insta::assert_snapshot!("extract_short_help", help("extract -h"));
    insta::assert_snapshot!("extract_help", help("extract --help"));
    insta::assert_snapshot!("merge_help", help("merge --help"));
}

#[test]
fn the_version_is_the_packages() {
    let ran = Ran::of(&mut Room::new().omnidocs("--version")).expect(0);
    assert_eq!(
        ran.stdout,
        concat!("omnidocs ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn nothing_typed_is_answered_with_help() {
    let ran = Ran::of(&mut Room::new().omnidocs("")).expect(2);
    assert!(
        ran.stderr.contains("Usage: omnidocs <COMMAND>"),
        "{}",
        ran.stderr
    );
}
