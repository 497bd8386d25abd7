//! A collection of problem files, each with the outcome that is right. Left out where the collection is not there.

use super::*;

/// Where the collection is: `$OMNIDOCS_CASES/pdf`, or beside this package.
fn cases() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    let folder = std::env::var_os("OMNIDOCS_CASES").map_or_else(beside, PathBuf::from);
    folder.join("pdf")
}

/// Of the machines' fonts it depends whether these have a warning.
const FONTS: [&str; 2] = ["cjk-not-embedded.pdf", "cyrillic-not-embedded.pdf"];

/// What a page comes out as: a word, and what its text layer says.
fn outcome(name: &str) -> (String, String) {
    let path = cases().join(name);
    let preparation = only(&path, settings_for(200.0, QWEN));
    let page = match preparation.result {
        Err(error) => return (format!("{:?}", error.kind), error.message),
        Ok(page) => page,
    };
    let text = page.text.as_ref();
    let what = match page.warnings.as_slice() {
        _ if page.blank => "blank",
        _ if FONTS.contains(&name) => "read",
        [Warning::Placeholder] => "placeholder",
        [] if PageText::distrust(text, page.is_scan).is_some() => "scan",
        [] => "read",
        _ => "other",
    };
    (what.to_owned(), page.text.unwrap().text)
}

#[test]
fn problem_pdfs_have_their_right_outcome() {
    if !cases().is_dir() {
        eprintln!("skipped: there is no {}", cases().display());
        return;
    }
    let fox = "The quick brown fox\njumps over the lazy dog\nand runs into the wood";
    for (name, what, text) in [
        ("image-broken-jpeg.pdf", "Render", "cannot be decoded"),
        (
            "image-jpeg2000-99-percent.pdf",
            "Render",
            "cannot be decoded",
        ),
        ("image-jpeg2000-100-percent.pdf", "scan", ""),
        ("widget-without-acroform.pdf", "read", "FILLED VALUE"),
        ("widget-with-acroform.pdf", "read", "FILLED VALUE"),
        (FONTS[0], "read", "亜唖娃"),
        (FONTS[1], "read", "АБВ"),
        ("scan-without-text.pdf", "scan", ""),
        ("blank-scan-with-hidden-letter.pdf", "blank", ""),
        ("text-at-the-edge.pdf", "read", "Header"),
        ("text-outside-the-page.pdf", "read", fox),
        ("text-running-down.pdf", "read", fox),
        ("userunit-72.pdf", "read", fox),
        ("cropbox-outside-mediabox.pdf", "scan", ""),
        ("header-without-dash.pdf", "read", fox),
        ("faint-on-grey.pdf", "scan", ""),
        ("xfa-please-wait.pdf", "placeholder", "Please wait"),
    ] {
        let (came_out, said) = outcome(name);
        assert_eq!(came_out, what, "{name}: {said}");
        assert!(said.contains(text), "{name}: {said}");
        assert!(!said.contains("OFF THE PAGE"), "{name}");
    }
}
