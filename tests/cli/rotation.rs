//! Scans that lie on their side or upside down: turned before a model sees them, and only where that is certain.

use image::RgbImage;
use omnidocs::{
    Reader, ReaderOptions,
    cancel::Cancel,
    engine::{Attempt, PageResult, SingleReader},
    options::OutputFormat,
    page::{EngineInfo, Needs, PageAnswer, PixelBudget, PreparedPage, Rotation, Source},
    prepare::{self, DecoderChoice, Raster},
    record::{Record, Status},
};

use crate::{
    chat_server::ChatServer,
    common::{Ran, Room, pdf, pdf_of},
};

/// English, in which far more letters rise than hang.
const TEXT: &str = "It was the best of times, it was the worst of times, it was\n\
                    the age of wisdom, it was the age of foolishness, it was the\n\
                    epoch of belief, it was the epoch of incredulity, it was the\n\
                    season of Light, it was the season of Darkness, it was the\n\
                    spring of hope, it was the winter of despair, we had all that\n\
                    could be had before us, we had nothing before us, we were all\n\
                    going direct to Heaven, we were all going direct the other way\n";

/// A page of a PDF as a scanner would see it.
fn scan(room: &Room, text: &str) -> RgbImage {
    room.put("printed.pdf", pdf(&[&text.repeat(5)]));
    let source = Source {
        path: room.path("printed.pdf"),
        size_bytes: None,
        error: None,
    };
    let settings = prepare::Settings {
        workers: 1,
        prefetch: 1,
        ..prepare::Settings::of_pixels(
            Raster {
                dpi: 150.0,
                budget: PixelBudget {
                    factor: 1,
                    min_pixels: 1,
                    max_pixels: 4_000_000,
                },
            },
            DecoderChoice::InProcess,
        )
    };
    let mut pages = prepare::pages(vec![source], settings, &Cancel::default()).unwrap();
    let page = pages.next().unwrap().unwrap().result.unwrap();
    page.pixels.unwrap().as_ref().clone()
}

/// What is recorded of the pages that a server reads, which sees what a model would see. `path` is where programs are.
fn read(room: &Room, path: &str, args: &str) -> Vec<Record> {
    let server = ChatServer::new();
    let url = server.url();
    let args = format!("extract --engine server --server-url {url} --max-pixels 2000000 {args}");
    Ran::of(room.omnidocs(&args).env("PATH", room.path(path)))
        .expect(0)
        .records()
}

#[test]
fn scans_are_turned_upright_and_records_say_by_how_much() {
    let room = Room::new();
    let page = scan(&room, TEXT);
    for turned in Rotation::ALL {
        let stored = turned.turn(&page);
        stored.save(room.path("scan.png")).unwrap();
        let record = read(&room, "none", "scan.png").remove(0);
        assert_eq!(record.rotation, Some(turned.reversed().degrees()));
        let (width, height) = (record.width.unwrap(), record.height.unwrap());
        assert!(width < height, "{width} x {height}, {turned:?}");
        let original = (record.original_width, record.original_height);
        assert_eq!(original, (Some(stored.width()), Some(stored.height())));
        let record = read(&room, "none", "scan.png --auto-rotate off").remove(0);
        assert_eq!(record.rotation, Some(0));
        let is_upright = record.width < record.height;
        assert_eq!(is_upright, turned.quarters() % 2 == 0, "{turned:?}");
    }
}

#[test]
fn pages_that_do_not_show_how_they_lie_are_left_alone() {
    let room = Room::new();
    for text in [TEXT.to_uppercase(), "12 345 67 890\n".repeat(7)] {
        let page = Rotation::Half.turn(&scan(&room, &text));
        page.save(room.path("scan.png")).unwrap();
        assert_eq!(read(&room, "none", "scan.png")[0].rotation, Some(0));
    }
}

#[test]
fn pages_of_pdfs_lie_as_their_text_runs() {
    let room = Room::new();
    // The matrix of the text, and where it begins.
    for (matrix, rotation) in [
        ("1 0 0 1 60 700", 0),
        ("0 1 -1 0 120 60", 90),
        ("-1 0 0 -1 540 120", 180),
        ("0 -1 1 0 480 780", 270),
    ] {
        let lines: String = TEXT
            .to_uppercase()
            .lines()
            .map(|line| format!("({line}) Tj T* "))
            .collect();
        let drawn = format!("BT /F 12 Tf 16 TL {matrix} Tm {lines}ET");
        room.put(
            "turned.pdf",
            pdf_of(&[
                "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
                "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F << \
                 /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
                    .to_owned(),
                format!("<< /Length {} >>\nstream\n{drawn}\nendstream", drawn.len()),
            ]),
        );
        let record = read(&room, "none", "turned.pdf").remove(0);
        assert_eq!(record.rotation, Some(rotation), "{matrix}");
        let original = (record.original_width, record.original_height);
        assert_eq!(original, (Some(595), Some(842)));
    }
}

