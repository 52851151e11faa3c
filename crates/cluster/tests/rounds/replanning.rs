//! Plans that are made anew because the workers have changed.

use crate::common::*;
use checkpoint::Store;
use cluster::{
    Belief, Checkpoints, Every, InProcess, Master, Parts, Resume, Settings, Signals, Straggling,
    Unit,
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
                &settings,
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
        assert_eq!(joined, starts(&whole), "stopped after {stop}");
    }
}
