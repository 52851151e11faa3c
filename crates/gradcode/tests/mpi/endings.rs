//! Every way in which a run ends has its exit code, its word in `status.json`, and a whole log.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::harness::{Group, Job, Launch, Scratch, in_shell, signal, status, train};
use super::log::series;

const STOPPED: i32 = 85;

/// Rounds of 10 to 20 ms, more of them than any test waits for.
const ENDLESS: &str = "iterations = 1000000\nworkers = 2\nbudget.mean_bits = 4.0\n\
    evaluation.every = \"never\"\ncompute.threads = 1\n\
    optimizer.learning_rate = 0.01\n\
    model = { kind = \"least-squares\", dimension = 50 }\n\
    data = { samples = 100, batch = 5 }\n\
    straggler = { rate = 1.0, deadline = 2.0, unit_seconds = 0.01, inject = \"delay\" }\n";

fn endless(scratch: &Scratch) -> (Job, PathBuf) {
    let (file, out) = (
        scratch.file("experiment.toml", ENDLESS),
        scratch.path("out"),
    );
    let mut job = Launch::train(scratch, 3, &train(&file, &out)).start();
    job.wait_for_training(&out);
    job.pids(3);
    sleep(Duration::from_millis(300));
    (job, out)
}

/// The log has every iteration that the status counts.
#[track_caller]
fn expect_stopped(out: &Path) {
    let status = status(out).expect("a status");
    assert_eq!(status["outcome"], "stopped", "{status}");
    assert_eq!(status["exit_code"], STOPPED, "{status}");
    let logged = series(out, "loss").len();
    assert!(logged > 0);
    assert_eq!(status["iterations_done"], logged, "{status}");
    assert!(out.join("model.safetensors").exists());
}

#[test]
fn usr1_to_the_launcher_stops_the_run() {
    let scratch = Scratch::new();
    let (job, out) = endless(&scratch);
    signal(job.pid(), libc::SIGUSR1);
    let end = job.finish();
    end.expect_code(STOPPED);
    assert!(end.error().contains("stopped after"), "{}", end.output);
    expect_stopped(&out);
}

#[test]
fn term_to_the_master_stops_the_run() {
    let scratch = Scratch::new();
    let (mut job, out) = endless(&scratch);
    signal(job.pids(3)[&0], libc::SIGTERM);
    job.finish().expect_code(STOPPED);
    expect_stopped(&out);
}

/// What a scheduler does at the time limit: launchers kill what does not end soon after.
#[test]
fn term_to_the_launcher_leaves_a_whole_log() {
    let scratch = Scratch::new();
    let (job, out) = endless(&scratch);
    signal(job.pid(), libc::SIGTERM);
    let end = job.finish();
    assert_ne!(end.code, Some(0), "{}", end.output);
    expect_stopped(&out);
}

/// Workers never act on signals themselves.
#[test]
fn signals_to_a_worker_do_nothing() {
    let scratch = Scratch::new();
    let (mut job, out) = endless(&scratch);
    let worker = job.pids(3)[&1];
    for number in [libc::SIGUSR1, libc::SIGTERM, libc::SIGINT] {
        signal(worker, number);
    }
    sleep(Duration::from_millis(300));
    assert_eq!(status(&out).expect("a status")["outcome"], "running");
    assert_eq!(job.pids(3)[&1], worker);
    signal(job.pids(3)[&0], libc::SIGUSR1);
    job.finish().expect_code(STOPPED);
    expect_stopped(&out);
}

#[track_caller]
fn ends_with(experiment: &str, code: i32, word: &str) -> (Scratch, usize) {
    let scratch = Scratch::new();
    let (file, out) = (
        scratch.file("experiment.toml", experiment),
        scratch.path("out"),
    );
    let end = Launch::train(&scratch, 3, &train(&file, &out)).run();
    end.expect_code(code);
    assert!(end.error().contains(word), "{}", end.output);
    let status = status(&out).expect("a status");
    assert_eq!(status["outcome"], "failed", "{status}");
    assert_eq!(status["exit_code"], code, "{status}");
    let message = status["message"].as_str().expect("a message");
    assert!(message.contains(word), "{status}");
    let logged = series(&out, "loss").len();
    (scratch, logged)
}

