//! Tests of the counters and the summary.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    summary::page_line,
    tally::FAILURES_SHOWN,
    ticker::{PLAIN_FIRST, report_now_and_then},
    *,
};
use crate::{
    error::{ErrorKind, PageError, Stage as PageStage},
    options::OutputFormat,
    page::{
        DeviceStats, Document, EngineInfo, FinishReason, PageAnswer, PageId, PageOutcome, PageRef,
    },
    record::PageFacts,
};

/// Counts page `number` of `path`, a document of four pages, as the pipeline does.
fn count(tally: &mut Tally, path: &str, number: u32, result: Result<PageAnswer, &str>) -> Record {
    let document = Arc::new(Document {
        path: path.into(),
        size_bytes: None,
        doc_id: None,
        format: None,
        page_count: (number > 0).then_some(4),
        stamp: None,
    });
    let by = EngineInfo {
        engine: "qwen",
        model: None,
        output_format: OutputFormat::Markdown,
        device: None,
        dtype: None,
    };
    let facts = PageFacts {
        page: PageRef {
            document,
            number,
            last_number: None,
        },
        size: None,
        original: None,
        rotation: crate::page::Rotation::None,
        in_parts: false,
        warnings: Vec::new(),
        prepare: Duration::from_millis(40),
        attempts: 1,
        page_size: None,
    };
    let result =
        result.map_err(|reason| PageError::new(ErrorKind::Render, PageStage::Prepare, reason));
    tally.document_started(&facts.page, 0);
    let outcome = PageOutcome {
        id: PageId(0),
        result,
        by,
        attempts: 1,
        size: None,
        warnings: Vec::new(),
        elapsed: Duration::from_millis(u64::from(number) * 1000),
    };
    let record = Record::read(&facts, outcome);
    tally.add(&record);
    record
}

fn answer() -> PageAnswer {
    PageAnswer {
        content: "three short words".to_owned(),
        prefill: Duration::from_millis(300),
        decode: Duration::from_millis(600),
        ..PageAnswer::default()
    }
}

