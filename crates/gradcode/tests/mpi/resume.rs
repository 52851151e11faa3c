//! Runs that are broken off and resumed end where uninterrupted ones do, to the last bit.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::harness::{Launch, Scratch, signal, simulate, status, train};
use super::log::{Results, series};

const STOPPED: i32 = 85;

/// Five workers with memories, drawn arrivals, a few seconds of rounds.
const EXPERIMENT: &str = "seed = 11\niterations = 1200\nworkers = 5\nevaluation.every = { steps = 300 }\n\
    compute.threads = 1\ncheckpoint.every = { steps = 25 }\n\
    model = { kind = \"least-squares\", dimension = 20000 }\n\
    data = { samples = 200, batch = 8 }\n\
    scheme.kind = \"coco-ef\"\n\
    optimizer = { learning_rate = 1e-5, momentum = 0.5 }\n\
    straggler = { rate = [2.0, 1.5, 1.0, 0.7, 0.5], deadline = 1.8, inject = \"erase\" }\n";

/// `gradcode train` that resumes, with further arguments.
fn resuming(experiment: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let mut words = train(experiment, out);
    words.extend(["--resume".to_owned(), "auto".to_owned()]);
    words.extend(more.iter().map(|&word| word.to_owned()));
    words
}

/// The experiment's file, and what it yields without interruption.
fn uninterrupted(scratch: &Scratch) -> (PathBuf, Results) {
    let file = scratch.file("experiment.toml", EXPERIMENT);
    let alone = scratch.path("uninterrupted");
    simulate(scratch, &file, &alone);
    (file, Results::read(&alone))
}

#[test]
fn a_killed_master_costs_the_rounds_since_the_last_checkpoint() {
    let scratch = Scratch::new();
    let (file, expected) = uninterrupted(&scratch);
    let out = scratch.path("out");
    let mut kills = 0;
    for (ranks, milliseconds) in [(3, 350), (2, 20), (5, 600), (3, 150)] {
        let mut job = Launch::train(&scratch, ranks, &resuming(&file, &out, &[])).start();
        let master = job.pids(ranks)[&0];
        job.wait_for_training(&out);
        sleep(Duration::from_millis(milliseconds));
        signal(master, libc::SIGKILL);
        let end = job.finish();
        if end.code == Some(0) {
            break; // it was faster
        }
        kills += 1;
        // Whenever the kill came, the log can be read, and reaches the newest checkpoint.
        assert!(series(&out, "loss").len() <= 1200, "{}", end.output);
        // As a scheduler does that knows nothing of the run.
        let _ = std::fs::remove_file(out.join("status.json"));
    }
    assert!(kills > 0, "nothing was interrupted");
    let end = Launch::train(&scratch, 4, &resuming(&file, &out, &[])).run();
    end.expect_code(0);
    Results::read(&out).expect_equal(&expected, &end.output);
    let status = status(&out).expect("a status");
    assert_eq!(
        (&status["outcome"], &status["checkpoint"]),
        (&"done".into(), &1200.into())
    );
}

#[test]
fn usr1_and_a_new_job_on_other_ranks_change_nothing() {
    let scratch = Scratch::new();
    let (file, expected) = uninterrupted(&scratch);
    let out = scratch.path("out");
    let mut job = Launch::train(&scratch, 5, &resuming(&file, &out, &[])).start();
    job.wait_for_training(&out);
    sleep(Duration::from_millis(300));
    signal(job.pid(), libc::SIGUSR1);
    let end = job.finish();
    end.expect_code(STOPPED);
    assert!(
        end.error().contains("go on with --resume auto"),
        "{}",
        end.output
    );
    let stopped = status(&out).expect("a status");
    assert_eq!(stopped["exit_code"], STOPPED, "{stopped}");
    assert_eq!(
        stopped["checkpoint"], stopped["iterations_done"],
        "{stopped}"
    );
    assert_eq!(series(&out, "loss").len(), stopped["iterations_done"]);

    let end = Launch::train(&scratch, 2, &resuming(&file, &out, &[])).run();
    end.expect_code(0);
    Results::read(&out).expect_equal(&expected, &end.output);
    // And once more, with nothing left to do.
    let end = Launch::train(&scratch, 2, &resuming(&file, &out, &[])).run();
    end.expect_code(0);
    Results::read(&out).expect_equal(&expected, &end.output);
}

