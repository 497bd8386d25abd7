//! The JSON Schema of the record: it is that of the type, and records of all kinds are as it says.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::common::{Ran, Room, pdf};

/// The schema in the repository.
fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/record.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What is wrong with `value`, by the keywords that the schema uses.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(keywords) = schema.as_object() else {
        assert_eq!(schema, true, "{at}");
        return wrong;
    };
    for (keyword, wanted) in keywords {
        let fits = match keyword.as_str() {
            "$ref" => {
                let place = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                wrong.extend(faults(root, root.pointer(place).unwrap(), value, at));
                true
            }
            "anyOf" | "oneOf" => {
                let choices = wanted.as_array().unwrap().iter();
                let fitting = choices.filter(|it| faults(root, it, value, at).is_empty());
                fitting.count() == 1
            }
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|it| is_of(it, value)),
                one => is_of(one, value),
            },
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "minimum" => value
                .as_f64()
                .is_none_or(|it| it >= wanted.as_f64().unwrap()),
            "maximum" => value
                .as_f64()
                .is_none_or(|it| it <= wanted.as_f64().unwrap()),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    wrong.extend(faults(root, wanted, item, &format!("{at}[]")));
                }
                true
            }
            "minItems" => value
                .as_array()
                .is_none_or(|it| it.len() as u64 >= wanted.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|it| it.len() as u64 <= wanted.as_u64().unwrap()),
            "required" => value.as_object().is_none_or(|it| {
                let names = wanted.as_array().unwrap().iter();
                names
                    .map(|name| name.as_str().unwrap())
                    .all(|name| it.contains_key(name))
            }),
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    match wanted.get(name) {
                        Some(wanted) => {
                            wrong.extend(faults(root, wanted, field, &format!("{at}.{name}")));
                        }
                        None => wrong.push(format!("{at}.{name} is unknown")),
                    }
                }
                true
            }
            // `properties` does as the first one says; the others tell people.
            "additionalProperties" | "$schema" | "$defs" | "title" | "description" | "format" => {
                true
            }
            other => panic!("this test does not know the keyword {other}"),
        };
        if !fits {
            wrong.push(format!("{at}: {value} is not as {keyword} {wanted} says"));
        }
    }
    wrong
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

fn of_record(record: &Value) -> Vec<String> {
    let schema = schema();
    faults(&schema, &schema, record, "record")
}

#[test]
fn schema_in_the_examples_is_that_of_the_type() {
    let printed = Ran::of(&mut Room::new().omnidocs("schema"))
        .expect(0)
        .stdout;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        schema(),
        printed,
        "write it anew: omnidocs schema > examples/record.schema.json"
    );
}

#[test]
fn records_of_all_kinds_are_as_the_schema_says() {
    let room = Room::new();
    let claiming = String::from_utf8(pdf(&["one"])).unwrap();
    let claiming = claiming.replace("/Count 1 ", "/Count 40 ");
    room.put("in/ok.pdf", pdf(&["Text", ""]))
        .put("in/copy.pdf", pdf(&["Text", ""]))
        .put("in/range.pdf", claiming)
        .put("in/bad.pdf", "This is no PDF.");
    let blank = image::RgbImage::from_pixel(300, 300, image::Rgb([255; 3]));
    blank.save(room.path("in/blank.png")).unwrap();
    let read = Ran::of(&mut room.text_layer("in")).expect(3).stdout;
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reader");
    let label = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pages/label.png");
    let args = format!("extract {label} in/blank.png --model {model}");
    let asked = Ran::of(&mut room.omnidocs(&args)).expect(0).stdout;
    let parts = Ran::of(&mut room.text_layer("in/ok.pdf --format json"))
        .expect(3)
        .stdout;
    let records: Vec<Value> = (read + &asked + &parts)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for record in &records {
        assert_eq!(of_record(record), Vec::<String>::new());
    }
    for (what, is) in [
        (
            "ok",
            &(|it: &Value| it["dtype"].is_string()) as &dyn Fn(&Value) -> bool,
        ),
        ("failed", &|it| it["error"]["kind"].is_string()),
        ("blank", &|it| it["status"] == "blank"),
        ("copy", &|it| it["copy_of"].is_string()),
        ("range", &|it| it["last_page"].is_u64()),
        ("with a warning", &|it| it["warnings"] != json!([])),
    ] {
        assert!(records.iter().any(is), "no record is {what}: {records:#?}");
    }
}

#[test]
fn schema_refuses_what_is_no_record() {
    let room = Room::new();
    room.put("a.pdf", pdf(&["Text"]));
    let read = Ran::of(&mut room.text_layer("a.pdf")).expect(0).stdout;
    let record: Value = serde_json::from_str(&read).unwrap();
    for (name, value) in [
        ("status", json!("fine")),
        ("page", json!(-1)),
        ("content", json!(3)),
        ("warnings", json!(["other"])),
        ("timings_ms", json!({"prepare": 1})),
        ("surprise", json!(1)),
    ] {
        let mut changed = record.clone();
        changed[name] = value;
        assert!(!of_record(&changed).is_empty(), "{name}");
    }
    let mut without = record.clone();
    without.as_object_mut().unwrap().remove("doc_id");
    assert!(!of_record(&without).is_empty());
}
