//! Stragglers in real time: workers that really sleep, and deadlines that really pass.
//!
//! Machines that run tests are busy, so nothing here depends on a worker being fast: only that one
//! which was told to be late is late, and that the rest is mostly in time.

use std::path::Path;

use super::harness::{Finished, Launch, Scratch, simulate, train};
use super::log::{lateness, series};

/// Iterations of each run.
const ITERATIONS: usize = 60;

fn experiment(rest: &str) -> String {
    format!(
        "iterations = {ITERATIONS}\n\
         workers = 4\n\
         evaluation.every = \"never\"\n\
         budget.mean_bits = 6.0\n\
         optimizer.learning_rate = 0.01\n\
         compute.threads = 1\n\
         model = {{ kind = \"least-squares\", dimension = 100 }}\n\
         data = {{ samples = 400, batch = 20 }}\n\
         {rest}"
    )
}

fn delayed(unit: &str) -> String {
    experiment(&format!(
        "[straggler]\nrate = [3.0, 2.0, 1.5, 1.0]\ndeadline = 2.0\n\
         unit_seconds = {unit}\ninject = \"delay\"\n"
    ))
}

#[track_caller]
fn run(scratch: &Scratch, ranks: usize, experiment: &str, out: &Path) -> Finished {
    let experiment = scratch.file("experiment.toml", experiment);
    let job = Launch::train(scratch, ranks, &train(&experiment, out)).run();
    job.expect_code(0);
    assert!(!job.output.contains("refused"), "{}", job.output);
    assert!(!job.output.contains("warning"), "{}", job.output);
    assert_eq!(series(out, "refused"), [0.0; ITERATIONS]);
    job
}

/// The share of (iteration, worker) that was late.
fn late_share(directory: &Path) -> f64 {
    let late = lateness(directory);
    assert_eq!(late.len(), ITERATIONS);
    let all: Vec<bool> = late.iter().flatten().map(|late| *late > 0.0).collect();
    all.iter().filter(|late| **late).count() as f64 / all.len() as f64
}

/// Whoever is late by the delay model is late in the run with sleeping workers.
#[track_caller]
fn delays_are_kept(unit: &str, ranks: usize) {
    let scratch = Scratch::new();
    let drawn = scratch.path("drawn");
    let file = scratch.file("drawn.toml", &delayed(unit));
    simulate(&scratch, &file, &drawn);
    let out = scratch.path("delayed");
    let job = run(&scratch, ranks, &delayed(unit), &out);
    let (drawn, delayed) = (lateness(&drawn), lateness(&out));
    for (t, (drawn, delayed)) in drawn.iter().zip(&delayed).enumerate() {
        for (worker, (&drawn, &late)) in drawn.iter().zip(delayed).enumerate() {
            let context = || format!("iteration {t}, worker {worker}\n{}", job.output);
            assert!(drawn == 0.0 || late > 0.0, "{}", context());
        }
    }
    let share = late_share(&out);
    assert!((0.1..0.8).contains(&share), "late: {share}");
    assert!(series(&out, "responders").iter().sum::<f64>() > 0.0);
}

#[test]
fn workers_sleep_their_delays() {
    delays_are_kept("0.02", 5);
}

#[test]
fn workers_share_ranks_and_sleep_their_delays() {
    delays_are_kept("0.02", 3);
}

#[test]
fn delays_are_in_units_of_a_measured_time() {
    delays_are_kept("\"auto\"", 5);
}

#[test]
fn a_fixed_deadline_far_away_is_met() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    run(
        &scratch,
        5,
        &experiment(
            "straggler = { inject = \"none\", probabilities = 0.1 }\ndeadline.seconds = 5.0\n",
        ),
        &out,
    );
    assert_eq!(late_share(&out), 0.0);
    assert_eq!(series(&out, "deadline"), [5.0; ITERATIONS]);
}

#[test]
fn a_deadline_is_learnt_from_arrivals() {
    a_deadline_is_learnt("quantile = { q = 0.9, factor = 1.5, warmup = 10, window = 80 }");
}

#[test]
fn a_deadline_is_learnt_from_median_and_deviations() {
    a_deadline_is_learnt("median_plus_mad = { k = 5.0, warmup = 10, window = 80 }");
}

#[track_caller]
fn a_deadline_is_learnt(rule: &str) {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    run(
        &scratch,
        5,
        &experiment(&format!("straggler.inject = \"none\"\ndeadline.{rule}\n")),
        &out,
    );
    let share = late_share(&out);
    assert!(share < 0.6, "late: {share}");
    let deadlines = series(&out, "deadline");
    assert!(deadlines.iter().all(|seconds| (0.0..5.0).contains(seconds)));
    assert!(deadlines.iter().any(|seconds| *seconds != deadlines[0]));
}

