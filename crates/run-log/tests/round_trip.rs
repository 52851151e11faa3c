//! What is written is what is read.

use run_log::{
    AttributeValue, IterationRow, LogError, PlanRecord, RunInfo, RunLog, RunReader, Segment,
};

const WORKERS: usize = 3;

fn info() -> RunInfo {
    RunInfo {
        title: "round trip".into(),
        source: "gradcode 0.1.0".into(),
        git_commit: "0123abc".into(),
        git_dirty: true,
        command_line: "gradcode train quickstart.toml".into(),
        seed: 7,
        workers: WORKERS,
        dimension: 1000,
        mpi_library: "Open MPI 4.1.4".into(),
        config_toml: "seed = 7 # \u{3b2}\n".into(),
        attributes: vec![
            ("device".into(), "cpu".into()),
            ("threads".into(), 2usize.into()),
            ("eta".into(), 0.5.into()),
        ],
        segment: Segment {
            ranks: 4,
            job_id: "99".into(),
            hosts: "a,b".into(),
            ..Segment::default()
        },
    }
}

fn row(iteration: u64) -> IterationRow {
    let mut row = IterationRow::new(iteration, WORKERS);
    row.time = 1.7e9 + iteration as f64;
    row.loss = 1.0 / (iteration + 1) as f64;
    row.bits_up = 1000 + iteration;
    row.responders = 2;
    row.per_worker.arrival_time = vec![0.1, f64::NAN, iteration as f64];
    row.per_worker.late_iterations = vec![0, 1, -1];
    row.per_worker.bits = vec![500, 0, 500 + iteration as i64];
    row
}

fn plan(bits: i64) -> PlanRecord {
    PlanRecord {
        reason: "worker 1 is lost: it was killed".into(),
        scheme: "joint".into(),
        partitions: 3,
        straggle_probability: vec![0.1, 0.5, 0.25],
        bits: vec![bits, 2, 4],
        decode_weight: vec![1.0, 2.0, 0.5],
        load: vec![2, 1, 1],
        encoding: vec![(0, 0, 1.0), (0, 1, 0.5), (1, 1, 0.5), (2, 2, 1.0)],
        scaling_s: 3.5,
        error_bound: 2.57,
        computation_load: 4.0 / 3.0,
        bits_per_coordinate_offered: 6.0 + bits as f64,
        bits_per_coordinate_expected: 9.1,
        json: "{}".into(),
        ..PlanRecord::default()
    }
}

