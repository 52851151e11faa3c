//! Deadlines and widths that decide together who is late.

use gradient_code::{
    Budget, Criterion, DeadlineFault, DeadlinePoint, Decoder, Plan, PlanError, Scaling,
    SchemeConfig, Setting, optimal_deadline, plan,
};

/// `Pr(shift + Exp(rate) > time)`.
fn late(shift: f64, rate: f64, time: f64) -> f64 {
    (-rate * (time - shift)).exp().min(1.0)
}

fn phi(bits: u8) -> f64 {
    64.0 / (4.0 * (f64::from(bits - 1).exp2() - 1.0).powi(2))
}

fn setting<'a>(p: &'a [f64], by_width: Option<&'a dyn Fn(usize, u8) -> f64>) -> Setting<'a> {
    Setting {
        partitions: 6,
        straggle_probabilities: p,
        phi: &phi,
        scaling: Scaling::Factor(1.0),
        by_width,
        compressor_unbiased: true,
        seed: 3,
    }
}

const BUDGET: Budget = Budget {
    total_bits: 12,
    min_bits: 2,
    max_bits: 7,
};

fn joint() -> SchemeConfig {
    SchemeConfig::new("joint")
}

fn grid(low: f64, high: f64, points: usize) -> Vec<f64> {
    (0..points)
        .map(|i| low + (high - low) * (i as f64 + 0.5) / points as f64)
        .collect()
}

/// Every width of three workers within the budget.
fn widths() -> impl Iterator<Item = [u8; 3]> {
    (2..=7u8)
        .flat_map(|a| (2..=7u8).flat_map(move |b| (2..=7u8).map(move |c| [a, b, c])))
        .filter(|z| z.iter().map(|&z| u64::from(z)).sum::<u64>() <= BUDGET.total_bits)
}

fn scaling_s(bits: [u8; 3], p: impl Fn(usize, u8) -> f64) -> f64 {
    (0..3)
        .map(|i| (1.0 - p(i, bits[i])) / (p(i, bits[i]) + phi(bits[i])))
        .sum()
}

fn bits(plan: &Plan) -> Vec<u8> {
    plan.workers.iter().map(|worker| worker.bits).collect()
}

const RATES: [f64; 3] = [0.5, 1.0, 4.0];

/// Deadline, bits and code together are as good as trying every deadline with every allocation.
#[test]
fn deadline_and_bits_are_optimal_together() {
    let choice = optimal_deadline(&grid(1.0, 6.0, 60), Criterion::WorstCase, |tau| {
        let p = RATES.map(|rate| late(1.0, rate, tau));
        plan(&joint(), &setting(&p, None), &BUDGET, None)
    })
    .unwrap();
    let objective = |tau: f64| {
        let p = |i: usize, _| late(1.0, RATES[i], tau);
        let s = widths()
            .filter(|z| z.iter().map(|&z| u64::from(z)).sum::<u64>() == 12)
            .map(|z| scaling_s(z, p))
            .fold(0.0, f64::max);
        tau * (1.0 + 1.0 / s)
    };
    let (best_tau, best) = grid(1.0, 6.0, 20_000)
        .into_iter()
        .map(|tau| (tau, objective(tau)))
        .reduce(|a, b| if b.1 < a.1 { b } else { a })
        .unwrap();
    assert!(choice.best.objective <= best * (1.0 + 1e-7), "{choice:?}");
    assert!((choice.best.objective / objective(choice.best.deadline) - 1.0).abs() < 1e-12);
    assert!((choice.best.deadline - best_tau).abs() < 0.01, "{best_tau}");
    assert!(
        choice
            .curve
            .windows(2)
            .all(|pair| pair[0].deadline < pair[1].deadline)
    );
    assert!(choice.curve.contains(&choice.best));
}

