//! Plans that are made anew because the workers have changed.

use crate::common::*;
use checkpoint::Store;
use cluster::{
    Belief, Checkpoints, Distortion, Every, InProcess, Master, Parts, RefreshRules, Resume,
    Settings, Signals, Straggling, Unit,
};
use learner::{Learner, OptimizerConfig};
use straggler::{DelayModel, Estimator, Rules, Slowdown};

const CHANGE: u64 = 200;
const SLOW: [usize; 2] = [4, 5];

/// [`delays`], of which the two most reliable workers become five times slower.
fn changing() -> DelayModel {
    let slow = |worker| Slowdown {
        worker,
        factor: 5.0,
        from: CHANGE,
        to: u64::MAX,
    };
    delays()
        .with_slowdowns(SLOW.map(slow).to_vec())
        .expect("workers of the model")
}

fn erased(model: DelayModel) -> Straggling {
    Straggling::Erase {
        model,
        deadline: TAU,
        bandwidth: None,
        unit_seconds: 1.0,
    }
}

fn watching(straggling: Straggling) -> Settings {
    Settings {
        replan: Some(Rules {
            false_alarms: 0.01,
            tolerance: 0.1,
            window: 200,
            pause: 10,
            estimator: Estimator::Frequency,
        }),
        ..settings(straggling, 500)
    }
}

#[test]
fn workers_that_slow_down_are_planned_for() {
    let delayed = Straggling::Delay {
        model: changing(),
        deadline: TAU,
        bandwidth: None,
        unit: Unit::Seconds(0.5),
    };
    for straggling in [erased(changing()), delayed] {
        let (outcome, record, _) = run(&watching(straggling), &mut in_process());
        outcome.expect("a complete run");
        let (from, plan) = &record.plans[1];
        assert!((CHANGE..CHANGE + 60).contains(from), "{from}");
        let reason = &record.reasons[1];
        assert!(reason.contains("is late with 0.9"), "{reason}");
        assert!(record.warnings[0].contains(reason));
        let first = &record.plans[0].1;
        let last = &record.plans.last().expect("it is there").1;
        for i in 0..WORKERS {
            let (before, after) = (
                first.workers[i].straggle_probability,
                last.workers[i].straggle_probability,
            );
            match SLOW.contains(&i) {
                // Five times a shift of 1 is beyond the deadline: they never come again.
                true => assert!(after > 0.98, "{after}"),
                false => assert_eq!(after, before, "worker {i} has not changed"),
            }
        }
        // What they can no longer be trusted with goes to the others.
        let bits = |plan: &gradient_code::Plan| SLOW.map(|i| u32::from(plan.workers[i].bits));
        assert!(bits(last).iter().sum::<u32>() < bits(first).iter().sum());
        let loads =
            |plan: &gradient_code::Plan| plan.workers.iter().map(|w| w.load()).sum::<usize>();
        assert!(loads(plan) >= WORKERS, "everything is held by somebody");
    }
}

#[test]
fn nothing_is_planned_anew_while_nothing_changes() {
    let (outcome, record, watched) = run(&watching(erase()), &mut in_process());
    outcome.expect("a complete run");
    assert_eq!(record.plans.len(), 1);
    let (_, _, unwatched) = run(&settings(erase(), 500), &mut in_process());
    assert_eq!(watched, unwatched, "looking on changes nothing");
}

/// Erased arrivals decide the plans too, so the run stays a function of its configuration.
#[test]
fn replanned_runs_are_reproducible() {
    let settings = watching(erased(changing()));
    let (first, again) = (
        run(&settings, &mut in_process()),
        run(&settings, &mut in_process()),
    );
    assert!(first.1.plans.len() > 1);
    assert_eq!(first.1.reasons, again.1.reasons);
    assert_eq!(first.2, again.2);
}

