//! `gradcode report --compare` as a user or a script meets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use run_log::study::{Outcome, Point, Study, StudyLog};
use serde_json::Value;

fn gradcode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Two schemes of which the second needs twice the bits for the same loss.
fn study(directory: &Path) -> PathBuf {
    let mut study = Study::new("training", "cheap and dear", "seed = 1\n", "test");
    for (label, cost) in [("cheap, sure", 100.0), ("dear", 200.0)] {
        let mut point = Point::new(label, "sgc", "iteration", vec![0.0, 10.0, 20.0], 3);
        for run in 0..3 {
            let shift = 0.1 * run as f64;
            let loss = [4.0, 2.0 + shift, 1.0 + shift];
            let bits = [0.0, 10.0 * cost, 20.0 * cost];
            let values: [(&str, &[f64]); 2] = [("loss", &loss), ("bits_up_payload", &bits)];
            point
                .record(run, Outcome::Finished, &values)
                .expect("a run");
        }
        study.points.push(point);
    }
    let path = directory.join("study.h5");
    StudyLog::create(&path, &study).expect("a study");
    path
}

#[test]
fn schemes_are_compared_on_the_terminal_for_programs_and_in_figures() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = study(directory.path());
    let path = path.to_str().expect("UTF-8");
    let figures = directory.path().join("figures");
    let file = directory.path().join("points.csv");
    let csv_option = format!("--csv={}", file.display());

    let output = gradcode(&[
        "report",
        "--compare",
        path,
        "--baseline",
        "dear",
        "--svg",
        figures.to_str().expect("UTF-8"),
        &csv_option,
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = stdout(&output);
    assert!(
        table.contains("cheap, sure") && table.contains("to dear"),
        "{table}"
    );
    let svg = std::fs::read_to_string(figures.join("loss-bits.svg")).expect("a figure");
    assert!(svg.contains("cheap, sure") && svg.contains("mean of 3 runs"));
    assert!(figures.join("loss-iteration.svg").exists());
    let csv = std::fs::read_to_string(&file).expect("a table");
    assert!(
        csv.starts_with("point,label,axis,at,series,mean,se,n\n0,\"cheap, sure\","),
        "{csv}"
    );
    // Alone, --csv prints the same lines and nothing else.
    assert_eq!(
        stdout(&gradcode(&["report", "--compare", path, "--csv"])),
        csv
    );

    // A study is recognised without --compare; at 2000 bits the dear scheme is half way.
    let output = gradcode(&["report", path, "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let dear = &object["points"][1];
    assert_eq!(dear["equal_bits"], 2000.0);
    let ratio = dear["ratio_at_equal_bits"]["mean"]
        .as_f64()
        .expect("a number");
    assert!((ratio - 2.1 / 1.1).abs() < 1e-12, "{ratio}");
    assert_eq!(dear["bits_until_target"]["n"], 3);
}

/// Bits that no run spent and a loss that none got to leave no columns; the notes say why.
#[test]
fn what_the_runs_do_not_reach_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = study(directory.path());
    let path = path.to_str().expect("UTF-8");
    let beyond = [
        "report",
        "--compare",
        path,
        "--at-bits",
        "1e9",
        "--target",
        "0.25",
    ];
    let output = gradcode(&beyond);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = stdout(&output);
    for note in [
        "note: cheap, sure has no loss at 1 Gbit: not all of its runs go beyond 2 kbit",
        "note: dear has no loss at 1 Gbit: not all of its runs go beyond 4 kbit",
        "note: cheap, sure never gets to loss 0.25: its best mean is 1.1",
    ] {
        assert!(table.contains(note), "{note} in {table}");
    }
    let output = gradcode(&[&beyond[..], &["--json"]].concat());
    let object: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(object["notes"].as_array().expect("notes").len(), 5);
    assert_eq!(object["points"][1]["last_bits"], 4000.0);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = study(directory.path());
    let path = path.to_str().expect("UTF-8");
    for (arguments, named) in [
        (["--y", "lost"], "loss"),
        (["--x", "budget"], "bits-offered"),
        (["--baseline", "SGC"], "dear"),
        (["--series", "lost"], "bits_up_payload"),
    ] {
        let output = gradcode(&["report", "--compare", path, arguments[0], arguments[1]]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(
            error.contains("hint: one of") && error.contains(named),
            "{error}"
        );
        assert_eq!(stdout(&output), "");
    }
}