/// Unquantized messages of equal workers: `S = k (exp(psi (tau - 1)) - 1)`, so that the best deadline
/// solves `1 + 1/S = tau S' / S^2`.
#[test]
fn equal_workers_have_a_closed_form() {
    let (k, psi) = (10, 0.7);
    let budget = Budget {
        total_bits: 320,
        min_bits: 32,
        max_bits: 32,
    };
    let choice = optimal_deadline(&grid(1.0, 5.0, 40), Criterion::WorstCase, |tau| {
        plan(
            &joint(),
            &setting(&vec![late(1.0, psi, tau); k], None),
            &budget,
            None,
        )
    })
    .unwrap();
    let tau = choice.best.deadline;
    let growth = k as f64 * (psi * (tau - 1.0)).exp();
    let s = growth - k as f64;
    assert!((choice.best.scaling_s / s - 1.0).abs() < 1e-9);
    let slope = 1.0 + 1.0 / s - tau * psi * growth / (s * s);
    assert!(slope.abs() < 1e-3, "tau = {tau}, slope {slope}");
    let answers = k as f64 * (1.0 - late(1.0, psi, tau));
    assert!((choice.best.answers - answers).abs() < 1e-9);
}

/// One partition each, equal workers, no quantization: `alpha = 1`, and the noise of independent
/// gradients is `p / (1 - p)` against `1/S = p / (k (1 - p))` of equal ones, so one waits longer.
#[test]
fn independent_noise_is_waited_for_longer_than_the_worst_case() {
    let budget = Budget {
        total_bits: 192,
        min_bits: 32,
        max_bits: 32,
    };
    let at = |tau: f64| {
        let p = [late(1.0, 0.7, tau); 6];
        plan(&joint(), &setting(&p, None), &budget, None)
    };
    let tau = 1.8;
    let point = DeadlinePoint::of(tau, &at(tau).unwrap(), Criterion::Sampling);
    let p = late(1.0, 0.7, tau);
    assert!((point.objective - tau * (1.0 + p / (1.0 - p))).abs() < 1e-9);
    let best = |criterion| {
        optimal_deadline(&grid(1.0, 6.0, 60), criterion, at)
            .unwrap()
            .best
    };
    let (worst, noise) = (best(Criterion::WorstCase), best(Criterion::Sampling));
    assert!(noise.deadline > 1.2 * worst.deadline, "{worst:?} {noise:?}");
    // tau / (1 - p) is least where 1 - p = tau psi p.
    let p = late(1.0, 0.7, noise.deadline);
    assert!((1.0 - p - noise.deadline * 0.7 * p).abs() < 1e-3);
    let od = |tau: f64| {
        let p = [late(1.0, 0.7, tau); 6];
        plan(&SchemeConfig::new("od"), &setting(&p, None), &budget, None)
    };
    let error = optimal_deadline(&[1.5, 2.0], Criterion::Sampling, od).unwrap_err();
    assert!(error.to_string().contains("no finite value"), "{error}");
}

#[test]
fn without_a_shortest_time_there_is_no_best_deadline() {
    let at = |tau: f64| {
        let p = RATES.map(|rate| late(0.0, rate, tau));
        plan(&joint(), &setting(&p, None), &BUDGET, None)
    };
    let error = optimal_deadline(&grid(0.0, 1.0, 100), Criterion::WorstCase, at).unwrap_err();
    assert!(matches!(error, DeadlineFault::NoLeast { .. }), "{error}");
    // No plan at all: everybody is always late.
    let error = optimal_deadline(&[0.5, 0.9], Criterion::WorstCase, |_| {
        plan(&joint(), &setting(&[1.0; 3], None), &BUDGET, None)
    });
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("any of 2") && text.contains("straggle probability 1"),
        "{text}"
    );
}

/// A bit takes worker 0 0.05, worker 1 0.2 and worker 2 0.3 of the unit.
fn p_of_width(deadline: f64) -> impl Fn(usize, u8) -> f64 {
    move |i, z| late(1.0, RATES[i], deadline - [0.05, 0.2, 0.3][i] * f64::from(z))
}

