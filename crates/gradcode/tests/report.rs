//! `gradcode report` on a run of the real program.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "reported"
seed = 5
iterations = 40
workers = 4
partitions = 4
[model]
kind = "least-squares"
dimension = 30
[data]
samples = 40
batch = 0
[budget]
mean_bits = 4.0
[optimizer]
kind = "sgd"
learning_rate = 0.05
[evaluation]
every = { steps = 10 }
[round]
relative_error_every = 10
[straggler]
rate = [3.0, 2.0, 1.0, 0.5]
deadline = 2.0
inject = "erase"
"#;

fn gradcode(directory: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program starts")
}

#[test]
fn a_finished_run_is_explained_in_every_form() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let directory = scratch.path();
    fs::write(directory.join("exp.toml"), EXPERIMENT).expect("an experiment");
    let run = |arguments: &[&str]| {
        let output = gradcode(directory, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    run(&["simulate", "exp.toml", "--out", "run"]);

    let text = run(&["report", "run"]);
    for heading in ["what stands out", "where the time went", "workers"] {
        assert!(
            text.contains(&format!("\n{heading}\n")),
            "{heading} in {text}"
        );
    }
    let object: Value = serde_json::from_str(&run(&["report", "run", "--json"])).expect("JSON");
    let explanation = &object["explanation"];
    assert_eq!(explanation["circumstances"]["simulated"], true);
    assert_eq!(explanation["circumstances"]["drawn"], true);
    assert_eq!(explanation["accuracy"]["samples"], 4);
    assert_eq!(explanation["events"]["status"]["outcome"], "done");
    let shares: f64 = explanation["time"]["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .filter_map(|part| part["share"].as_f64())
        .sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");

    run(&[
        "report",
        "run",
        "--html",
        "pages/run.html",
        "--trace",
        "run.json",
    ]);
    let page = fs::read_to_string(directory.join("pages/run.html")).expect("a page");
    assert!(page.contains("<h1>reported") && page.contains("inject = &quot;erase&quot;"));
    let trace = fs::read_to_string(directory.join("run.json")).expect("a trace");
    let trace: Value = serde_json::from_str(&trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let rounds = events.iter().filter(|event| {
        let name = event["name"].as_str();
        name.is_some_and(|name| name.starts_with("round "))
    });
    assert_eq!(rounds.count(), 40);

    // A run that has ended is not waited for.
    let followed = run(&["report", "run", "--follow"]);
    assert_eq!(followed, text);
    for wrong in [
        &["report", "run", "--iterations", "1..2"][..],
        &["report", "run", "--follow", "--json"],
        &["report", "run", "--trace", "x.json", "--iterations", "40.."],
    ] {
        let output = gradcode(directory, wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
