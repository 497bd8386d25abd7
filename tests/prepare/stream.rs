//! The pages of a run: in order, a few ahead, each document once.

use super::*;

#[test]
fn documents_have_their_metadata() {
    let (_folder, path) = file("a.png", b"\x89PNG\r\n\x1a\nrest");
    let page = only(&path, settings()).page;
    let document = &page.document;
    assert_eq!(
        (document.size_bytes, document.page_count),
        (Some(12), Some(1))
    );
    let sha256sum = "f02a830cf03a1cf756c0461481db682bc9254a5a399f847494d33850c3ff7156";
    assert_eq!(document.doc_id.as_deref(), Some(sha256sum));
}

#[test]
fn pages_come_in_input_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for index in 0..20 {
        // Large and small in turn, so that the later one is often ready first.
        let side = if index % 2 == 0 { 800 } else { 8 };
        let bytes = match index % 5 {
            0 => b"nothing that is known".to_vec(),
            1 => pdf(&[("/MediaBox [0 0 100 80]", ""); 3], &[]),
            _ => png(flag(side, side)),
        };
        paths.push(folder.path().join(format!("{index:02}")));
        fs::write(&paths[index as usize], bytes).unwrap();
    }
    let pages = prepare_all(
        &paths,
        Settings {
            workers: 4,
            prefetch: 8,
            ..settings()
        },
    );
    let expected: Vec<_> = (0..20)
        .flat_map(|index| {
            let pages = match index % 5 {
                0 => 0..=0,
                1 => 1..=3,
                _ => 1..=1,
            };
            pages.map(move |page| (index, page))
        })
        .map(|(index, page)| (paths[index].clone(), page))
        .collect();
    let found: Vec<_> = pages
        .iter()
        .map(|page| (page.page.document.path.clone(), page.page.number))
        .collect();
    assert_eq!(found, expected);
    let mut ids: Vec<_> = pages
        .iter()
        .filter_map(|page| Some(page.result.as_ref().ok()?.id))
        .collect();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids are unique");
}

#[test]
fn only_selected_pages_are_prepared() {
    let (_folder, two) = file("two.pdf", &pdf(&[("/MediaBox [0 0 9 9]", ""); 2], &[]));
    let (_folder, five) = file("five.pdf", &pdf(&[("/MediaBox [0 0 9 9]", ""); 5], &[]));
    let selection: PageSelection = "3,5-".parse().unwrap();
    let settings = Settings {
        selection: Some(selection),
        ..settings()
    };
    let mut pages =
        prepare::pages(sources(&[two, five.clone()]), settings, &Cancel::default()).unwrap();
    let found: Vec<_> = pages
        .by_ref()
        .map(Result::unwrap)
        .map(|page| (page.page.document.path.clone(), page.page.number))
        .collect();
    assert_eq!(found, [(five.clone(), 3), (five, 5)]);
    assert_eq!(pages.skipped().unselected(), 1, "the document of two pages");
}

#[test]
fn at_most_prefetch_pages_are_prepared_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..12)
        .map(|index| folder.path().join(format!("{index:02}.png")))
        .collect();
    for path in &paths {
        fs::write(path, png(flag(8, 8))).unwrap();
    }
    let mut pages = prepare::pages(
        sources(&paths),
        Settings {
            prefetch: 2,
            ..settings()
        },
        &Cancel::default(),
    )
    .unwrap();
    assert!(pages.next().unwrap().unwrap().result.is_ok());
    thread::sleep(Duration::from_millis(300));
    for path in &paths {
        fs::remove_file(path).unwrap();
    }
    // Whatever was not prepared yet fails now.
    let rest: Vec<_> = pages.map(|page| page.unwrap().result.is_ok()).collect();
    assert_eq!(rest.len(), 11);
    assert!(rest.iter().filter(|&&ok| ok).count() <= 2, "{rest:?}");
}

#[test]
fn repeated_document_yields_no_pages_and_is_counted() {
    let (_folder, one) = file("one.png", &png(flag(8, 8)));
    let (_folder, copy) = file("copy.png", &png(flag(8, 8)));
    let (_folder, other) = file("other.png", &png(flag(8, 16)));
    let done = Resume::new(&Target::Stdout, Index::default(), Retry::default());
    let sources = sources(&[one.clone(), copy, other.clone()]);
    let mut pages =
        prepare::pages_except(sources, settings(), Box::new(done), &Cancel::default()).unwrap();
    let read: Vec<_> = pages
        .by_ref()
        .map(Result::unwrap)
        .map(|page| (page.page.document.path.clone(), page.passed_over))
        .collect();
    assert_eq!(read, [(one, 0), (other, 0)]);
    assert_eq!(pages.skipped().copies(), 1);
}

/// Says when the feeder has ended: its sender is gone.
struct Watch(#[allow(dead_code)] mpsc::Sender<()>);

impl Done for Watch {
    fn known(&self, _: &Document, _: u32) -> Known {
        Known::Unread
    }
}

#[test]
fn dropping_the_iterator_ends_preparation() {
    let (_folder, path) = file("a.png", &png(flag(64, 64)));
    for taken in [0, 1, 5] {
        let (alive, ended) = mpsc::channel();
        let sources = vec![sources(std::slice::from_ref(&path)).remove(0); 10_000];
        let mut pages = prepare::pages_except(
            sources,
            settings(),
            Box::new(Watch(alive)),
            &Cancel::default(),
        )
        .unwrap();
        assert_eq!(pages.by_ref().take(taken).count(), taken);
        drop(pages);
        let end = ended.recv_timeout(Duration::from_secs(10));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