/// The best allocation where bits cost time, by brute force, with at most the budget.
#[test]
fn bits_that_cost_time_are_allocated_optimally() {
    for deadline in [1.9, 2.2, 3.0, 5.0] {
        let p = p_of_width(deadline);
        let base = RATES.map(|rate| late(1.0, rate, deadline));
        let plan = plan(&joint(), &setting(&base, Some(&p)), &BUDGET, None).unwrap();
        let (best, bits_of_best) = widths()
            .map(|z| (scaling_s(z, &p), z))
            .reduce(|a, b| if b.0 > a.0 { b } else { a })
            .unwrap();
        let s = plan.prediction.scaling_s;
        assert!(
            (s / best - 1.0).abs() < 1e-9,
            "{deadline}: {s} against {best}"
        );
        let spent: u64 = bits(&plan).into_iter().map(u64::from).sum();
        assert!(spent <= BUDGET.total_bits);
        if plan.workers.iter().all(|worker| !worker.is_idle()) {
            assert_eq!(bits(&plan), bits_of_best, "{deadline}");
        }
        assert!(plan.prediction.unbiased);
        let Decoder::Fixed { weights, .. } = &plan.decoder else {
            panic!("fixed weights")
        };
        for (i, worker) in plan
            .workers
            .iter()
            .enumerate()
            .filter(|(_, w)| !w.is_idle())
        {
            assert_eq!(worker.straggle_probability, p(i, worker.bits));
            assert_eq!(weights[i], 1.0 / (1.0 - worker.straggle_probability));
        }
    }
    // Near the deadline wide messages are late: part of the budget is better not spent.
    let p = p_of_width(2.2);
    let base = RATES.map(|rate| late(1.0, rate, 2.2));
    let generous = Budget {
        total_bits: 40,
        ..BUDGET
    };
    let within = plan(&joint(), &setting(&base, Some(&p)), &generous, None).unwrap();
    assert!(within.prediction.bits_per_coordinate_offered < 15.0);
}

/// A worker whose narrowest message is always late is planned without; so is, for equal bits, one
/// that would be late with its share.
#[test]
fn a_worker_that_cannot_send_in_time_gets_nothing() {
    let p = |i: usize, z: u8| match i {
        1 => late(1.0, 1.0, 1.5 - 0.5 * f64::from(z)),
        2 => late(1.0, 1.0, 1.5 - 0.1 * f64::from(z)),
        _ => late(1.0, 1.0, 1.5),
    };
    for (kind, idle) in [
        ("joint", [false, true, false]),
        ("osgc", [false, true, true]),
    ] {
        let base = [late(1.0, 1.0, 1.5); 3];
        let budget = Budget {
            total_bits: 18,
            ..BUDGET
        };
        let plan = plan(
            &SchemeConfig::new(kind),
            &setting(&base, Some(&p)),
            &budget,
            None,
        )
        .unwrap();
        let found: Vec<bool> = plan.workers.iter().map(|worker| worker.is_idle()).collect();
        assert_eq!(found, idle, "{kind}");
        assert!(plan.prediction.unbiased, "{kind}");
        assert_eq!(plan.workers[1].straggle_probability, 1.0);
    }
}

/// Every scheme that is unbiased stays so: code and weights know the lateness of the widths in use.
#[test]
fn all_schemes_know_the_lateness_of_their_widths() {
    let p = |i: usize, z: u8| late(1.0, 1.0 + i as f64, 3.0 - 0.1 * f64::from(z));
    let base: Vec<f64> = (0..6).map(|i| p(i, 0)).collect();
    let budget = Budget {
        total_bits: 27,
        ..BUDGET
    };
    for scheme in
        gradient_code::schemes::names().filter(|name| *name != "ce-agc" && *name != "one-bit-sgc")
    {
        let config = SchemeConfig::new(scheme);
        let with = plan(&config, &setting(&base, Some(&p)), &budget, None);
        let with = with.unwrap_or_else(|error: PlanError| panic!("{scheme}: {error}"));
        let own: Vec<f64> = with
            .workers
            .iter()
            .map(|w| w.straggle_probability)
            .collect();
        if !with.no_straggling {
            for (i, worker) in with.workers.iter().enumerate() {
                assert_eq!(own[i], p(i, worker.bits), "{scheme}");
            }
            // The same plan as for that lateness without widths, where bits are not a choice.
            if scheme != "joint" {
                let again = plan(&config, &setting(&own, None), &budget, None).unwrap();
                assert_eq!(
                    again.prediction.unbiased, with.prediction.unbiased,
                    "{scheme}"
                );
                assert_eq!(bits(&again), bits(&with), "{scheme}");
            }
        }
    }
}
