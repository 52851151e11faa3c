//! A run that is stopped and resumed takes the very steps of one that is not.

use crate::common::*;
use checkpoint::{Checkpoint, CheckpointError, Store};
use cluster::{
    Checkpoints, Downlink, ErrorFeedback, Event, Every, Header, InProcess, Limits, Memory,
    OnStraggling, Resume, RunError, Settings, Signals, Straggling, Transport, TransportError,
};
use gradient_code::Plan;
use learner::optimizer::AdamConfig;
use learner::{Learner, OptimizerConfig};
use std::sync::atomic::Ordering;
use straggler::{Estimator, Rules, Slowdown};

const ITERATIONS: u64 = 30;

fn rules(feedback: Option<OnStraggling>) -> Settings {
    Settings {
        error_feedback: feedback.map(|on_straggling| ErrorFeedback { on_straggling }),
        shrink: feedback.is_some(),
        evaluate_every: Every::Steps(7),
        ..settings(erase(), ITERATIONS)
    }
}

fn train(settings: &Settings, optimizer: OptimizerConfig, kept: Kept) -> Result<Run, RunError> {
    let (mut problem, mut transport) = (problem(), remembering(settings));
    run_kept(
        &mut problem,
        settings,
        &mut transport,
        plan_for(&[]),
        optimizer,
        kept,
    )
}

fn directory(every: Every) -> (tempfile::TempDir, Checkpoints) {
    let scratch = tempfile::tempdir().expect("a directory");
    let checkpoints = Checkpoints {
        store: Store::new(scratch.path().join("checkpoints"), 2),
        every,
        config: "seed = 3\n".to_owned(),
    };
    (scratch, checkpoints)
}

fn resume(checkpoint: Checkpoint) -> Resume {
    Resume::load(checkpoint, problem().dimension(), WORKERS).expect("a checkpoint that fits")
}

fn optimizers() -> [OptimizerConfig; 3] {
    [
        OptimizerConfig::default(),
        OptimizerConfig::Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-3,
        },
        OptimizerConfig::Adam(AdamConfig::default()),
    ]
}

/// What must not depend on whether a run was interrupted.
fn essence(record: &Record) -> Vec<String> {
    let row = |row: &run_log::IterationRow| {
        format!(
            "{} {:?} {:?} {:?} {} {} {} {:?}",
            row.iteration,
            row.loss.to_bits(),
            row.loss_decoded.to_bits(),
            row.gradient_norm.to_bits(),
            row.bits_up_payload,
            row.responders,
            row.late,
            row.per_worker.late_iterations,
        )
    };
    record.rows.iter().map(row).collect()
}

fn bits(parameters: &[f32]) -> Vec<u32> {
    parameters.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    let feedbacks = [None, Some(OnStraggling::Keep), Some(OnStraggling::Lost)];
    for optimizer in optimizers() {
        for feedback in feedbacks {
            let settings = rules(feedback);
            let (outcome, whole, expected) =
                train(&settings, optimizer, Kept::default()).expect("a master");
            outcome.expect("a complete run");
            for stops in [&[1][..], &[7, 8], &[13, 29]] {
                let (_scratch, checkpoints) = directory(Every::Steps(5));
                let mut rows = Vec::new();
                let mut evaluations = Vec::new();
                let ends = stops.iter().copied().map(Some).chain([None]);
                let mut parameters = Vec::new();
                for stop_after in ends {
                    let newest = checkpoints.store.newest().expect("whole");
                    let kept = Kept {
                        checkpoints: Some(checkpoints.clone()),
                        resume: newest.map(resume),
                        stop_after,
                        ..Kept::default()
                    };
                    let (outcome, record, beta) =
                        train(&settings, optimizer, kept).expect("a master");
                    let outcome = outcome.expect("no failure");
                    let end = stop_after.unwrap_or(ITERATIONS);
                    assert_eq!((outcome.iterations, outcome.checkpoint), (end, Some(end)));
                    assert_eq!(outcome.stopped, stop_after.is_some());
                    rows.extend(essence(&record));
                    evaluations.extend(record.evaluations);
                    parameters = beta;
                }
                let case = format!("{optimizer:?}, {feedback:?}, stopped after {stops:?}");
                assert_eq!(rows, essence(&whole), "{case}");
                assert_eq!(evaluations, whole.evaluations, "{case}");
                assert_eq!(bits(&parameters), bits(&expected), "{case}");
            }
        }
    }
}

