use std::io::ErrorKind;

use proptest::prelude::*;

use super::*;
use crate::{
    error::ErrorKind as Kind,
    page::{Needs, PixelBudget, TextPlace},
    prepare::decoder::Raster,
};

fn request(pixels: bool, text: bool) -> Request {
    let budget = PixelBudget {
        factor: 1,
        min_pixels: 1,
        max_pixels: 100,
    };
    let page = PageRequest {
        number: 1,
        raster: Raster { dpi: 72.0, budget },
        needs: Needs { pixels, text },
        upright: true,
        text_first: false,
        split: None,
    };
    Request {
        ticket: 7,
        document: 0,
        format: Format::Pdf,
        path_bytes: 0,
        wanted: Wanted::Page(page),
    }
}

fn page() -> DecodedPage {
    DecodedPage {
        pixels: Some(RgbImage::from_fn(2, 1, |x, _| image::Rgb([x as u8; 3]))),
        original: Some((20, 10)),
        page_size: Some((30, 15)),
        blank: false,
        upright: Some(Rotation::Quarter),
        text: Some("ä".to_owned()),
        places: vec![TextPlace {
            bytes: 0..2,
            bbox: [0, 100, 5000, 10_000],
        }],
        is_scan: true,
        has_fields: true,
        warnings: vec![Warning::MissingGlyphs],
        missing_script: Some(Script::Han),
    }
}

fn sent(ticket: u64, answer: &Answered) -> Vec<u8> {
    let mut sent = Vec::new();
    write_answer(&mut sent, ticket, answer).unwrap();
    sent
}

/// What becomes of `sent` as the answer to `request`.
fn received(request: &Request, mut sent: &[u8]) -> io::Result<Answered> {
    check_answer(
        request,
        read_answer(&mut sent, || request.wanted.max_bytes())?,
    )
}

#[test]
fn page_round_trips_and_half_a_page_fails() {
    let sent = sent(7, &Answered::Page(page()));
    let Answered::Page(arrived) = received(&request(true, true), &sent).unwrap() else {
        panic!("no page");
    };
    assert_eq!(arrived, page());
    for length in 0..sent.len() {
        let error = received(&request(true, true), &sent[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length}");
    }
}

#[test]
fn answer_with_another_ticket_is_refused() {
    let count = Request {
        wanted: Wanted::PageCount,
        ..request(true, true)
    };
    for (request, ticket, answer) in [
        (request(true, true), 6, Answered::Page(page())),
        (
            request(true, true),
            7,
            Answered::PageCount(PageCount::all(1)),
        ),
        (request(false, true), 7, Answered::Page(page())),
        (request(true, false), 7, Answered::Page(page())),
        (
            request(true, true),
            7,
            Answered::Page(DecodedPage::default()),
        ),
        (count, 7, Answered::PageCount(PageCount::all(u32::MAX))),
        (count, 7, Answered::PageCount(PageCount::all(0))),
        (
            count,
            7,
            Answered::PageCount(PageCount {
                claimed: 1,
                present: 2,
            }),
        ),
        (count, 7, Answered::Page(DecodedPage::default())),
    ] {
        let error = received(&request, &sent(ticket, &answer)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{answer:?}");
    }
    let png = Request {
        format: Format::Png,
        ..count
    };
    assert!(received(&png, &sent(7, &Answered::PageCount(PageCount::all(2)))).is_err());
}

#[test]
fn bytes_beyond_the_header_are_refused() {
    for size in [None, Some((1, 1)), Some((u32::MAX, u32::MAX))] {
        let header = PageHeader {
            size,
            ..PageHeader::default()
        };
        let reply = Reply::Page(header);
        let mut sent = Vec::new();
        frames::write(&mut sent, &Answer { ticket: 7, reply }, &[b"pixels"]).unwrap();
        let error = received(&request(true, true), &sent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{size:?}");
    }
}

#[test]
fn a_long_message_fits_into_a_header() {
    let message = "\u{1}".repeat(MAX_MESSAGE - 1) + &"ä".repeat(1000);
    let error = PageError::new(Kind::Unreadable, Stage::Prepare, message);
    let sent = sent(7, &Answered::Failed(error));
    let received = received(&request(true, true), &sent).unwrap();
    let Answered::Failed(error) = received else {
        panic!("no error");
    };
    assert!(error.message.ends_with("\u{1}…"));
}

#[test]
fn damaged_answers_and_requests_never_panic() {
    let error = PageError::new(Kind::Unreadable, Stage::Prepare, "no page");
    let answers = [
        Answered::Page(page()),
        Answered::PageCount(PageCount::all(3)),
        Answered::Failed(error),
    ];
    let mut valid: Vec<_> = answers.iter().map(|answer| sent(7, answer)).collect();
    let mut asked = Vec::new();
    frames::write(&mut asked, &request(true, true), &[b"a.pdf"]).unwrap();
    valid.push(asked);
    crate::fuzz::feed("worker frames", &valid, |bytes| {
        for (pixels, text) in [(true, true), (false, true), (true, false)] {
            if let Ok(Answered::Page(page)) = received(&request(pixels, text), bytes) {
                assert_eq!(page.pixels.is_some(), pixels);
            }
        }
        let _ = frames::read::<Request>(&mut &bytes[..], crate::prepare::request_bytes::MAX_PATH);
    });
}

proptest! {
    #[test]
    fn protocol_reader_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200, at in 0_usize..200) {
        let _ = received(&request(true, true), &bytes);
        let mut damaged = sent(7, &Answered::Page(page()));
        let at = at % damaged.len();
        bytes.truncate(damaged.len() - at);
        damaged[at..at + bytes.len()].copy_from_slice(&bytes);
        damaged.truncate(damaged.len() - cut % damaged.len());
        let _ = received(&request(true, true), &damaged);
    }
}
