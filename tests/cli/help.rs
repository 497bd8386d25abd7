//! What is shown to those who ask.

use crate::common::{Ran, Room};

#[test]
fn help_snapshots() {
    let room = Room::new();
    let help = |args: &str| Ran::of(&mut room.omnidocs(args)).expect(0).stdout;
    insta::assert_snapshot!("help", help("--help"));
    insta::assert_snapshot!("extract_short_help", help("extract -h"));
    insta::assert_snapshot!("extract_help", help("extract --help"));
    insta::assert_snapshot!("merge_help", help("merge --help"));
}

#[test]
fn version_is_that_of_the_package() {
    let ran = Ran::of(&mut Room::new().omnidocs("--version")).expect(0);
    assert_eq!(
        ran.stdout,
        concat!("omnidocs ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn no_arguments_print_help() {
    let ran = Ran::of(&mut Room::new().omnidocs("")).expect(2);
    assert!(
        ran.stderr.contains("Usage: omnidocs <COMMAND>"),
        "{}",
        ran.stderr
    );
}
