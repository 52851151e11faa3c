//! `gradcode data`: sets that are made, and what is wrong with them.

use serde_json::Value;

use crate::harness::{Scratch, USAGE, failure, gradcode, json, stdout};

#[test]
fn text_becomes_token_files_once() {
    let scratch = Scratch::new();
    for (name, text) in [("a", "one\n"), ("b", "two\n"), ("c", "three\n")] {
        scratch.file(name, text);
    }
    let texts = ["a", "b", "c"].map(|name| scratch.path(name));
    let out = scratch.path("tokens");
    let mut arguments = vec!["data", "tokenize", "--out", &out, "--json"];
    arguments.extend(texts.iter().map(String::as_str));
    let object = json(&arguments);
    assert_eq!(
        (&object["train_tokens"], &object["validation_tokens"]),
        (&Value::from(10), &Value::from(7))
    );
    assert_eq!(object["vocabulary"], 256);
    let again = failure(USAGE, &arguments);
    assert!(again.contains("--overwrite"), "{again}");
    arguments.push("--overwrite");
    assert_eq!(json(&arguments), object);

    let train = format!("data.train_tokens={}", object["train"].as_str().unwrap());
    let plan = |set: &[&str]| {
        let mut arguments = vec!["plan", "configs/nano-gpt.toml", "--json", "--set", &train];
        arguments.extend(set.iter().flat_map(|set| ["--set", set]));
        json(&arguments)["dimension"].clone()
    };
    assert_eq!(plan(&[]), 120_576);
    assert_eq!(plan(&["model.vocab=50257"]), 120_576 + 64 * (50_257 - 256));
    let missing = scratch.path("nowhere");
    let error = failure(30, &["data", "tokenize", &missing, "--out", &out]);
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn data_is_made_checked_and_planned_with() {
    let scratch = Scratch::new();
    let out = scratch.path("shapes");
    let make = [
        "data",
        "synth",
        "--out",
        &out,
        "--images",
        "6",
        "--validation",
        "2",
        "--side",
        "64",
        "--json",
    ];
    let made = json(&make);
    let (annotations, images) = (
        made["train_annotations"].as_str().unwrap(),
        made["train_images"].as_str().unwrap(),
    );
    let report = json(&[
        "data",
        "check",
        "--annotations",
        annotations,
        "--images",
        images,
        "--json",
    ]);
    assert_eq!(
        (&report["usable"], &report["images"]),
        (&Value::Bool(true), &Value::from(6))
    );
    assert!(failure(USAGE, &make).contains("hint: "));

    // The number of classes, and with it the model's size, comes from the annotation file.
    let experiment = scratch.file("exp.toml", "workers = 4\n[budget]\nmean_bits = 4.0\n");
    let (first, second) = (
        format!("data.train_annotations={annotations}"),
        format!("data.train_images={images}"),
    );
    let plan = |extra: &[&str]| {
        let mut arguments = vec!["plan", &experiment, "--json"];
        arguments.extend(extra);
        json(&arguments)["dimension"].as_u64().unwrap()
    };
    let categories = report["categories"].as_array().unwrap().len();
    let classes = format!("model.classes={}", categories + 1);
    assert_eq!(
        plan(&["--set", &first, "--set", &second]),
        plan(&["--set", &classes])
    );

    // A broken image is found, and the exit code says so.
    let victim = std::fs::read_dir(images)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(&victim, b"not a picture").unwrap();
    let output = gradcode(&[
        "data",
        "check",
        "--annotations",
        annotations,
        "--images",
        images,
    ]);
    assert_eq!(output.status.code(), Some(30));
    assert!(
        stdout(&output).contains("1 unreadable files"),
        "{}",
        stdout(&output)
    );
    let error = failure(
        30,
        &[
            "data",
            "check",
            "--annotations",
            "nowhere.json",
            "--images",
            images,
        ],
    );
    assert!(error.contains("nowhere.json"), "{error}");
}
