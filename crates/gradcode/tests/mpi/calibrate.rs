//! Workers that are measured: injected delays are found again, and what is written can be used.

use std::path::Path;

use serde_json::Value;

use super::harness::{Launch, PROGRAM, Scratch, in_shell};

/// Rates per unit of a tenth of a second, so long that a busy machine adds little.
const RATES: [f64; 3] = [4.0, 2.0, 1.0];
const UNIT: f64 = 0.1;

fn experiment(scratch: &Scratch) -> std::path::PathBuf {
    scratch.file(
        "experiment.toml",
        &format!(
            "workers = 3\nbudget.mean_bits = 6\ncompute.threads = 1\n\
             model = {{ kind = \"least-squares\", dimension = 3000 }}\n\
             data = {{ samples = 300, batch = 10 }}\n\
             [straggler]\nrate = {RATES:?}\nunit_seconds = {UNIT}\ndeadline = 2.0\ninject = \"delay\"\n"
        ),
    )
}

/// `gradcode calibrate` on 4 ranks with `arguments`; what it printed, and the file it wrote.
fn calibrate(scratch: &Scratch, experiment: &Path, arguments: &[&str]) -> (Value, String) {
    let out = scratch.path("cluster.toml");
    let text = |path: &Path| path.display().to_string();
    let mut words = vec!["calibrate".to_owned(), text(experiment)];
    words.extend(["--json".to_owned(), "--out".to_owned(), text(&out)]);
    words.extend(arguments.iter().map(|&word| word.to_owned()));
    let json = scratch.path("out.json");
    let script = format!("exec \"$@\" >> {}", text(&json));
    let job = Launch::groups(scratch, vec![(4, in_shell(&script, &words))]).run();
    job.expect_code(0);
    let printed = std::fs::read_to_string(json).expect("standard output");
    let object = serde_json::from_str(&printed).expect("one object");
    (
        object,
        std::fs::read_to_string(out).expect("a cluster file"),
    )
}

fn interval(worker: &Value, name: &str) -> std::ops::RangeInclusive<f64> {
    let end = |i: usize| worker[name][i].as_f64().expect("a number");
    end(0)..=end(1)
}

/// The true rates are within the intervals, and no delay is shorter than the least.
#[test]
fn injected_delays_are_found_again() {
    let scratch = Scratch::new();
    let experiment = experiment(&scratch);
    let trace = scratch.path("delays.csv").display().to_string();
    let arguments = ["--rounds", "60", "--confidence", "0.999", "--trace", &trace];
    let (found, file) = calibrate(&scratch, &experiment, &arguments);
    assert_eq!(found["model"], "shifted-exponential");
    assert_eq!(found["injected"], true);
    for (worker, rate) in found["workers"].as_array().unwrap().iter().zip(RATES) {
        assert_eq!((&worker["tasks"], &worker["cut"]), (&60.into(), &0.into()));
        let rates = interval(worker, "rate_interval");
        assert!(rates.contains(&(rate / UNIT)), "{rate}: {worker}");
        let shift = worker["shift"].as_f64().unwrap();
        assert!((UNIT..1.5 * UNIT).contains(&shift), "{worker}");
        assert!(interval(worker, "shift_interval").contains(&shift));
    }
    let deadline = found["deadline"].as_f64().unwrap();
    assert!((UNIT..10.0 * UNIT).contains(&deadline), "{found}");
    // Train and plan read the file; simulated runs can draw from the trace.
    assert!(file.contains("seconds = \"planned\""), "{file}");
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(PROGRAM)
            .args(arguments)
            .current_dir(scratch.path(""))
            .output()
            .expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}\n{file}");
    };
    let experiment = experiment.display().to_string();
    let real = [
        "--cluster",
        "cluster.toml",
        "--set",
        "straggler.inject=none",
    ];
    run(&[&["plan", &experiment][..], &real].concat());
    let traced = [
        "--set",
        "straggler.model=trace",
        "--set",
        "straggler.trace=delays.csv",
        "--set",
        "straggler.deadline=0.15",
        "--dry-run",
    ];
    run(&[&["simulate", &experiment, "--out", "traced"][..], &traced].concat());
}

/// Workers that take longer than the limit are cut, and the rates are found all the same.
#[test]
fn a_limit_cuts_and_does_not_mislead() {
    let scratch = Scratch::new();
    let experiment = experiment(&scratch);
    let arguments = ["--rounds", "60", "--confidence", "0.999", "--limit", "0.2"];
    let (found, file) = calibrate(&scratch, &experiment, &arguments);
    assert!(file.contains("cut after 0.2 s"), "{file}");
    let workers = found["workers"].as_array().unwrap();
    assert!(workers[2]["cut"].as_u64().unwrap() > 5, "{found}");
    for (worker, rate) in workers.iter().zip(RATES) {
        let rates = interval(worker, "rate_interval");
        assert!(rates.contains(&(rate / UNIT)), "{rate}: {worker}");
    }
}
