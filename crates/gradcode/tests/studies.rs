//! Studies as a user runs them: from the file to `study.h5`, stopped, resumed, refused.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use run_log::study::{Outcome, Study};
use serde_json::Value;

const STOPPED: i32 = 85;
const USAGE: i32 = 2;

/// A directory with a study file in it.
struct Scratch {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Scratch {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("study.toml");
        std::fs::write(&file, text).unwrap();
        Scratch { dir, file }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_gradcode"));
        program
            .arg(command)
            .arg(&self.file)
            .args(arguments)
            .current_dir(self.dir.path())
            .env("OMP_NUM_THREADS", "1");
        program
    }

    fn simulate(&self, arguments: &[&str]) -> Output {
        let mut program = self.command("simulate", arguments);
        program.arg("--out").arg(self.out()).output().unwrap()
    }

    fn study(&self) -> Study {
        Study::open(self.out()).unwrap()
    }
}

fn success(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn failure(code: i32, output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

const TINY: &str = "\
workers = 6
iterations = 20
budget.mean_bits = 4
[model]
kind = 'least-squares'
dimension = 10
[data]
samples = 60
batch = 0
[codec]
preset = 'qsgd'
[straggler]
deadline = 1.5
[evaluation]
every = { steps = 8 }
[study]
runs = 3
probe = 20
[sweep]
budget = [3, 6]
[[scheme]]
kind = 'joint'
[[scheme]]
label = 'stochastic'
kind = 'sgc'
[[scheme]]
kind = 'coco-ef'
with.codec.preset = 'sign'
[[scheme]]
kind = 'ce-agc'
design = 'bi-regular'
";

#[test]
fn a_study_records_every_run_of_every_point() {
    let scratch = Scratch::new(TINY);
    let table = success(&scratch.simulate(&[]));
    assert!(table.contains("stochastic, mean_bits = 6"), "{table}");
    let study = scratch.study();
    assert_eq!((study.kind.as_str(), study.points.len()), ("training", 8));
    let point = &study.points[3];
    assert_eq!(
        (point.label.as_str(), point.scheme.as_str()),
        ("stochastic", "sgc")
    );
    assert_eq!(
        point.sweep,
        [("budget.mean_bits".to_owned(), Value::from(6))]
    );
    assert_eq!(point.at, [0.0, 8.0, 16.0, 20.0]);
    for point in &study.points {
        assert_eq!(point.outcomes, [Outcome::Finished; 3]);
        let loss = &point.series["loss"];
        assert_eq!(loss.runs.dim(), (3, 4));
        assert!(loss.runs.iter().all(|loss| loss.is_finite()));
        assert!(loss.mean[3] < loss.mean[0], "{:?}", loss.mean);
        let bits = &point.series["bits_up_payload"].mean;
        assert!(bits[0] == 0.0 && bits[1] < bits[3]);
        for name in [
            "computation_load",
            "error_bound",
            "probe_error",
            "probe_bound",
        ] {
            assert!(point.attributes.contains_key(name), "{name}");
        }
        assert!(point.documents["plan"].starts_with('{'));
    }
    // Every scheme starts from the same data, run by run.
    for run in 0..3 {
        let first = study.points[0].series["loss"].runs[[run, 0]];
        assert!(
            study
                .points
                .iter()
                .all(|p| p.series["loss"].runs[[run, 0]] == first)
        );
    }
    let losses = &study.points[0].series["loss"].runs;
    assert_ne!(losses[[0, 0]], losses[[1, 0]], "and every run from its own");
    // One job or many: the same numbers.
    let other = scratch.dir.path().join("one");
    let output = scratch
        .command("simulate", &["--jobs", "1", "--json", "--out"])
        .arg(&other)
        .output()
        .unwrap();
    let last: Value = serde_json::from_str(&success(&output)).unwrap();
    assert_eq!(
        last["points"][0]["last"]["loss"]["mean"],
        study.points[0].series["loss"].mean[3]
    );
    // A single run of the study is the run that `simulate` makes of it.
    let single = scratch.dir.path().join("single");
    let pick = [
        "--scheme",
        "stochastic",
        "--set",
        "seed=2",
        "--set",
        "straggler.rate=1",
        "--out",
    ];
    success(
        &scratch
            .command("simulate", &pick)
            .arg(&single)
            .output()
            .unwrap(),
    );
    let run = run_log::RunReader::open(&single).unwrap();
    assert!(run.config().unwrap().contains("kind = \"sgc\""));
}

#[test]
fn a_study_is_planned_before_it_is_run() {
    let scratch = Scratch::new(TINY);
    let output = scratch
        .command("simulate", &["--dry-run"])
        .output()
        .unwrap();
    let table = success(&output);
    assert!(table.contains("joint, mean_bits = 3"), "{table}");
    assert!(table.contains("8 points, 3 runs each"), "{table}");
    let output = scratch
        .command("simulate", &["--dry-run", "--json"])
        .output()
        .unwrap();
    let planned: Value = serde_json::from_str(&success(&output)).unwrap();
    assert_eq!(planned["points"][0]["bits_offered"], 18.0);
    assert!(!scratch.out().exists() && !scratch.dir.path().join("runs").exists());
}

#[test]
fn single_experiments_refuse_a_study_and_pick_from_it() {
    let scratch = Scratch::new(TINY);
    let error = failure(USAGE, &scratch.command("plan", &[]).output().unwrap());
    assert!(
        error.contains("it is a study of `joint`, `stochastic`, `coco-ef`, `ce-agc`"),
        "{error}"
    );
    assert!(error.contains("--scheme LABEL"), "{error}");
    let plan = success(
        &scratch
            .command("plan", &["--scheme", "stochastic"])
            .output()
            .unwrap(),
    );
    assert!(plan.contains("scheme sgc: 6 workers"), "{plan}");
}

#[test]
fn a_finished_study_takes_more_runs_and_refuses_other_settings() {
    let scratch = Scratch::new(TINY);
    success(&scratch.simulate(&["--runs", "1"]));
    let one = scratch.study();
    let more = scratch.simulate(&["--runs", "2"]);
    success(&more);
    assert!(String::from_utf8_lossy(&more.stderr).contains("8 of 16 runs are done already"));
    let two = scratch.study();
    for (one, two) in one.points.iter().zip(&two.points) {
        assert_eq!(two.done(), 2);
        assert_eq!(
            one.series["loss"].runs.row(0),
            two.series["loss"].runs.row(0)
        );
    }
    let error = failure(
        USAGE,
        &scratch.simulate(&["--runs", "2", "--set", "optimizer.learning_rate=0.1"]),
    );
    assert!(
        error.contains("in point `joint`, budget.mean_bits = 3, `optimizer.learning_rate` is 0.05 there and 0.1 here"),
        "{error}"
    );
    let error = failure(
        USAGE,
        &scratch.simulate(&["--runs", "2", "--set", "study.probe=0"]),
    );
    assert!(
        error.contains("`study.probe` is 20 there and 0 here"),
        "{error}"
    );
    let error = failure(USAGE, &scratch.simulate(&["--runs", "1"]));
    assert!(error.contains("has 2 runs of"), "{error}");
    let again = [
        "--runs",
        "1",
        "--set",
        "optimizer.learning_rate=0.1",
        "--overwrite",
    ];
    success(&scratch.simulate(&again));
    assert_eq!(scratch.study().points[0].done(), 1);
}

#[test]
fn runs_that_diverge_are_recorded_and_counted() {
    let scratch = Scratch::new(&TINY.replace("[sweep]\nbudget = [3, 6]\n", ""));
    let set = [
        "--set",
        "optimizer.learning_rate=1e30",
        "--set",
        "study.probe=0",
        "--runs",
        "2",
    ];
    let table = success(&scratch.simulate(&set));
    assert!(table.contains("2 (2 diverged)"), "{table}");
    let point = &scratch.study().points[0];
    assert!(
        point
            .outcomes
            .iter()
            .all(|o| matches!(o, Outcome::Diverged { from } if *from >= 1))
    );
    let loss = &point.series["loss"];
    assert!(loss.mean[0].is_finite() && loss.mean[3].is_nan());
}

#[test]
fn plain_experiments_are_studies_on_demand() {
    let plain = TINY.split("[study]").next().unwrap();
    let scratch = Scratch::new(plain);
    success(&scratch.simulate(&["--study", "--runs", "2"]));
    let study = scratch.study();
    assert_eq!((study.points.len(), study.points[0].done()), (1, 2));
    let error = failure(USAGE, &scratch.simulate(&["--jobs", "2"]));
    assert!(error.contains("--study"), "{error}");
}

#[test]
fn allocators_are_compared_by_their_objective() {
    let scratch = Scratch::new(
        "workers = 10\nbudget.residual_bits = 10\nbudget.scaling = { balanced = 1.0 }\ncodec.preset = 'qsgd'\n\
         model.dimension = 3440060\nstraggler.rate = { linspace = [0.1, 2.0] }\n\
         [study]\nkind = 'allocation'\nruns = 1\nresidual_bits = [10, 50]\n",
    );
    success(&scratch.simulate(&[]));
    let study = scratch.study();
    let objective = |label: &str| {
        let point = study
            .points
            .iter()
            .find(|point| point.label == label)
            .unwrap();
        assert_eq!(
            (point.axis.as_str(), &point.at[..]),
            ("residual_bits", &[10.0, 50.0][..])
        );
        point.series["objective"].mean.clone()
    };
    // Computed independently of this program.
    for (label, wanted) in [
        ("dp", [0.745010063, 0.980473978]),
        ("exact", [0.745010063, 0.980473978]),
        ("algorithm1", [0.745010063, 0.980473978]),
        ("equal", [0.553035514, 0.553035514]),
        ("greedy", [0.745010063, 0.856347647]),
    ] {
        for (found, wanted) in objective(label).iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-9, "{label}: {found} {wanted}");
        }
    }
}