/// The workers' copy of the model is part of the state where it is built from updates.
#[test]
fn the_form_of_the_downlink_does_not_matter() {
    for downlink in [Downlink::Bf16, Downlink::Delta { bits: 4 }] {
        let settings = Settings {
            downlink,
            ..rules(Some(OnStraggling::Keep))
        };
        let plain = OptimizerConfig::default;
        let (_, _, expected) = train(&settings, plain(), Kept::default()).expect("a master");
        let (_scratch, checkpoints) = directory(Every::Steps(100));
        let mut parameters = Vec::new();
        for stop_after in [Some(11), Some(12), None] {
            let newest = checkpoints.store.newest().expect("whole");
            let kept = Kept {
                checkpoints: Some(checkpoints.clone()),
                resume: newest.map(resume),
                stop_after,
                ..Kept::default()
            };
            parameters = train(&settings, plain(), kept).expect("a master").2;
        }
        assert_eq!(bits(&parameters), bits(&expected), "{downlink:?}");
    }
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let settings = rules(Some(OnStraggling::Keep));
    let optimizer = OptimizerConfig::Adam(AdamConfig::default());
    let (_scratch, checkpoints) = directory(Every::Steps(8));
    let kept = Kept {
        checkpoints: Some(checkpoints.clone()),
        ..Kept::default()
    };
    let (outcome, record, expected) = train(&settings, optimizer, kept).expect("a master");
    outcome.expect("a complete run");
    assert_eq!(record.checkpoints, [8, 16, 24, 30]);
    assert_eq!(checkpoints.store.iterations().expect("listed"), [30, 24]);
    // As after a kill in iteration 28: the last one is 24.
    checkpoints.store.forget_after(24).expect("removed");
    let newest = checkpoints.store.newest().expect("whole").expect("there");
    let kept = Kept {
        checkpoints: Some(checkpoints.clone()),
        resume: Some(resume(newest)),
        ..Kept::default()
    };
    let (outcome, record, parameters) = train(&settings, optimizer, kept).expect("a master");
    assert_eq!(outcome.expect("a complete run").iterations, ITERATIONS);
    assert_eq!(record.rows[0].iteration, 24);
    assert_eq!(bits(&parameters), bits(&expected));
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let settings = rules(None);
    let (_scratch, checkpoints) = directory(Every::Steps(100));
    let kept = |resume| Kept {
        checkpoints: Some(checkpoints.clone()),
        resume,
        ..Kept::default()
    };
    let plain = OptimizerConfig::default;
    let (_, _, expected) = train(&settings, plain(), kept(None)).expect("a master");
    let newest = checkpoints.store.newest().expect("whole").expect("there");
    let kept = kept(Some(resume(newest)));
    let (outcome, record, parameters) = train(&settings, plain(), kept).expect("a master");
    assert_eq!(outcome.expect("done").iterations, ITERATIONS);
    assert!(record.rows.is_empty() && record.checkpoints.is_empty());
    assert_eq!(bits(&parameters), bits(&expected));
}

#[test]
fn a_checkpoint_is_not_published_ahead_of_the_log() {
    let settings = rules(None);
    let (_scratch, checkpoints) = directory(Every::Steps(10));
    let kept = Kept {
        checkpoints: Some(checkpoints.clone()),
        full: Some("write run.h5: no space left on device".to_owned()),
        ..Kept::default()
    };
    let (outcome, record, _) =
        train(&settings, OptimizerConfig::default(), kept).expect("a master");
    assert_eq!(outcome.expect("the run goes on").checkpoint, None);
    assert!(checkpoints.store.iterations().expect("listed").is_empty());
    assert_eq!(
        record.warnings[0],
        "no checkpoint after iteration 10: failed to write run.h5: no space left on device"
    );
    assert_eq!(record.warnings.len(), 3);
}

