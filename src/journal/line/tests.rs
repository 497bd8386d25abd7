use proptest::prelude::*;

use super::*;

const RECORD: &str = r#"{"schema":1,"path":"pdfs/a.pdf","filename":"a.pdf","doc_id":"00000000000000000000000000000007aa","format":"pdf","size_bytes":81234,"page":3,"page_count":12,"width":1376,"height":null,"status":"ok","content":"\u00e4 \"quoted\"\nä","output_format":"markdown","content_length":19,"finish_reason":"stop","model":null,"timings_ms":{"prepare":41,"total":-3.25},"blocks":[[1,2],{"a":[]},true,false],"warnings":["truncated","slow_page"],"error":null}"#;

/// What both readers make of a line, if the one by hand makes something of it.
fn agree(line: &[u8]) -> Result<(), TestCaseError> {
    if let Some(head) = by_hand(line) {
        let other = by_serde(line);
        prop_assert!(other.is_ok(), "{:?}", other);
        prop_assert_eq!(head, other.unwrap());
    }
    Ok(())
}

#[test]
fn fast_parser_reads_compact_lines_serde_reads_others() {
    let line = RECORD.as_bytes();
    let head = by_hand(line).unwrap();
    assert_eq!(head, by_serde(line).unwrap());
    let state = head.into_line().state;
    assert_eq!((state.truncated, state.repetition), (true, false));
    for other in [
        RECORD.replace(':', ": "),
        RECORD.replace("pdfs/", "pdfs\\u002f"),
        RECORD.replace("-3.25", "-3.25e2"),
    ] {
        assert_eq!(by_hand(other.as_bytes()), None, "{other}");
        assert_eq!(
            read_line(other.as_bytes()).unwrap(),
            read_line(line).unwrap()
        );
    }
    for broken in [
        RECORD.replace("41", "041"),
        RECORD.replace("true", "tru"),
        RECORD.replace("\"page\":3", "\"page\":3,\"page\":4"),
        RECORD.replace("\\n", "\\q"),
        RECORD.to_owned() + "x",
        RECORD.replace("\"page\":3,", ""),
    ] {
        assert!(read_line(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn changed_document_is_told_from_other_failures() {
    for (error, changed) in [
        (
            r#"{"kind":"changed","message":"a \"b\"","stage":"prepare"}"#,
            true,
        ),
        (r#"{"message":"changed","kind":"render"}"#, false),
        ("{}", false),
    ] {
        let line = RECORD.replace("\"error\":null", &format!("\"error\":{error}"));
        assert_eq!(read_line(line.as_bytes()).unwrap().state.changed, changed);
        agree(line.as_bytes()).unwrap();
    }
}

#[test]
fn schema_2_is_read_and_newer_schemas_ask_for_an_update() {
    let two = RECORD.replace("\"schema\":1", "\"schema\":2");
    let two = two.replace(
        "\"width\":1376",
        "\"confidence\":{\"mean\":-0.5},\"copy_of\":\"b.pdf\",\"last_page\":9",
    );
    let line = read_line(two.as_bytes()).unwrap();
    assert_eq!(line.last_page, Some(9));
    assert_ne!(
        line.key,
        read_line(RECORD.as_bytes()).unwrap().key,
        "a copy has records of its own"
    );
    let three = RECORD.replace("\"schema\":1", "\"schema\":3");
    for newer in [three.clone(), three.replace("\"page\":3", "\"page\":[3]")] {
        let message = format!("{:#}", read_line(newer.as_bytes()).unwrap_err());
        assert!(
            message.contains("newer omnidocs") && message.contains("update"),
            "{message}"
        );
    }
}

#[test]
fn non_utf8_paths_are_keyed_by_bytes() {
    let bytes_of = |bytes: &str| {
        format!(
            r#"{{"schema":2,"path":"a\ufffd","path_bytes":{bytes},"doc_id":null,"page":0,"status":"failed"}}"#
        )
    };
    let key = |line: &str| read_line(line.as_bytes()).unwrap().key;
    let (ff, fe) = (bytes_of(r#""Yf8=""#), bytes_of(r#""Yf4=""#));
    assert_ne!(key(&ff), key(&fe));
    assert_eq!(key(&ff), PageKey::of_bytes(None, b"a\xff", 0));
}

#[test]
fn record_prefix_is_recognized() {
    for length in 1..RECORD.len() {
        assert!(
            begins_like_a_record(&RECORD.as_bytes()[..length]),
            "{length}"
        );
    }
    assert!(begins_like_a_record(br#"{"schema":12"#));
    for other in [
        "x",
        "[",
        "{\"a",
        "{ ",
        r#"{"schema":"a"}"#,
        r#"{"schema":1,"tables""#,
        r#"{"schema":,"path":""#,
    ] {
        assert!(!begins_like_a_record(other.as_bytes()), "{other}");
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        any::<f64>().prop_map(|it| serde_json::to_string(&it).unwrap()),
        any::<String>().prop_map(|it| serde_json::to_string(&it).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|it| format!("[{}]", it.join(","))),
            prop::collection::vec((any::<String>(), inner), 0..3).prop_map(|it| {
                let parts = it.iter().map(|(name, value)| {
                    format!("{}:{value}", serde_json::to_string(name).unwrap())
                });
                format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn fast_parser_agrees_with_serde_on_any_object(
        names in prop::collection::vec(prop::sample::select(vec![
            "schema", "path", "path_bytes", "doc_id", "copy_of", "page", "last_page", "page_count", "status",
            "finish_reason", "warnings", "error", "content", "x",
        ]), 0..14),
        values in prop::collection::vec(prop_oneof![
            json(), Just("1".to_owned()), Just("\"ok\"".to_owned()), Just("[\"truncated\"]".to_owned()),
        ], 14),
    ) {
        let parts = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}"));
        let own = r#""schema":2,"path":"a","page":1,"status":"blank""#.to_owned();
        let parts: Vec<String> = parts.collect();
        agree(format!("{{{}}}", parts.join(",")).as_bytes())?;
        agree(format!("{{{}}}", [vec![own], parts].concat().join(",")).as_bytes())?;
    }

    #[test]
    fn fast_parser_agrees_with_serde_on_garbage(at in any::<prop::sample::Index>(), garbage in any::<Vec<u8>>(), cut in 0..4_usize) {
        let at = at.index(RECORD.len());
        let end = (at + cut).min(RECORD.len());
        let line = [&RECORD.as_bytes()[..at], &garbage, &RECORD.as_bytes()[end..]].concat();
        agree(&line)?;
        let _ = read_line(&line);
    }
}