#[test]
fn decoding_errors_are_studied_by_the_number_of_stragglers() {
    let scratch = Scratch::new(
        "workers = 7\ncodec.preset = 'f32'\nmodel.dimension = 10\n\
         [study]\nkind = 'decoding-error'\nruns = 4\nsets = 5\nstragglers = [0, 2, 4]\n\
         [[scheme]]\nkind = 'ce-agc'\ndegree = 3\n[[scheme]]\nlabel = 'stacked'\nkind = 'ce-agc'\ndegree = 3\ncode = 'stacked'\n",
    );
    let table = success(&scratch.simulate(&[]));
    assert!(table.contains("stacked"), "{table}");
    let study = scratch.study();
    let [drawn, stacked] = &study.points[..] else {
        panic!("{} points", study.points.len())
    };
    assert_eq!(
        (drawn.axis.as_str(), &drawn.at[..]),
        ("stragglers", &[0.0, 2.0, 4.0][..])
    );
    // The Fano plane, m = 2: eq 11 holds for every set, and below eq 10 for the drawn codes.
    for (s, &error) in [0.0, 2.0, 4.0].iter().zip(&stacked.series["error"].mean) {
        let wanted = 14.0 - 9.0 * (7.0 - s) / (3.0 + (6.0 - s));
        assert!((error - wanted).abs() < 1e-9, "{error} {wanted}");
        let baseline = drawn.bounds["baseline"][(s / 2.0) as usize];
        assert!((baseline - wanted).abs() < 1e-9, "{baseline} {wanted}");
    }
    for name in ["upper", "lower"] {
        assert_eq!(drawn.bounds[name].len(), 3, "{name}");
    }
    let error = &drawn.series["error"].mean;
    assert!(error.windows(2).all(|pair| pair[0] < pair[1]), "{error:?}");
    let set = ["--set", "study.stragglers=[7]", "--overwrite"];
    let error = failure(USAGE, &scratch.simulate(&set));
    assert!(error.contains("study.stragglers lists 7"), "{error}");
}

