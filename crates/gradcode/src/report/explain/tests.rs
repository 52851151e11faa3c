//! Small logs whose explanation is known.

use std::path::Path;

use run_log::{IterationRow, PlanRecord, RunInfo, RunLog, RunReader, summarise};

use super::compression::Verdict;
use super::findings::Tone;
use super::stragglers::{AgainstPlan, Kind};
use super::time::{ACTIVITIES, Activity};
use super::{Explanation, explain};

const WORKERS: usize = 2;

/// The first row's time; the log's own start is overwritten to be 2 s before its beginning.
const BEGIN: f64 = 1.75e9;

/// Writes a run of two workers; `fill` completes each row.
fn written(
    directory: &Path,
    rows: u64,
    info: impl FnOnce(&mut RunInfo),
    fill: impl Fn(u64, &mut IterationRow),
) {
    let mut run = RunInfo {
        title: "explained".into(),
        workers: WORKERS,
        dimension: 1000,
        ..RunInfo::default()
    };
    info(&mut run);
    let mut log = RunLog::create(directory.join("run.h5"), &run).unwrap();
    let plan = PlanRecord {
        scheme: "joint".into(),
        partitions: 2,
        straggle_probability: vec![0.0, 0.5],
        bits: vec![8, 4],
        load: vec![2, 1],
        decode_weight: vec![0.5, 2.0],
        encoding: vec![(0, 0, 2.0), (0, 1, 1.0), (1, 1, 0.5)],
        error_bound: 1.0,
        ..PlanRecord::default()
    };
    log.push_plan(0, &plan).unwrap();
    for t in 0..rows {
        let mut row = IterationRow::new(t, WORKERS);
        row.time = BEGIN + 1.0 + 1.5 * t as f64;
        row.loss = 1.0;
        (row.seconds_round, row.seconds_wait) = (1.0, 0.0);
        fill(t, &mut row);
        log.push(row).unwrap();
    }
    log.finish().unwrap();
    let file = hdf5::File::open_rw(directory.join("run.h5")).unwrap();
    let start = file.dataset("segments/start_time").unwrap();
    start.write(&[BEGIN - 2.0]).unwrap();
}

fn explained(directory: &Path) -> Explanation {
    let reader = RunReader::open(directory).unwrap();
    explain(&reader, &summarise(&reader).unwrap()).unwrap()
}

/// Worker 0 is in time after 0.3 s of computing and 0.1 s of encoding, at 0.5 s; worker 1 after 0.25 s
/// in even rounds and not at all in odd ones, which end at the deadline of 0.75 s.
fn alternating(t: u64, row: &mut IterationRow) {
    let late = t % 2 == 1;
    row.deadline = 0.75;
    row.seconds_open = 0.0625;
    row.seconds_wait = if late { 0.8125 } else { 0.625 };
    (row.seconds_decode, row.seconds_step) = (0.03125, 0.03125);
    (row.responders, row.late) = if late { (1, 1) } else { (2, 0) };
    row.seconds_log = 0.0625;
    row.seconds_evaluate = if t == 2 { 0.25 } else { f64::NAN };
    row.bits_up = 10_000;
    let worker = &mut row.per_worker;
    worker.late_iterations = vec![0, i64::from(late)];
    worker.arrival_time = vec![0.5, if late { f64::NAN } else { 0.25 }];
    worker.seconds_compute = vec![0.25, if late { 0.5 } else { 0.125 }];
    worker.seconds_encode = vec![0.125, if late { f64::NAN } else { 0.0625 }];
    worker.bits = vec![8000, if late { 0 } else { 4000 }];
    // 1 ms, and a megabit per second.
    worker.seconds_wire = vec![0.009, if late { f64::NAN } else { 0.005 }];
}

