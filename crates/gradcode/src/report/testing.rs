//! A small run for the tests of this module.

use std::path::{Path, PathBuf};

use run_log::{IterationRow, PlanRecord, RunInfo, RunLog};

use super::Run;

/// Writes a run of 3 workers: worker 0 always on time, worker 1 late every other time, worker 2 idle.
pub fn written(directory: &Path, title: &str, iterations: u64) -> PathBuf {
    let path = directory.join("run.h5");
    let info = RunInfo {
        title: title.into(),
        workers: 3,
        dimension: 1000,
        ..RunInfo::default()
    };
    let mut log = RunLog::create(&path, &info).unwrap();
    let plan = PlanRecord {
        scheme: "joint".into(),
        straggle_probability: vec![0.0, 0.5, 0.9],
        bits: vec![4, 2, 0],
        load: vec![1, 1, 0],
        ..PlanRecord::default()
    };
    log.push_plan(0, &plan).unwrap();
    for iteration in 0..iterations {
        let late = iteration % 2 == 1;
        let mut row = IterationRow::new(iteration, 3);
        row.time = 1.75e9 + iteration as f64;
        row.loss = 2.0 / (1.0 + iteration as f64);
        (row.bits_up, row.responders, row.late) = if late { (4500, 1, 1) } else { (7000, 2, 0) };
        (row.seconds_round, row.seconds_wait) = (0.5, 0.25);
        row.per_worker.late_iterations = vec![0, i64::from(late), -1];
        row.per_worker.arrival_time = vec![0.125, if late { f64::NAN } else { 0.25 }, f64::NAN];
        log.push(row).unwrap();
    }
    log.push_evaluation(iterations, &[("AP50".into(), 0.75)]);
    log.finish().unwrap();
    path
}

/// [`written`], opened; the directory must outlive the run.
pub fn opened(directory: &Path, title: &str, iterations: u64) -> Run {
    let path = written(directory, title, iterations);
    super::open(&[path]).ok().unwrap().remove(0)
}