#[test]
fn usr2_writes_a_checkpoint_and_the_run_goes_on() {
    let scratch = Scratch::new();
    let text = EXPERIMENT.replace("{ steps = 25 }", "{ seconds = 1000 }");
    let file = scratch.file("experiment.toml", &text);
    let out = scratch.path("out");
    let mut job = Launch::train(&scratch, 3, &train(&file, &out)).start();
    job.wait_for_training(&out);
    sleep(Duration::from_millis(200));
    signal(job.pid(), libc::SIGUSR2);
    job.wait_until("a checkpoint is written", || {
        std::fs::read_dir(out.join("checkpoints")).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.path().join("DONE").exists())
        })
    });
    let end = job.finish();
    end.expect_code(0);
    assert_eq!(
        end.output.matches("checkpoint after").count(),
        2,
        "{}",
        end.output
    );
    assert_eq!(status(&out).expect("a status")["outcome"], "done");
}

/// Real deadlines: not reproducible, but what was learnt of the workers' times is not learnt again.
#[test]
fn a_run_stops_before_its_time_is_over_and_goes_on_without_warming_up() {
    let scratch = Scratch::new();
    let text = "iterations = 100000\nworkers = 2\nbudget.mean_bits = 4.0\nevaluation.every = \"never\"\n\
        compute.threads = 1\noptimizer.learning_rate = 0.01\n\
        model = { kind = \"least-squares\", dimension = 50 }\n\
        data = { samples = 100, batch = 5 }\n\
        straggler.inject = \"none\"\n\
        deadline.quantile = { q = 0.9, factor = 1.5, warmup = 20, window = 50 }\n";
    let file = scratch.file("experiment.toml", text);
    let out = scratch.path("out");
    let started = Instant::now();
    let limit = ["--max-walltime", "3s"];
    let end = Launch::train(&scratch, 3, &resuming(&file, &out, &limit)).run();
    end.expect_code(STOPPED);
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{}",
        end.output
    );
    let first = status(&out).expect("a status");
    let newest = first["checkpoint"].as_u64().expect("a checkpoint");
    let state = out.join(format!("checkpoints/iteration-{newest:012}/state.json"));
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(state).expect("a state")).expect("JSON");
    assert_eq!(state["times"].as_array().map(Vec::len), Some(50));

    let end = Launch::train(&scratch, 3, &resuming(&file, &out, &limit)).run();
    end.expect_code(STOPPED);
    let second = status(&out).expect("a status");
    assert!(
        second["iterations_done"].as_u64() > Some(newest),
        "{second}"
    );
    assert_eq!(series(&out, "loss").len(), second["iterations_done"]);
}

/// A run that goes on with a round in which everybody is drawn late: nobody is sent a model, and the
/// memories come back for the checkpoint at its end all the same.
#[test]
fn memories_are_recalled_before_anybody_was_sent_a_model() {
    let scratch = Scratch::new();
    let text = EXPERIMENT.replace("deadline = 1.8", "deadline = 1.2");
    let text = text.replace("dimension = 20000", "dimension = 300");
    let with = |iterations: u64| {
        let name = format!("{iterations}.toml");
        let text = text.replace("iterations = 1200", &format!("iterations = {iterations}"));
        scratch.file(&name, &text)
    };
    let alone = scratch.path("uninterrupted");
    simulate(&scratch, &with(60), &alone);
    let responders = series(&alone, "responders");
    let empty = (5..60)
        .find(|&t| responders[t] == 0.0)
        .expect("one of them") as u64;

    let expected = scratch.path("expected");
    simulate(&scratch, &with(empty + 1), &expected);
    let out = scratch.path("out");
    for iterations in [empty, empty + 1] {
        let job = resuming(&with(iterations), &out, &[]);
        Launch::train(&scratch, 3, &job).run().expect_code(0);
    }
    let status = status(&out).expect("a status");
    assert_eq!(status["lost_workers"], serde_json::json!([]), "{status}");
    assert_eq!(status["checkpoint"], empty + 1, "{status}");
    let state = |out: &Path| -> serde_json::Value {
        let checkpoint = format!("checkpoints/iteration-{:012}/state.json", empty + 1);
        let text = std::fs::read(out.join(checkpoint)).expect("a state");
        serde_json::from_slice(&text).expect("JSON")
    };
    let (there, here) = (state(&out), state(&expected));
    assert!(
        there["memories"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    );
    for key in ["memories", "memory_weights", "norms", "offences"] {
        assert_eq!(there[key], here[key], "{key}");
    }
}
