//! What is shown to those who ask.

use std::{fs, path::Path, process::Command};

use crate::common::{Ran, Room, pdf};

#[test]
fn help_snapshots() {
    let room = Room::new();
    let help = |args: &str| Ran::of(&mut room.omnidocs(args)).expect(0).stdout;
    insta::assert_snapshot!("help", help("--help"));
    insta::assert_snapshot!("extract_short_help", help("extract -h"));
    insta::assert_snapshot!("extract_help", help("extract --help"));
    insta::assert_snapshot!("merge_help", help("merge --help"));
    insta::assert_snapshot!("completions_help", help("completions --help"));
    insta::assert_snapshot!("status_help", help("status --help"));
    insta::assert_snapshot!("show_help", help("show --help"));
    insta::assert_snapshot!("export_help", help("export --help"));
    insta::assert_snapshot!("fetch_help", help("fetch --help"));
    insta::assert_snapshot!("bench_help", help("bench --help"));
    insta::assert_snapshot!("report_help", help("report --help"));
    insta::assert_snapshot!("man_help", help("man --help"));
    insta::assert_snapshot!("models_help", help("models --help"));
    insta::assert_snapshot!("doctor_help", help("doctor --help"));
}

#[test]
fn completions_name_subcommands_and_options_in_each_shell() {
    let room = Room::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Ran::of(&mut room.omnidocs(&format!("completions {shell}"))).expect(0);
        for name in ["extract", "merge", "max-new-tokens"] {
            assert!(script.stdout.contains(name), "{shell}: no {name}");
        }
        assert!(!script.stdout.contains("prepare-worker"), "{shell}");
        assert_eq!(script.stderr, "", "{shell}");
    }
}

#[test]
fn bash_accepts_its_completions() {
    let room = Room::new();
    let script = Ran::of(&mut room.omnidocs("completions bash"))
        .expect(0)
        .stdout;
    let script = format!(
        "{script}\nCOMP_WORDS=(omnidocs ext) COMP_CWORD=1\n_omnidocs omnidocs ext omnidocs\necho \"${{COMPREPLY[@]}}\""
    );
    let Ok(ran) = Command::new("bash").args(["-c", &script]).output() else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "extract\n");
}

#[test]
fn man_writes_a_page_for_each_subcommand() {
    let room = Room::new();
    Ran::of(&mut room.omnidocs("man --to pages")).expect(0);
    let page = |name: &str| fs::read_to_string(room.path(format!("pages/{name}"))).unwrap();
    assert!(page("omnidocs.1").contains("omnidocs\\-extract(1)"));
    assert!(page("omnidocs-extract.1").contains("\\-\\-max\\-new\\-tokens"));
    assert!(!room.path("pages/omnidocs-prepare-worker.1").exists());
    let printed = Ran::of(&mut room.omnidocs("man extract")).expect(0).stdout;
    assert_eq!(printed, page("omnidocs-extract.1"));
    let unknown = Ran::of(&mut room.omnidocs("man extrat")).expect(2);
    assert!(
        unknown.stderr.contains("there is no subcommand extrat"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn version_is_that_of_the_package() {
    let version = concat!("omnidocs ", env!("CARGO_PKG_VERSION"), "\n");
    let short = Ran::of(&mut Room::new().omnidocs("-V")).expect(0).stdout;
    assert_eq!(short, version);
    let long = Ran::of(&mut Room::new().omnidocs("--version"))
        .expect(0)
        .stdout;
    let lines: Vec<_> = long.lines().collect();
    assert_eq!(lines[0], short.trim_end());
    assert_eq!(lines[1], "features: none (CPU only)");
    assert!(lines[2].starts_with("CPU kernels: "), "{long}");
}

#[test]
fn path_in_place_of_a_subcommand_names_extract() {
    let room = Room::new();
    room.put("pdfs/a.txt", "");
    let ran = Ran::of(&mut room.omnidocs("./pdfs")).expect(2);
    let tip = "tip: to read it, run omnidocs extract ./pdfs";
    assert!(ran.stderr.contains(tip), "{}", ran.stderr);
}

#[test]
fn mistyped_names_suggest_the_nearest() {
    let room = Room::new();
    room.put("a.pdf", "");
    for (args, tip) in [
        (
            "extrat a.pdf",
            "similar subcommands exist: 'export', 'extract'",
        ),
        ("docter", "a similar subcommand exists: 'doctor'"),
        (
            "extract a.pdf --max-new-token 9",
            "a similar argument exists: '--max-new-tokens'",
        ),
        (
            "status r.jsonl --jsn",
            "a similar argument exists: '--json'",
        ),
        (
            "extract a.pdf --engine tesserakt",
            "a similar value exists: 'tesseract'",
        ),
    ] {
        let ran = Ran::of(&mut room.omnidocs(args)).expect(2);
        assert!(ran.stderr.contains(tip), "{tip}: {}", ran.stderr);
    }
}

#[test]
fn format_has_short_names() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["short"]));
    for (short, format) in [("md", "markdown"), ("txt", "text")] {
        let args = format!("a.pdf --format {short} --dry-run -o {format}.jsonl");
        assert_eq!(
            room.extract(&args).expect(0).stdout,
            "a.pdf: 1 of 1 pages\n"
        );
    }
}

#[test]
fn errors_show_of_a_prompt_only_where_it_differs() {
    let room = Room::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).display();
    let start = format!(
        "extract {repository}/examples/pages/label.png --model {repository}/examples/reader -o r.jsonl --prompt-file"
    );
    let long = |word: &str| {
        format!(
            "{}{word} and all that. {}",
            "Look at it. ".repeat(20),
            "Yes. ".repeat(90)
        )
    };
    room.put("one.txt", long("Read"))
        .put("two.txt", long("Write"));
    Ran::of(&mut room.omnidocs(&format!("{start} one.txt"))).expect(0);
    let error = Ran::of(&mut room.omnidocs(&format!("{start} two.txt")))
        .expect(10)
        .stderr;
    assert!(
        error.contains("Read and all") && error.contains("Write and all"),
        "{error}"
    );
    assert!(error.len() < 600, "{error}");
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
