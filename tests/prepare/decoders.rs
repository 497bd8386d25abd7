//! The two decoders: in worker processes, and in this one.

use omnidocs::prepare::{
    DecoderChoice,
    decoder::{Decoder, DocumentRequest, PageCount, PageRequest},
    in_process::InProcess,
};

use super::*;

fn in_process() -> Settings {
    Settings {
        decoder: DecoderChoice::InProcess,
        ..settings()
    }
}

#[test]
fn both_decoders_give_the_same_pages() {
    let two = pdf(
        &[
            ("/MediaBox [0 0 100 80]", &text_page("first")),
            ("/MediaBox [0 0 80 100]", &text_page("second")),
        ],
        &[],
    );
    let (_folder, pdf) = file("a.pdf", &two);
    let (_folder, png) = file("b.png", &png(flag(64, 32)));
    let (_folder, tiff) = file("c.tif", &encode(flag(32, 32), ImageFormat::Tiff));
    let (_folder, broken) = file("d.pdf", &two[..100]);
    let paths = [pdf, png, tiff, broken];
    let of = |settings| -> Vec<_> {
        let pages = prepare_all(&paths, settings).into_iter();
        pages.map(|page| (page.page, page.result)).collect()
    };
    let pages = of(in_process());
    assert_eq!(pages.len(), 5);
    assert_eq!(pages, of(settings()));
}

#[test]
fn in_process_decoder_serves_many_threads() {
    let (decoder, other) = (InProcess::start().unwrap(), InProcess::start().unwrap());
    thread::scope(|scope| {
        for id in 0..4_u64 {
            let decoder: &dyn Decoder = if id % 2 == 0 { &decoder } else { &other };
            scope.spawn(move || {
                let text = format!("document {id}");
                let (_folder, path) = file(
                    "a.pdf",
                    &pdf(&[("/MediaBox [0 0 100 80]", &text_page(&text))], &[]),
                );
                let document = DocumentRequest {
                    // Those of two decoders may be the same.
                    id: id / 2,
                    path,
                    format: Format::Pdf,
                    passwords: Passwords::default(),
                };
                let page = PageRequest {
                    number: 1,
                    raster: settings().raster,
                    needs: EVERYTHING,
                    upright: false,
                    text_first: false,
                    split: None,
                };
                for _ in 0..20 {
                    assert_eq!(decoder.page_count(&document), Ok(PageCount::all(1)));
                    let decoded = decoder.page(&document, page).unwrap();
                    assert_eq!(decoded.text.as_deref(), Some(text.as_str()));
                }
            });
        }
    });
}
