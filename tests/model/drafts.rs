//! Guesses make an answer faster and change nothing about it.

use std::{collections::HashMap, path::Path};

use candle_core::DType;
use omnidocs::{
    cancel::Cancel,
    generation::generator::GenerateOptions,
    models::pixel_budget,
    page::{Needs, Source},
    prepare::{self, Raster},
};
use serde::Deserialize;

use super::{GREEDY, example, read_json, reader, reader_cases};

#[test]
fn drafts_change_no_answer() {
    let mut reader = reader(DType::F32);
    let cases = reader_cases();
    let others: String = cases.iter().map(|case| case.text.as_str()).collect();
    for case in &cases {
        let shouted = case.text.to_uppercase();
        let prompt = case.prompt(reader.tokenizer());
        for draft in ["", &case.text, &others, &shouted, "\u{0}\n\n\n"] {
            let options = GenerateOptions {
                draft: Some(draft),
                ..GenerateOptions::default()
            };
            let answer = reader
                .generate(&case.image, &prompt, GREEDY, options)
                .unwrap();
            assert_eq!(
                answer.tokens, case.tokens,
                "{case:?}, guessed from {draft:?}"
            );
            let passes = answer.forward_passes + answer.draft_accepted;
            // Every pass writes one token that was not guessed; the last token of all ends the answer.
            assert_eq!(passes, answer.tokens.len() + 1, "{case:?}");
        }
    }
}

#[derive(Deserialize)]
struct Truth {
    file: String,
    page: u32,
    text: String,
}

#[test]
fn text_layer_drafts_save_two_of_three_passes() {
    let truth: Vec<Truth> = read_json("pages.json");
    let truth: HashMap<_, _> = truth
        .into_iter()
        .map(|page| ((page.file, page.page), page.text))
        .collect();
    let source = |file: &str| Source {
        path: example("pages").join(file),
        size_bytes: None,
        error: None,
    };
    let settings = prepare::Settings {
        needs: Needs {
            pixels: true,
            text: true,
        },
        workers: 1,
        prefetch: 1,
        ..prepare::Settings::of_pixels(
            Raster {
                dpi: 200.0,
                budget: pixel_budget(&example("reader")).unwrap(),
            },
            prepare::DecoderChoice::Workers(env!("CARGO_BIN_EXE_omnidocs").into()),
        )
    };
    let mut reader = reader(DType::F32);
    let prompt = reader.tokenizer().prompt("qwenvl markdown").unwrap();
    let sources = vec![source("note.pdf"), source("receipts.pdf")];
    let (mut plain, mut drafted) = (0, 0);
    for page in prepare::pages(sources, settings, &Cancel::default()).unwrap() {
        let page = page.unwrap();
        let prepared = page.result.unwrap();
        let (image, text) = (prepared.pixels.unwrap(), prepared.text.unwrap().text);
        let mut passes = |draft| {
            let options = GenerateOptions {
                draft,
                ..GenerateOptions::default()
            };
            let answer = reader.generate(&image, &prompt, GREEDY, options).unwrap();
            let name = Path::new(&page.page.document.path).file_name().unwrap();
            let name = name.to_str().unwrap().to_owned();
            let text = reader.tokenizer().decode(&answer.tokens).unwrap();
            assert_eq!(text, truth[&(name, page.page.number)]);
            // That of the prompt is needed in any case.
            answer.forward_passes - 1
        };
        plain += passes(None);
        drafted += passes(Some(&text));
    }
    assert!(drafted * 3 <= plain, "{drafted} passes instead of {plain}");
}
