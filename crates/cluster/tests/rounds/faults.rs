//! Injected faults in virtual time, and what the master makes of them.

use crate::common::*;
use cluster::{
    Engine, Fault, FaultKind, Faults, InProcess, Limits, Phase, RunError, Straggling, Tolerance,
    Unit,
};
use learner::{Description, Learner, LearnerError, Metric, PartitionLoss};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const VICTIM: usize = 2;

fn fault(kind: FaultKind, phase: Phase) -> Fault {
    Fault {
        kind,
        phase,
        workers: Some(vec![VICTIM as u32]),
        from: 20,
        to: 20,
        probability: 1.0,
        seconds: 0.0,
        factor: 1.0,
    }
}

fn with_faults(list: Vec<Fault>) -> InProcess {
    let engine = Engine::new(Box::new(problem()), preset(), 3);
    InProcess::new(engine.with_faults(Faults::new(3, list)))
}

/// Deadlines in virtual time, so that a worker that comes late is waited for by nobody.
fn timed() -> Straggling {
    Straggling::Delay {
        model: delays(),
        deadline: 1e3,
        bandwidth: None,
        unit: Unit::Seconds(1.0),
    }
}

/// Refused once, in its own iteration, by name; the run ends as if nothing had been.
#[test]
fn what_a_worker_gets_wrong_once_is_refused_once() {
    for (kind, phase, word) in [
        (
            FaultKind::Panic,
            Phase::Compute,
            "an injected panic (Compute phase)",
        ),
        (
            FaultKind::Panic,
            Phase::Header,
            "an injected panic (Header phase)",
        ),
        (
            FaultKind::Memory,
            Phase::Compute,
            "failed to allocate memory",
        ),
        (FaultKind::Nan, Phase::Compute, "is not finite"),
        (FaultKind::Nan, Phase::Header, "numbers that cannot be"),
        (FaultKind::Nan, Phase::Payload, "tail value"),
        (FaultKind::Corrupt, Phase::Compute, "use a message of size"),
        (
            FaultKind::Corrupt,
            Phase::Header,
            "which is not what was planned",
        ),
        (FaultKind::Corrupt, Phase::Payload, "checksum"),
    ] {
        let settings = settings(everybody_in_time(), 40);
        let mut transport = with_faults(vec![fault(kind, phase)]);
        let (outcome, record, _) = run(&settings, &mut transport);
        let outcome = outcome.expect("the run goes on");
        assert!(outcome.lost.is_empty(), "{kind:?} {phase:?}");
        assert_eq!(record.warnings.len(), 1, "{:?}", record.warnings);
        let warning = &record.warnings[0];
        assert!(warning.contains("worker 2 counts as late at iteration 20"));
        assert!(warning.contains(word), "{kind:?} {phase:?}: {warning}");
        for row in &record.rows {
            let hit = u64::from(row.iteration == 20);
            assert_eq!((row.refused, row.foreign), (hit, 0), "{kind:?} {phase:?}");
            assert_eq!(row.per_worker.refused[VICTIM], hit as i64);
            assert_eq!(row.responders, WORKERS as u64 - hit);
            assert!(row.gradient_norm.is_finite() && row.gradient_norm < 1e6);
        }
    }
}

/// Whoever falls silent is given up, and the next plan is made without it.
#[test]
fn a_worker_that_falls_silent_is_given_up() {
    for (kind, phase) in [
        (FaultKind::Kill, Phase::Compute),
        (FaultKind::Kill, Phase::Header),
        (FaultKind::Kill, Phase::Payload),
        (FaultKind::Drop, Phase::Compute),
        (FaultKind::Drop, Phase::Header),
    ] {
        for straggling in [everybody_in_time(), timed()] {
            let settings = settings(straggling, 60);
            let mut transport = with_faults(vec![fault(kind, phase)]);
            let (outcome, record, _) = run(&settings, &mut transport);
            let lost = outcome.expect("5 are left").lost;
            assert_eq!(lost.len(), 1, "{kind:?} {phase:?} {lost:?}");
            assert_eq!(lost[0].worker, VICTIM);
            assert!(lost[0].reason.contains("silent"), "{}", lost[0].reason);
            assert_eq!(record.plans.len(), 2);
            let from = record.plans[1].0 as usize;
            for row in &record.rows[from..] {
                assert_eq!(row.per_worker.late_iterations[VICTIM], -1);
                assert_eq!(row.responders, WORKERS as u64 - 1);
            }
        }
    }
}

/// A delay makes its worker late for one round where there is a deadline; where arrivals are drawn,
/// it only costs time.
#[test]
fn a_delayed_worker_is_late_once() {
    for kind in [FaultKind::Delay, FaultKind::Freeze] {
        for phase in [Phase::Compute, Phase::Header] {
            let mut slow = fault(kind, phase);
            slow.seconds = 7.0;
            let straggling = Straggling::Delay {
                model: delays(),
                deadline: 6.0,
                bandwidth: None,
                unit: Unit::Seconds(1.0),
            };
            let mut delayed = settings(straggling, 40);
            delayed.give_up_after = 1000;
            let mut transport = with_faults(vec![slow.clone()]);
            let (outcome, record, _) = run(&delayed, &mut transport);
            assert!(outcome.expect("nobody is lost").lost.is_empty());
            let behind = |t: usize| record.rows[t].per_worker.late_iterations[VICTIM];
            assert_eq!(behind(20), 1, "{kind:?} {phase:?}");
            assert!(record.rows[20].per_worker.arrival_time[VICTIM].is_nan());
            assert!((22..40).any(|t| behind(t) == 0), "it answers again");
            assert!(record.rows.iter().all(|row| row.foreign == 0));

            let drawn = settings(everybody_in_time(), 40);
            let (_, record, _) = run(&drawn, &mut with_faults(vec![slow]));
            assert!(record.rows.iter().all(|row| row.late == 0));
        }
    }
}

