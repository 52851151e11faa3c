//! Error feedback in real rounds: the virtual iterate, both straggler rules, and the trap.

use crate::common::*;
use cluster::{
    Engine, ErrorFeedback, InProcess, Memory, OnStraggling, RunError, Settings, Straggling, Unit,
};
use gradient_code::{Budget, Decoder, Plan, Scaling, SchemeConfig, Setting};
use gradient_codec::Preset;
use learner::convex::{ConvexConfig, ConvexProblem};
use learner::{Learner, OptimizerConfig, ScheduleShape, learning_rate};
use straggler::{DelayModel, WorkerDelay};

const KEEP: ErrorFeedback = ErrorFeedback {
    on_straggling: OnStraggling::Keep,
};
const LOST: ErrorFeedback = ErrorFeedback {
    on_straggling: OnStraggling::Lost,
};

/// beta^T, who answered in each round, and e_i^T after T rounds.
struct State {
    parameters: Vec<f64>,
    answered: Vec<Vec<bool>>,
    memories: Vec<Vec<f64>>,
}

fn after(settings: &Settings, rounds: u64, plan: &Plan) -> State {
    let settings = Settings {
        iterations: rounds,
        evaluate_at_end: false,
        ..settings.clone()
    };
    let mut transport = remembering(&settings);
    let (outcome, record, parameters) = run_plan(&settings, &mut transport, plan.clone());
    outcome.expect("a complete run");
    let memory = |i: usize| {
        let memory = transport.engine().memory(i as u32);
        memory.map_or_else(|| vec![0.0; 20], |memory| memory.in_parameter_units())
    };
    State {
        parameters: parameters.iter().map(|&x| f64::from(x)).collect(),
        answered: record
            .rows
            .iter()
            .map(|row| {
                let late = &row.per_worker.late_iterations;
                late.iter().map(|&late| late == 0).collect()
            })
            .collect(),
        memories: (0..WORKERS).map(memory).collect(),
    }
}

fn weights(plan: &Plan) -> &[f64] {
    match &plan.decoder {
        Decoder::Fixed { weights, .. } => weights,
        Decoder::PerRound(_) => panic!("the joint scheme has fixed weights"),
    }
}

/// beta - sum_i w_i e_i / n.
fn virtual_iterate(state: &State, plan: &Plan) -> Vec<f64> {
    let mut iterate = state.parameters.clone();
    for (memory, w) in state.memories.iter().zip(weights(plan)) {
        for (x, e) in iterate.iter_mut().zip(memory) {
            *x -= w * e / plan.partitions as f64;
        }
    }
    iterate
}

/// x^{t+1} = x^t - gamma_t (1/n) sum_i I_i w_i f_i (`keep`), and with every i (`lost`), where what
/// was computed in vain is only delivered later.
#[test]
fn the_virtual_iterate_takes_uncompressed_steps() {
    for preset in compressors() {
        for (feedback, shape) in [
            (KEEP, ScheduleShape::Constant),
            (KEEP, ScheduleShape::InverseSqrt),
            (LOST, ScheduleShape::Constant),
            (LOST, ScheduleShape::InverseTime),
        ] {
            let mut settings = settings(erase(), 0);
            settings.preset = preset;
            settings.shrink = true; // what is biased already stays as it is
            settings.error_feedback = Some(feedback);
            settings.learning_rate.shape = shape;
            settings.learning_rate.warmup = 3;
            let plan = plan_with(&preset, 24, &[]);
            let mut learner = problem();
            let (mut moved, mut remembered) = (0.0f64, 0.0f64);
            let mut before = after(&settings, 0, &plan);
            for t in 0..25 {
                let now = after(&settings, t + 1, &plan);
                let at: Vec<f32> = before.parameters.iter().map(|&x| x as f32).collect();
                let mut expected = virtual_iterate(&before, &plan);
                let rate = f64::from(learning_rate(&settings.learning_rate, t, t + 1));
                for i in plan.active() {
                    if feedback == KEEP && !now.answered[t as usize][i] {
                        continue;
                    }
                    let mut f = vec![0.0; 20];
                    learner
                        .coded_gradient(&at, t, &plan.workers[i].assignment, &mut f)
                        .expect("a gradient");
                    let step = rate * weights(&plan)[i] / plan.partitions as f64;
                    for (x, f) in expected.iter_mut().zip(&f) {
                        *x -= step * f64::from(*f);
                    }
                }
                let actual = virtual_iterate(&now, &plan);
                let wrong: Vec<f64> = actual.iter().zip(&expected).map(|(a, e)| a - e).collect();
                let scale = norm(&now.parameters) + norm(&actual);
                assert!(
                    norm(&wrong) < 2e-6 * scale,
                    "{preset} {feedback:?} {shape:?} {t}: {} of {scale}",
                    norm(&wrong)
                );
                let memory: Vec<f64> = actual
                    .iter()
                    .zip(&now.parameters)
                    .map(|(a, b)| a - b)
                    .collect();
                moved = moved.max(norm(&actual));
                remembered = remembered.max(norm(&memory));
                before = now;
            }
            assert!(
                moved > 0.1 && remembered > 1e-2,
                "{preset}: {moved} {remembered}"
            );
        }
    }
}

