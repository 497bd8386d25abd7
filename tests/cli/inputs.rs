//! Which files are read, and in which order.

use image::ImageFormat;
use omnidocs::{
    error::{ErrorKind, Stage},
    page::Format,
    record::Status,
};

use crate::common::{Ran, Room, image, image_of, pdf};

#[test]
fn folder_is_read_in_path_order_one_record_per_page() {
    let room = Room::new();
    room.put("in/b.pdf", pdf(&["first", "second"]))
        .put("in/a/deep/er.PDF", pdf(&["deep"]))
        .put("in/c.pdf", pdf(&["last"]));
    let ran = room.extract("in").expect(0);
    assert_eq!(
        ran.pages(),
        [
            "in/a/deep/er.PDF:1",
            "in/b.pdf:1",
            "in/b.pdf:2",
            "in/c.pdf:1"
        ]
    );
    let contents: Vec<_> = ran
        .records()
        .into_iter()
        .map(|record| record.content.unwrap())
        .collect();
    assert_eq!(contents, ["deep", "first", "second", "last"]);
}

#[test]
fn inputs_are_read_in_order_and_no_path_twice() {
    let room = Room::new();
    room.put("z.pdf", pdf(&["z"]))
        .put("in/a.pdf", pdf(&["a"]))
        .put("in/b.pdf", pdf(&["b"]));
    let ran = room
        .extract("z.pdf in/b.pdf in ./z.pdf in/./a.pdf in")
        .expect(0);
    assert_eq!(ran.pages(), ["z.pdf:1", "in/b.pdf:1", "in/a.pdf:1"]);
}

#[test]
fn folder_reads_known_formats_and_counts_others() {
    use Format::{Bmp, Gif, Jpeg, Pdf, Png, Tiff, Webp};

    let room = Room::new();
    room.put("in/a.pdf", pdf(&["a"]))
        .put("in/b.png", image(ImageFormat::Png))
        .put("in/c.jpg", image(ImageFormat::Jpeg))
        .put("in/d.JPEG", image_of(64, 49, ImageFormat::Jpeg))
        .put("in/e.jfif", image_of(64, 50, ImageFormat::Jpeg))
        .put("in/f.webp", image(ImageFormat::WebP))
        .put("in/g.bmp", image(ImageFormat::Bmp))
        .put("in/h.gif", image(ImageFormat::Gif))
        .put("in/i.tif", image(ImageFormat::Tiff))
        .put("in/j.Tiff", image_of(64, 49, ImageFormat::Tiff))
        .put("in/k", pdf(&["no extension"]))
        .put("in/l", "no extension, no format")
        .put("in/m.txt", "text")
        .put("in/n.TXT", "text")
        .put("in/.hidden.pdf", pdf(&["hidden"]))
        .put("in/.hidden/o.pdf", pdf(&["hidden"]));
    let ran = room.extract("in").expect(3);
    let formats: Vec<_> = ran
        .records()
        .iter()
        .map(|record| record.format.unwrap())
        .collect();
    assert_eq!(
        formats,
        [Pdf, Png, Jpeg, Jpeg, Jpeg, Webp, Bmp, Gif, Tiff, Tiff, Pdf]
    );
    assert!(
        ran.stderr
            .contains("3 other files (.txt 2, no extension 1)"),
        "{}",
        ran.stderr
    );
}

#[test]
fn rare_extensions_are_read_from_folders() {
    let room = Room::new();
    room.put("in/a.jpe", image(ImageFormat::Jpeg))
        .put("in/b.JFIF", image_of(64, 49, ImageFormat::Jpeg))
        .put("in/c.dib", image(ImageFormat::Bmp));
    let ran = room.extract("in").expect(3);
    assert_eq!(ran.pages(), ["in/a.jpe:1", "in/b.JFIF:1", "in/c.dib:1"]);
}