#[test]
fn the_time_is_accounted_for_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 4, |_| {}, alternating);
    let time = explained(dir.path()).time;
    let expected = [
        (Activity::Start, 2.0),
        (Activity::Open, 4.0 * 0.0625),
        (Activity::Compute, 4.0 * 0.25),
        (Activity::Encode, 4.0 * 0.125),
        (Activity::Travel, 4.0 * 0.125),
        (Activity::InVain, 2.0 * 0.25),
        (Activity::Frames, 2.0 * 0.0625 + 2.0 * 0.125),
        (Activity::Decode, 4.0 * 0.03125),
        (Activity::Check, 0.0),
        (Activity::Step, 4.0 * 0.03125),
        // Rounds of 1 s: 0.75 s named in even ones, 0.9375 s in odd ones.
        (Activity::Round, 2.0 * 0.25 + 2.0 * 0.0625),
        (Activity::Evaluate, 0.25),
        (Activity::Checkpoint, 0.0),
        (Activity::Log, 4.0 * 0.0625),
        // 3 gaps of 0.5 s.
        (Activity::Between, 1.5 - 0.25 - 0.25),
    ];
    for (activity, seconds) in expected {
        assert!(
            (time.seconds(activity) - seconds).abs() < 1e-6,
            "{activity:?} {time:?}"
        );
    }
    assert_eq!(time.parts.len(), ACTIVITIES.len());
    assert!(
        (time.wall - 7.5).abs() < 1e-6,
        "2 s, 4 rounds of 1 s, 3 gaps of 0.5 s"
    );
    let shares: f64 = time.parts.iter().map(|part| part.share).sum();
    assert!((shares - 1.0).abs() < 1e-12);
}

#[test]
fn drawn_stragglers_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let erase = |info: &mut RunInfo| info.config_toml = "[straggler]\ninject = \"erase\"\n".into();
    written(dir.path(), 4, erase, alternating);
    let run = explained(dir.path());
    assert_eq!(run.time.seconds(Activity::InVain), 0.0);
    assert!(!run.deadline.waited_for && run.deadline.what_if.is_empty());
    assert_eq!(run.deadline.rounds_complete, 4);
}

#[test]
fn shorter_deadlines_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 4, |_| {}, alternating);
    let deadline = explained(dir.path()).deadline;
    assert_eq!(
        (deadline.rounds_to_the_deadline, deadline.rounds_complete),
        (2, 2)
    );
    assert_eq!(deadline.computed_in_vain, 1.0);
    // The longest arrival: only the two rounds that waited in vain get shorter, by 0.25 s each of 4 s.
    let last = deadline.what_if.last().unwrap();
    assert_eq!(
        (last.deadline, last.gradients_kept, last.empty),
        (0.5, 1.0, 0.0)
    );
    assert!((last.time_saved - 0.125).abs() < 1e-9, "{last:?}");
    assert!(
        deadline
            .what_if
            .windows(2)
            .all(|pair| pair[0].deadline < pair[1].deadline)
    );
}

#[test]
fn a_link_is_measured_by_frames_of_different_lengths() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 40, |_| {}, alternating);
    let balance = explained(dir.path()).compression;
    assert!((balance.bandwidth - 1e6).abs() < 1.0, "{balance:?}");
    assert!((balance.latency - 0.001).abs() < 1e-9);
    // The slowest frame of each round has 8000 bits instead of 33280: 25.28 ms more.
    assert!((balance.wire - 40.0 * 0.009).abs() < 1e-9);
    assert!(
        (balance.wire_f32 - 40.0 * (0.009 + 0.02528)).abs() < 1e-6,
        "{balance:?}"
    );
    // Encoding took 0.125 s a round, and decoding 0.03125 s.
    assert_eq!(balance.verdict, Verdict::Cost);
    assert!((balance.net - 40.0 * (0.02528 - 0.125 - 0.03125)).abs() < 1e-6);
}