/// Half of the gradient is lost with the two workers for a plan that relies on them: the decoded
/// gradient is wrong by as much, until it is planned anew.
#[test]
fn the_decoded_gradient_stays_unbiased() {
    let mean_error = |settings: &Settings| {
        let (_, record, _) = run(settings, &mut in_process());
        let plan = &record.plans.last().expect("one at least").1;
        let p = changing().straggle_probabilities_in(u64::MAX - 1, TAU);
        // sum_i (1 - p_i) w_i a_ij with the true p_i: 1 where the estimate is unbiased.
        let gradient_code::Decoder::Fixed { weights, .. } = &plan.decoder else {
            panic!("the joint design has fixed weights");
        };
        let mut coefficients = vec![0.0; plan.partitions];
        for (i, worker) in plan.workers.iter().enumerate() {
            for &(j, a) in &worker.assignment {
                coefficients[j] += (1.0 - p[i]) * weights[i] * a;
            }
        }
        let off = coefficients.iter().map(|c| (c - 1.0f64).abs());
        off.fold(0.0, f64::max)
    };
    let watching = watching(erased(changing()));
    let kept = Settings {
        replan: None,
        ..watching.clone()
    };
    let (with, without) = (mean_error(&watching), mean_error(&kept));
    assert!(with < 0.05 && without > 0.3, "{with} {without}");
}

#[test]
fn a_drift_that_no_plan_can_be_made_for_is_survived() {
    let settings = watching(erased(changing()));
    let mut record = Record::default();
    let mut learner = problem();
    let dimension = learner.dimension();
    let mut transport: InProcess = in_process();
    let mut asked = Vec::new();
    let mut replanner = |belief: &Belief| {
        asked.push(belief.clone());
        Err("out of ideas".to_owned())
    };
    let mut master = Master::new(Parts {
        settings: &settings,
        transport: &mut transport,
        journal: &mut record,
        replanner: &mut replanner,
        signals: Signals::default(),
        checkpoints: None,
        resume: None,
        learner: &mut learner,
        sums: None,
        optimizer: OptimizerConfig::default()
            .build(dimension)
            .expect("an optimizer"),
        plan: plan_for(&[]),
    })
    .expect("a master");
    let outcome = master.run().expect("a complete run");
    drop(master);
    assert_eq!((outcome.iterations, record.plans.len()), (500, 1));
    assert!(
        record.warnings[0].contains("out of ideas"),
        "{:?}",
        record.warnings
    );
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|belief| belief.lost().is_empty()));
    let p = asked[0].probabilities.as_ref().expect("an estimate");
    assert!(SLOW.iter().any(|&i| p[i] > 0.9));
}

/// What was seen before a checkpoint counts after it: the resumed run plans the same anew, in the same
/// iterations.
#[test]
fn a_resumed_run_replans_like_an_uninterrupted_one() {
    let settings = watching(erased(changing()));
    let (_, whole, expected) = run(&settings, &mut in_process());
    let drifted = whole.plans[1].0;
    for stop in [CHANGE + 1, drifted - 1, drifted + 1, drifted + 30] {
        resumes_alike(&settings, stop, &whole, &expected);
    }
}

/// A run that is stopped after `stop` iterations and resumed ends and replans like `whole`.
#[track_caller]
fn resumes_alike(settings: &Settings, stop: u64, whole: &Record, expected: &[f32]) {
    let scratch = tempfile::tempdir().expect("a directory");
    let checkpoints = Checkpoints {
        store: Store::new(scratch.path().join("checkpoints"), 2),
        every: Every::Never,
        config: String::new(),
    };
    let part = |resume: Option<Resume>, stop_after| {
        let kept = Kept {
            checkpoints: Some(checkpoints.clone()),
            resume,
            stop_after,
            ..Kept::default()
        };
        let plain = OptimizerConfig::default();
        let mut transport = in_process();
        run_kept(
            &mut problem(),
            settings,
            &mut transport,
            plan_for(&[]),
            plain,
            kept,
        )
        .expect("a master")
    };
    let (_, before, _) = part(None, Some(stop));
    let newest = checkpoints.store.newest().expect("whole").expect("there");
    let resume = Resume::load(newest, problem().dimension(), WORKERS).expect("it fits");
    let (_, after, parameters) = part(Some(resume), None);
    assert_eq!(parameters, expected, "stopped after {stop}");
    let starts = |record: &Record| -> Vec<(u64, String)> {
        let starts = record.plans.iter().map(|(start, _)| *start);
        starts.zip(record.reasons.clone()).collect()
    };
    let mut joined = starts(&before);
    joined.extend(starts(&after).into_iter().skip(1)); // the first is the plan in force
    assert_eq!(joined, starts(whole), "stopped after {stop}");
}

