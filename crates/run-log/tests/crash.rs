//! What survives kill -9 and a full disk.
//!
//! Both need a process of its own: the test runs this binary again with an environment variable that
//! turns one test function into the writer.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use run_log::{IterationRow, RunInfo, RunLog, RunReader, Segment};

const WORKERS: usize = 4;
const PATH: &str = "RUN_LOG_TEST_PATH";

fn row(iteration: u64) -> IterationRow {
    let mut row = IterationRow::new(iteration, WORKERS);
    row.loss = iteration as f64;
    row.per_worker.arrival_time = vec![iteration as f64; WORKERS];
    row
}

fn child(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", role, "--nocapture", "--test-threads=1"])
        .env(PATH, path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Commits without end, and prints how many rows are in the file after each commit.
#[test]
fn role_endless_writer() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else {
        return;
    };
    let mut log = if path.exists() {
        let next = RunReader::open(&path).unwrap().len() as u64;
        RunLog::resume(&path, next, WORKERS, &Segment::default()).unwrap()
    } else {
        RunLog::create(
            &path,
            &RunInfo {
                workers: WORKERS,
                ..RunInfo::default()
            },
        )
        .unwrap()
    };
    let mut next = log.last_iteration().map_or(0, |last| last + 1);
    println!("\nrows {next}");
    loop {
        // Enough to start new chunks and index nodes every now and then.
        for _ in 0..(1 + next % 700) {
            log.push(row(next)).unwrap();
            next += 1;
        }
        log.push_evaluation(next, &[("AP".into(), next as f64)]);
        log.commit().unwrap();
        println!("\nrows {next}");
    }
}

fn kill_after(mut writer: Child, commits: usize, extra: Duration) -> u64 {
    let mut lines = BufReader::new(writer.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut announced = || {
        lines.by_ref().find_map(|line| {
            line.strip_prefix("rows ")
                .and_then(|n| n.parse::<u64>().ok())
        })
    };
    let mut rows = 0;
    for _ in 0..commits {
        rows = announced().expect("the writer ended by itself");
    }
    std::thread::sleep(extra);
    writer.kill().unwrap();
    // What it still announced before it died counts as well.
    while let Some(more) = announced() {
        rows = more;
    }
    writer.wait().unwrap();
    rows
}

#[test]
fn after_kill_9_the_log_holds_all_committed_rows_and_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let mut torn = 0;
    for round in 0..30u64 {
        let writer = child("role_endless_writer", &path).spawn().unwrap();
        // Spread over the phases of a commit, which takes a few milliseconds.
        let extra = Duration::from_micros(round * 7919 % 9000);
        let announced = kill_after(writer, 2 + (round % 3) as usize, extra);
        torn += u32::from(dir.path().join(".run.h5.tmp").exists());

        let run = RunReader::open(&path).unwrap();
        let rows = run.len();
        assert!(
            rows as u64 >= announced,
            "round {round}: {rows} rows, {announced} were announced"
        );
        for name in run.series_names().unwrap() {
            assert_eq!(run.series(&name).unwrap().len(), rows, "{name}");
        }
        for name in run.per_worker_names().unwrap() {
            assert_eq!(
                run.per_worker(&name).unwrap().dim(),
                (rows, WORKERS),
                "{name}"
            );
        }
        assert!(
            run.series("loss")
                .unwrap()
                .iter()
                .enumerate()
                .all(|(t, &loss)| loss == t as f64)
        );
        assert_eq!(
            run.per_worker("arrival_time").unwrap()[[rows - 1, 3]],
            (rows - 1) as f64
        );
        let evaluation = run.evaluation().unwrap();
        assert!(
            evaluation
                .iteration
                .iter()
                .zip(&evaluation.metrics[0].1)
                .all(|(&i, &ap)| ap == i as f64)
        );
        assert_eq!(run.segments().unwrap().len() as u64, round + 1);
    }
    // Not a requirement, but without it the kills would not have hit commits in the middle.
    assert!(torn > 0, "no kill met a commit in progress");
}

/// Lives under a limit on file sizes, which fails writes the way a full disk does.
#[test]
fn role_writer_on_a_full_disk() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else {
        return;
    };
    let limit = |bytes: u64| {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: plain system calls with valid arguments; ignoring the signal turns it into EFBIG.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
        }
    };
    let mut log = RunLog::create(
        &path,
        &RunInfo {
            workers: WORKERS,
            ..RunInfo::default()
        },
    )
    .unwrap();
    for iteration in 0..100 {
        log.push(row(iteration)).unwrap();
    }
    log.commit().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();

    limit(size / 2);
    for iteration in 100..3000 {
        log.push(row(iteration)).unwrap();
        if iteration % 100 == 0 {
            let error = log.commit().unwrap_err().to_string();
            assert!(
                error.starts_with("write ") && error.contains("File too large"),
                "{error}"
            );
        }
    }
    assert_eq!(log.rows_waiting(), 2900);
    assert_eq!(
        RunReader::open(&path).unwrap().len(),
        100,
        "readers still see the last good state"
    );
    assert!(
        !path.with_file_name(".run.h5.tmp").exists(),
        "the draft is removed, a full disk needs the room"
    );

    if path.with_file_name("space-returns").exists() {
        limit(libc::RLIM_INFINITY);
        log.commit().unwrap();
        assert_eq!(RunReader::open(&path).unwrap().len(), 3000);
        log.finish().unwrap();
    } else {
        assert!(log.finish().is_err());
    }
    println!("\nend of the role");
}

fn full_disk(space_returns: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    if space_returns {
        std::fs::write(dir.path().join("space-returns"), "").unwrap();
    }
    let output = child("role_writer_on_a_full_disk", &path).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stdout.contains("end of the role"),
        "{stdout}\n{stderr}"
    );
    assert!(!stderr.contains("HDF5"), "the library is quiet: {stderr}");
    let rows = RunReader::open(&path).unwrap().series("loss").unwrap();
    assert_eq!(rows.len(), if space_returns { 3000 } else { 100 });
    assert!(rows.iter().enumerate().all(|(t, &loss)| loss == t as f64));
}

#[test]
fn a_full_disk_costs_nothing_once_there_is_room_again() {
    full_disk(true);
}

#[test]
fn a_disk_that_stays_full_is_an_error_at_the_end_and_the_log_stays_readable() {
    full_disk(false);
}

#[test]
fn a_log_that_vanished_is_reported_and_nothing_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let mut log = RunLog::create(
        &path,
        &RunInfo {
            workers: WORKERS,
            ..RunInfo::default()
        },
    )
    .unwrap();
    std::fs::remove_file(&path).unwrap();
    log.push(row(0)).unwrap();
    let error = log.commit().unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    assert!(log.finish().is_err());
}

#[test]
fn commits_come_no_sooner_than_due() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let mut log = RunLog::create(
        &path,
        &RunInfo {
            workers: WORKERS,
            ..RunInfo::default()
        },
    )
    .unwrap();
    log.push(row(0)).unwrap();
    assert!(!log.commit_due());
    assert!(log.maybe_commit().is_none());
    assert_eq!(
        (log.rows_waiting(), RunReader::open(&path).unwrap().len()),
        (1, 0)
    );
    // Dropped without `finish`, as when an error ends the run early.
    drop(log);
    assert_eq!(RunReader::open(&path).unwrap().len(), 1);
}
