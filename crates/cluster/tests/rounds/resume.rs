//! A run that is stopped and resumed takes the very steps of one that is not.

use crate::common::*;
use checkpoint::{Checkpoint, CheckpointError, Store};
use cluster::{
    Checkpoints, Downlink, Engine, ErrorFeedback, Every, InProcess, OnStraggling, Resume, RunError,
    Settings,
};
use learner::optimizer::AdamConfig;
use learner::{Learner, OptimizerConfig};

const ITERATIONS: u64 = 30;

fn rules(feedback: Option<OnStraggling>) -> Settings {
    Settings {
        error_feedback: feedback.map(|on_straggling| ErrorFeedback { on_straggling }),
        shrink: feedback.is_some(),
        evaluate_every: Every::Steps(7),
        ..settings(erase(), ITERATIONS)
    }
}

fn transport(settings: &Settings) -> InProcess {
    let mut engine = Engine::new(Box::new(problem()), settings.preset, settings.seed)
        .with_shrink(settings.shrink);
    if let Some(feedback) = settings.error_feedback {
        engine = engine.with_error_feedback(feedback, settings.learning_rate, settings.iterations);
    }
    InProcess::new(engine)
}

fn train(settings: &Settings, optimizer: OptimizerConfig, kept: Kept) -> Result<Run, RunError> {
    let (mut problem, mut transport) = (problem(), transport(settings));
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
