//! The program itself: `doctor`, `--help`, and its standard output.

use std::process::Command;

use serde_json::Value;

use crate::harness::{USAGE, gradcode, stderr, stdout};

#[test]
fn doctor_looks_at_everything() {
    let output = gradcode(&["doctor", "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for key in [
        "mpi_library",
        "mpirun",
        "libtorch",
        "gpus",
        "hdf5",
        "cpus",
        "omp_num_threads",
        "simd",
        "locked_memory",
    ] {
        let state = object[key]["state"]
            .as_str()
            .unwrap_or_else(|| panic!("{key} in {object}"));
        assert!(["ok", "warn", "fail"].contains(&state));
    }
    assert_eq!(
        output.status.code(),
        Some(if object["ready"] == true { 0 } else { 30 })
    );
    assert_eq!(object["omp_num_threads"]["value"], "1");
}

#[test]
fn help_is_there_for_every_command() {
    for command in [
        vec!["--help"],
        vec!["train", "--help"],
        vec!["simulate", "--help"],
        vec!["plan", "--help"],
        vec!["allocate", "--help"],
        vec!["report", "--help"],
        vec!["eval", "--help"],
        vec!["detect", "--help"],
        vec!["data", "synth", "--help"],
        vec!["data", "check", "--help"],
        vec!["codec", "phi", "--help"],
        vec!["doctor", "--help"],
        vec!["config", "show", "--help"],
    ] {
        let output = gradcode(&command);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(stdout(&output).contains("Usage: gradcode"), "{command:?}");
    }
    assert_eq!(gradcode(&["tarin"]).status.code(), Some(USAGE));
    assert_eq!(gradcode(&[]).status.code(), Some(USAGE));
}

/// `gradcode config default | head -1` must end quietly.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let program = env!("CARGO_BIN_EXE_gradcode");
    let script = format!("'{program}' config default | head -n 1; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).ends_with("\n0\n"), "{}", stdout(&output));
}
