//! Ranks that die and ranks that freeze.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use run_log::RunReader;

use super::harness::{Launch, Scratch, ranks_of, signal, status, train};
use super::log::{lateness, series};

/// Rounds of 20 to 40 ms, more of them than any test waits for.
const ENDLESS: &str = "iterations = 1000000\nworkers = 4\nbudget.mean_bits = 4.0\n\
    evaluation.every = \"never\"\ncompute.threads = 1\n\
    optimizer.learning_rate = 0.01\n\
    model = { kind = \"least-squares\", dimension = 50 }\n\
    data = { samples = 100, batch = 5 }\n\
    straggler = { rate = 1.0, deadline = 2.0, unit_seconds = 0.02, inject = \"delay\" }\n";

/// All columns of the log have as many rows as it says, and they make sense.
#[track_caller]
pub fn expect_readable(directory: &Path) -> usize {
    let log = RunReader::open(directory).expect("a readable log");
    for name in log.series_names().expect("names") {
        assert_eq!(log.series(&name).expect("a series").len(), log.len());
    }
    for name in log.per_worker_names().expect("names") {
        let values = log.per_worker(&name).expect("a series");
        assert_eq!(values.dim(), (log.len(), log.workers()));
    }
    let iterations = log.series("iteration").expect("a series");
    assert!(iterations.iter().enumerate().all(|(t, i)| t as f64 == *i));
    log.len()
}