#[test]
fn summary_of_a_run() {
    let mut tally = Tally::new(1_003, "1-4".parse().ok());
    tally.loading = Duration::from_millis(3_140);
    tally.waiting = Duration::from_secs(7);
    for document in 0..1_000 {
        for page in 1..=4 {
            count(
                &mut tally,
                &format!("pdfs/{document:04}.pdf"),
                page,
                Ok(answer()),
            );
        }
    }
    count(
        &mut tally,
        "pdfs/locked.pdf",
        0,
        Err("the PDF wants a password"),
    );
    for page in 2..=4 {
        count(
            &mut tally,
            "pdfs/torn.pdf",
            page,
            Err("the page can't be rendered"),
        );
    }
    tally.device_stats = [(3_990, 3_990, false), (14, 600, true)]
        .into_iter()
        .zip(0..)
        .map(|((pages, seconds, lost), number)| DeviceStats {
            device: format!("cuda:{number}"),
            pages,
            time: Duration::from_secs(seconds),
            lost,
        })
        .collect();
    let ignored = Ignored(BTreeMap::from([
        (".txt".to_owned(), 10),
        (".docx".to_owned(), 2),
    ]));
    let output = Target::File("results.jsonl".into());
    let summary = tally.summary_after(Duration::from_secs(4_000), &ignored, &output);
    insta::assert_snapshot!(summary.render(None, false), @r"
    read      1,003 documents, 1 without any of the requested pages → results.jsonl
    pages     4,000 ok, 4 failed; 12,000 words
    pace      1.00 pages/s; 2.0 s a page (median), 4.0 s (95th percentile)
    devices   cuda:0: 3,990 pages, 60.0 a minute
              cuda:1: 14 pages, 1.4 a minute, then lost
    time      1h 06m: 3.1 s loading the model, 20m 00s prefill, 40m 00s decode, 7.0 s waiting for pages; preparation 2m 40s (in parallel)
    ignored   12 other files (.txt 10, .docx 2)
    failed    pdfs/locked.pdf: the PDF wants a password
    failed    pdfs/torn.pdf, page 2 and 2 more: the page can't be rendered
    ");
    insta::assert_snapshot!(tally.state_after(Duration::from_secs(4_000)).line(), @"99% · 4,004/4,004+ pages · 4 failed · 1,002/1,003 documents · 1.00 pages/s · 4.0 s left · pdfs/torn.pdf");
}

#[test]
fn summary_lists_first_failures_and_refers_to_the_output() {
    let mut tally = Tally::new(25, None);
    for document in 0..25 {
        count(
            &mut tally,
            &format!("{document}.pdf"),
            0,
            Err("it is empty"),
        );
    }
    let summary = tally.summary_after(Duration::from_secs(1), &Ignored::default(), &Target::Stdout);
    let summary = summary.render(None, false);
    assert_eq!(summary.matches("failed    ").count(), FAILURES_SHOWN);
    assert!(
        summary.ends_with("          … and 5 more; they are in the standard output\n"),
        "{summary}"
    );
}

#[test]
fn time_left_counts_pages_of_the_current_document() {
    let mut tally = Tally::new(2, None);
    let line = |tally: &Tally, seconds| tally.state_after(Duration::from_secs(seconds)).line();
    count(&mut tally, "a.pdf", 1, Ok(answer()));
    assert_eq!(
        line(&tally, 10),
        "12% · 1/4+ pages · 0/2 documents · 0.10 pages/s · 1m 10s left · a.pdf"
    );
    for page in 2..=4 {
        count(&mut tally, "a.pdf", page, Ok(answer()));
    }
    assert!(line(&tally, 40).contains("1/2 documents"));
    tally.selection = "1-2".parse().ok();
    count(&mut tally, "b.pdf", 1, Ok(answer()));
    assert_eq!(
        line(&tally, 50),
        "83% · 5/6 pages · 1/2 documents · 0.10 pages/s · 10 s left · b.pdf"
    );
}

#[test]
fn resumed_progress_starts_at_the_pages_done() {
    let mut tally = Tally::new(2, None);
    // Of the second document, the first three pages are done.
    tally.done_before = (1, 7);
    let page = |number| PageRef {
        document: Arc::new(Document {
            path: "b.pdf".into(),
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: Some(4),
            stamp: None,
        }),
        number,
        last_number: None,
    };
    tally.document_started(&page(4), 1);
    assert_eq!(
        tally.status_line(),
        "87% · 7/8 pages · 1/2 documents · time left unknown · b.pdf"
    );
    assert_eq!(tally.in_hand(), 1);
}

#[test]
fn summary_names_first_pages_of_each_warning() {
    let mut tally = Tally::new(10, None);
    let truncated = || PageAnswer {
        finish_reason: Some(FinishReason::Length),
        ..answer()
    };
    for document in 0..7 {
        count(&mut tally, &format!("{document}.pdf"), 3, Ok(truncated()));
    }
    let output = Target::File("r.jsonl".into());
    let summary = tally.summary_after(Duration::from_secs(1), &Ignored::default(), &output);
    assert!(
        summary.render(None, false).contains(
            "\nwarnings  7 truncated: 0.pdf p.3, 1.pdf p.3, 2.pdf p.3, 3.pdf p.3, 4.pdf p.3, … and 2 more\n"
        ),
        "{}",
        summary.render(None, false)
    );
}

#[test]
fn page_line_shows_status_or_error() {
    let mut tally = Tally::new(3, None);
    let mut lines = Vec::new();
    for (path, page, result) in [
        ("a.pdf", 1, Ok(answer())),
        ("a.pdf", 2, Err("it can't be rendered\u{1b}[2J")),
        ("b\n.pdf", 0, Err("the PDF wants a password")),
    ] {
        let record = count(&mut tally, path, page, result);
        lines.push(page_line(&tally, &record, false));
    }
    assert_eq!(
        lines,
        [
            "[1/4+] a.pdf p.1 ✓ 3 words 1.0 s",
            "[2/4+] a.pdf p.2 ✗ render: it can't be rendered\\u{1b}[2J",
            "[3/3+] b\\n.pdf ✗ render: the PDF wants a password",
        ]
    );
}

#[test]
fn slow_stage_is_logged_soon_then_at_intervals() {
    let handle = ProgressHandle::default();
    let rounds = Cell::new(0);
    let notes = RefCell::new(Vec::new());
    *lock(&handle.stage) = Instant::now()
        .checked_sub(PLAIN_FIRST)
        .map(|since| (Stage::Loading, since));
    report_now_and_then(
        &handle,
        |_| {
            rounds.set(rounds.get() + 1);
            rounds.get() <= 10
        },
        |line| notes.borrow_mut().push(line),
    );
    assert_eq!(notes.into_inner(), ["loading the model (5.0 s)"]);
}

#[test]
fn progress_handle_reports_status() {
    let progress = Progress::new(ProgressChoice::Off, Verbosity::Quiet, false);
    let handle = progress.handle();
    let asked = thread::spawn(move || handle.status_line()).join();
    assert_eq!(
        asked.unwrap(),
        "0% · 0/0 pages · 0/0 documents · time left unknown"
    );
}

#[test]
fn first_signal_explains_the_second() {
    let mut progress = Progress::new(ProgressChoice::Off, Verbosity::Normal, false);
    let handle = progress.handle();
    assert_eq!(
        handle.format_interruption(2),
        "interrupted: ending; press Ctrl-C again to stop now"
    );
    progress.start();
    let page = PageRef {
        document: Arc::new(Document {
            path: "a.pdf".into(),
            size_bytes: None,
            doc_id: None,
            format: None,
            page_count: Some(4),
            stamp: None,
        }),
        number: 1,
        last_number: None,
    };
    progress.tally().document_started(&page, 0);
    assert_eq!(
        handle.format_interruption(2),
        "interrupted: finishing the pages in hand (1); press Ctrl-C again to stop now"
    );
    assert_eq!(
        handle.format_interruption(15),
        "asked to end: finishing the pages in hand (1); a second signal stops at once"
    );
}

#[test]
fn summary_counts_pages_of_each_engine_where_there_are_two() {
    let mut tally = Tally::new(1, None);
    for number in 1..=3 {
        let record = count(&mut tally, "a.pdf", number, Ok(PageAnswer::default()));
        assert_eq!(record.engine, "qwen");
    }
    let summary = |tally: &Tally| {
        let lines =
            tally.summary_after(Duration::from_secs(1), &Ignored::default(), &Target::Stdout);
        lines.render(None, false)
    };
    assert!(!summary(&tally).contains("engines"));
    let mut record = count(&mut tally, "a.pdf", 4, Ok(PageAnswer::default()));
    record.engine = "text-layer".to_owned();
    tally.add(&record);
    let summary = summary(&tally);
    assert!(
        summary.contains("engines   qwen 4 pages, text-layer 1 page\n"),
        "{summary}"
    );
}