#[test]
fn resume_refuses_another_auto_rotate() {
    let room = Room::new();
    scan(&room, TEXT).save(room.path("scan.png")).unwrap();
    let server = ChatServer::new();
    let start = format!(
        "extract scan.png -o r.jsonl --engine server --server-url {}",
        server.url()
    );
    let run = |args: &str| {
        let mut command = room.omnidocs(&format!("{start} {args}"));
        Ran::of(command.env("PATH", room.path("bin")))
    };
    run("").expect(0);
    run("--auto-rotate on").expect(0);
    // Nor does it matter whether Tesseract is there.
    #[cfg(unix)]
    {
        use std::{fs, os::unix::fs::PermissionsExt};
        let script = "#!/bin/sh\necho 'tesseract 5.9.9'; echo osd\n";
        room.put("bin/tesseract", script);
        let program = room.path("bin/tesseract");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        run("").expect(0);
    }
    let error = run("--auto-rotate off").expect(10).stderr;
    let line = "auto_rotate: \"on\" recorded, null now";
    assert!(error.contains(line), "{error}");
}

/// A script stands in for Tesseract.
#[cfg(unix)]
#[test]
fn tesseract_is_asked_where_print_says_nothing_and_believed_where_it_is_sure() {
    use std::{fs, os::unix::fs::PermissionsExt};

    let room = Room::new();
    let page = scan(&room, &TEXT.to_uppercase());
    Rotation::Half
        .turn(&page)
        .save(room.path("capitals.png"))
        .unwrap();
    let page = scan(&room, TEXT);
    page.save(room.path("upright.png")).unwrap();
    // Without lines there is nothing to ask about.
    let mut random = fastrand::Rng::with_seed(7);
    let noise = RgbImage::from_fn(640, 640, |_, _| image::Rgb([random.u8(..); 3]));
    noise.save(room.path("noise.png")).unwrap();
    for (confidence, rotation) in [("31.02", 180), ("12.16", 0)] {
        let script = format!(
            "#!/bin/sh\ncase $1 in\n--version) echo 'tesseract 5.9.9';;\n\
             --list-langs) printf 'List (2):\\neng\\nosd\\n';;\n\
             *) [ \"$*\" = 'stdin stdout -l osd --psm 0' ] || exit 1; cat > /dev/null\n\
             printf 'Orientation in degrees: 180\\nRotate: 180\\nOrientation confidence: {confidence}\\n';;\nesac\n"
        );
        room.put("bin/tesseract", script);
        let program = room.path("bin/tesseract");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        // What the script needs.
        let _ = std::os::unix::fs::symlink("/bin/cat", room.path("bin/cat"));
        let mut records = read(&room, "bin", "capitals.png noise.png upright.png");
        // They are written as they are done.
        records.sort_by_key(|record| record.path.clone());
        let turned: Vec<_> = records.iter().map(|record| record.rotation).collect();
        assert_eq!(turned, [Some(rotation), Some(0), Some(0)], "{confidence}");
    }
}

/// Tells the size of what it is shown.
struct Size(EngineInfo);

impl SingleReader for Size {
    fn info(&self) -> &EngineInfo {
        &self.0
    }

    fn needs(&self) -> Needs {
        Needs {
            pixels: true,
            text: false,
        }
    }

    fn read(&mut self, page: &PreparedPage, _: Attempt) -> PageResult {
        let (width, height) = page.pixels.as_deref().unwrap().dimensions();
        Ok(PageAnswer {
            content: format!("{width} {height}"),
            ..PageAnswer::default()
        })
    }
}

#[test]
fn library_turns_pages_and_reads_long_ones_in_parts() {
    let room = Room::new();
    let scan = Rotation::Quarter.turn(&scan(&room, TEXT));
    scan.save(room.path("scan.png")).unwrap();
    let reader = |options: &ReaderOptions| {
        let info = EngineInfo {
            engine: "size",
            model: None,
            device: None,
            dtype: None,
            output_format: OutputFormat::Text,
        };
        Reader::with_engine(Size(info), options)
    };
    let mut usual = reader(&ReaderOptions::default());
    for record in [
        usual.read_image(scan.clone()).unwrap(),
        usual.read_page(room.path("scan.png"), 1).unwrap(),
    ] {
        assert_eq!(record.rotation, Some(270));
        assert!(record.width < record.height, "{record:?}");
    }
    let receipt = RgbImage::from_fn(300, 3000, |x, y| {
        image::Rgb(if y % 30 < 12 && x % 11 < 7 {
            [0; 3]
        } else {
            [255; 3]
        })
    });
    let record = usual.read_image(receipt.clone()).unwrap();
    let parts = record.content.unwrap().lines().count();
    assert_eq!(record.parts, Some(parts));
    assert!(parts > 2, "{parts}");

    let as_stored = ReaderOptions {
        auto_rotate: false,
        split: false,
        ..ReaderOptions::default()
    };
    let mut as_stored = reader(&as_stored);
    assert_eq!(as_stored.read_image(scan).unwrap().rotation, Some(0));
    assert_eq!(as_stored.read_image(receipt).unwrap().parts, None);
    let blank = RgbImage::from_pixel(600, 600, [255; 3].into());
    assert_eq!(usual.read_image(blank).unwrap().status, Status::Blank);
}
