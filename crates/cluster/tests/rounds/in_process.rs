//! The master's loop over the in-process transport.

use crate::common::*;
use cluster::{
    CONTROL_BYTES, Event, Every, InProcess, Model, RunError, Settings, Status, Straggling, Task,
    Transport, TransportError, Unit,
};
use std::collections::BTreeSet;

#[test]
fn least_squares_is_learnt_and_every_row_adds_up() {
    let settings = settings(erase(), 200);
    let (outcome, record, _) = run(&settings, &mut in_process());
    let outcome = outcome.expect("a complete run");
    assert_eq!(record.warnings, Vec::<String>::new());
    assert_eq!((outcome.iterations, record.rows.len()), (200, 200));
    let first = record.rows[0].loss;
    let last = outcome.metrics[0].value;
    assert!(last < 0.2 * first, "loss {first} -> {last}");

    let plan = plan_for(&[]);
    for row in &record.rows {
        let asked = (0..WORKERS)
            .filter(|&i| row.per_worker.late_iterations[i] == 0)
            .count() as u64;
        assert_eq!(row.responders, asked);
        assert_eq!(row.responders + row.late, WORKERS as u64);
        // Every responder sends one control message and its frame, nobody else sends anything.
        let frames: i64 = row.per_worker.bits.iter().sum();
        assert_eq!(
            row.bits_up,
            frames as u64 + row.responders * 8 * CONTROL_BYTES as u64
        );
        for i in 0..WORKERS {
            let worker = &plan.workers[i];
            let compressor = preset().compressor(worker.bits, 20).expect("a width");
            let expected = 8 * compressor.frame_len(2 * worker.assignment.len()) as i64;
            let late = row.per_worker.late_iterations[i] != 0;
            assert_eq!(row.per_worker.bits[i], if late { 0 } else { expected });
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_does_not() {
    let first = run(&settings(erase(), 30), &mut in_process());
    let again = run(&settings(erase(), 30), &mut in_process());
    assert_eq!(first.2, again.2);
    let mut other = settings(erase(), 30);
    other.seed = 4;
    assert_ne!(first.2, run(&other, &mut in_process()).2);
}

/// How many frames travel together decides which are folded in one pass, and no bit of the sum.
#[test]
fn frames_may_be_folded_together_or_one_by_one() {
    let with_grants = |grants| {
        let settings = Settings {
            grants,
            ..settings(everybody_in_time(), 30)
        };
        run(&settings, &mut in_process()).2
    };
    let one_by_one = with_grants(1);
    for grants in [2, WORKERS] {
        assert_eq!(with_grants(grants), one_by_one, "{grants} at once");
    }
}

#[test]
fn arrivals_follow_the_delay_model() {
    let settings = settings(erase(), 2000);
    let (_, record, _) = run(&settings, &mut in_process());
    for (i, p) in delays().straggle_probabilities(TAU).iter().enumerate() {
        let late = record
            .rows
            .iter()
            .filter(|row| row.per_worker.late_iterations[i] != 0)
            .count() as f64
            / 2000.0;
        let deviation = (p * (1.0 - p) / 2000.0).sqrt();
        assert!((late - p).abs() < 4.0 * deviation, "worker {i}: {late} {p}");
    }
}

/// Drawn and slept delays decide the same arrivals, in virtual time, and so train the same model.
#[test]
fn injected_delays_and_erasures_agree() {
    let delay = Straggling::Delay {
        model: delays(),
        deadline: TAU,
        bandwidth: None,
        unit: Unit::Seconds(0.5),
    };
    let (_, slept, _) = run(&settings(delay, 60), &mut in_process());
    let (_, drawn, _) = run(&settings(erase(), 60), &mut in_process());
    for (slept, drawn) in slept.rows.iter().zip(&drawn.rows) {
        assert_eq!(
            slept.per_worker.late_iterations,
            drawn.per_worker.late_iterations
        );
        assert!((slept.loss - drawn.loss).abs() <= 1e-6 * drawn.loss.abs() || slept.late == 6);
        let arrivals = slept.per_worker.arrival_time.iter();
        assert!(
            arrivals
                .filter(|at| !at.is_nan())
                .all(|at| (0.5..=0.65).contains(at))
        );
    }
}

#[test]
fn evaluation_follows_its_schedule() {
    let mut settings = settings(erase(), 10);
    settings.evaluate_every = Every::Steps(4);
    let (_, record, _) = run(&settings, &mut in_process());
    let at: Vec<u64> = record.evaluations.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [4, 8, 10]);
}

#[test]
fn the_relative_error_is_that_of_the_decoded_gradient() {
    let mut settings = settings(erase(), 40);
    settings.relative_error_every = 2;
    let (_, record, _) = run(&settings, &mut in_process());
    for row in &record.rows {
        assert_eq!(row.relative_error.is_nan(), row.iteration % 2 == 1);
        if row.iteration % 2 == 0 && row.responders == 0 {
            assert_eq!(row.relative_error, 1.0); // ghat = 0
        }
    }
}

/// A decoder that needs the responder set keeps the frames and solves for its weights: when all
/// answer, only quantization noise is left.
#[test]
fn weights_per_round_decode_the_whole_gradient_when_all_answer() {
    let mut settings = settings(everybody_in_time(), 30);
    settings.relative_error_every = 1;
    let mut plan = plan_for(&[]);
    let fixed = run_plan(&settings, &mut in_process(), plan.clone()).1;
    plan.decoder = per_round();
    let (outcome, solved, _) = run_plan(&settings, &mut in_process(), plan);
    assert!(outcome.is_ok());
    for (solved, fixed) in solved.rows.iter().zip(&fixed.rows) {
        assert_eq!(solved.responders, WORKERS as u64);
        assert!(solved.relative_error < 0.3, "{}", solved.relative_error);
        // The fixed weights expect losses and so overshoot when there are none.
        assert!(fixed.relative_error > solved.relative_error);
        assert!((solved.loss_decoded - solved.loss).abs() < 1e-3 * solved.loss);
    }
}

/// What the wrapped transport does to a message of one worker from one iteration on.
#[derive(Clone, Copy, PartialEq)]
enum Mischief {
    CorruptFrame,
    WrongLength,
    NotFinite,
    NoData,
    Silence,
    /// The first frame is on its way until two iterations later.
    SlowFrame,
    Death,
}

/// An in-process transport that misbehaves for one worker.
struct Mischievous {
    inner: InProcess,
    mischief: Mischief,
    worker: u32,
    from: u64,
    active: bool,
    iteration: u64,
    swallowed: BTreeSet<u64>,
    held: Option<Event>,
}

impl Mischievous {
    fn new(mischief: Mischief, worker: u32, from: u64) -> Self {
        Self {
            inner: in_process(),
            mischief,
            worker,
            from,
            active: false,
            iteration: 0,
            swallowed: BTreeSet::new(),
            held: None,
        }
    }
}

impl Transport for Mischievous {
    fn start(&mut self, task: Task, beta: &Model) -> Result<(), TransportError> {
        self.active = task.iteration >= self.from;
        self.iteration = task.iteration;
        if self.active && self.mischief == Mischief::Silence && task.worker == self.worker {
            self.swallowed.insert(task.sequence);
            return Ok(());
        }
        self.inner.start(task, beta)
    }
    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError> {
        self.inner.poll(until, events)?;
        if !self.active {
            return Ok(());
        }
        if self.mischief == Mischief::SlowFrame {
            let is_frame = |event: &Event| matches!(event, Event::Frame { worker, .. } if *worker == self.worker as usize);
            if self.swallowed.is_empty()
                && let Some(at) = events.iter().position(is_frame)
            {
                self.held = Some(events.remove(at));
                self.swallowed.insert(self.iteration);
            }
            if self.swallowed.iter().all(|at| self.iteration >= at + 2) {
                events.extend(self.held.take());
            }
        }
        for event in events.iter_mut() {
            match event {
                Event::Frame { worker, frame, .. }
                    if *worker == self.worker as usize
                        && self.mischief == Mischief::CorruptFrame =>
                {
                    let last = frame.bytes().len() - 1;
                    frame.bytes_mut()[last] ^= 1;
                }
                Event::Header(header) if header.worker == self.worker => match self.mischief {
                    Mischief::WrongLength => header.frame_bytes += 4,
                    Mischief::NotFinite => {
                        self.inner.verdict(header, false)?;
                        header.status = Status::NotFinite;
                        header.frame_bytes = 0;
                    }
                    Mischief::NoData => {
                        self.inner.verdict(header, false)?;
                        let mut header = *header;
                        header.status = Status::NoData;
                        let reason = "a.jpg: damaged".to_owned();
                        *event = Event::Failure { header, reason };
                    }
                    Mischief::Death => {
                        *event = Event::Lost {
                            worker: self.worker as usize,
                            reason: "killed".to_owned(),
                        };
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }
    forward!(now real_time verdict progress publish recall restore recycle traffic finish);
}

#[test]
fn a_bad_message_is_refused_counted_and_late() {
    for mischief in [
        Mischief::CorruptFrame,
        Mischief::WrongLength,
        Mischief::NotFinite,
    ] {
        let mut transport = Mischievous::new(mischief, 5, 10);
        let (outcome, record, _) = run(&settings(erase(), 60), &mut transport);
        assert!(outcome.is_ok());
        let reference = run(&settings(erase(), 60), &mut in_process()).1;
        for (row, honest) in record.rows.iter().zip(&reference.rows) {
            let would_answer = honest.per_worker.late_iterations[5] == 0;
            let hit = row.iteration >= 10 && would_answer;
            assert_eq!(row.refused, u64::from(hit), "{}", row.iteration);
            assert_eq!(row.per_worker.late_iterations[5] == 0, would_answer && !hit);
            assert!(row.gradient_norm.is_finite());
        }
        assert!(record.rows.iter().map(|row| row.refused).sum::<u64>() > 10);
    }
}

#[test]
fn a_silent_worker_is_given_up_and_the_plan_recomputed() {
    let mut transport = Mischievous::new(Mischief::Silence, 4, 10);
    let delay = Straggling::Delay {
        model: delays(),
        deadline: TAU,
        bandwidth: None,
        unit: Unit::Seconds(1.0),
    };
    let (outcome, record, _) = run(&settings(delay, 60), &mut transport);
    let outcome = outcome.expect("the run goes on");
    assert_eq!(outcome.iterations, 60);
    assert_eq!(
        transport.swallowed.len(),
        1,
        "a busy worker is not sent more"
    );
    assert_eq!(outcome.lost.len(), 1);
    assert_eq!(outcome.lost[0].worker, 4);
    let (from, plan) = &record.plans[1];
    assert!((14..=18).contains(from), "replanned from {from}");
    assert!(plan.workers[4].is_idle());
    let reason = format!("worker 4 is lost: {}", outcome.lost[0].reason);
    assert_eq!(record.reasons, ["start".to_owned(), reason]);
    let behind = record.rows[13].per_worker.late_iterations[4];
    assert_eq!(behind, 4, "late for iterations 10 to 13");
    let after = &record.rows[*from as usize + 1].per_worker;
    assert_eq!(after.late_iterations[4], -1, "nobody asks the lost");
}

#[test]
fn a_frame_that_stops_on_its_way_is_left_behind() {
    let delay = Straggling::Delay {
        model: delays(),
        deadline: TAU,
        bandwidth: None,
        unit: Unit::Seconds(1.0),
    };
    let mut settings = settings(delay, 30);
    settings.give_up_seconds = 1e6;
    let mut transport = Mischievous::new(Mischief::SlowFrame, 5, 10);
    let (outcome, record, _) = run(&settings, &mut transport);
    assert!(outcome.expect("the run goes on").lost.is_empty());
    let stopped = *transport.swallowed.first().expect("it had a frame") as usize;
    let behind = |t: usize| record.rows[t].per_worker.late_iterations[5];
    // Late for its own round and the two that it was sending in; then it is asked again.
    assert_eq!([0, 1, 2].map(|k| behind(stopped + k)), [1, 2, 3]);
    assert!(record.rows[stopped + 3].per_worker.late_iterations[5] <= 1);
    assert!(
        (stopped + 3..30).any(|t| behind(t) == 0),
        "it answers again"
    );
    assert!(record.rows.iter().all(|row| row.refused == 0));
}

#[test]
fn damaged_data_end_the_run_and_are_named() {
    let mut transport = Mischievous::new(Mischief::NoData, 5, 3);
    match run(&settings(erase(), 40), &mut transport).0 {
        Err(RunError::WorkerData {
            worker: 5, reason, ..
        }) => assert_eq!(reason, "a.jpg: damaged"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_worker_is_a_straggler_until_too_few_are_left() {
    let mut transport = Mischievous::new(Mischief::Death, 5, 3);
    let (outcome, record, _) = run(&settings(erase(), 40), &mut transport);
    assert_eq!(outcome.expect("5 are left").lost[0].worker, 5);
    assert!(record.warnings[0].contains("worker 5 is lost"));

    let mut strict = settings(erase(), 40);
    strict.min_workers = 6;
    let mut transport = Mischievous::new(Mischief::Death, 5, 3);
    match run(&strict, &mut transport).0 {
        Err(RunError::TooFewWorkers {
            alive: 5,
            needed: 6,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn too_many_empty_rounds_end_the_run() {
    let mut settings = settings(
        Straggling::Erase {
            model: delays(),
            deadline: 0.5, // before anybody's shift
            bandwidth: None,
            unit_seconds: 1.0,
        },
        100,
    );
    settings.max_empty_rounds = 7;
    let (result, record, _) = run(&settings, &mut in_process());
    match result {
        Err(RunError::EmptyRounds {
            count: 7,
            iteration: 6,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert!(record.rows.iter().all(|row| row.loss.is_nan()));
}

#[test]
fn a_learning_rate_that_explodes_is_reported_as_divergence() {
    let mut settings = settings(erase(), 2000);
    settings.learning_rate.base = 1e6;
    match run(&settings, &mut in_process()).0 {
        Err(RunError::Diverged { .. }) => {}
        other => panic!("{other:?}"),
    }
}