/// `keep` asks nobody whom the draw makes late, `lost` asks everybody; who answers is the same.
#[test]
fn a_worker_drawn_late_computes_only_to_remember() {
    let mut settings = settings(erase(), 40);
    settings.error_feedback = Some(KEEP);
    let (_, keep, kept) = run(&settings, &mut remembering(&settings));
    settings.error_feedback = Some(LOST);
    let (_, lose, lost) = run(&settings, &mut remembering(&settings));
    assert_ne!(kept, lost);
    for (keep, lose) in keep.rows.iter().zip(&lose.rows) {
        assert_eq!(
            keep.per_worker.late_iterations,
            lose.per_worker.late_iterations
        );
        assert_eq!((keep.late, lose.refused), (lose.late, 0));
        for i in 0..WORKERS {
            let computed = |row: &run_log::IterationRow| row.per_worker.seconds_compute[i] > 0.0;
            assert_eq!(computed(keep), keep.per_worker.late_iterations[i] == 0);
            assert!(computed(lose));
            assert_eq!(
                keep.per_worker.arrival_time[i].is_nan(),
                lose.per_worker.arrival_time[i].is_nan()
            );
        }
    }
}

/// Rounds in which only times are learnt leave no memory behind.
#[test]
fn calibration_is_not_remembered() {
    let mut settings = settings(
        Straggling::Delay {
            model: delays(),
            deadline: 0.5, // before anybody's shift
            bandwidth: None,
            unit: Unit::Measured,
        },
        3,
    );
    settings.error_feedback = Some(LOST);
    let mut transport = remembering(&settings);
    let (outcome, record, _) = run(&settings, &mut transport);
    assert!(outcome.is_ok());
    assert!(record.rows.iter().all(|row| row.responders == 0));
    assert!((0..WORKERS as u32).all(|i| transport.engine().memory(i).is_none()));
}