#[test]
fn a_diverging_run() {
    let experiment = "iterations = 1000\nworkers = 4\nbudget.mean_bits = 8.0\n\
        evaluation.every = \"never\"\noptimizer.learning_rate = 1e4\n\
        model = { kind = \"least-squares\", dimension = 50 }\n\
        data = { samples = 100, batch = 5 }\n\
        straggler = { rate = 3.0, deadline = 2.0 }\n";
    let (_scratch, logged) = ends_with(experiment, 21, "diverged at iteration");
    assert!(logged > 0, "what came before is in the log");
}

#[test]
fn nobody_in_time_for_too_long() {
    let experiment = "iterations = 1000\nworkers = 4\nbudget.mean_bits = 8.0\n\
        evaluation.every = \"never\"\nround.max_empty_rounds = 5\n\
        model = { kind = \"least-squares\", dimension = 50 }\n\
        data = { samples = 100, batch = 5 }\n\
        straggler = { rate = 1e-6, deadline = 1.1 }\n";
    let (_scratch, logged) = ends_with(experiment, 20, "5 rounds in a row");
    assert!(logged >= 4, "{logged}");
}

/// The master may not write files longer than the log is already: a full disk, as far as the log can
/// tell. The run goes on, says so, and ends with a code of its own.
#[test]
fn a_full_disk() {
    let scratch = Scratch::new();
    // Nearly all rounds last 20 ms, since nearly everybody is late; the first commit comes after ten
    // seconds.
    let experiment = ENDLESS
        .replace("iterations = 1000000", "iterations = 560")
        .replace("rate = 1.0", "rate = 0.02")
        + "round.max_empty_rounds = 1000\n";
    let (file, out) = (
        scratch.file("experiment.toml", &experiment),
        scratch.path("out"),
    );
    let command = in_shell("trap '' XFSZ; exec \"$@\"", &train(&file, &out));
    let group: Group = (3, command);
    let mut job = Launch::groups(&scratch, vec![group]).start();
    job.wait_for_training(&out);
    let master = job.pids(3)[&0];
    let size = std::fs::metadata(out.join("run.h5")).expect("a log").len();
    limit_file_size(master, size);
    let end = job.finish();
    end.expect_code(31);
    let warning = "the run goes on";
    assert!(end.output.contains(warning), "{}", end.output);
    assert!(end.error().contains("failed to write the end of the log"));
    let status = status(&out).expect("a status");
    assert_eq!(status["exit_code"], 31, "{status}");
    assert_eq!(status["iterations_done"], 560, "{status}");
    series(&out, "loss"); // the log of the first commit still opens
}

/// Limits the files that a process may write to `bytes`.
fn limit_file_size(pid: i32, bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: reads one rlimit, and no old one is asked for.
    let code = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
}

/// What a run has no use for any more does not keep it: the last task of worker 1 would take days.
#[test]
fn nobody_waits_for_a_computation_that_hangs_at_the_end() {
    let scratch = Scratch::new();
    let text = ENDLESS.replace("iterations = 1000000", "iterations = 30");
    let text = text.replace(
        "straggler = { rate = 1.0, deadline = 2.0, unit_seconds = 0.01, inject = \"delay\" }",
        "straggler = { inject = \"none\", probabilities = 0.1 }\ndeadline.seconds = 0.3\nmpi.goodbye_timeout_seconds = 2\n\
         round.give_up_seconds = 80000\n\
         [[inject]]\nfault = \"delay\"\nseconds = 80000\nworkers = [1]\nat = 28",
    );
    let (file, out) = (scratch.file("experiment.toml", &text), scratch.path("out"));
    let end = Launch::train(&scratch, 3, &train(&file, &out)).run();
    let status = status(&out).expect("a status");
    assert_eq!(status["outcome"], "done", "{status}\n{}", end.output);
    assert_eq!(series(&out, "loss").len(), 30);
    assert_eq!(series(&out, "late")[28..], [1.0, 1.0], "{}", end.output);
}