#[test]
fn frames_whose_time_is_latency_tell_of_no_link() {
    for (wire, bits) in [
        ([0.009, 0.01], [8000, 4000]),
        ([0.009, 0.009], [8000, 8000]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        written(
            dir.path(),
            40,
            |_| {},
            |t, row| {
                alternating(t, row);
                row.per_worker.bits = bits.to_vec();
                row.per_worker.seconds_wire = wire.to_vec();
            },
        );
        let balance = explained(dir.path()).compression;
        assert_eq!(balance.verdict, Verdict::Unknown, "{balance:?}");
    }
}

#[test]
fn fast_encoding_on_a_slow_link_pays() {
    let dir = tempfile::tempdir().unwrap();
    written(
        dir.path(),
        40,
        |_| {},
        |t, row| {
            alternating(t, row);
            row.seconds_decode = 0.0009765625;
            row.per_worker.seconds_encode = vec![0.001; 2];
        },
    );
    assert_eq!(explained(dir.path()).compression.verdict, Verdict::Paid);
}

#[test]
fn partitions_count_by_who_arrives() {
    let dir = tempfile::tempdir().unwrap();
    written(
        dir.path(),
        100,
        |_| {},
        |t, row| {
            alternating(t, row);
            // Late in a quarter of the rounds, and not in half of them as planned.
            let late = t % 4 == 0;
            row.per_worker.late_iterations = vec![0, i64::from(late)];
            row.relative_error = if t % 50 == 0 { 0.25 } else { f64::NAN };
        },
    );
    let run = explained(dir.path());
    let counted = &run.accuracy.counted;
    // 0.5 * 2 for partition 0; 0.5 * 1 + 2 * 0.5 * 3/4 for partition 1.
    assert_eq!((counted[0].weight, counted[0].standard_error), (1.0, 0.0));
    assert!((counted[1].weight - 1.25).abs() < 1e-12);
    assert!((counted[1].standard_error - (0.75f64 * 0.25 / 100.0).sqrt()).abs() < 1e-12);
    assert!(counted[1].is_off() && !counted[0].is_off());
    assert_eq!((run.accuracy.samples, run.accuracy.measured), (2, 0.25));
    assert_eq!(run.accuracy.predicted, 0.5);
    assert_eq!(run.workers[1].against_plan, AgainstPlan::LessOften);
    let biased = run
        .findings
        .iter()
        .find(|finding| finding.about == "accuracy");
    let biased = biased.unwrap();
    assert!(
        biased.tone == Tone::Warning && biased.text.contains("1.25"),
        "{biased:?}"
    );
}

#[test]
fn bursts_and_changes_are_told_from_plain_lateness() {
    let lateness = |late: fn(u64) -> bool| {
        let dir = tempfile::tempdir().unwrap();
        written(
            dir.path(),
            400,
            |_| {},
            |t, row| {
                alternating(t, row);
                row.per_worker.late_iterations = vec![0, i64::from(late(t))];
            },
        );
        explained(dir.path()).workers.remove(1)
    };
    // Scrambled by a multiplicative hash: neither bursts nor a change.
    let plain = lateness(|t| (t * 2_654_435_761) % 4_294_967_296 < 1_717_986_918);
    assert!(!plain.bursts && !plain.changed, "{plain:?}");
    assert_eq!(plain.kind, Kind::NowAndThen);
    let bursts = lateness(|t| t / 10 % 2 == 0);
    assert!(bursts.bursts && !bursts.changed);
    assert_eq!((bursts.longest_streak, bursts.kind), (10, Kind::Chronic));
    let changed = lateness(|t| t >= 200 && t % 2 == 0);
    assert!(changed.changed);
    assert_eq!(
        (changed.late_first_half, changed.late_second_half),
        (0.0, 0.5)
    );
    assert_eq!(changed.against_plan, AgainstPlan::LessOften);
    let never = lateness(|_| false);
    assert_eq!((never.kind, never.longest_streak), (Kind::Punctual, 0));
}

#[test]
fn logs_without_the_newer_columns_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 4, |_| {}, alternating);
    let file = hdf5::File::open_rw(dir.path().join("run.h5")).unwrap();
    for name in [
        "seconds_open",
        "seconds_check",
        "seconds_evaluate",
        "per_worker/seconds_wire",
    ] {
        file.unlink(name).unwrap();
    }
    drop(file);
    let run = explained(dir.path());
    assert_eq!(run.time.seconds(Activity::Open), 0.0);
    assert_eq!(run.compression.verdict, Verdict::Unknown);
    assert!(run.time.wire_total.is_nan());
}

#[test]
fn endings_and_lost_workers_come_from_the_status() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 4, |_| {}, alternating);
    let status = r#"{"outcome": "failed", "exit_code": 20, "iterations_done": 4, "iterations": 9,
        "lost_workers": [{"worker": 1, "iteration": 2, "reason": "silent"}], "message": "too few", "new": 1}"#;
    std::fs::write(dir.path().join("status.json"), status).unwrap();
    let run = explained(dir.path());
    assert_eq!(run.workers[1].kind, Kind::Lost);
    let words: Vec<&str> = run
        .findings
        .iter()
        .map(|finding| finding.text.as_str())
        .collect();
    assert_eq!(words[0], "the run failed: too few");
    assert_eq!(
        words[1],
        "worker 1 was lost at iteration 2 (silent); the run went on without it"
    );
}

