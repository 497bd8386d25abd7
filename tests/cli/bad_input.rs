//! One bad input never ends the batch, and never goes without a record.

use std::{fs, path::Path};

use omnidocs::{
    error::ErrorKind,
    record::{Record, Status},
};

use crate::common::{Ran, Room, pdf};

/// The signature and the header of a PNG of 30,000 × 30,000 pixels.
const BOMB: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0\xe9\x45\x6f\xed\0\0\0\x08IDAT";

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A folder of bad files, and two good ones in between.
fn room() -> Room {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let room = Room::new();
    room.put("in/bomb.png", BOMB)
        .put("in/dot.png", png(1, 1))
        .put("in/empty.pdf", "")
        .put(
            "in/encrypted.pdf",
            fs::read(root.join("tests/data/encrypted.pdf")).unwrap(),
        )
        .put(
            "in/good.pdf",
            fs::read(root.join("examples/pages/note.pdf")).unwrap(),
        )
        .put("in/line.png", png(1, 5000))
        .put("in/pageless.pdf", pdf(&[]))
        .put("in/text.pdf", "This is no PDF.")
        .put("in/torn.pdf", &pdf(&["one"])[..300])
        .put("in/zero.png", "");
    room
}

#[test]
fn promise_7_bad_file_is_one_failed_record() {
    let room = room();
    let mut command = room.omnidocs("extract in in/gone.pdf --model");
    let command = command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader"));
    let ran = Ran::of(command).expect(3);
    let kinds: Vec<_> = ran
        .records()
        .iter()
        .map(|record| {
            let error = record.error.as_ref();
            (
                record.filename.clone(),
                record.page,
                error.map(|error| error.kind),
            )
        })
        .collect();
    let failed = |name: &str, page, kind| (name.to_owned(), page, Some(kind));
    let good = |name: &str| (name.to_owned(), 1, None);
    assert_eq!(
        kinds,
        [
            failed("bomb.png", 1, ErrorKind::TooLarge),
            good("dot.png"),
            failed("empty.pdf", 0, ErrorKind::Unreadable),
            failed("encrypted.pdf", 0, ErrorKind::Encrypted),
            good("good.pdf"),
            failed("line.png", 1, ErrorKind::Render),
            failed("pageless.pdf", 0, ErrorKind::Unreadable),
            failed("text.pdf", 0, ErrorKind::Unsupported),
            failed("torn.pdf", 0, ErrorKind::Unreadable),
            failed("zero.png", 0, ErrorKind::Unreadable),
            failed("gone.pdf", 0, ErrorKind::Unreadable),
        ]
    );
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    for record in ran.records() {
        assert_agrees_with_itself(&record);
        if record.page == 0 || record.status == Status::Failed {
            // The summary names each with its reason.
            let error = record.error.unwrap();
            assert!(
                error.message.len() > 10 && ran.stderr.contains(&error.message),
                "{error}"
            );
        }
    }
}

/// A failed record has an error and nothing that was read; the others have content and no error. What was read was ended
/// by the model; what is blank was not shown to it.
fn assert_agrees_with_itself(record: &Record) {
    let failed = record.status == Status::Failed;
    assert_eq!(record.error.is_some(), failed, "{record:?}");
    assert_eq!(record.content.is_none(), failed, "{record:?}");
    let read = record.status == Status::Ok;
    assert_eq!(record.finish_reason.is_some(), read, "{record:?}");
    assert_eq!(
        record.content_length == 0,
        record.content.as_deref().unwrap_or("").is_empty()
    );
}

#[test]
fn large_file_of_no_known_format_is_not_read_to_its_end() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["a"])).put("b.pdf", "no document");
    let image = fs::File::create(room.path("disk.pdf")).unwrap();
    // Takes no room on the disk; its checksum would take a minute.
    image.set_len(20 << 30).unwrap();
    let begin = std::time::Instant::now();
    let records = room.extract("disk.pdf b.pdf a.pdf").expect(3).records();
    assert!(begin.elapsed().as_secs() < 15);
    assert_eq!(
        records[0].error.as_ref().unwrap().kind,
        ErrorKind::Unsupported
    );
    assert_eq!(records[0].size_bytes, Some(20 << 30));
    assert_eq!(records[0].doc_id, None);
    assert!(records[1].doc_id.is_some());
}