#[test]
fn foreign_checkpoints_are_refused_by_name() {
    let settings = rules(None);
    let (_scratch, checkpoints) = directory(Every::Steps(10));
    let kept = Kept {
        checkpoints: Some(checkpoints.clone()),
        ..Kept::default()
    };
    let plain = OptimizerConfig::default();
    train(&settings, plain, kept)
        .expect("a master")
        .0
        .expect("done");
    let newest = || checkpoints.store.newest().expect("whole").expect("there");
    assert_eq!(Resume::config(&newest()).expect("a text"), "seed = 3\n");

    let dimension = problem().dimension();
    let refused = Resume::load(newest(), dimension + 1, WORKERS).expect_err("another model");
    assert!(
        matches!(refused, CheckpointError::Foreign { .. }),
        "{refused}"
    );
    let message = refused.to_string();
    assert!(
        message.contains("iteration-000000000030") && message.contains("the model 21"),
        "{message}"
    );
    let refused = Resume::load(newest(), dimension, WORKERS + 1).expect_err("another run");
    assert!(
        refused.to_string().contains("6 workers, this one has 7"),
        "{refused}"
    );

    let kept = Kept {
        resume: Some(resume(newest())),
        ..Kept::default()
    };
    let refused = train(
        &settings,
        OptimizerConfig::Adam(AdamConfig::default()),
        kept,
    )
    .err()
    .expect("another optimizer");
    assert!(matches!(refused, RunError::Optimizer(_)), "{refused}");
}

/// In real time, with a round that hangs after its second frame was granted, and a stop meanwhile.
struct Hanging {
    inner: InProcess,
    at: u64,
    signals: Signals,
    now: u64,
    granted: u32,
    shift: f64,
}

impl Transport for Hanging {
    fn now(&self) -> f64 {
        self.inner.now() + self.shift
    }
    fn real_time(&self) -> bool {
        true
    }
    fn start(&mut self, task: cluster::Task, model: &cluster::Model) -> Result<(), TransportError> {
        self.now = task.iteration;
        self.inner.start(task, model)
    }
    fn verdict(&mut self, header: &Header, send: bool) -> Result<(), TransportError> {
        if self.now == self.at && send {
            self.granted += 1;
            if self.granted == 2 {
                self.shift += 100.0;
                self.signals.stop.store(true, Ordering::Relaxed);
            }
        }
        self.inner.verdict(header, send)
    }
    forward!(poll progress publish recall restore recycle traffic finish);
}

/// The frame of the first was folded, its size is known, and the workers' copy of the model has the
/// update of the round: the round is begun again as if none of that had been.
#[test]
fn a_round_that_is_broken_off_leaves_no_trace() {
    for downlink in [Downlink::F32, Downlink::Delta { bits: 4 }] {
        let settings = Settings {
            downlink,
            grants: 1,
            limits: Limits {
                refuse: 0.0,
                clip: 1.1,
            },
            ..rules(None)
        };
        let plain = OptimizerConfig::default;
        let (_, whole, expected) = train(&settings, plain(), Kept::default()).expect("a master");
        let clipped: u64 = whole.rows.iter().map(|row| row.clipped).sum();
        assert!(clipped > 5, "sizes matter: {clipped}");
        let (_scratch, checkpoints) = directory(Every::Steps(100));
        let signals = Signals::default();
        let mut hanging = Hanging {
            inner: remembering(&settings),
            at: 5,
            signals: signals.clone(),
            now: 0,
            granted: 0,
            shift: 0.0,
        };
        let kept = Kept {
            checkpoints: Some(checkpoints.clone()),
            signals,
            ..Kept::default()
        };
        let (outcome, record, _) = run_kept(
            &mut problem(),
            &settings,
            &mut hanging,
            plan_for(&[]),
            plain(),
            kept,
        )
        .expect("a master");
        let outcome = outcome.expect("no failure");
        assert_eq!(
            (outcome.iterations, outcome.checkpoint, record.rows.len()),
            (hanging.at, Some(hanging.at), hanging.at as usize)
        );
        let newest = checkpoints.store.newest().expect("whole").expect("there");
        let kept = Kept {
            resume: Some(resume(newest)),
            ..Kept::default()
        };
        let parameters = train(&settings, plain(), kept).expect("a master").2;
        assert_eq!(bits(&parameters), bits(&expected), "{downlink:?}");
    }
}