/// A worker whose delays become five times as long on the way: the plan for the others is not made
/// for it any more.
#[test]
fn a_worker_that_changes_is_planned_for_anew() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let text = experiment(
        "[straggler]\nrate = 4.0\ndeadline = 2.0\nunit_seconds = 0.03\ninject = \"delay\"\n\
         [replan]\non_drift = \"always\"\n\
         [[inject]]\nfault = \"slow\"\nworkers = [2]\nfactor = 5.0\nfrom = 20\n",
    );
    let file = scratch.file("experiment.toml", &text);
    let job = Launch::train(&scratch, 5, &train(&file, &out)).run();
    job.expect_code(0);
    let log = run_log::RunReader::open(out.join("run.h5")).expect("a readable log");
    let plans = log.plans().expect("plans");
    let made = plans.iter().find(|entry| {
        let named = entry.plan.reason.contains("worker 2 is late with");
        named && entry.start_iteration > 20
    });
    let made = made.unwrap_or_else(|| panic!("no plan names it\n{}", job.output));
    let before = plans[0].plan.straggle_probability[2];
    let after = made.plan.straggle_probability[2];
    assert!(before < 0.1 && after > 0.3, "{before} then {after}");
}

/// Deadlines that pass, messages that miss them, memories, and errors that are not those of the plan, all at
/// once: the plan follows, and what workers remember is to be delivered with its weights. A run that goes on
/// from there has the plan, the memories and what was measured.
#[test]
fn a_plan_follows_the_quantization_error_of_workers_with_memories() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let text = |iterations: usize| {
        let drawn = "[straggler]\nrate = [3.0, 2.0, 1.5, 1.0]\ndeadline = 2.0\nunit_seconds = 0.02\n\
                     inject = \"delay\"\n\
                     [codec]\nphi_every = 2\nerror_feedback = \"keep\"\nshrink = true\n\
                     [replan]\non_phi = true\npause = 5\n";
        experiment(drawn)
            .replace(
                &format!("iterations = {ITERATIONS}"),
                &format!("iterations = {iterations}"),
            )
            .replace("mean_bits = 6.0", "mean_bits = 3.0")
    };
    let go_on = |iterations: usize, ranks: usize| {
        let file = scratch.file("experiment.toml", &text(iterations));
        let mut words = train(&file, &out);
        words.extend(["--resume", "auto"].map(str::to_owned));
        let job = Launch::train(&scratch, ranks, &words).run();
        job.expect_code(0);
        job
    };
    let state = |iterations: usize| -> serde_json::Value {
        let file = format!("checkpoints/iteration-{iterations:012}/state.json");
        let text = std::fs::read(out.join(file)).expect("a state");
        serde_json::from_slice(&text).expect("JSON")
    };
    let first = go_on(30, 5);
    let log = || run_log::RunReader::open(&out).expect("a readable log");
    let plans = log().plans().expect("plans");
    let made = plans
        .iter()
        .find(|entry| entry.plan.reason.contains("quantization error"));
    let made = made.unwrap_or_else(|| panic!("no plan follows\n{}", first.output));
    assert!(first.output.contains("the quantization error at "));
    assert_ne!(plans[0].plan.encoding, made.plan.encoding);
    let late = series(&out, "late");
    let (before, after) = late.split_at(made.start_iteration as usize);
    assert!(before.iter().sum::<f64>() > 0.0 && after.iter().sum::<f64>() > 0.0);

    // w_i e_i is what counts, and w_i is that of the plan in force.
    let saved = state(30);
    let weights = &plans.last().expect("plans").plan.decode_weight;
    let remembering = saved["memories"].as_array().expect("memories");
    assert!(!remembering.is_empty(), "{saved}");
    let own = saved["memory_weights"].as_array().expect("weights");
    for (memory, weight) in remembering.iter().zip(own) {
        let worker = memory[0].as_u64().expect("a worker") as usize;
        if weights[worker] > 0.0 {
            assert_eq!(weight.as_f64(), Some(weights[worker]), "worker {worker}");
        }
    }
    assert!(
        saved["phi_monitor"]["believed"]
            .as_object()
            .is_some_and(|known| !known.is_empty())
    );

    let second = go_on(ITERATIONS, 3);
    let resumed = log().plans().expect("plans");
    assert_eq!(series(&out, "loss").len(), ITERATIONS, "{}", second.output);
    assert!(resumed.len() >= plans.len());
    for (before, after) in plans.iter().zip(&resumed) {
        assert_eq!(before.plan.json, after.plan.json, "{}", second.output);
    }
    let loss = series(&out, "loss");
    assert!(loss.iter().all(|loss| !loss.is_infinite()), "{loss:?}");
}