#[test]
fn a_repeated_offender_is_planned_without() {
    let mut always = fault(FaultKind::Corrupt, Phase::Payload);
    always.to = u64::MAX;
    let mut strict = settings(everybody_in_time(), 60);
    strict.tolerance = Tolerance {
        in_a_row: 4,
        share: 1.0,
    };
    let (outcome, record, _) = run(&strict, &mut with_faults(vec![always.clone()]));
    let lost = outcome.expect("5 are left").lost;
    assert_eq!((lost[0].worker, lost[0].iteration), (VICTIM, 23));
    assert!(lost[0].reason.starts_with("refused 4 times in a row"));
    assert_eq!(record.plans[1].0, 24);
    let refused: u64 = record.rows.iter().map(|row| row.refused).sum();
    assert_eq!(refused, 4);

    always.probability = 0.7;
    strict.tolerance = Tolerance {
        in_a_row: 0,
        share: 0.5,
    };
    strict.iterations = 200;
    let (outcome, _, _) = run(&strict, &mut with_faults(vec![always]));
    let lost = outcome.expect("5 are left").lost;
    assert_eq!((lost[0].worker, lost[0].iteration), (VICTIM, 99));
    assert!(lost[0].reason.contains("of its last 100 reports"));
}

/// A fault of everybody's is nobody's: the run ends for want of answers, with all workers.
#[test]
fn nobody_is_given_up_when_all_fail() {
    let all = Fault {
        workers: None,
        to: u64::MAX,
        ..fault(FaultKind::Panic, Phase::Compute)
    };
    let mut strict = settings(everybody_in_time(), 100);
    strict.tolerance = Tolerance::default();
    match run(&strict, &mut with_faults(vec![all])).0 {
        Err(RunError::EmptyRounds { count: 50, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn clipping_scales_the_largest_messages_down() {
    let mut spike = fault(FaultKind::Corrupt, Phase::Compute);
    spike.to = 24;
    let mut clipped = settings(everybody_in_time(), 60);
    clipped.limits = Limits {
        refuse: 0.0,
        clip: 5.0,
    };
    let (outcome, record, _) = run(&clipped, &mut with_faults(vec![spike.clone()]));
    outcome.expect("a spike is bounded");
    let clips: Vec<u64> = record.rows.iter().map(|row| row.clipped).collect();
    assert!((20..25).all(|t| clips[t] == 1), "{clips:?}");
    assert_eq!(clips.iter().sum::<u64>(), 5);
    assert!(record.rows.iter().all(|row| row.refused == 0));
    let norm = |t: usize| record.rows[t].gradient_norm;
    assert!(norm(20) < 20.0 * norm(19), "{} {}", norm(20), norm(19));

    clipped.limits.clip = 0.0;
    match run(&clipped, &mut with_faults(vec![spike])) {
        (Err(RunError::Diverged { .. }), ..) => {}
        (other, record, _) => {
            let largest = record.rows.iter().map(|row| row.gradient_norm);
            assert!(largest.fold(0.0, f64::max) > 1e20, "{other:?}");
        }
    }
}

/// A learner that panics in one call, and is no good after that.
struct Fragile {
    inner: Box<dyn Learner>,
    calls: Arc<AtomicU64>,
    panics_at: u64,
    broken: bool,
}

impl Learner for Fragile {
    fn dimension(&self) -> usize {
        self.inner.dimension()
    }
    fn partitions(&self) -> usize {
        self.inner.partitions()
    }
    fn initial_parameters(&mut self) -> Vec<f32> {
        self.inner.initial_parameters()
    }
    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        assert!(!self.broken, "used after a panic");
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.panics_at {
            self.broken = true;
            gradient.fill(f32::NAN);
            panic!("half-way");
        }
        self.inner
            .coded_gradient(parameters, iteration, assignment, gradient)
    }
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        self.inner.evaluate(parameters)
    }
    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

#[test]
fn after_a_panic_the_model_is_built_anew() {
    let calls = Arc::new(AtomicU64::new(0));
    let built = Arc::new(AtomicU64::new(0));
    let make = {
        let (calls, built) = (calls.clone(), built.clone());
        move || -> Result<Box<dyn Learner>, String> {
            if built.fetch_add(1, Ordering::Relaxed) == 1 {
                return Err("no space left".to_owned()); // the first attempt to mend
            }
            Ok(Box::new(Fragile {
                inner: Box::new(problem()),
                calls: calls.clone(),
                panics_at: 50,
                broken: false,
            }))
        }
    };
    let engine = Engine::new(make().expect("a learner"), preset(), 3).with_rebuild(Box::new(make));
    let settings = settings(everybody_in_time(), 30);
    let (outcome, record, _) = run(&settings, &mut InProcess::new(engine));
    assert!(outcome.expect("the run goes on").lost.is_empty());
    assert_eq!(built.load(Ordering::Relaxed), 3);
    let refused: u64 = record.rows.iter().map(|row| row.refused).sum();
    assert_eq!(refused, 2, "the panic, and the failure to build anew");
    assert!(record.warnings[0].contains("it panicked: half-way"));
    assert!(record.warnings[1].contains("set the model up again after a panic: no space left"));
    assert_eq!(calls.load(Ordering::Relaxed), 30 * WORKERS as u64 - 1);
}
