use super::*;
use crate::{DelayModel, WorkerDelay};

const DEADLINE: f64 = 2.0;

fn rules() -> Rules {
    Rules {
        false_alarms: 0.01,
        tolerance: 0.1,
        window: 200,
        pause: 10,
        estimator: Estimator::Frequency,
    }
}

/// Delays of workers that miss the deadline of 2 with these probabilities.
fn model(p: &[f64]) -> DelayModel {
    let worker = |p: &f64| WorkerDelay::ShiftedExponential {
        shift: 1.0,
        rate: -p.ln(),
    };
    DelayModel::new(p.iter().map(worker).collect()).unwrap()
}

fn trial(model: &DelayModel, seed: u64, round: u64, worker: usize) -> Trial {
    let delay = model.delay(seed, round, worker);
    match delay <= DEADLINE {
        true => Trial::Arrived(delay),
        false => Trial::Late(DEADLINE),
    }
}

/// Runs `rounds` rounds in which workers are late with `p(round)`; the drifts by round.
fn watch(
    monitor: &mut Monitor,
    seed: u64,
    rounds: std::ops::Range<u64>,
    model: impl Fn(u64) -> DelayModel,
) -> Vec<(u64, Drift)> {
    let mut drifts = Vec::new();
    for round in rounds {
        let model = model(round);
        for worker in 0..model.len() {
            monitor.observe(worker, trial(&model, seed, round, worker));
        }
        drifts.extend(monitor.end_round(DEADLINE).map(|drift| (round, drift)));
    }
    drifts
}

/// The promise, at a level where it can be checked: of 2000 runs without a change at most the promised
/// share has a drift. The first test has half of the error; the bound is not much too careful.
#[test]
fn false_alarms_are_as_rare_as_promised() {
    let p = [0.05, 0.3, 0.6, 0.9, 0.95];
    let rules = Rules {
        false_alarms: 0.2,
        tolerance: 0.0,
        ..rules()
    };
    let truth = model(&p);
    let runs = 2000;
    let alarmed = (0..runs)
        .filter(|&seed| {
            let mut monitor = Monitor::new(rules, &p, 150);
            !watch(&mut monitor, seed, 0..150, |_| truth.clone()).is_empty()
        })
        .count() as f64
        / runs as f64;
    assert!((0.01..=0.1).contains(&alarmed), "{alarmed}");
}

/// Two workers of ten become five times slower half-way, and both are found within 40 rounds; in a
/// hundred runs nobody else is suspected more often than chance allows.
#[test]
fn a_change_is_found_soon_and_laid_to_the_right_workers() {
    let before = [0.1, 0.2, 0.3, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1, 0.2];
    let slow = |p: f64| p.powf(0.2); // exp(-rate/5)
    let mut after = before;
    (after[0], after[1]) = (slow(after[0]), slow(after[1]));
    let (first, second) = (model(&before), model(&after));
    let mut wrongly = 0;
    for seed in 0..100 {
        let mut monitor = Monitor::new(rules(), &before, 600);
        let drifts = watch(&mut monitor, seed, 0..600, |round| {
            if round < 300 {
                first.clone()
            } else {
                second.clone()
            }
        });
        let (round, drift) = &drifts[0];
        assert!((300..340).contains(round), "seed {seed}: {round}");
        assert!(drift.changes.iter().all(|change| change.worker < 2));
        assert!(drift.changes.iter().any(|change| change.alarm));
        let p = monitor.probabilities();
        for worker in 0..2 {
            // Settled on a window of 200 trials, whose standard error is .034.
            assert!((p[worker] - after[worker]).abs() < 0.15, "{seed}: {p:?}");
        }
        wrongly += usize::from(p[2..] != before[2..]);
    }
    assert!(wrongly <= 3, "{wrongly} of 100");
}

#[test]
fn estimates_settle_as_trials_come_in() {
    let mut monitor = Monitor::new(rules(), &[0.2], 2000);
    let slow = model(&[0.7]);
    let drifts = watch(&mut monitor, 1, 0..2000, |_| slow.clone());
    let trials: Vec<usize> = drifts
        .iter()
        .map(|(_, drift)| drift.changes[0].now.rounds)
        .collect();
    assert!(drifts[0].1.changes[0].alarm && trials[0] < 40, "{trials:?}");
    assert!(trials.windows(2).all(|pair| pair[1] > pair[0]));
    assert!(trials.iter().all(|&trials| trials <= 200));
    assert!((monitor.probabilities()[0] - 0.7).abs() < 0.1);
    assert!(drifts.len() <= 6, "a window is full after few of them");
}

