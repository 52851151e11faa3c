//! Plans that follow the measured quantization error, while deadlines really pass and workers remember what
//! was not delivered.

use crate::common::*;
use checkpoint::Store;
use cluster::{
    Checkpoints, DeadlinePolicy, Distortion, ErrorFeedback, Every, Fault, FaultKind, Faults,
    InProcess, Memory, OnStraggling, Phase, RefreshRules, Resume, Settings, Straggling, Unit,
};
use gradient_code::{Decoder, Plan, WorkerPlan};
use learner::{Learner, OptimizerConfig, learning_rate};

const ROUNDS: u64 = 36;
/// Bits per coordinate of all workers: few, so that quantization has a say in the plan.
const BITS: u64 = 24;

/// Workers measure every fourth message, and plans follow.
fn following(straggling: Straggling, on_straggling: OnStraggling) -> Settings {
    Settings {
        error_feedback: Some(ErrorFeedback { on_straggling }),
        shrink: true,
        distortion: Distortion {
            every: 4,
            refresh: Some(RefreshRules {
                tolerance: 0.25,
                window: 32,
                pause: 8,
            }),
        },
        ..settings(straggling, ROUNDS)
    }
}

/// The deadlines of the delay model, in seconds that pass.
fn delayed() -> Straggling {
    Straggling::Delay {
        model: delays(),
        deadline: TAU,
        bandwidth: None,
        unit: Unit::Seconds(0.5),
    }
}

/// A deadline that nothing but [`held_up`] makes anybody miss.
fn real() -> Straggling {
    Straggling::Real(DeadlinePolicy::Fixed { seconds: 1.0 })
}

/// Reports that come a round or two too late, with what was computed in vain.
fn held_up(seed: u64) -> Faults {
    let delay = Fault {
        kind: FaultKind::Delay,
        phase: Phase::Header,
        workers: None,
        from: 0,
        to: u64::MAX,
        probability: 0.25,
        seconds: 1.5,
        factor: 1.0,
    };
    Faults::new(seed, vec![delay])
}

/// What a run logged, and what it left.
struct End {
    record: Record,
    parameters: Vec<f32>,
    memories: Vec<Option<Memory>>,
}

/// The first `rounds` rounds, or those from a checkpoint on.
fn run_to(rounds: u64, settings: &Settings, kept: Kept) -> End {
    let mut engine = remembering_engine(settings);
    if matches!(settings.straggling, Straggling::Real(_)) {
        engine = engine.with_faults(held_up(settings.seed));
    }
    let mut transport = InProcess::new(engine);
    let kept = Kept {
        stop_after: (rounds < settings.iterations).then_some(rounds),
        replan_bits: Some(BITS),
        ..kept
    };
    let plan = plan_with(&preset(), BITS, &[]);
    let plain = OptimizerConfig::default();
    let (outcome, record, parameters) =
        run_kept(&mut problem(), settings, &mut transport, plan, plain, kept).expect("a master");
    assert_eq!(outcome.expect("no failure").iterations, rounds);
    let memory = |worker: usize| transport.engine().memory(worker as u32);
    End {
        record,
        parameters,
        memories: (0..WORKERS).map(memory).collect(),
    }
}

fn weights(plan: &Plan) -> &[f64] {
    match &plan.decoder {
        Decoder::Fixed { weights, .. } => weights,
        Decoder::PerRound(_) => panic!("the joint scheme has fixed weights"),
    }
}