/// Some seconds of work.
fn long() -> Scratch {
    let text = TINY
        .replace("workers = 6", "workers = 40")
        .replace("iterations = 20", "iterations = 800")
        .replace("samples = 60", "samples = 400")
        .replace("runs = 3\nprobe = 20", "runs = 8");
    Scratch::new(&text)
}

fn spawn(scratch: &Scratch) -> Child {
    scratch
        .command("simulate", &["--out"])
        .arg(scratch.out())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the file at `out` has runs in it.
fn wait_for_runs(out: &Path, child: &mut Child) -> usize {
    let started = Instant::now();
    loop {
        let done = Study::open(out).map_or(0, |study| study.points.iter().map(|p| p.done()).sum());
        if done > 0 {
            return done;
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it wrote anything"
        );
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "nothing was written"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_study_goes_on_where_it_was() {
    let scratch = long();
    let mut child = spawn(&scratch);
    let done = wait_for_runs(&scratch.out(), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let before = scratch.study();
    let kept: usize = before.points.iter().map(|point| point.done()).sum();
    assert!(kept >= done);
    let resumed = scratch.simulate(&[]);
    success(&resumed);
    let total = 64;
    if kept < total {
        let error = String::from_utf8_lossy(&resumed.stderr);
        assert!(error.contains("of 64 runs are done already"), "{error}");
    }
    let after = scratch.study();
    for (before, after) in before.points.iter().zip(&after.points) {
        assert_eq!(after.done(), 8);
        for (run, outcome) in before.outcomes.iter().enumerate() {
            if *outcome == Outcome::Finished {
                let (old, new) = (&before.series["loss"], &after.series["loss"]);
                assert_eq!(old.runs.row(run), new.runs.row(run));
            }
        }
    }
}

#[test]
fn a_signal_stops_a_study_and_keeps_what_is_done() {
    let scratch = long();
    let mut child = spawn(&scratch);
    wait_for_runs(&scratch.out(), &mut child);
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: a plain system call; the child is ours and not yet waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let code = child.wait().unwrap().code();
    let done: usize = scratch
        .study()
        .points
        .iter()
        .map(|point| point.done())
        .sum();
    assert!(done > 0);
    let expected = if done < 64 { STOPPED } else { 0 };
    assert_eq!(code, Some(expected));
}