#[track_caller]
pub fn expect_nobody_left(scratch: &Scratch) {
    let marker = scratch.path("").display().to_string();
    let until = Instant::now() + Duration::from_secs(10);
    while !ranks_of(&marker).is_empty() {
        assert!(Instant::now() < until, "left: {:?}", ranks_of(&marker));
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_killed_worker_ends_the_job_with_a_readable_log() {
    let scratch = Scratch::new();
    let (file, out) = (
        scratch.file("experiment.toml", ENDLESS),
        scratch.path("out"),
    );
    let mut job = Launch::train(&scratch, 3, &train(&file, &out)).start();
    job.wait_for_training(&out);
    let victim = job.pids(3)[&2];
    sleep(Duration::from_millis(500));
    let killed = Instant::now();
    signal(victim, libc::SIGKILL);
    let end = job.finish();
    assert!(killed.elapsed() < Duration::from_secs(20));
    assert_ne!(end.code, Some(0), "{}", end.output);
    assert!(end.output.contains("signal 9"), "{}", end.output);
    expect_readable(&out);
    expect_nobody_left(&scratch);
}

/// The rows of the last commit are there; commits are ten seconds apart.
#[test]
fn a_killed_master_leaves_the_rows_it_committed() {
    let scratch = Scratch::new();
    let (file, out) = (
        scratch.file("experiment.toml", ENDLESS),
        scratch.path("out"),
    );
    let mut job = Launch::train(&scratch, 3, &train(&file, &out)).start();
    job.wait_for_training(&out);
    let master = job.pids(3)[&0];
    job.wait_until("a commit", || {
        RunReader::open(&out).is_ok_and(|log| !log.is_empty())
    });
    signal(master, libc::SIGKILL);
    let end = job.finish();
    assert_ne!(end.code, Some(0), "{}", end.output);
    assert!(expect_readable(&out) > 10, "{}", end.output);
    // A later reader can tell that this run did not end by itself.
    assert_eq!(status(&out).expect("a status")["outcome"], "running");
    expect_nobody_left(&scratch);
}

/// Real time, and everybody far faster than the deadline of 0.2 s.
const FAST: &str = "iterations = 100000000\nworkers = 4\nbudget.mean_bits = 4.0\n\
    evaluation.every = \"never\"\ncompute.threads = 1\n\
    optimizer.learning_rate = 0.01\n\
    model = { kind = \"least-squares\", dimension = 1000 }\n\
    data = { samples = 2000, batch = 500 }\n\
    deadline.seconds = 0.2\n\
    replan.on_drift = \"never\"\n\
    straggler = { inject = \"none\", probabilities = 0.1 }\n";

#[test]
fn nobody_waits_for_a_frozen_worker_and_it_comes_back() {
    let scratch = Scratch::new();
    let (file, out) = (scratch.file("experiment.toml", FAST), scratch.path("out"));
    let mut job = Launch::train(&scratch, 5, &train(&file, &out)).start();
    job.wait_for_training(&out);
    let pids = job.pids(5);
    sleep(Duration::from_millis(500));
    signal(pids[&2], libc::SIGSTOP); // hosts worker 1
    sleep(Duration::from_secs(2));
    signal(pids[&2], libc::SIGCONT);
    sleep(Duration::from_secs(1));
    signal(pids[&0], libc::SIGTERM);
    let end = job.finish();
    assert_eq!(status(&out).expect("a status")["outcome"], "stopped");
    assert_eq!(
        status(&out).expect("a status")["lost_workers"],
        serde_json::json!([])
    );

    let late = lateness(&out);
    let behind: Vec<f64> = late.iter().map(|row| row[1]).collect();
    let most = behind.iter().copied().fold(0.0, f64::max);
    assert!(
        most >= 3.0,
        "rounds kept coming while it was frozen: {most}\n{}",
        end.output
    );
    let frozen = behind
        .iter()
        .position(|late| *late == most)
        .expect("a maximum");
    let answered = behind[frozen..].iter().filter(|late| **late == 0.0).count();
    assert!(answered > 0, "it answers again\n{}", end.output);
    let longest = series(&out, "seconds_round")
        .into_iter()
        .fold(0.0, f64::max);
    assert!(longest < 1.9, "a round took {longest} s\n{}", end.output);
    expect_nobody_left(&scratch);
}

#[test]
fn a_worker_that_stays_frozen_is_given_up() {
    let scratch = Scratch::new();
    let experiment = ENDLESS.replace("iterations = 1000000", "iterations = 120")
        + "round = { give_up_after = 5, give_up_seconds = 0.5 }\n";
    let (file, out) = (
        scratch.file("experiment.toml", &experiment),
        scratch.path("out"),
    );
    let mut job = Launch::train(&scratch, 5, &train(&file, &out)).start();
    job.wait_for_training(&out);
    let pids = job.pids(5);
    signal(pids[&3], libc::SIGSTOP); // hosts worker 2
    job.wait_until("the run is done", || {
        status(&out).is_some_and(|status| status["outcome"] != "running")
    });
    let ended = Instant::now();
    // Everybody but the frozen one goes; it cannot, and a launcher may wait for it.
    let marker = scratch.path("").display().to_string();
    job.wait_until("the others leave", || {
        ranks_of(&marker).into_keys().all(|rank| rank == 3)
    });
    assert!(ended.elapsed() < Duration::from_secs(15));
    signal(pids[&3], libc::SIGCONT);
    let end = job.finish();
    let status = status(&out).expect("a status");
    assert_eq!(status["outcome"], "done", "{status}\n{}", end.output);
    assert_eq!(status["exit_code"], 0, "{status}\n{}", end.output);
    assert_eq!(status["lost_workers"][0]["worker"], 2, "{status}");
    assert_eq!(status["lost_workers"].as_array().map(Vec::len), Some(1));
    assert_eq!(expect_readable(&out), 120);

    let log = RunReader::open(&out).expect("a readable log");
    let plans = log.plans().expect("plans");
    assert_eq!(plans.len(), 2, "one plan with it, one without");
    assert_eq!(plans[0].plan.reason, "start");
    let reason = &plans[1].plan.reason;
    assert!(reason.starts_with("worker 2 is lost: "), "{reason}");
    assert_eq!((plans[1].plan.bits[2], plans[1].plan.load[2]), (0, 0));
    let start = plans[1].start_iteration as usize;
    let late = lateness(&out);
    assert!(late[start..].iter().all(|row| row[2] == -1.0));
    assert!(end.output.contains("worker 2 is lost"), "{}", end.output);
    expect_nobody_left(&scratch);
}
