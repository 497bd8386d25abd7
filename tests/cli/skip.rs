//! `--skip`: pages that are not read, by what their text layer says.

use omnidocs::record::Status;

use crate::{
    chat_server::ChatServer,
    common::{Ran, Room, pdf, pdf_of},
};

const ENGLISH: &str = "It was the best of times, it was the worst of times,\n\
                       it was the age of wisdom, it was the age of foolishness,\n\
                       it was the epoch of belief, it was the epoch of incredulity.";
const GERMAN: &str = "Als Gregor Samsa eines Morgens aus unruhigen Traumen erwachte,\n\
                      fand er sich in seinem Bett zu einem ungeheueren Ungeziefer verwandelt.\n\
                      Er lag auf seinem panzerartig harten Rucken und sah seinen Bauch.";

/// A page with text, and with fields of these types.
fn form(fields: &[&str]) -> Vec<u8> {
    let drawn = "BT /F 12 Tf 60 700 Td (Name and address) Tj ET";
    let names: Vec<_> = (0..fields.len())
        .map(|place| format!("{} 0 R", place + 5))
        .collect();
    let names = names.join(" ");
    let mut objects = vec![
        format!("<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{names}] >> >>"),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Annots [{names}] /Resources << /Font << \
             /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        ),
        format!("<< /Length {} >>\nstream\n{drawn}\nendstream", drawn.len()),
    ];
    for (place, kind) in fields.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Annot /Subtype /Widget /FT {kind} /T (f{place}) /Rect [60 {0} 200 {1}] /P 3 0 R >>",
            600 - 30 * place,
            620 - 30 * place
        ));
    }
    pdf_of(&objects)
}

/// A folder with a page in English, one in German, a table of figures, a form, and a contract to sign.
fn room() -> Room {
    let room = Room::new();
    room.put(
        "in/a.pdf",
        pdf(&[ENGLISH, GERMAN, &"12.50 7,300 (4) 99\n".repeat(20)]),
    )
    .put("in/b.pdf", form(&["/Tx", "/Btn"]))
    .put("in/c.pdf", form(&["/Sig"]));
    room
}

#[track_caller]
fn read(room: &Room, server: &ChatServer, args: &str) -> Ran {
    let url = server.url();
    let args = format!("extract in -o out.jsonl --engine server --server-url {url} {args}");
    Ran::of(&mut room.omnidocs(&args)).expect(0)
}

/// The document and page of each record, and why it was skipped.
fn skipped(room: &Room) -> Vec<(String, u32, Option<String>)> {
    let mut records: Vec<_> = room
        .records("out.jsonl")
        .into_iter()
        .map(|record| {
            let is_skipped = record.status == Status::Skipped;
            assert_eq!(is_skipped, record.skip_reason.is_some());
            assert_eq!(record.content.is_none(), is_skipped);
            (record.filename, record.page, record.skip_reason)
        })
        .collect();
    records.sort();
    records
}

#[test]
fn pages_are_left_out_by_each_rule_and_the_others_are_read() {
    for (rules, expected) in [
        ("forms", [None, None, None, Some("forms"), None]),
        ("non-text", [None, None, Some("non-text"), None, None]),
        ("language:de", [None, Some("language:de"), None, None, None]),
        (
            "forms,non-text,not-language:en",
            [
                None,
                Some("language:de"),
                Some("non-text"),
                Some("forms"),
                None,
            ],
        ),
    ] {
        let room = room();
        let server = ChatServer::new();
        let ran = read(&room, &server, &format!("--skip {rules}"));
        let reasons: Vec<_> = skipped(&room).into_iter().map(|record| record.2).collect();
        assert_eq!(
            reasons,
            expected.map(|reason| reason.map(str::to_owned)),
            "{rules}"
        );
        let count = expected.iter().flatten().count();
        // Copies of pixels aside, each page that is read is asked for.
        assert_eq!(server.requests().len(), 5 - count, "{rules}");
        let told = format!("{} ok, 0 failed, {count} skipped (", 5 - count);
        assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    }
}

#[test]
fn skipped_pages_are_done_until_they_are_asked_for() {
    let room = room();
    let server = ChatServer::new();
    read(&room, &server, "--skip language:de,forms");
    let before = server.requests().len();
    // Neither the same rules nor others make them unread.
    let ran = read(&room, &server, "--skip language:de,forms");
    assert!(
        ran.stderr.contains("5 pages: 3 ok, 0 failed, 2 skipped"),
        "{}",
        ran.stderr
    );
    read(&room, &server, "");
    assert_eq!(server.requests().len(), before);
    let status = Ran::of(&mut room.omnidocs("status out.jsonl")).expect(0);
    assert!(
        status.stdout.contains("3 ok, 0 failed, 2 skipped"),
        "{}",
        status.stdout
    );
    let shown = Ran::of(&mut room.omnidocs("show out.jsonl in/b.pdf:1")).expect(0);
    assert!(
        shown.stderr.contains("skipped") && shown.stderr.contains("forms"),
        "{}",
        shown.stderr
    );
    Ran::of(&mut room.omnidocs("export out.jsonl --to out")).expect(0);
    let exported = room.read("out/in/a.pdf.md");
    assert!(
        exported.contains("<!-- page 2 skipped: language:de -->"),
        "{exported}"
    );

    read(&room, &server, "--retry skipped");
    assert_eq!(server.requests().len(), before + 2);
    assert!(
        skipped(&room)
            .iter()
            .filter(|record| record.2.is_some())
            .count()
            == 2,
        "older records stay"
    );
    let status = Ran::of(&mut room.omnidocs("status out.jsonl")).expect(0);
    assert!(
        status.stdout.contains("5 ok, 0 failed\n"),
        "{}",
        status.stdout
    );
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let room = room();
    for rules in ["tables", "language:xx", "forms,", "not-language"] {
        let args = format!("extract in --skip {rules}");
        let refused = Ran::of(&mut room.omnidocs(&args)).expect(2);
        assert!(refused.stderr.contains("--skip"), "{}", refused.stderr);
    }
}