#[test]
fn everything_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    // The directory is created too.
    let path = dir.path().join("runs/first/run.h5");
    let mut log = RunLog::create(&path, &info()).unwrap();
    log.push_plan(0, &plan(3)).unwrap();
    for iteration in 0..2500 {
        log.push(row(iteration)).unwrap();
        if iteration == 1200 {
            log.push_evaluation(1000, &[("AP50".into(), 0.25)]);
            log.commit().unwrap();
        }
    }
    log.push_evaluation(2500, &[("AP".into(), 0.5), ("AP50".into(), 0.75)]);
    log.push_plan(2000, &plan(3)).unwrap();
    log.push_plan(2000, &plan(5)).unwrap();
    log.finish().unwrap();

    let run = RunReader::open(dir.path().join("runs/first")).unwrap();
    assert_eq!((run.len(), run.workers()), (2500, WORKERS));
    for (name, value) in [
        ("Conventions", AttributeValue::from("CF-1.11")),
        ("title", "round trip".into()),
        ("git_dirty", 1i64.into()),
        ("mpi_ranks", 4i64.into()),
        ("device", "cpu".into()),
        ("threads", 2i64.into()),
        ("eta", 0.5.into()),
    ] {
        assert_eq!(run.attributes().get(name), Some(&value), "{name}");
    }
    assert_eq!(run.config().unwrap(), info().config_toml);

    assert_eq!(
        run.series_names().unwrap().len(),
        run_log::columns::SCALAR_COLUMNS.len()
    );
    assert_eq!(
        run.per_worker_names().unwrap().len(),
        run_log::columns::PER_WORKER_COLUMNS.len()
    );
    assert!(
        run.series("iteration")
            .unwrap()
            .iter()
            .enumerate()
            .all(|(t, &i)| i == t as f64)
    );
    assert!(
        run.series("bits_up")
            .unwrap()
            .iter()
            .enumerate()
            .all(|(t, &bits)| bits == (1000 + t) as f64)
    );
    assert!(
        run.series("learning_rate")
            .unwrap()
            .iter()
            .all(|rate| rate.is_nan())
    );
    let arrival = run.per_worker("arrival_time").unwrap();
    assert_eq!(arrival.dim(), (2500, WORKERS));
    assert!(arrival.column(1).iter().all(|time| time.is_nan()));
    assert!(
        arrival
            .column(2)
            .iter()
            .enumerate()
            .all(|(t, &time)| time == t as f64)
    );
    assert_eq!(
        run.per_worker("late_iterations")
            .unwrap()
            .row(2499)
            .to_vec(),
        [0.0, 1.0, -1.0]
    );

    let evaluation = run.evaluation().unwrap();
    assert_eq!(evaluation.iteration, [1000, 2500]);
    assert_eq!(
        evaluation
            .metrics
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["AP", "AP50"]
    );
    assert!(evaluation.metrics[0].1[0].is_nan());
    assert_eq!(
        (evaluation.metrics[0].1[1], &evaluation.metrics[1].1),
        (0.5, &vec![0.25, 0.75])
    );

    let plans = run.plans().unwrap();
    assert_eq!(
        plans
            .iter()
            .map(|entry| entry.start_iteration)
            .collect::<Vec<_>>(),
        [0, 2000]
    );
    assert_eq!((&plans[0].plan, &plans[1].plan), (&plan(3), &plan(5)));

    let segments = run.segments().unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(
        (
            segments[0].ranks,
            segments[0].job_id.as_str(),
            segments[0].hosts.as_str()
        ),
        (4, "99", "a,b")
    );
    assert!(segments[0].start_time > 1.7e9);
}

#[test]
fn an_empty_log_opens() {
    let dir = tempfile::tempdir().unwrap();
    RunLog::create(dir.path().join("run.h5"), &info())
        .unwrap()
        .finish()
        .unwrap();
    let run = RunReader::open(dir.path()).unwrap();
    assert!(run.is_empty());
    assert_eq!(run.series("loss").unwrap(), [0.0; 0]);
    assert_eq!(run.per_worker("bits").unwrap().dim(), (0, WORKERS));
    assert!(run.evaluation().unwrap().iteration.is_empty());
    assert!(run.plans().unwrap().is_empty());
}

#[test]
fn nothing_but_the_log_stays_in_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = RunLog::create(dir.path().join("run.h5"), &info()).unwrap();
    log.push(row(0)).unwrap();
    log.finish().unwrap();
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["run.h5"]);
}

#[test]
fn rows_that_do_not_fit_are_refused_and_leave_the_log_usable() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = RunLog::create(dir.path().join("run.h5"), &info()).unwrap();
    log.push(row(4)).unwrap();
    assert!(matches!(
        log.push(row(4)),
        Err(LogError::OutOfOrder {
            iteration: 4,
            last: 4
        })
    ));
    let mut short = row(5);
    short.per_worker.bits.pop();
    assert!(matches!(
        log.push(short),
        Err(LogError::RowShape {
            column: "bits",
            found: 2,
            workers: 3,
            ..
        })
    ));
    let bad = PlanRecord {
        load: vec![1],
        ..plan(2)
    };
    assert!(matches!(
        log.push_plan(0, &bad),
        Err(LogError::PlanShape {
            what: "load",
            found: 1,
            ..
        })
    ));
    let bad = PlanRecord {
        encoding: vec![(3, 0, 1.0)],
        ..plan(2)
    };
    assert!(matches!(
        log.push_plan(0, &bad),
        Err(LogError::PlanShape {
            what: "encoding",
            found: 4,
            ..
        })
    ));
    log.push(row(5)).unwrap();
    log.finish().unwrap();
    assert_eq!(
        RunReader::open(dir.path())
            .unwrap()
            .series("iteration")
            .unwrap(),
        [4.0, 5.0]
    );
}

