//! Studies come back as they were written, and survive a kill.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use run_log::LogError;
use run_log::study::{Outcome, Point, Study, StudyLog};
use serde_json::json;

fn study(points: usize) -> Study {
    let mut study = Study::new("training", "a study", "seed = 1 # \u{3b2}\n", "test");
    for number in 0..points {
        let mut point = Point::new(
            &format!("joint {number}"),
            "joint",
            "iteration",
            vec![0.0, 5.0, 10.0],
            4,
        );
        point.sweep = vec![("z".into(), json!(number)), ("a".into(), json!("\"x\""))];
        point
            .attributes
            .insert("computation_load".into(), 1.5.into());
        point.attributes.insert("runs".into(), 4usize.into());
        point
            .attributes
            .insert("error_bound".into(), f64::INFINITY.into());
        point.documents.insert("plan".into(), "{}".repeat(100_000));
        point.bounds.insert("theory".into(), vec![3.0, 2.0, 1.0]);
        let loss = [4.0, 2.0, number as f64];
        point
            .record(1, Outcome::Finished, &[("loss", &loss), ("late", &loss)])
            .unwrap();
        point
            .record(2, Outcome::Diverged { from: 2 }, &[("loss", &loss)])
            .unwrap();
        point.record_fact(1, "probe_error", 2.5).unwrap();
        study.points.push(point);
    }
    study
}

/// Equal, with NaN equal to NaN.
fn same(a: &Study, b: &Study) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[test]
fn what_is_written_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/study.h5");
    let written = study(12);
    let log = StudyLog::create(&path, &written).unwrap();
    assert!(same(&Study::open(&path).unwrap(), &written));
    assert!(
        same(&Study::open(path.parent().unwrap()).unwrap(), &written),
        "the directory will do"
    );
    let error = StudyLog::resume(&path).unwrap_err();
    assert!(matches!(error, LogError::Locked { .. }), "{error}");
    drop(log);
    let (mut log, mut half) = StudyLog::resume(&path).unwrap();
    half.points[11]
        .record(0, Outcome::Finished, &[("loss", &[1.0; 3])])
        .unwrap();
    log.commit(&half).unwrap();
    assert!(same(&Study::open(&path).unwrap(), &half));
}

#[test]
fn an_empty_study_is_readable_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("study.h5");
    let mut written = Study::new("allocation", "", "", "");
    written
        .points
        .push(Point::new("", "", "iteration", vec![], 0));
    StudyLog::create(&path, &written).unwrap();
    assert!(same(&Study::open(&path).unwrap(), &written));
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Study::open(dir.path()).unwrap_err().to_string();
    assert!(missing.contains("No such file"), "{missing}");
    let text = dir.path().join("text.h5");
    std::fs::write(&text, "no HDF5").unwrap();
    assert!(matches!(Study::open(&text), Err(LogError::Hdf5 { .. })));
    let run = dir.path().join("run.h5");
    drop(run_log::RunLog::create(&run, &run_log::RunInfo::default()).unwrap());
    let error = Study::open(&run).unwrap_err();
    assert!(matches!(error, LogError::NotAStudy { .. }), "{error}");
    let error = run_log::RunReader::open({
        StudyLog::create(dir.path().join("study.h5"), &study(1)).unwrap();
        dir.path().join("study.h5")
    })
    .unwrap_err();
    assert!(matches!(error, LogError::NotARun { .. }), "{error}");
}

const PATH: &str = "STUDY_TEST_PATH";

/// Commits without end.
#[test]
fn role_endless_writer() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else {
        return;
    };
    let mut study = study(3);
    let mut log = StudyLog::create(&path, &study).unwrap();
    for turn in 0.. {
        study.points[turn % 3]
            .record(turn % 4, Outcome::Finished, &[("loss", &[turn as f64; 3])])
            .unwrap();
        log.commit(&study).unwrap();
        println!("\ncommit {turn}");
    }
}

#[test]
fn after_kill_9_the_study_is_readable_and_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("study.h5");
    for round in 0..10u64 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role_endless_writer", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        lines
            .by_ref()
            .map_while(Result::ok)
            .filter(|line| line.starts_with("commit "))
            .nth(2 + (round % 3) as usize)
            .expect("the writer ended by itself");
        std::thread::sleep(std::time::Duration::from_micros(round * 7919 % 6000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let (_, study) = StudyLog::resume(&path).unwrap();
        assert_eq!(study.points.len(), 3);
        assert!(study.points.iter().all(|point| point.done() >= 2));
    }
}
