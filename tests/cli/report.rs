//! `omnidocs report`: one page with pictures beside the text, in which nothing from a document runs.

#![cfg(unix)]

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    browser::Browser,
    common::{Ran, Room, pdf},
};

/// Two documents with text, a copy, one that is broken, and a blank page.
fn room() -> Room {
    let room = Room::new();
    room.put("in/a.pdf", pdf(&["First page", "Second page"]));
    room.put("in/sub/b.pdf", pdf(&["Only page"]));
    room.put("in/sub/b-again.pdf", pdf(&["Only page"]));
    room.put("in/bad.pdf", "This is no PDF.");
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    room
}

/// Changes the records.
fn change(room: &Room, change: impl Fn(&mut Value)) {
    let lines = room.read("r.jsonl");
    let lines = lines.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        change(&mut record);
        format!("{record}\n")
    });
    let lines: String = lines.collect();
    room.put("r.jsonl", lines);
}

fn report(room: &Room, args: &str) -> String {
    Ran::of(&mut room.omnidocs(&format!("report r.jsonl -o report.html {args}"))).expect(0);
    room.read("report.html")
}

fn articles(html: &str) -> Vec<&str> {
    html.split("<article ").skip(1).collect()
}

#[test]
fn report_has_status_pictures_text_and_failures() {
    let room = room();
    let ran = Ran::of(&mut room.omnidocs("report r.jsonl -o report.html")).expect(0);
    assert!(
        ran.stderr.contains("report    5 pages in report.html ("),
        "{}",
        ran.stderr
    );
    let html = room.read("report.html");
    for part in [
        "<dt>pages</dt><dd>4 ok, 1 failed</dd>",
        "<p class=\"empty\">All pages.</p>",
        "<span class=\"failed\">failed</span> in/bad.pdf</h2>",
        "<strong>unsupported</strong>: ",
        "<span class=\"ok\">ok</span> in/a.pdf p.2 of 2</h2>",
        "<pre>Second page</pre>",
        "copy of in/sub/b",
    ] {
        assert!(html.contains(part), "no {part:?} in {html}");
    }
    let pictures = html.matches("src=\"data:image/jpeg;base64,").count();
    assert_eq!(pictures, 4, "{html}");
    let (_, jpeg) = html.split_once("data:image/jpeg;base64,").unwrap();
    let jpeg = STANDARD.decode(jpeg.split_once('"').unwrap().0).unwrap();
    let picture = image::load_from_memory(&jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (797, 1128));
    for outside in ["http:", "https:", "url(", "import "] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn report_shows_failed_pages_warnings_or_a_sample() {
    let room = room();
    change(&room, |record| {
        if record["page"] == 2 {
            record["warnings"] = json!(["truncated"]);
        }
    });
    let failed = report(&room, "--failed");
    assert_eq!(articles(&failed).len(), 1);
    assert!(articles(&failed)[0].contains("in/bad.pdf"), "{failed}");
    let warnings = report(&room, "--warnings");
    assert_eq!(articles(&warnings).len(), 1);
    assert!(articles(&warnings)[0].contains("a.pdf p.2"), "{warnings}");
    let sample = report(&room, "--sample 3");
    assert_eq!(articles(&sample).len(), 3);
    assert!(sample.contains("A random sample of 3 of 5 pages."));
    assert_eq!(report(&room, "--sample 3"), sample);
}

#[test]
fn documents_that_are_gone_or_changed_have_no_picture() {
    let room = room();
    fs::remove_file(room.path("in/sub/b.pdf")).unwrap();
    room.put("in/a.pdf", pdf(&["Other", "bytes"]));
    let html = report(&room, "");
    for (words, pages) in [
        ("no picture: the file does not exist any more", 1),
        ("no picture: the file has changed since it was read", 2),
        ("no picture: the document was not opened", 1),
        ("data:image/jpeg", 1),
    ] {
        assert_eq!(html.matches(words).count(), pages, "{words}: {html}");
    }
    assert!(html.contains("<pre>First page</pre>"), "{html}");
    // They are elsewhere now.
    let moved = room_moved();
    let html = report(&moved, "--root archive/2023");
    assert_eq!(html.matches("data:image/jpeg").count(), 4, "{html}");
    let ran = Ran::of(&mut moved.omnidocs("report r.jsonl -o report.html --root none")).expect(2);
    assert!(
        ran.stderr.contains("--root none is not a folder"),
        "{}",
        ran.stderr
    );
}

fn room_moved() -> Room {
    let room = room();
    fs::create_dir_all(room.path("archive/2023")).unwrap();
    fs::rename(room.path("in"), room.path("archive/2023/in")).unwrap();
    room
}

#[test]
fn nothing_from_a_document_becomes_a_script_an_attribute_or_a_link() {
    let room = Room::new();
    let hostile = "in/</script><img src=x onerror=alert(1)>.pdf";
    room.put(hostile, pdf(&["one", "two"]));
    room.put("in/\"><script>alert(2)</script>.pdf", "no PDF");
    Ran::of(&mut room.text_layer("in -o r.jsonl")).expect(3);
    let texts = [
        "<script>alert(3)</script> <img src=x onerror=alert(4)> [x](javascript:alert(5))\n\n\
         </div></article></main><style>*{display:none}</style> <b onclick=\"alert(6)\">bold</b>",
        "<table><tr><td style=\"position:fixed\" colspan=2 onmouseover=alert(7)>cell</td></tr></table>\
         <svg onload=alert(8)> <iframe srcdoc=\"<script>alert(9)</script>\"> <!--</script><script>alert(10)-->",
    ];
    change(&room, |record| {
        if record["status"] == "ok" {
            let page = record["page"].as_u64().unwrap() as usize;
            record["content"] = texts[page - 1].into();
            record["output_format"] = ["markdown", "html"][page - 1].into();
            record["engine"] = "<script>alert(11)</script>".into();
            record["blocks"] = json!([
                {"type": "<script>alert(12)</script>", "bbox": [0.1, 0.1, 0.9, 0.2]},
                {"type": "text", "bbox": ["0\"><script>", 0, 1, 1]},
            ]);
        }
    });
    let html = report(&room, "");
    let (before, rest) = html.split_once("<script>").unwrap();
    let (_, after) = rest.split_once("</script>").unwrap();
    let without_script = [before, after].concat();
    let tags: Vec<&str> = without_script
        .split('<')
        .skip(1)
        .map(|piece| piece.split_once('>').expect("a whole tag").0)
        .collect();
    let count = |name: &str| {
        let named = tags
            .iter()
            .filter(|tag| tag.split([' ', '/']).next() == Some(name));
        named.count()
    };
    assert_eq!(
        ["script", "style", "img", "iframe", "a", "rect"].map(count),
        [0, 1, 2, 0, 0, 2],
        "{html}"
    );
    for tag in &tags {
        let has = |word: &str| tag.to_lowercase().contains(word);
        let is_bad = has(" on") || has("javascript:") || has("srcdoc") || has("style=");
        assert!(!is_bad, "{tag}");
    }
    assert!(html.contains("<b>bold</b>") && html.contains("<td colspan=\"2\">cell</td>"));
    // The policy names the one script and the one style.
    for (open, close, policy) in [
        ("<script>", "</script>", "script-src 'sha256-"),
        ("<style>", "</style>", "style-src 'sha256-"),
    ] {
        let (_, text) = html.split_once(open).unwrap();
        let hash = STANDARD.encode(Sha256::digest(text.split_once(close).unwrap().0));
        assert!(html.contains(&format!("{policy}{hash}'")), "{policy}");
    }
    assert!(html.contains("default-src 'none'; img-src data:; "));
    let Some(browser) = Browser::open(&room.path("report.html"), 1200) else {
        return;
    };
    assert_eq!(
        browser.value("document.querySelectorAll('main > article').length"),
        3
    );
    assert_eq!(
        browser.value("document.querySelectorAll('script').length"),
        1
    );
    assert_eq!(
        browser.value("document.querySelectorAll('footer').length"),
        1
    );
    assert_eq!(
        browser.value("getComputedStyle(document.body).display"),
        "block"
    );
}

#[test]
fn report_stays_below_its_size() {
    let room = Room::new();
    let mut noise = 1_u32;
    for page in 0..4 {
        let picture = image::RgbImage::from_fn(600, 600, |_, _| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(noise >> 24) as u8; 3])
        });
        picture.save(room.path(format!("{page}.png"))).unwrap();
    }
    Ran::of(&mut room.text_layer("0.png 1.png 2.png 3.png -o r.jsonl")).expect(3);
    let ran = Ran::of(&mut room.omnidocs("report r.jsonl -o report.html --max-mb 1")).expect(0);
    let html = room.read("report.html");
    assert!((1..1_000_000).contains(&html.len()), "{}", html.len());
    let shown = articles(&html).len();
    assert!((1..4).contains(&shown), "{shown}");
    let left_out = 4 - shown;
    assert!(html.contains(&format!("{left_out} more page")), "{shown}");
    assert!(ran.stderr.contains("raise --max-mb"), "{}", ran.stderr);
}