#[test]
fn an_existing_log_is_replaced_on_request_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let mut log = RunLog::create(&path, &info()).unwrap();
    log.push(row(0)).unwrap();
    log.finish().unwrap();
    assert!(matches!(
        RunLog::create(&path, &info()),
        Err(LogError::Exists { .. })
    ));
    assert_eq!(RunReader::open(&path).unwrap().len(), 1);
    RunLog::overwrite(&path, &info()).unwrap().finish().unwrap();
    assert_eq!(RunReader::open(&path).unwrap().len(), 0);
}

#[test]
fn two_writers_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let log = RunLog::create(&path, &info()).unwrap();
    assert!(matches!(
        RunLog::overwrite(&path, &info()),
        Err(LogError::Locked { .. })
    ));
    assert!(matches!(
        RunLog::resume(&path, 0, WORKERS, &Segment::default()),
        Err(LogError::Locked { .. })
    ));
    drop(log);
    RunLog::resume(&path, 0, WORKERS, &Segment::default()).unwrap();
}

#[test]
fn resuming_drops_what_the_checkpoint_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let mut log = RunLog::create(&path, &info()).unwrap();
    log.push_plan(0, &plan(3)).unwrap();
    log.push_plan(60, &plan(5)).unwrap();
    for iteration in 0..100 {
        log.push(row(iteration)).unwrap();
    }
    for completed in [0, 40, 80] {
        log.push_evaluation(completed, &[("AP".into(), completed as f64)]);
    }
    log.finish().unwrap();

    let segment = Segment {
        ranks: 3,
        job_id: "100".into(),
        hosts: "c".into(),
        ..Segment::default()
    };
    assert!(matches!(
        RunLog::resume(&path, 101, WORKERS, &segment),
        Err(LogError::EndsBefore {
            wanted: 101,
            last: Some(99),
            ..
        })
    ));
    assert!(matches!(
        RunLog::resume(&path, 40, 4, &segment),
        Err(LogError::Workers {
            found: 3,
            expected: 4,
            ..
        })
    ));

    let mut log = RunLog::resume(&path, 40, WORKERS, &segment).unwrap();
    assert_eq!(log.last_iteration(), Some(39));
    // The plan in force, told again by the resumed run.
    log.push_plan(40, &plan(3)).unwrap();
    let mut replayed = row(40);
    replayed.loss = -1.0;
    log.push(replayed).unwrap();
    log.finish().unwrap();

    let run = RunReader::open(&path).unwrap();
    assert_eq!(run.len(), 41);
    assert_eq!(run.series("loss").unwrap()[39..], [1.0 / 40.0, -1.0]);
    assert_eq!(run.per_worker("bits").unwrap()[[40, 2]], 540.0);
    assert_eq!(run.evaluation().unwrap().iteration, [0, 40]);
    assert_eq!(
        run.plans()
            .unwrap()
            .iter()
            .map(|entry| entry.start_iteration)
            .collect::<Vec<_>>(),
        [0]
    );
    let segments = run.segments().unwrap();
    assert_eq!(
        segments
            .iter()
            .map(|s| (s.start_iteration, s.ranks))
            .collect::<Vec<_>>(),
        [(0, 4), (40, 3)]
    );
    assert_eq!(segments[1].job_id, "100");

    // From the very end nothing is dropped, and from the start everything is.
    assert_eq!(
        RunLog::resume(&path, 41, WORKERS, &segment)
            .unwrap()
            .last_iteration(),
        Some(40)
    );
    assert_eq!(
        RunLog::resume(&path, 0, WORKERS, &segment)
            .unwrap()
            .last_iteration(),
        None
    );
    assert!(RunReader::open(&path).unwrap().plans().unwrap().is_empty());
}

