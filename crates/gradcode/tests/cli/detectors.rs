//! `gradcode eval` and `gradcode detect`, on a detector that was trained for them.

use serde_json::Value;

use crate::harness::{Scratch, USAGE, failure, gradcode, json, stderr, stdout};

/// A small data set, and a detector trained on it for two iterations: the set, and the run's output.
fn a_trained_detector(scratch: &Scratch) -> (String, String, Value) {
    let shapes = scratch.path("shapes");
    json(&[
        "data",
        "synth",
        "--out",
        &shapes,
        "--images",
        "8",
        "--validation",
        "2",
        "--side",
        "64",
        "--json",
    ]);
    let experiment = scratch.file(
        "exp.toml",
        &format!(
            "workers = 2\niterations = 2\nbudget.mean_bits = 4\nstraggler.deadline = 3\n\
             checkpoint.every = {{ steps = 1 }}\ncheckpoint.keep = 2\n\
             [model]\nkind = 'tiny-ssd'\nwidth = 8\nside = 64\n\
             [data]\ntrain_annotations = '{shapes}/instances_train.json'\ntrain_images = '{shapes}/train'\n\
             validation_annotations = '{shapes}/instances_val.json'\nvalidation_images = '{shapes}/val'\n"
        ),
    );
    let out = scratch.path("run");
    let done = json(&["simulate", &experiment, "--out", &out, "--json"]);
    (shapes, out, done)
}

#[test]
fn eval_repeats_the_evaluation_of_training_and_of_its_own_detections() {
    let scratch = Scratch::new();
    let (shapes, out, done) = a_trained_detector(&scratch);
    let detections = scratch.path("detections.json");
    let evaluated = json(&["eval", &out, "--detections", &detections, "--json"]);
    let model = &evaluated["evaluations"][0];
    assert_eq!(model["metrics"], done["metrics"], "to the last bit");
    assert_eq!(model["metrics"].as_object().unwrap().len(), 13);
    assert_eq!(model["categories"].as_array().unwrap().len(), 5);

    // what it found, by way of a file, without the model
    let annotations = format!("{shapes}/instances_val.json");
    let again = json(&[
        "eval",
        "--results",
        &detections,
        "--annotations",
        &annotations,
        "--json",
    ]);
    let file = &again["evaluations"][0];
    assert_eq!(file["categories"], model["categories"]);
    for (name, value) in file["metrics"].as_object().unwrap() {
        assert_eq!(value, &model["metrics"][name], "{name}");
    }

    // a checkpoint, beside the end of the run
    let checkpoint = format!("{out}/checkpoints/2");
    let end = format!("{out}/checkpoints/1");
    let both = json(&["eval", &checkpoint, &end, &out, "--json"]);
    let all = both["evaluations"].as_array().unwrap();
    assert_eq!(all[0]["label"], "run@2");
    assert_eq!(all[0]["metrics"], all[2]["metrics"]);
    assert_ne!(all[1]["metrics"]["loss"], all[2]["metrics"]["loss"]);
    let table = stdout(&gradcode(&["eval", &out, "--per-class"]));
    assert!(
        table.contains("AP50") && table.contains("square"),
        "{table}"
    );

    let nowhere = failure(USAGE, &["eval", &scratch.path("nowhere")]);
    assert!(nowhere.contains("config.toml"), "{nowhere}");
    let alone = gradcode(&["eval", "--results", &detections]);
    assert_eq!(alone.status.code(), Some(USAGE));
    assert!(stderr(&alone).contains("--annotations"));
    let blind = failure(USAGE, &["eval", &out, "--annotations", &annotations]);
    assert!(blind.contains("--images"), "{blind}");
}

#[test]
fn detect_draws_what_a_run_has_learned() {
    let scratch = Scratch::new();
    let (_, out, _) = a_trained_detector(&scratch);
    let pictures = scratch.path("pictures");
    let arguments = [
        "detect", &out, &out, "--images", "1", "--score", "0", "--out", &pictures, "--json",
    ];
    let found = json(&arguments);
    let image = &found["images"][0];
    assert_eq!(image["runs"].as_array().unwrap().len(), 2);
    let first = &image["runs"][0]["detections"][0];
    assert_eq!(first["bbox"].as_array().unwrap().len(), 4);
    // The annotations and one panel per run, of 384 pixels and the space around them.
    let png = std::fs::read(image["picture"].as_str().unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    assert_eq!(png[16..20], (3 * 384 + 4 * 12u32).to_be_bytes());

    // the same by the logs, as shapes
    let log = format!("{out}/run.h5");
    let compared = json(&[
        "detect",
        "--compare",
        &log,
        &log,
        "--format",
        "svg",
        "--images",
        "1",
        "--score",
        "0",
        "--out",
        &pictures,
        "--json",
    ]);
    let again = &compared["images"][0]["runs"][0]["detections"];
    assert!(*again == image["runs"][0]["detections"]);
    let svg = compared["images"][0]["picture"].as_str().unwrap();
    let svg = std::fs::read_to_string(svg).unwrap();
    assert_eq!(svg.matches("<use href=\"#image\"").count(), 3);
    assert_eq!(svg.matches("data:image/jpeg;base64,").count(), 1);

    let nowhere = failure(USAGE, &["detect", &scratch.path("nowhere")]);
    assert!(nowhere.contains("config.toml"), "{nowhere}");
    let beyond = failure(
        USAGE,
        &["detect", &out, "--images", "2", "--out", &pictures],
    );
    assert!(beyond.contains("image"), "{beyond}");
}