#[test]
fn photos_of_unreadable_formats_in_folders_are_failed_records() {
    let room = Room::new();
    room.put("in/a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        .put("in/b.JXL", b"\xFF\x0A and so on")
        .put("in/c.pdf", pdf(&["c"]));
    let ran = room.extract("in").expect(3);
    assert_eq!(ran.pages(), ["in/a.heic:0", "in/b.JXL:0", "in/c.pdf:1"]);
    let records = ran.records();
    for (record, name) in records.iter().zip(["HEIC", "JPEG XL"]) {
        let error = record.error.as_ref().unwrap();
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn hidden_files_are_read_when_named() {
    let room = Room::new();
    room.put(".hidden/.a.pdf", pdf(&["a"]))
        .put("b.dat", pdf(&["b"]))
        .put("c.png", pdf(&["c"]));
    assert_eq!(
        room.extract(".hidden/.a.pdf b.dat c.png").expect(0).pages(),
        [".hidden/.a.pdf:1", "b.dat:1", "c.png:1"]
    );
    room.put(".hidden/d.pdf", pdf(&["d"]));
    assert_eq!(
        room.extract(".hidden").expect(0).pages(),
        [".hidden/d.pdf:1"]
    );
}

#[test]
fn format_is_detected_by_content() {
    let room = Room::new();
    room.put("in/a.png", pdf(&["a PDF"]))
        .put("in/b.pdf", image(ImageFormat::Png));
    let records = room.extract("in").expect(3).records();
    assert_eq!(
        (records[0].format, records[0].content.as_deref()),
        (Some(Format::Pdf), Some("a PDF"))
    );
    assert_eq!(records[1].format, Some(Format::Png));
}

#[test]
fn include_and_exclude_filter_only_folders() {
    let room = Room::new();
    for path in [
        "in/a.pdf",
        "in/b.pdf",
        "in/x/a.pdf",
        "in/x/y/a.pdf",
        "in/drafts/c.pdf",
    ] {
        room.put(path, pdf(&[path]));
    }
    for (filters, expected) in [
        ("--include a.pdf", "in/a.pdf in/x/a.pdf in/x/y/a.pdf"),
        ("--include x/*.pdf", "in/x/a.pdf"),
        ("--include x/**", "in/x/a.pdf in/x/y/a.pdf"),
        (
            "--include b.pdf --include c.pdf",
            "in/b.pdf in/drafts/c.pdf",
        ),
        ("--include {b,c}.pdf", "in/b.pdf in/drafts/c.pdf"),
        ("--exclude a.pdf", "in/b.pdf in/drafts/c.pdf"),
        (
            "--exclude drafts --exclude x/y/**",
            "in/a.pdf in/b.pdf in/x/a.pdf",
        ),
        (
            "--exclude x/** --include *.pdf",
            "in/a.pdf in/b.pdf in/drafts/c.pdf",
        ),
        ("--include nothing in/a.pdf --exclude a.pdf", "in/a.pdf"),
    ] {
        let ran = room.extract(&format!("in {filters}")).expect(0);
        let paths: Vec<_> = ran
            .records()
            .into_iter()
            .map(|record| record.path)
            .collect();
        assert_eq!(paths.join(" "), expected, "{filters}");
    }
}

#[test]
fn files_from_reads_a_file_or_stdin() {
    let room = Room::new();
    room.put("a b.pdf", pdf(&["a"]))
        .put("in/c.pdf", pdf(&["c"]))
        .put("d.pdf", pdf(&["d"]));
    let expected = ["d.pdf:1", "a b.pdf:1", "in/c.pdf:1"];
    room.put("list", "a b.pdf\r\n\n  \nin\n");
    assert_eq!(
        room.extract("--files-from list d.pdf").expect(0).pages(),
        expected
    );
    let ran = Ran::of(
        room.text_layer("d.pdf --files-from -")
            .write_stdin("a b.pdf\nin/c.pdf"),
    );
    assert_eq!(ran.expect(0).pages(), expected);
    let ran = Ran::of(
        room.text_layer("--files-from -")
            .write_stdin("d.pdf\0a b.pdf\0in/c.pdf\0"),
    );
    assert_eq!(ran.expect(0).pages(), expected);
}

#[test]
fn inputs_that_are_no_files_are_explained() {
    let room = Room::new();
    for (args, words) in [
        ("-", "--files-from -"),
        ("https://example.com/a.pdf", "download it first"),
        ("scans/*.pdf", "leave out the quotes"),
        #[cfg(unix)]
        ("/dev/stdin", "save it to a file first"),
    ] {
        let ran = Ran::of(room.text_layer(args).write_stdin("%PDF-1.4")).expect(1);
        assert!(
            ran.stderr.starts_with("error: nothing to read: "),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(words), "{args}: {}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn list_of_the_root_folder_reads_nothing() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["a"])).put("list", "a.pdf\n/\n");
    let ran = room.extract("--files-from list -o out.jsonl").expect(1);
    assert!(
        ran.stderr
            .contains("has the entry /; check how it is split"),
        "{}",
        ran.stderr
    );
    assert!(!room.path("out.jsonl").exists());
}

#[test]
fn missing_or_empty_file_list_ends_the_run() {
    let room = Room::new();
    let ran = room.extract("--files-from nowhere").expect(1);
    assert!(
        ran.stderr.contains("--files-from: nowhere"),
        "{}",
        ran.stderr
    );
    let ran = Ran::of(room.text_layer("--files-from -").write_stdin("\n")).expect(1);
    assert!(
        ran.stderr.contains("the list of --files-from is empty"),
        "{}",
        ran.stderr
    );
}

#[test]
fn missing_file_is_a_failed_record() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["a"])).put("c.pdf", pdf(&["c"]));
    let ran = room.extract("a.pdf sub/b.pdf c.pdf").expect(3);
    assert_eq!(ran.pages(), ["a.pdf:1", "sub/b.pdf:0", "c.pdf:1"]);
    let record = &ran.records()[1];
    assert_eq!(
        (record.status, record.filename.as_str()),
        (Status::Failed, "b.pdf")
    );
    assert_eq!(
        (
            &record.doc_id,
            record.format,
            record.size_bytes,
            record.page_count
        ),
        (&None, None, None, None)
    );
    assert_eq!(
        (&record.content, record.content_length, record.word_count),
        (&None, 0, 0)
    );
    let error = record.error.as_ref().unwrap();
    assert_eq!(
        (error.kind, error.stage),
        (ErrorKind::Unreadable, Stage::Open)
    );
    assert_eq!(error.message, "there is no such file or folder");
    assert!(
        ran.stderr
            .contains("sub/b.pdf: there is no such file or folder"),
        "{}",
        ran.stderr
    );
}

#[test]
fn no_documents_is_one_error_sentence() {
    let room = Room::new();
    room.put("in/a.txt", "text")
        .put("in/b.docx", "text")
        .put("pdfs/c.pdf", pdf(&["c"]));
    for (args, sentence) in [
        (
            "in gone.pdf",
            "error: nothing to read: found no PDF, PNG, JPEG, WebP, BMP, GIF, TIFF or JP2 file in in; \
             ignored 2 other files (.docx 1, .txt 1); gone.pdf (there is no such file or folder)\n",
        ),
        (
            "gone.pdf",
            "error: nothing to read: gone.pdf (there is no such file or folder)\n",
        ),
        (
            "pdfs --exclude *.pdf",
            "error: nothing to read: found no PDF, PNG, JPEG, WebP, BMP, GIF, TIFF or JP2 file in pdfs; \
             --include and --exclude excluded 1\n",
        ),
    ] {
        let ran = room.extract(args).expect(1);
        assert_eq!((ran.stderr.as_str(), ran.stdout.as_str()), (sentence, ""));
    }
}

#[cfg(unix)]
mod links_and_rights {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn links_are_followed_and_loops_end() {
        let room = Room::new();
        room.put("in/a.pdf", pdf(&["a"]))
            .put("elsewhere/b.pdf", pdf(&["b"]));
        symlink("../elsewhere", room.path("in/link")).unwrap();
        symlink("..", room.path("elsewhere/up")).unwrap();
        symlink(".", room.path("in/self")).unwrap();
        let ran = room.extract("in -v").expect(0);
        assert_eq!(ran.pages()[..2], ["in/a.pdf:1", "in/link/b.pdf:1"]);
        assert!(
            ran.stderr.contains("in/self links back to in"),
            "{}",
            ran.stderr
        );
    }

    #[test]
    fn dangling_link_named_like_a_document_is_a_failed_record() {
        let room = Room::new();
        room.put("in/a.pdf", pdf(&["a"]));
        symlink("nowhere", room.path("in/b.pdf")).unwrap();
        symlink("nowhere", room.path("in/c.txt")).unwrap();
        assert_eq!(
            room.extract("in").expect(3).pages(),
            ["in/a.pdf:1", "in/b.pdf:0"]
        );
    }

    #[test]
    fn unreadable_folder_is_a_failed_record() {
        let room = Room::new();
        room.put("in/a.pdf", pdf(&["a"]))
            .put("in/locked/b.pdf", pdf(&["b"]));
        fs::set_permissions(room.path("in/locked"), Permissions::from_mode(0o000)).unwrap();
        if fs::read_dir(room.path("in/locked")).is_ok() {
            return; // root may do everything
        }
        let ran = room.extract("in").expect(3);
        assert_eq!(ran.pages(), ["in/a.pdf:1", "in/locked:0"]);
        assert_eq!(
            ran.records()[1].error.as_ref().unwrap().message,
            "no permission to read it"
        );
    }
}
