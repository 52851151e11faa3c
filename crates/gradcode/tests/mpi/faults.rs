//! Faults that the configuration injects, and worker ranks that die under a launcher that lets them.

use std::path::Path;

use run_log::RunReader;

use super::harness::{Finished, Launch, Scratch, simulate, status, train};
use super::log::{Results, series};
use super::lost_ranks::{expect_nobody_left, expect_readable};

/// What a worker can get wrong without dying, each once.
const MISTAKES: &str = "iterations = 60\nworkers = 4\nbudget.mean_bits = 6.0\n\
    evaluation.every = \"never\"\ncompute.threads = 1\noptimizer.learning_rate = 0.01\n\
    model = { kind = \"least-squares\", dimension = 600 }\n\
    data = { samples = 100, batch = 5 }\n\
    straggler = { rate = 4.0, deadline = 2.0 }\n\
    inject = [\n\
    { fault = \"panic\", workers = [0], at = 20 },\n\
    { fault = \"panic\", workers = [1], at = 23, phase = \"header\" },\n\
    { fault = \"memory\", workers = [2], at = 26 },\n\
    { fault = \"nan\", workers = [3], at = 29 },\n\
    { fault = \"nan\", workers = [0], at = 32, phase = \"header\" },\n\
    { fault = \"nan\", workers = [1], at = 35, phase = \"payload\" },\n\
    { fault = \"corrupt\", workers = [2], at = 38 },\n\
    { fault = \"corrupt\", workers = [3], at = 41, phase = \"header\" },\n\
    { fault = \"corrupt\", workers = [0], at = 44, phase = \"payload\" },\n\
    { fault = \"delay\", workers = [1], at = 47, seconds = 0.1 },\n\
    { fault = \"freeze\", workers = [2], at = 50, phase = \"header\", seconds = 0.2 },\n\
    { fault = \"delay\", workers = [3], at = 53, phase = \"payload\", seconds = 0.1 },\n\
    ]\n";

/// Each is refused and named, or merely takes time; and the run is the one that the same faults make
/// of a simulation, to the last bit.
#[test]
fn mistakes_cost_their_message_and_nothing_else() {
    let scratch = Scratch::new();
    let file = scratch.file("experiment.toml", MISTAKES);
    let (parallel, alone) = (scratch.path("parallel"), scratch.path("alone"));
    let end = Launch::train(&scratch, 5, &train(&file, &parallel)).run();
    end.expect_code(0);
    simulate(&scratch, &file, &alone);
    let results = Results::read(&parallel);
    results.expect_equal(&Results::read(&alone), "5 ranks and in process");

    let log = RunReader::open(&parallel).expect("a readable log");
    let refused = log.per_worker("refused").expect("a series");
    let asked = |t: usize, worker: usize| {
        let late = log.per_worker("late_iterations").expect("a series");
        late[(t, worker)] != 1.0 || refused[(t, worker)] == 1.0
    };
    let mistakes = [
        (20, 0),
        (23, 1),
        (26, 2),
        (29, 3),
        (32, 0),
        (35, 1),
        (38, 2),
        (41, 3),
        (44, 0),
    ];
    let hits = mistakes
        .iter()
        .filter(|&&(t, worker)| asked(t, worker) && refused[(t, worker)] == 1.0)
        .count();
    assert_eq!(refused.sum() as usize, hits, "no other message is refused");
    assert!(hits >= 6, "{hits} of 9: the others were drawn late");
    assert_eq!(end.output.matches("counts as late").count(), hits);
    assert!(
        series(&parallel, "foreign")
            .iter()
            .all(|count| *count == 0.0)
    );
    assert_eq!(
        status(&parallel).expect("a status")["lost_workers"],
        serde_json::json!([])
    );
}

/// A rank's main thread is no place for a panic: the whole job ends, as for any bug.
#[test]
fn a_panic_outside_the_computation_ends_the_job() {
    let scratch = Scratch::new();
    let experiment = MISTAKES
        .split("inject = [")
        .next()
        .expect("a part")
        .to_owned()
        + "inject = [{ fault = \"panic\", from = 5, phase = \"payload\" }]\n";
    let (file, out) = (
        scratch.file("experiment.toml", &experiment),
        scratch.path("out"),
    );
    let end = Launch::train(&scratch, 5, &train(&file, &out)).run();
    end.expect_code(70);
    assert!(end.output.contains("this is a bug"), "{}", end.output);
    assert_eq!(status(&out).expect("a status")["outcome"], "running");
    expect_readable(&out);
    expect_nobody_left(&scratch);
}

/// Real time; frames of `dimension` f32.
fn mortal(dimension: usize, deadline: &str, faults: &str) -> String {
    format!(
        "iterations = 400\nworkers = 4\ncodec.preset = \"f32\"\n\
         evaluation.every = \"never\"\ncompute.threads = 1\noptimizer.learning_rate = 1e-7\n\
         model = {{ kind = \"least-squares\", dimension = {dimension} }}\n\
         data = {{ samples = 8, batch = 2 }}\n\
         deadline.{deadline}\n\
         straggler = {{ inject = \"none\", probabilities = 0.1 }}\n\
         replan.on_drift = \"never\"\n\
         round = {{ give_up_after = 5, give_up_seconds = 3.0 }}\n\
         mpi.goodbye_timeout_seconds = 5\n\
         inject = [{{ fault = \"delay\", seconds = 0.01 }}, {faults}]\n"
    )
}

/// The run outlived worker 1 and says so everywhere.
#[track_caller]
fn expect_outlived(end: &Finished, out: &Path, iterations: usize) {
    let status = status(out).expect("a status");
    assert_eq!(status["outcome"], "done", "{status}\n{}", end.output);
    assert_eq!(status["exit_code"], 0, "{status}");
    assert_eq!(
        status["lost_workers"].as_array().map(Vec::len),
        Some(1),
        "{status}"
    );
    assert_eq!(status["lost_workers"][0]["worker"], 1, "{status}");
    assert!(end.output.contains("worker 1 is lost"), "{}", end.output);
    assert_eq!(expect_readable(out), iterations);
    let log = RunReader::open(out).expect("a readable log");
    let plans = log.plans().expect("plans");
    assert_eq!((plans.len(), plans[1].plan.load[1]), (2, 0));
    assert!(series(out, "foreign").iter().all(|count| *count == 0.0));
}

/// Killed in the computation, before its header, and between two chunks of its frame.
#[test]
fn a_run_outlives_a_killed_worker() {
    for (phase, dimension) in [("compute", 2000), ("header", 2000), ("payload", 1_200_000)] {
        let scratch = Scratch::new();
        let fault =
            format!("{{ fault = \"kill\", workers = [1], from = 10, phase = \"{phase}\" }}");
        let experiment = match dimension {
            2000 => mortal(dimension, "seconds = 0.1", &fault).replace("= 400", "= 500"),
            _ => mortal(dimension, "seconds = 0.5", &fault)
                .replace("= 400", "= 100")
                .replace("seconds = 0.01", "seconds = 0.05"),
        };
        let (file, out) = (
            scratch.file("experiment.toml", &experiment),
            scratch.path("out"),
        );
        let launch = Launch::train(&scratch, 5, &train(&file, &out)).survive_deaths();
        let end = launch.run();
        let iterations = if dimension == 2000 { 500 } else { 100 };
        expect_outlived(&end, &out, iterations);
        expect_nobody_left(&scratch);
    }
}
