//! Checkpoints as a user meets them: what is refused, and how the refusal helps. Nothing needs MPI.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 30;

const EXPERIMENT: &str = "iterations = 60\nworkers = 4\nevaluation.every = \"never\"\ncompute.threads = 1\n\
    checkpoint = { every = { steps = 20 }, keep = 3 }\n\
    model = { kind = \"least-squares\", dimension = 30 }\n\
    data = { samples = 80, batch = 4 }\nbudget.mean_bits = 4.0\n\
    optimizer = { kind = \"adam\", learning_rate = 0.01 }\n";

struct Runs(tempfile::TempDir);

impl Runs {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("experiment.toml"), EXPERIMENT).expect("written");
        Runs(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn simulate(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gradcode"))
            .args(["simulate", "experiment.toml"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("the program starts")
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.simulate(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    }

    #[track_caller]
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.simulate(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert_eq!(text.matches("gradcode: error: ").count(), 1, "{text}");
        text
    }

    fn checkpoint(&self, run: &str, iteration: u64) -> PathBuf {
        self.path(&format!("{run}/checkpoints/iteration-{iteration:012}"))
    }

    fn model(&self, run: &str) -> Vec<u8> {
        std::fs::read(self.path(run).join("model.safetensors")).expect("a model")
    }
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn a_run_goes_on_in_place_or_in_a_directory_of_its_own() {
    let runs = Runs::new();
    runs.succeeds(&["--out", "a"]);
    let whole = runs.model("a");
    let from = runs.checkpoint("a", 20);
    let from = from.to_str().expect("UTF-8");
    runs.succeeds(&["--out", "b", "--resume", from]);
    assert!(runs.model("b") == whole, "another directory");
    runs.succeeds(&["--out", "a", "--resume", from]);
    assert!(runs.model("a") == whole, "in place");
    // A constant learning rate lets a run grow.
    runs.succeeds(&["--out", "a", "--resume", "auto", "--set", "iterations=80"]);
    runs.succeeds(&["--out", "c", "--set", "iterations=80"]);
    assert!(runs.model("a") == runs.model("c"), "longer");
    let log = run_log::RunReader::open(runs.path("a/run.h5")).expect("a log");
    assert_eq!(log.series("loss").expect("a series").len(), 80);
    let segments = log.segments().expect("segments");
    let starts: Vec<u64> = segments
        .iter()
        .map(|segment| segment.start_iteration)
        .collect();
    assert_eq!(starts, [0, 20, 60]);
}

#[test]
fn another_configuration_is_refused_by_its_key() {
    let runs = Runs::new();
    runs.succeeds(&["--out", "a"]);
    let more = |set| runs.fails(USAGE, &["--out", "a", "--resume", "auto", "--set", set]);
    let error = more("seed=7");
    assert!(error.contains("a run with seed = 1, not 7"), "{error}");
    let error = more("optimizer.learning_rate=0.1");
    assert!(
        error.contains("optimizer.learning_rate = 0.01, not 0.1"),
        "{error}"
    );
    let error = more("optimizer.schedule=cosine");
    assert!(
        error.contains("optimizer.schedule = \"constant\", not \"cosine\""),
        "{error}"
    );
    // What only says where, when and how long is free.
    runs.succeeds(&[
        "--out",
        "a",
        "--resume",
        "auto",
        "--set",
        "checkpoint.keep=1",
    ]);
    let error = runs.fails(USAGE, &["--out", "a"]);
    assert!(error.contains("--resume auto"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_previous_one_offered() {
    let runs = Runs::new();
    runs.succeeds(&["--out", "a"]);
    let whole = runs.model("a");
    damage(&runs.checkpoint("a", 60).join("optimizer.safetensors"));
    std::fs::remove_file(runs.checkpoint("a", 40).join("state.json")).expect("removed");
    let error = runs.fails(ENVIRONMENT, &["--out", "a", "--resume", "auto"]);
    assert!(error.contains("iteration-000000000060"), "{error}");
    assert!(
        error.contains("optimizer.safetensors has changed"),
        "{error}"
    );
    let offered = "--resume a/checkpoints/iteration-000000000020";
    assert!(error.contains(offered), "{error}");
    let log = std::fs::read(runs.path("a/run.h5")).expect("a log");
    assert!(!log.is_empty(), "refused before anything is touched");
    let from = offered.strip_prefix("--resume ").expect("as above");
    runs.succeeds(&["--out", "a", "--resume", from]);
    assert!(runs.model("a") == whole);
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let runs = Runs::new();
    let error = runs.fails(USAGE, &["--out", "a", "--resume", "nowhere"]);
    assert!(error.contains("use nowhere as a checkpoint"), "{error}");
    runs.succeeds(&["--out", "a", "--set", "checkpoint.every=never"]);
    assert!(!runs.path("a/checkpoints").exists());
    // It is done, so there is nothing to do; begun and without a checkpoint, it begins again.
    let said = runs.succeeds(&["--out", "a", "--resume", "auto"]);
    assert!(said.contains("a is done already"), "{said}");
    std::fs::remove_file(runs.path("a/status.json")).expect("removed");
    runs.succeeds(&["--out", "a", "--resume", "auto"]);
    assert!(runs.path("a/run.abandoned.h5").exists());
}

/// A second job must not touch what the first one is writing, whatever it was told.
#[test]
fn a_run_that_is_being_written_is_left_alone() {
    let runs = Runs::new();
    let mut first = Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .args(["simulate", "experiment.toml", "--out", "a"])
        .args(["--set", "round.max_empty_rounds=1000000"])
        .args([
            "--set",
            "iterations=1000000000",
            "--set",
            "checkpoint.every={ seconds = 1000 }",
        ])
        .current_dir(runs.0.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    for _ in 0..3000 {
        if runs.path("a/status.json").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for second in [["--resume", "auto"].as_slice(), &["--overwrite"]] {
        let arguments = [&["--out", "a"], second].concat();
        let error = runs.fails(ENVIRONMENT, &arguments);
        assert!(error.contains("run.h5 is being written by"), "{error}");
        assert!(runs.path("a/run.h5").exists());
        assert!(!runs.path("a/run.abandoned.h5").exists());
    }
    first.kill().expect("it runs");
    first.wait().expect("a child");
    // Its lock is nobody's any more.
    let begin = ["--out", "a", "--resume", "auto"];
    runs.succeeds(&begin);
}

/// What a dry run would replace, rename or cut off is all still there.
#[test]
fn a_dry_run_touches_nothing() {
    let runs = Runs::new();
    runs.succeeds(&["--out", "a"]);
    let log = std::fs::read(runs.path("a/run.h5")).expect("a log");
    runs.succeeds(&["--out", "a", "--overwrite", "--dry-run"]);
    runs.succeeds(&["--out", "a", "--resume", "auto", "--dry-run"]);
    for iteration in [20, 40, 60] {
        assert!(runs.checkpoint("a", iteration).exists(), "{iteration}");
    }
    std::fs::remove_dir_all(runs.path("a/checkpoints")).expect("removed");
    std::fs::remove_file(runs.path("a/status.json")).expect("removed");
    runs.succeeds(&["--out", "a", "--resume", "auto", "--dry-run"]);
    assert_eq!(std::fs::read(runs.path("a/run.h5")).expect("a log"), log);
    assert!(!runs.path("a/run.abandoned.h5").exists());
    runs.succeeds(&["--out", "a", "--resume", "auto"]);
    assert!(runs.path("a/run.abandoned.h5").exists());
}