/// Workers measure every fifth message, and plans follow.
fn measuring() -> Settings {
    Settings {
        distortion: Distortion {
            every: 5,
            refresh: Some(RefreshRules {
                tolerance: 0.25,
                window: 32,
                pause: 20,
            }),
        },
        ..settings(erase(), 120)
    }
}

/// The plan was made with the closed form, which is a bound that real messages keep well away from.
#[test]
fn plans_follow_the_measured_quantization_error() {
    let (outcome, record, parameters) = run(&measuring(), &mut in_process());
    outcome.expect("a complete run");
    for row in &record.rows {
        let answered = row.per_worker.loss.iter().map(|loss| loss.is_finite());
        let measured = row.per_worker.quantization_error.iter();
        for (error, answered) in measured.zip(answered) {
            let due = answered && row.iteration % 5 == 0;
            assert_eq!(error.is_finite(), due, "iteration {}", row.iteration);
        }
    }
    let (from, plan) = &record.plans[1];
    let reason = &record.reasons[1];
    assert!(reason.starts_with("the quantization error at "), "{reason}");
    assert!(reason.contains(" messages)"), "{reason}");
    // What the new plan was made with is the mean of what had been measured.
    let first = &record.plans[0].1;
    let mut known = 0;
    for bits in first.workers.iter().map(|worker| worker.bits) {
        let before = record.rows.iter().filter(|row| row.iteration < *from);
        let errors = before.flat_map(|row| {
            let workers = first.workers.iter().zip(&row.per_worker.quantization_error);
            workers.filter(|(worker, error)| worker.bits == bits && error.is_finite())
        });
        let errors: Vec<f64> = errors.map(|(_, error)| *error).collect();
        let Some(i) = plan.workers.iter().position(|worker| worker.bits == bits) else {
            continue;
        };
        if (cluster::LEAST_MESSAGES..=32).contains(&errors.len()) {
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            assert!(
                (plan.prediction.phi[i] / mean - 1.0).abs() < 1e-9,
                "{bits} bits"
            );
            known += 1;
        }
    }
    assert!(known > 0);
    let (_, again, same) = run(&measuring(), &mut in_process());
    assert_eq!((again.reasons, same), (record.reasons, parameters));
}

/// Looking on changes nothing, and costs nothing where nobody looks.
#[test]
fn measuring_alone_changes_nothing() {
    let looking = Settings {
        distortion: Distortion {
            every: 1,
            refresh: None,
        },
        ..settings(erase(), 60)
    };
    let (_, watched, parameters) = run(&looking, &mut in_process());
    let (_, unwatched, expected) = run(&settings(erase(), 60), &mut in_process());
    assert_eq!(parameters, expected);
    let bits = |record: &Record| record.rows.iter().map(|row| row.bits_up).sum::<u64>();
    assert_eq!(bits(&watched), bits(&unwatched));
    assert_eq!(watched.plans.len(), 1);
    let finite = |record: &Record| {
        let rows = record.rows.iter();
        rows.flat_map(|row| row.per_worker.quantization_error.clone())
            .any(f64::is_finite)
    };
    assert!(finite(&watched) && !finite(&unwatched));
}

#[test]
fn a_resumed_run_believes_what_was_measured_before() {
    let settings = measuring();
    let (_, whole, expected) = run(&settings, &mut in_process());
    let refreshed = whole.plans[1].0;
    for stop in [refreshed - 1, refreshed, refreshed + 7] {
        resumes_alike(&settings, stop, &whole, &expected);
    }
}