/// Workers that take a new plan in only when they get a task, as ranks do that compute or are far away;
/// they answer a recall at once.
struct Behind {
    inner: InProcess,
    plan: Option<Plan>,
    answers: Vec<Event>,
}

impl Transport for Behind {
    fn publish(&mut self, plan: &Plan) -> Result<(), TransportError> {
        self.plan = Some(plan.clone());
        Ok(())
    }
    fn start(&mut self, task: cluster::Task, model: &cluster::Model) -> Result<(), TransportError> {
        if let Some(plan) = self.plan.take() {
            self.inner.publish(&plan)?;
        }
        self.inner.start(task, model)
    }
    fn restore(&mut self, memory: Memory) -> Result<(), TransportError> {
        self.inner.restore(memory)
    }
    fn recall(&mut self, worker: usize) -> Result<(), TransportError> {
        let memory = self.inner.engine().memory(worker as u32);
        self.answers.push(Event::Memory { worker, memory });
        Ok(())
    }
    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError> {
        if self.answers.is_empty() {
            return self.inner.poll(until, events);
        }
        events.append(&mut self.answers);
        Ok(())
    }
    forward!(now real_time verdict progress recycle traffic finish);
}

/// A checkpoint right after a new plan: its memories are worth what they were under the old one.
#[test]
fn memories_fit_the_plan_of_their_checkpoint() {
    let slow = Slowdown {
        worker: 5,
        factor: 1.2,
        from: 5,
        to: u64::MAX,
    };
    let settings = Settings {
        iterations: 300,
        straggling: Straggling::Erase {
            model: delays().with_slowdowns(vec![slow]).expect("a worker"),
            deadline: TAU,
            bandwidth: None,
            unit_seconds: 1.0,
        },
        replan: Some(Rules {
            false_alarms: 0.1,
            tolerance: 0.0,
            window: 100,
            pause: 5,
            estimator: Estimator::Frequency,
        }),
        ..rules(Some(OnStraggling::Keep))
    };
    let train = |kept: Kept| {
        let mut transport = Behind {
            inner: remembering(&settings),
            plan: None,
            answers: Vec::new(),
        };
        let plain = OptimizerConfig::default();
        let mut problem = problem();
        run_kept(
            &mut problem,
            &settings,
            &mut transport,
            plan_for(&[]),
            plain,
            kept,
        )
        .expect("a master")
    };
    let (_, whole, expected) = train(Kept::default());
    let (replanned, _) = whole.plans.get(1).expect("the slow worker is found");
    let (_scratch, checkpoints) = directory(Every::Steps(1000));
    let (outcome, _, _) = train(Kept {
        checkpoints: Some(checkpoints.clone()),
        stop_after: Some(*replanned),
        ..Kept::default()
    });
    assert!(outcome.expect("no failure").stopped);
    let newest = checkpoints.store.newest().expect("whole").expect("there");
    assert_eq!(newest.iteration(), *replanned);
    let (_, _, parameters) = train(Kept {
        resume: Some(resume(newest)),
        ..Kept::default()
    });
    assert_eq!(bits(&parameters), bits(&expected));
}