#[test]
fn a_memory_cannot_follow_weights_per_round() {
    let mut settings = settings(erase(), 3);
    settings.error_feedback = Some(KEEP);
    let mut plan = plan_for(&[]);
    plan.decoder = per_round();
    match run_on(
        &mut problem(),
        &settings,
        &mut remembering(&settings),
        plan,
        OptimizerConfig::default(),
    ) {
        Err(RunError::FeedbackPerRound { scheme }) => assert_eq!(scheme, "joint"),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// The loss after `iterations` iterations of least squares in 100 dimensions, everybody in time, with
/// the paper's quantizer at `bits` bits, from the same start.
fn loss_with_memory(
    feedback: Option<ErrorFeedback>,
    shrink: bool,
    bits: u8,
    iterations: u64,
) -> (f64, f64) {
    let dimension = 100;
    let problem = || {
        ConvexProblem::new(&ConvexConfig {
            dimension,
            samples: 600,
            partitions: WORKERS,
            ..ConvexConfig::default()
        })
        .expect("a valid problem")
    };
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: &[0.0; WORKERS],
        phi: &|bits| Preset::Qsgd.phi(bits, dimension),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let budget = Budget::mean(f64::from(bits), WORKERS, 2, 16);
    let plan =
        gradient_code::plan(&SchemeConfig::new("is-sgd"), &setting, &budget, None).expect("a plan");
    let delay = WorkerDelay::Exponential { rate: 1.0 };
    let settings = Settings {
        preset: Preset::Qsgd,
        shrink,
        error_feedback: feedback,
        ..settings(
            Straggling::Erase {
                model: DelayModel::new(vec![delay; WORKERS]).expect("valid delays"),
                deadline: 1e3, // nobody is late
                bandwidth: None,
                unit_seconds: 1.0,
            },
            iterations,
        )
    };
    let mut engine =
        Engine::new(Box::new(problem()), settings.preset, settings.seed).with_shrink(shrink);
    if let Some(feedback) = feedback {
        engine = engine.with_error_feedback(feedback, settings.learning_rate, iterations);
    }
    let mut transport = InProcess::new(engine);
    let plain = OptimizerConfig::default();
    let (outcome, _, _) =
        run_on(&mut problem(), &settings, &mut transport, plan, plain).expect("a master");
    let memory = |i: u32| {
        let memory = transport.engine().memory(i);
        memory.map_or(0.0, |memory| norm(&memory.in_parameter_units()))
    };
    let largest = (0..WORKERS as u32).map(memory).fold(0.0, f64::max);
    match outcome {
        Ok(outcome) => (outcome.metrics[0].value, largest),
        Err(RunError::Diverged { .. }) => (f64::INFINITY, largest),
        Err(error) => panic!("{error}"),
    }
}

/// An unbiased quantizer of normalised error w leaves a memory with `E||x - Q(x)||^2 = w ||x||^2`: fed
/// back, it grows from round to round where w > 1. For Gaussian x of 100 coordinates w is 6.9, 1.7 and
/// 0.34 at 2, 3 and 4 bits (less as x becomes uneven). Without feedback the same messages train.
#[test]
fn a_memory_explodes_where_the_quantizer_does_not_contract() {
    let after = |feedback, bits, iterations| loss_with_memory(feedback, false, bits, iterations);
    for bits in [2, 3, 4] {
        let (loss, _) = after(None, bits, 100);
        assert!(loss < 0.46, "{bits} bits, no feedback: {loss}"); // 0.449, 0.443, 0.440
    }
    let (loss, memory) = after(Some(KEEP), 2, 100);
    assert!(loss > 1e20 && memory > 1e10, "{loss:e} {memory:e}"); // 3e26, 8e13
    let (loss, memory) = after(Some(KEEP), 2, 200);
    assert!(
        loss.is_infinite(),
        "reported as divergence: {loss:e} {memory:e}"
    );
    let (loss, memory) = after(Some(KEEP), 3, 100);
    assert!(loss > 1e6 && memory > 1e3, "{loss:e} {memory:e}"); // 8e9, 4e5
    let (loss, memory) = after(Some(KEEP), 4, 100);
    assert!(loss < 0.46 && memory < 0.1, "{loss} {memory}"); // 0.439, 0.039
    // Divided by 1 + w, the same messages contract at every width: 0.410, 0.402, 0.401 and memories of
    // 0.48, 0.12, 0.035.
    for bits in [2, 3, 4] {
        let (loss, memory) = loss_with_memory(Some(KEEP), true, bits, 200);
        assert!(
            loss < 0.46 && memory < 1.0,
            "{bits} bits, shrunk: {loss} {memory}"
        );
    }
}

/// A memory moves to another engine, to which every later message is the same.
#[test]
fn a_memory_moves_to_another_engine() {
    let mut settings = settings(everybody_in_time(), 5);
    settings.error_feedback = Some(KEEP);
    let mut transport = remembering(&settings);
    run(&settings, &mut transport).0.expect("a complete run");
    let memory = transport.engine().memory(2).expect("it has one");

    let feedback = |problem| {
        Engine::new(Box::new(problem), settings.preset, settings.seed).with_error_feedback(
            KEEP,
            settings.learning_rate,
            settings.iterations,
        )
    };
    let other = feedback(problem());
    assert!(other.memory(2).is_none());
    other
        .restore_memory(memory.clone())
        .expect("the same model");
    assert_eq!(other.memory(2), Some(memory.clone()));
    let foreign = Memory {
        residual: vec![0.0; 3],
        ..memory
    };
    let error = other.restore_memory(foreign).expect_err("another model");
    assert!(error.to_string().contains("3 coordinates"), "{error}");
}

/// Once a memory is out of f32's range its owner can send nothing: that the rounds stay empty is then
/// the model's divergence, and not silence.
#[test]
fn memories_out_of_range_end_the_run_as_divergence() {
    let mut settings = settings(erase(), 4000);
    settings.preset = Preset::Qsgd;
    settings.error_feedback = Some(LOST);
    let plan = plan_with(&Preset::Qsgd, 2 * WORKERS as u64, &[]);
    let mut transport = remembering(&settings);
    match run_plan(&settings, &mut transport, plan).0 {
        Err(RunError::Diverged { .. }) => {}
        other => panic!("{other:?}"),
    }
}
