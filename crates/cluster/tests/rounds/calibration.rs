//! Measuring workers in process, where a task takes exactly its injected delay.

use super::common::{WORKERS, delays, plan_with, preset, problem};
use cluster::{Calibration, Downlink, Engine, InProcess, Observation, calibrate};
use gradient_code::Plan;
use learner::Learner;

const UNIT: f64 = 0.25;
const SEED: u64 = 5;

fn measure(limit: f64, plans: &[Plan], rounds: &[usize]) -> Vec<Observation> {
    let model = delays();
    let parameters = problem().initial_parameters();
    let engine = Engine::new(Box::new(problem()), preset(), 1);
    let calibration = Calibration {
        plans,
        rounds,
        warmup: 3,
        limit,
        silence_timeout: 1e6,
        downlink: Downlink::F32,
        delays: Some((&model, SEED, UNIT)),
    };
    calibrate(&mut InProcess::new(engine), &calibration, &parameters).expect("a calibration")
}

/// Every task is observed once: with the delay that was drawn, or as cut where that is beyond the limit.
#[test]
fn arrivals_are_the_drawn_delays_and_late_ones_are_cut() {
    let plans = [plan_with(&preset(), 60, &[]), plan_with(&preset(), 24, &[])];
    let rounds: Vec<usize> = (0..40).map(|round| usize::from(round % 4 == 3)).collect();
    let model = delays();
    for limit in [f64::INFINITY, 1.5 * UNIT] {
        let seen = measure(limit, &plans, &rounds);
        assert_eq!(seen.len(), 37 * WORKERS);
        let mut cut = 0;
        for one in &seen {
            assert_eq!(one.plan, rounds[one.round]);
            let delay = UNIT * model.delay(SEED, one.round as u64, one.worker);
            let drawn = if one.plan == 0 { delay } else { 0.0 };
            match one.arrival {
                Some(arrival) => {
                    assert!((arrival - drawn).abs() < 1e-9, "{one:?}");
                    assert!(arrival <= limit && one.compute > 0.0 && one.transfer >= 0.0);
                }
                None => {
                    cut += 1;
                    assert!(drawn > limit && one.frame_bits == 0);
                }
            }
        }
        assert_eq!(cut > 20, limit.is_finite(), "{cut}");
        let bits = |plan| {
            let of_plan = seen.iter().filter(|one| one.plan == plan);
            of_plan.map(|one| one.frame_bits).sum::<u64>()
        };
        assert!(bits(0) > 0 && bits(1) > 0);
    }
}

/// A plan that leaves a worker out does not ask it.
#[test]
fn idle_workers_are_not_measured() {
    let plans = [plan_with(&preset(), 60, &[2])];
    let seen = measure(f64::INFINITY, &plans, &[0; 8]);
    assert_eq!(seen.len(), 5 * (WORKERS - 1));
    assert!(seen.iter().all(|one| one.worker != 2));
}
