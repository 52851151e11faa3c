//! Ten thousand workers: always optimal, by proof.

use super::{paper_problem, uniforms};
use crate::{Method, Problem, TOLERANCE, UtilityTable, allocate, relax};

const WORKERS: usize = 10_000;

/// Solves `problem` at both ends of its range, next to them and in between.
fn solve_at_all_budgets(name: &str, mut problem: Problem) {
    let range = problem.range();
    let room = range.end() - range.start();
    let inner = [1, 7, room / 3 + 1, room / 2, room - 2];
    for spare in [0].into_iter().chain(inner).chain([room]) {
        problem.total_bits = range.start() + spare;
        // One bit above nothing is the one total that idling makes unreachable.
        if problem.total_bits == 1 {
            continue;
        }
        let found = allocate(&problem, Method::Exact).unwrap();
        assert!(
            found.optimal && found.bound == found.utility,
            "{name} {spare}"
        );
        let spent: u64 = found.bits.iter().map(|&z| u64::from(z)).sum();
        assert_eq!(spent, problem.total_bits, "{name} {spare}");

        // Independently of the search: the relaxation exceeds the optimum by less than the largest
        // gain of one worker, since utilities rise and the bits left over can only add to them.
        let relaxed = relax(&problem).unwrap();
        let gain = |t: &UtilityTable| t.values()[t.values().len() - 1] - t.values()[0];
        let largest = problem.tables.iter().map(gain).fold(0.0, f64::max);
        let slack = TOLERANCE * found.utility.abs();
        assert!(found.utility <= relaxed.utility + slack, "{name} {spare}");
        assert!(
            relaxed.utility <= found.utility + largest + slack,
            "{name} {spare}"
        );

        for method in [Method::Greedy, Method::Continuous, Method::Equal] {
            let other = allocate(&problem, method).unwrap();
            assert!(
                other.utility <= found.utility + slack,
                "{name} {spare} {method}"
            );
            assert!(
                other.bound >= found.utility - slack,
                "{name} {spare} {method}"
            );
        }
    }
}

fn heterogeneous(seed: u64) -> Vec<f64> {
    let psi = uniforms(seed, WORKERS).into_iter().map(|u| 0.1 + 1.9 * u);
    psi.map(|psi| (-0.1 * psi).exp()).collect()
}

#[test]
fn heterogeneous_workers() {
    for (seed, d, max, idle) in [
        (1, 8.0, 16, false),
        (2, 3580.0, 16, true),
        (4, 1e9, 32, true),
    ] {
        solve_at_all_budgets(
            "heterogeneous",
            paper_problem(&heterogeneous(seed), d, max, idle, 0),
        );
    }
}

#[test]
fn equal_workers() {
    for (p, d, idle) in [(0.9, 3580.0, false), (0.5, 20.0, true), (1e-9, 1e3, false)] {
        solve_at_all_budgets("equal", paper_problem(&vec![p; WORKERS], d, 16, idle, 0));
    }
}

#[test]
fn three_kinds_of_workers_in_turns() {
    let p: Vec<f64> = [0.3, 0.6, 0.95].into_iter().cycle().take(WORKERS).collect();
    solve_at_all_budgets("three kinds", paper_problem(&p, 500.0, 16, false, 0));
}

#[test]
fn p_and_phi_over_many_orders_of_magnitude() {
    let p: Vec<f64> = uniforms(5, WORKERS)
        .iter()
        .map(|u| 10f64.powf(-12.0 * u).min(0.999))
        .collect();
    solve_at_all_budgets("orders of magnitude", paper_problem(&p, 1e4, 16, false, 0));
}

/// Every worker jumps once, by lengths without a common divisor and nearly equal worth per bit: the
/// hull is one long step and the bits left over fit nobody.
#[test]
fn jumps() {
    let noise = uniforms(6, WORKERS);
    for spread in [0.0, 1e-9, 0.3] {
        let tables = noise.iter().enumerate().map(|(i, u)| {
            let jump = [6u8, 9, 13, 15][i % 4];
            let worth = f64::from(jump) * (1.0 + spread * u);
            let values = (2..=16).map(|z| if z >= jump { worth } else { 0.0 });
            UtilityTable::new((2..=16).collect(), values.collect()).unwrap()
        });
        let tables = tables.collect();
        solve_at_all_budgets(
            "jumps",
            Problem {
                tables,
                total_bits: 0,
            },
        );
    }
}

/// Straight lines of one slope, where all widths of all workers tie, and plateaus.
#[test]
fn ties_everywhere() {
    let line = |i: usize| (0..15).map(move |j| (i % 5) as f64 + f64::from(j));
    let plateau = |i: usize| (0..15).map(move |j| f64::from((j + (i % 3) as u32) / 4));
    let tables = |values: &dyn Fn(usize) -> Vec<f64>| {
        let table = |i| UtilityTable::new((2..=16).collect(), values(i)).unwrap();
        (0..WORKERS).map(table).collect()
    };
    for tables in [
        tables(&|i| line(i).collect()),
        tables(&|i| plateau(i).collect()),
    ] {
        solve_at_all_budgets(
            "ties",
            Problem {
                tables,
                total_bits: 0,
            },
        );
    }
}

/// Against the full dynamic program, where that is affordable.
#[test]
fn a_thousand_workers_agree_with_the_dynamic_program() {
    for (seed, d, idle) in [(7, 20.0, false), (8, 3580.0, true)] {
        let p = &heterogeneous(seed)[..1000];
        let problem = paper_problem(p, d, 16, idle, 2_501);
        let (exact, dp) = (
            allocate(&problem, Method::Exact).unwrap(),
            allocate(&problem, Method::Dp).unwrap(),
        );
        assert!((exact.utility - dp.utility).abs() <= TOLERANCE * dp.utility);
    }
}