/// beta - sum_i w_i e_i / n, every memory with the weight that it is to be delivered with.
fn virtual_iterate(end: &End) -> Vec<f64> {
    let mut iterate: Vec<f64> = end.parameters.iter().map(|&x| f64::from(x)).collect();
    for memory in end.memories.iter().flatten() {
        for (x, e) in iterate.iter_mut().zip(memory.in_parameter_units()) {
            *x -= memory.weight * e / WORKERS as f64;
        }
    }
    iterate
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The run replans for the quantization error on the way, with messages late before and after.
#[track_caller]
fn follows(record: &Record) -> u64 {
    let from = record.plans[1].0;
    let reason = &record.reasons[1];
    assert!(reason.starts_with("the quantization error at "), "{reason}");
    assert!(record.warnings.iter().any(|text| text.contains(reason)));
    let late = |rows: &[run_log::IterationRow]| rows.iter().map(|row| row.late).sum::<u64>();
    let (before, after) = record.rows.split_at(from as usize);
    assert!(late(before) > 0 && late(after) > 0, "replanned at {from}");
    // Who computes what changes with it.
    let [first, second] = [0, 1].map(|i| &record.plans[i].1.workers);
    let moved =
        |(a, b): (&WorkerPlan, &WorkerPlan)| (a.bits, &a.assignment) != (b.bits, &b.assignment);
    assert!(first.iter().zip(second).any(moved), "{first:?}");
    from
}

/// x^{t+1} = x^t - gamma (1/n) sum_i w_i f_i over whoever was in time, with the plan in force at t: also in the
/// round before which data and bits move from worker to worker, and memories stay where they are.
#[test]
fn memories_keep_their_meaning_when_a_plan_follows_the_quantization_error() {
    for (straggling, on_straggling) in [
        (delayed(), OnStraggling::Keep),
        // Whose delay passes the deadline does not compute, and has nothing to remember.
        (delayed(), OnStraggling::Lost),
        (real(), OnStraggling::Keep),
    ] {
        let settings = following(straggling, on_straggling);
        let whole = run_to(ROUNDS, &settings, Kept::default()).record;
        follows(&whole);
        let mut learner = problem();
        let mut remembered = 0.0f64;
        let mut before = run_to(1, &settings, Kept::default());
        for t in 1..ROUNDS {
            let now = run_to(t + 1, &settings, Kept::default());
            let (_, plan) = whole.plans.iter().rfind(|(start, _)| *start <= t).unwrap();
            let rate = f64::from(learning_rate(&settings.learning_rate, t, ROUNDS));
            let mut expected = virtual_iterate(&before);
            let late = &now.record.rows[t as usize].per_worker.late_iterations;
            for i in plan.active().filter(|&i| late[i] == 0) {
                let mut f = vec![0.0; 20];
                learner
                    .coded_gradient(&before.parameters, t, &plan.workers[i].assignment, &mut f)
                    .expect("a gradient");
                let step = rate * weights(plan)[i] / plan.partitions as f64;
                for (x, f) in expected.iter_mut().zip(&f) {
                    *x -= step * f64::from(*f);
                }
            }
            let actual = virtual_iterate(&now);
            let parameters: Vec<f64> = now.parameters.iter().map(|&x| f64::from(x)).collect();
            let wrong = norm(&difference(&actual, &expected));
            let scale = norm(&parameters) + norm(&actual);
            assert!(
                wrong < 2e-6 * scale,
                "{on_straggling:?} {:?} {t}: {wrong} of {scale}",
                settings.straggling
            );
            remembered = remembered.max(norm(&difference(&actual, &parameters)));
            before = now;
        }
        assert!(remembered > 1e-3, "{remembered}");
    }
}

/// Delays are drawn, and time is virtual here: whenever the run is broken off, it ends to the last bit as if
/// it had not been, with the same plans for the same reasons, and the same memories.
#[test]
fn a_run_that_follows_resumes_bit_for_bit() {
    for on_straggling in [OnStraggling::Keep, OnStraggling::Lost] {
        let settings = following(delayed(), on_straggling);
        let whole = run_to(ROUNDS, &settings, Kept::default());
        let from = follows(&whole.record);
        for stop in [from - 1, from, from + 1, ROUNDS - 1] {
            let scratch = tempfile::tempdir().expect("a directory");
            let checkpoints = Checkpoints {
                store: Store::new(scratch.path().join("checkpoints"), 2),
                every: Every::Never,
                config: String::new(),
            };
            let kept = |resume| Kept {
                checkpoints: Some(checkpoints.clone()),
                resume,
                ..Kept::default()
            };
            let before = run_to(stop, &settings, kept(None));
            let newest = checkpoints.store.newest().expect("whole").expect("there");
            let resume = Resume::load(newest, problem().dimension(), WORKERS).expect("it fits");
            let after = run_to(ROUNDS, &settings, kept(Some(resume)));
            let case = format!("{on_straggling:?}, stopped after {stop}");
            let bits =
                |end: &End| -> Vec<u32> { end.parameters.iter().map(|x| x.to_bits()).collect() };
            assert_eq!(bits(&after), bits(&whole), "{case}");
            assert_eq!(after.memories, whole.memories, "{case}");
            let starts = |record: &Record| -> Vec<(u64, String)> {
                let starts = record.plans.iter().map(|(start, _)| *start);
                starts.zip(record.reasons.clone()).collect()
            };
            let mut joined = starts(&before.record);
            // The first of the resumed run is the plan in force.
            joined.extend(starts(&after.record).into_iter().skip(1));
            assert_eq!(joined, starts(&whole.record), "{case}");
        }
    }
}