#[test]
fn a_run_without_iterations_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0, |_| {}, alternating);
    let run = explained(dir.path());
    assert_eq!((run.time.wall, run.workers.len()), (0.0, WORKERS));
    assert_eq!(run.findings.len(), 1);
}

/// A plan of two workers with 8 and 2 bits or so, and errors measured every other iteration.
#[test]
fn measured_quantization_errors_stand_beside_the_plans() {
    let dir = tempfile::tempdir().unwrap();
    let text = "workers = 2\nbudget.mean_bits = 5\nmodel = { kind = 'least-squares', dimension = 1000 }\n\
                straggler.rate = [2.0, 1.5]\nstraggler.deadline = 1.8";
    let config = crate::config::from_text(text, Path::new("x.toml"))
        .unwrap()
        .config;
    let plan = crate::config::planning::plan(&config, 1000).unwrap();
    let info = RunInfo {
        workers: WORKERS,
        dimension: 1000,
        ..RunInfo::default()
    };
    let mut log = RunLog::create(dir.path().join("run.h5"), &info).unwrap();
    let record = PlanRecord {
        scheme: "joint".into(),
        partitions: 2,
        straggle_probability: vec![0.2, 0.3],
        bits: plan.workers.iter().map(|w| w.bits.into()).collect(),
        load: vec![1, 1],
        json: serde_json::to_string(&plan).unwrap(),
        ..PlanRecord::default()
    };
    log.push_plan(0, &record).unwrap();
    for t in 0..8 {
        let mut row = IterationRow::new(t, WORKERS);
        if t % 2 == 0 {
            let phi = &plan.prediction.phi;
            row.per_worker.quantization_error = vec![phi[0] / 4.0, phi[1] * 1.01];
        }
        log.push(row).unwrap();
    }
    log.finish().unwrap();
    let run = explained(dir.path());
    let widths = &run.quantization.widths;
    assert_eq!(widths.len(), 2, "{widths:?}");
    for (i, worker) in plan.workers.iter().enumerate() {
        let width = widths
            .iter()
            .find(|width| width.bits == worker.bits)
            .unwrap();
        assert_eq!((width.from, width.messages), (0, 4));
        assert_eq!(width.planned, plan.prediction.phi[i]);
        assert_eq!(width.is_off(), i == 0);
    }
    assert!(run.quantization.all_measured);
    // sum_i phi_i Y_i^2 / (1 - p_i) over sum_i p_i Y_i^2 / (1 - p_i), by hand.
    let gradient_code::Decoder::Fixed { weights, .. } = &plan.decoder else {
        panic!("the joint design has fixed weights");
    };
    let (mut noise, mut straggling) = (0.0, 0.0);
    for (i, worker) in plan.workers.iter().enumerate() {
        let p = worker.straggle_probability;
        let share = (1.0 - p) * (weights[i] * worker.row_sum()).powi(2);
        noise += share * plan.prediction.phi[i] * [0.25, 1.01][i];
        straggling += share * p;
    }
    let ratio = run.quantization.noise_over_straggling / (noise / straggling);
    assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
    let finding = run
        .findings
        .iter()
        .find(|finding| finding.about == "quantization");
    let text = &finding.expect("it stands out").text;
    assert!(text.contains("0.25 times the planned"), "{text}");
}

/// The columns of the log and the report take a round apart alike.
#[test]
fn the_log_and_the_report_agree_on_what_was_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    written(
        dir.path(),
        6,
        |_| {},
        |t, row| {
            alternating(t, row);
            row.take_wait_apart(false, false);
        },
    );
    let reader = RunReader::open(dir.path()).unwrap();
    let time = explained(dir.path()).time;
    for (column, activity) in [
        ("seconds_backward", Activity::Compute),
        ("seconds_encode", Activity::Encode),
        ("seconds_wire", Activity::Frames),
    ] {
        let sum: f64 = reader.series(column).unwrap().iter().sum();
        assert!((sum - time.seconds(activity)).abs() < 1e-12, "{column}");
    }
}