#[test]
fn report_replaces_web_pages_alone_and_goes_to_stdout() {
    let room = room();
    let before = room.read("r.jsonl");
    let ran = Ran::of(&mut room.omnidocs("report r.jsonl -o r.jsonl")).expect(1);
    assert!(
        ran.stderr
            .contains("--output r.jsonl is not a web page, and is not replaced"),
        "{}",
        ran.stderr
    );
    assert_eq!(room.read("r.jsonl"), before);
    report(&room, "--sample 1");
    let silent = Ran::of(&mut room.omnidocs("report r.jsonl -o report.html -q")).expect(0);
    assert_eq!(silent.stderr, "");
    let printed = Ran::of(&mut room.omnidocs("report r.jsonl -o -")).expect(0);
    assert_eq!(printed.stdout, room.read("report.html"));
    Ran::of(&mut room.omnidocs("report r.jsonl")).expect(2);
    Ran::of(&mut room.omnidocs("report r.jsonl -o x.html --failed --sample 2")).expect(2);
    let ran = Ran::of(&mut room.omnidocs("report r.jsonl -o no/such/x.html")).expect(1);
    assert!(
        ran.stderr.contains("cannot write no/such/x.html"),
        "{}",
        ran.stderr
    );
}

#[test]
fn keys_move_filter_and_search_in_a_browser() {
    let room = room();
    report(&room, "");
    let Some(browser) = Browser::open(&room.path("report.html"), 1200) else {
        return;
    };
    let shown = || browser.value("pages.filter((page) => !page.hidden).length");
    let current =
        || browser.value("(document.querySelector('article.current h2') || {}).textContent");
    let width = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(shown(), 5);
    assert_eq!(current(), Value::Null);
    browser.press("j");
    assert_eq!(current(), "ok in/a.pdf p.1 of 2");
    browser.press("jjk");
    assert_eq!(current(), "ok in/a.pdf p.2 of 2");
    // ok, then failed.
    browser.press("ff");
    assert_eq!(shown(), 1);
    browser.press("j");
    assert_eq!(current(), "failed in/bad.pdf");
    browser.press("ff");
    assert_eq!(shown(), 5);
    browser.press("/");
    browser.press("second");
    assert_eq!(shown(), 1);
    assert_eq!(browser.value("count.textContent"), "1 of 5 pages");
    let loaded = "[...document.images].every((image) => image.naturalWidth > 0)";
    browser.value("document.images[1].closest('figure').click()");
    assert_eq!(
        browser.value("document.querySelectorAll('article.large').length"),
        1
    );
    assert_eq!(browser.value(width), true);
    browser.value("(search.value = '', show(), document.images.forEach, 0)");
    browser.value("[...document.images].forEach((image) => { image.loading = 'eager'; })");
    assert_eq!(
        browser.value(&format!(
            "Promise.all([...document.images].map((image) => image.decode())).then(() => {loaded})"
        )),
        true
    );
    drop(browser);
    let phone = Browser::open(&room.path("report.html"), 500).expect("the browser");
    assert_eq!(phone.value(width), true);
    let columns =
        "getComputedStyle(document.querySelector('.pair')).gridTemplateColumns.split(' ').length";
    assert_eq!(phone.value(columns), 1);
}