#[test]
fn foreign_files_are_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    assert!(matches!(
        RunReader::open(&path),
        Err(LogError::Io { action: "read", .. })
    ));
    std::fs::write(&path, "not HDF5").unwrap();
    assert!(matches!(RunReader::open(&path), Err(LogError::Hdf5 { .. })));
    hdf5::File::create(&path).unwrap().close().unwrap();
    assert!(matches!(
        RunReader::open(&path),
        Err(LogError::NotARun { .. })
    ));

    RunLog::overwrite(&path, &info()).unwrap().finish().unwrap();
    let file = hdf5::File::open_rw(&path).unwrap();
    file.attr("schema_version")
        .unwrap()
        .write_scalar(&2i64)
        .unwrap();
    file.close().unwrap();
    assert!(matches!(
        RunReader::open(&path),
        Err(LogError::SchemaVersion {
            found: 2,
            supported: 1,
            ..
        })
    ));
    assert!(matches!(
        RunLog::resume(&path, 0, WORKERS, &Segment::default()),
        Err(LogError::SchemaVersion { .. })
    ));
}

#[test]
fn an_unknown_series_is_answered_with_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    RunLog::create(dir.path().join("run.h5"), &info())
        .unwrap()
        .finish()
        .unwrap();
    let run = RunReader::open(dir.path()).unwrap();
    let error = run.series("los").unwrap_err().to_string();
    assert!(
        error.contains("\"los\"") && error.contains("loss_decoded"),
        "{error}"
    );
    assert!(run.per_worker("loss").is_ok());
    assert!(matches!(
        run.per_worker("bits_up"),
        Err(LogError::NoSuchSeries { .. })
    ));
}

#[test]
fn metrics_may_have_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = RunLog::create(dir.path().join("run.h5"), &info()).unwrap();
    log.push_evaluation(3, &[("val/AP".into(), 0.5), ("iteration".into(), 0.25)]);
    log.finish().unwrap();
    let evaluation = RunReader::open(dir.path()).unwrap().evaluation().unwrap();
    assert_eq!(evaluation.iteration, [3]);
    assert_eq!(
        evaluation.metrics,
        [
            ("iteration_".to_owned(), vec![0.25]),
            ("val_AP".to_owned(), vec![0.5])
        ]
    );
}

/// Prints the table of `docs/run-log.md` when it is out of date.
#[test]
fn the_documentation_lists_every_column() {
    let page = include_str!("../../../docs/run-log.md");
    for (prefix, columns) in [
        ("", run_log::columns::SCALAR_COLUMNS),
        ("per_worker/", run_log::columns::PER_WORKER_COLUMNS),
    ] {
        for column in columns {
            let line = format!(
                "| `{prefix}{}` | {} | {} |",
                column.name, column.units, column.long_name
            );
            assert!(
                page.contains(&line),
                "docs/run-log.md lacks the line\n{line}"
            );
        }
    }
}

/// A log of an earlier version lacks the columns that came later: a resumed run adds them.
#[test]
fn the_columns_of_later_versions_are_added_on_resuming() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.h5");
    let mut log = RunLog::create(&path, &info()).unwrap();
    (0..5).for_each(|t| log.push(row(t)).unwrap());
    log.finish().unwrap();
    let file = hdf5::File::open_rw(&path).unwrap();
    file.unlink("seconds_virtual").unwrap();
    file.unlink("foreign").unwrap();
    let per_worker = file.group("per_worker").unwrap();
    per_worker.unlink("quantization_error").unwrap();
    drop((per_worker, file));
    let old = RunReader::open(&path).unwrap();
    assert!(old.per_worker("quantization_error").is_err());
    drop(old);
    let mut log = RunLog::resume(&path, 4, WORKERS, &Segment::default()).unwrap();
    let mut next = row(4);
    next.foreign = 3;
    next.seconds_virtual = 1.5;
    next.per_worker.quantization_error = vec![0.25, f64::NAN, 0.5];
    log.push(next).unwrap();
    log.finish().unwrap();
    let run = RunReader::open(&path).unwrap();
    assert_eq!(run.series("foreign").unwrap(), [0.0, 0.0, 0.0, 0.0, 3.0]);
    let seconds = run.series("seconds_virtual").unwrap();
    assert!(seconds[..4].iter().all(|s| s.is_nan()) && seconds[4] == 1.5);
    let errors = run.per_worker("quantization_error").unwrap();
    assert!(
        errors
            .rows()
            .into_iter()
            .take(4)
            .flatten()
            .all(|e| e.is_nan())
    );
    assert_eq!((errors[[4, 0]], errors[[4, 2]]), (0.25, 0.5));
}
