//! What holds between methods, on tables of many shapes.

use super::{paper_problem, uniforms};
use crate::test_tables::any_tables;
use crate::{
    AllocationError, Method, Problem, TOLERANCE, UtilityTable, allocate, allocate_within, relax,
};
use proptest::prelude::*;

fn scale(tables: &[UtilityTable]) -> f64 {
    let largest =
        |table: &UtilityTable| table.values().iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    tables.iter().map(largest).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// With at most the budget to spend: no worse than the best of all exact totals below it, and the
    /// value is that of the bits.
    #[test]
    fn a_budget_need_not_be_spent(tables in any_tables(1..5), share in 0.0f64..=1.2) {
        let mut problem = Problem { tables, total_bits: 0 };
        let (least, most) = problem.range().into_inner();
        problem.total_bits = least + (share * (most - least) as f64).round() as u64;
        let tolerance = 4.0 * TOLERANCE * scale(&problem.tables);
        let best = (least..=problem.total_bits.min(most))
            .filter_map(|total_bits| {
                let exactly = Problem { tables: problem.tables.clone(), total_bits };
                allocate(&exactly, Method::Dp).ok()
            })
            .map(|allocation| allocation.utility)
            .fold(f64::NEG_INFINITY, f64::max);
        for method in [Method::Exact, Method::Dp] {
            let found = allocate_within(&problem, method).unwrap();
            prop_assert!(found.bits.iter().map(|&z| u64::from(z)).sum::<u64>() <= problem.total_bits);
            let worth = |(table, &z): (&UtilityTable, &u8)| table.utility(z).unwrap();
            let value: f64 = problem.tables.iter().zip(&found.bits).map(worth).sum();
            prop_assert_eq!(value.to_bits(), found.utility.to_bits());
            prop_assert!((found.utility - best).abs() <= tolerance);
        }
    }

    /// Every method spends exactly the budget on widths that the tables have, reports the value of
    /// what it returns and an upper bound, is no better than the optimum, and fails only where all do.
    #[test]
    fn every_method_is_sound(tables in any_tables(1..8), share in 0.0f64..=1.0) {
        let mut problem = Problem { tables, total_bits: 0 };
        let range = problem.range();
        let room = range.end() - range.start();
        problem.total_bits = range.start() + (share * room as f64).round() as u64;
        let tolerance = 4.0 * TOLERANCE * scale(&problem.tables);
        let best = allocate(&problem, Method::Dp);
        for method in Method::ALL.into_iter().filter(|m| *m != Method::BruteForce) {
            let (found, best) = match (allocate(&problem, method), &best) {
                (Ok(found), Ok(best)) => (found, best),
                (Err(error), Err(expected)) => {
                    prop_assert_eq!(&error, expected);
                    continue;
                }
                (found, best) => panic!("{method}: {found:?} against {best:?}"),
            };
            prop_assert_eq!(found.bits.len(), problem.tables.len());
            prop_assert_eq!(
                found.bits.iter().map(|&z| u64::from(z)).sum::<u64>(),
                problem.total_bits
            );
            let worth = |(table, &z): (&UtilityTable, &u8)| table.utility(z).unwrap();
            let value: f64 = problem.tables.iter().zip(&found.bits).map(worth).sum();
            prop_assert_eq!(value.to_bits(), found.utility.to_bits());
            prop_assert!(found.utility <= best.utility + tolerance);
            prop_assert!(found.bound >= best.utility - tolerance);
            prop_assert!(found.bound >= found.utility);
            if found.bits == best.bits {
                prop_assert_eq!(found.utility.to_bits(), best.utility.to_bits());
            }
            if found.optimal {
                prop_assert!(found.utility >= best.utility - tolerance);
            }
            if matches!(method, Method::Exact | Method::Dp) {
                prop_assert!(found.optimal);
                prop_assert_eq!(found.bound, found.utility);
            }
            prop_assert_eq!(&allocate(&problem, method).unwrap(), &found);
        }
        let relaxed = relax(&problem).unwrap();
        let spent: f64 = relaxed.widths.iter().sum();
        prop_assert!((spent - problem.total_bits as f64).abs() < 1e-6);
        if let Ok(best) = best {
            prop_assert!(relaxed.utility >= best.utility - tolerance);
        }
    }

    /// The nearest totals that an error names are reachable and nothing between them is.
    #[test]
    fn unreachable_totals_name_their_neighbours(tables in any_tables(1..4)) {
        let mut problem = Problem { tables, total_bits: 0 };
        for total in problem.range() {
            problem.total_bits = total;
            if let Err(error) = allocate(&problem, Method::Exact) {
                let AllocationError::Unreachable { below, above, .. } = error else {
                    panic!("{error}");
                };
                prop_assert!(below < total && total < above);
                for other in below..=above {
                    problem.total_bits = other;
                    let reached = allocate(&problem, Method::Dp).is_ok();
                    prop_assert_eq!(reached, other == below || other == above);
                }
            }
        }
    }

    /// Another choice can only help, and so can another bit when utilities rise.
    #[test]
    fn idling_is_never_worse(
        p in proptest::collection::vec(0.001..0.999, 1..12), log_d in -3.0..5.0, share in 0.0f64..=1.0,
    ) {
        let d = 10f64.powf(log_d);
        let k = p.len() as u64;
        let total = 2 * k + (share * 14.0 * k as f64) as u64;
        let solve = |idle, total| {
            let problem = paper_problem(&p, d, 16, idle, total);
            allocate(&problem, Method::Exact).unwrap().utility
        };
        let (with, without) = (solve(true, total), solve(false, total));
        prop_assert!(with >= without * (1.0 - TOLERANCE));
        if total < 16 * k {
            prop_assert!(solve(false, total + 1) >= without * (1.0 - TOLERANCE));
        }
    }

    #[test]
    fn the_order_of_the_workers_does_not_change_the_optimum(
        tables in any_tables(2..8), share in 0.0f64..=1.0, turn in 1usize..7,
    ) {
        let mut problem = Problem { tables, total_bits: 0 };
        let range = problem.range();
        problem.total_bits =
            range.start() + (share * (range.end() - range.start()) as f64).round() as u64;
        let mut turned = problem.clone();
        let k = turned.tables.len();
        turned.tables.rotate_left(turn % k);
        for method in [Method::Exact, Method::Dp] {
            match (allocate(&problem, method), allocate(&turned, method)) {
                (Ok(a), Ok(b)) => prop_assert!(
                    (a.utility - b.utility).abs() <= 4.0 * TOLERANCE * scale(&problem.tables)
                ),
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }
    }
}

/// Ratio to the optimum over 400 random instances of the paper's form: k of 10 or 50, spare bits
/// from 10 to 500, p of three kinds, `eta l / 4` over six orders of magnitude.
#[test]
fn algorithm_1_is_within_one_percent_of_the_optimum() {
    let mut least_greedy = f64::INFINITY;
    let mut sum = 0.0;
    let instances = 400;
    for seed in 0..instances {
        let k = if seed % 2 == 0 { 10 } else { 50 };
        let draws = uniforms(seed, k + 2);
        let p: Vec<f64> = draws[2..]
            .iter()
            .map(|u| match seed % 3 {
                0 => (-0.1 * (0.1 + 1.9 * u)).exp(),
                1 => (-0.5 * (0.1 + 1.9 * u)).exp(),
                _ => 0.01 + 0.98 * u,
            })
            .collect();
        let spare = 10 + (draws[0] * 490.0) as u64;
        let d = 10f64.powf(6.0 * draws[1] - 1.0);
        let problem = paper_problem(&p, d, 60, false, 2 * k as u64 + spare);
        let best = allocate(&problem, Method::Dp).unwrap().utility;
        let exact = allocate(&problem, Method::Exact).unwrap();
        assert!((exact.utility - best).abs() <= TOLERANCE * best);
        let ratio = |method| allocate(&problem, method).unwrap().utility / best;
        let algorithm_1 = ratio(Method::Algorithm1);
        assert!(algorithm_1 >= 0.99, "instance {seed}: {algorithm_1}");
        sum += algorithm_1;
        least_greedy = least_greedy.min(ratio(Method::Greedy));
    }
    let mean = sum / instances as f64;
    assert!(mean >= 0.999, "mean {mean}");
    // Greedy is not a substitute.
    assert!(least_greedy < 0.9, "greedy {least_greedy}");
}