#[test]
fn a_worker_that_recovers_is_noticed() {
    let mut monitor = Monitor::new(rules(), &[0.1, 0.1], 3000);
    let (well, ill) = (model(&[0.1, 0.1]), model(&[0.95, 0.1]));
    let now = |round: u64| match (500..1500).contains(&round) {
        true => ill.clone(),
        false => well.clone(),
    };
    watch(&mut monitor, 2, 0..1500, now);
    assert!(monitor.probabilities()[0] > 0.85);
    let drifts = watch(&mut monitor, 2, 1500..3000, now);
    assert!((1500..1560).contains(&drifts[0].0), "{}", drifts[0].0);
    assert!((monitor.probabilities()[0] - 0.1).abs() < 0.06);
    assert_eq!(monitor.probabilities()[1], 0.1);
}

#[test]
fn drifts_keep_their_distance() {
    let mut monitor = Monitor::new(
        Rules {
            pause: 50,
            ..rules()
        },
        &[0.5; 8],
        400,
    );
    let other = model(&[0.01, 0.99, 0.02, 0.98, 0.9, 0.1, 0.2, 0.8]);
    let drifts = watch(&mut monitor, 3, 0..400, |_| other.clone());
    let rounds: Vec<u64> = drifts.iter().map(|(round, _)| *round).collect();
    assert!(rounds.len() >= 2, "{rounds:?}");
    assert!(
        rounds.windows(2).all(|pair| pair[1] - pair[0] >= 50),
        "{rounds:?}"
    );
    let last = monitor.end_round(DEADLINE);
    assert_eq!(last, None, "there is no round left to plan for");
}

/// Interrupted, written down and continued, the monitor says what it would have said.
#[test]
fn it_can_be_continued() {
    let (first, second) = (model(&[0.3, 0.6]), model(&[0.3, 0.95]));
    let now = |round: u64| match round < 100 {
        true => first.clone(),
        false => second.clone(),
    };
    let mut whole = Monitor::new(rules(), &[0.3, 0.6], 400);
    let expected = watch(&mut whole, 4, 0..400, now);
    assert!(expected.len() > 2);
    for stop in [1, 50, 120, 130, 399] {
        let mut monitor = Monitor::new(rules(), &[0.3, 0.6], 400);
        let mut drifts = watch(&mut monitor, 4, 0..stop, now);
        let text = serde_json::to_string(&monitor).unwrap();
        let mut monitor: Monitor = serde_json::from_str(&text).unwrap();
        drifts.extend(watch(&mut monitor, 4, stop..400, now));
        assert_eq!(drifts, expected, "stopped at {stop}");
    }
}

#[test]
fn a_run_can_be_made_longer() {
    let ill = model(&[0.9]);
    let mut monitor = Monitor::new(rules(), &[0.3], 5);
    assert!(watch(&mut monitor, 5, 0..5, |_| ill.clone()).is_empty());
    let mut longer = monitor.clone();
    longer.set_rounds(400);
    assert!(watch(&mut monitor, 5, 5..400, |_| ill.clone()).is_empty());
    assert!(!watch(&mut longer, 5, 5..400, |_| ill.clone()).is_empty());
    let mut fresh = Monitor::new(rules(), &[0.3], 400);
    watch(&mut fresh, 5, 0..400, |_| ill.clone());
    assert_eq!(longer, fresh);
}

/// The mean squared errors of the two estimators, in units of the frequency's: the fit gains where p is
/// small, and loses everything where delays are not what it supposes.
#[test]
fn the_estimators_are_as_good_as_their_standard_errors_say() {
    let squared = |estimator, p: f64, delays: &DelayModel| {
        let (mut sum, mut claimed) = (0.0, 0.0);
        for seed in 0..400 {
            let trials: Vec<Trial> = (0..200).map(|t| trial(delays, seed, t, 0)).collect();
            let estimate = estimate(&trials, DEADLINE, estimator);
            assert_eq!(estimate.rounds, 200);
            sum += (estimate.probability - p).powi(2);
            claimed += estimate.standard_error.powi(2);
        }
        (sum / 400.0, claimed / 400.0)
    };
    for (p, gain) in [(0.03, 1.8), (0.3, 1.05), (0.9, 0.8)] {
        let (frequency, claimed) = squared(Estimator::Frequency, p, &model(&[p]));
        assert!((0.7..1.4).contains(&(claimed / frequency)), "{p}");
        let (fit, claimed) = squared(Estimator::ShiftedExponential, p, &model(&[p]));
        assert!((0.6..1.6).contains(&(claimed / fit)), "{p} {fit} {claimed}");
        assert!(frequency > gain * fit, "{p}: {frequency} {fit}");
    }
    // Nine tasks in ten take about 1, the tenth 5: no exponential.
    let steps: Vec<f64> = (0..1000)
        .map(|at| {
            if at % 10 == 0 {
                5.0
            } else {
                1.0 + f64::from(at) * 1e-4
            }
        })
        .collect();
    let bimodal = DelayModel::new(vec![WorkerDelay::Trace(steps.into())]).unwrap();
    let bimodal = bimodal.with_trace_order(crate::TraceOrder::Resample);
    let (frequency, _) = squared(Estimator::Frequency, 0.1, &bimodal);
    let (fit, _) = squared(Estimator::ShiftedExponential, 0.1, &bimodal);
    assert!(fit > 2.0 * frequency, "{fit} {frequency}");
}

/// A late task costs three rounds in the mean: half of them, while a quarter of the tasks is late.
fn in_bursts(seed: u64, rounds: u64) -> Vec<Trial> {
    let mut busy = false;
    (0..rounds)
        .map(|round| {
            let uniform = model(&[0.5]).delay(seed, round, 0) - 1.0; // Exp(ln 2)
            let chance = 1.0 - (-uniform * 2f64.ln()).exp();
            let (before, stays) = (busy, chance < 2.0 / 3.0);
            busy = if before { stays } else { chance < 1.0 / 3.0 };
            match (before, busy) {
                (_, false) => Trial::Arrived(0.5),
                (false, true) => Trial::Late(1.0),
                (true, true) => Trial::Busy,
            }
        })
        .collect()
}

/// Rounds that are missed in bursts are no evidence against the share that is planned for; a plan that
/// takes the share of late tasks for it is found out.
#[test]
fn bursts_are_told_from_changes() {
    let (mut wrongly, mut found) = (0, 0);
    for seed in 0..200 {
        let trials = in_bursts(seed, 600);
        let first = |planned: f64| {
            let mut monitor = Monitor::new(rules(), &[planned], 600);
            let drift = trials.iter().find_map(|&trial| {
                monitor.observe(0, trial);
                monitor.end_round(DEADLINE)
            });
            drift.map(|_| monitor.probabilities()[0])
        };
        wrongly += usize::from(first(0.5).is_some());
        found += usize::from(first(1.0 / 3.0).is_some_and(|p| p > 0.4));
    }
    assert!(wrongly <= 6, "{wrongly}");
    assert!(found >= 100, "{found}");
    let (mut squared, mut claimed) = (0.0, 0.0);
    for seed in 0..400 {
        let estimate = estimate(&in_bursts(seed, 300), DEADLINE, Estimator::Frequency);
        squared += (estimate.probability - 0.5).powi(2);
        claimed += estimate.standard_error.powi(2);
    }
    assert!(
        (0.6..1.7).contains(&(claimed / squared)),
        "{claimed} {squared}"
    );
}

#[test]
fn estimates_are_never_certain() {
    for estimator in [Estimator::Frequency, Estimator::ShiftedExponential] {
        let in_time: Vec<Trial> = (0..50)
            .map(|at| Trial::Arrived(f64::from(at) * 0.01))
            .collect();
        let never = estimate(&in_time, 1e6, estimator).probability;
        assert!((never - 0.5 / 51.0).abs() < 1e-12, "{never}");
        let always = estimate(&[Trial::Late(1.0); 50], 1.0, estimator).probability;
        assert!((always - 50.5 / 51.0).abs() < 1e-12, "{always}");
        assert_eq!(estimate(&[], 1.0, estimator).probability, 0.5);
    }
}

#[test]
fn a_drift_is_told_in_words_and_not_at_any_length() {
    let change = |worker| Change {
        worker,
        before: 0.2,
        now: Estimate {
            probability: 0.9312,
            standard_error: 0.06,
            rounds: 14,
        },
        alarm: true,
    };
    let mut drift = Drift {
        changes: vec![change(3)],
        probabilities: vec![],
    };
    assert_eq!(
        drift.to_string(),
        "worker 3 is late with 0.931 +- 0.060 instead of 0.200 (14 rounds)"
    );
    drift.changes = (0..2000).map(change).collect();
    let text = drift.to_string();
    assert!(
        text.len() < 700 && text.ends_with("and 1992 more workers"),
        "{text}"
    );
}

#[test]
fn odds_are_tolerated_by_their_factor() {
    for p in [0.0, 1e-3, 0.5, 0.9, 1.0] {
        let [low, high] = tolerated(p, 0.25);
        assert!(low <= p && p <= high);
        if (0.01..0.99).contains(&p) {
            assert!((log_odds(high) - log_odds(p) - 1.25f64.ln()).abs() < 1e-12);
            assert!((log_odds(p) - log_odds(low) - 1.25f64.ln()).abs() < 1e-12);
        }
        assert_eq!(tolerated(p, 0.0), [p, p]);
    }
}
