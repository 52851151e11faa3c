//! Bit allocation: exact for 10^2..10^4 workers, beside the paper's algorithm and the dynamic
//! program at 50.

use bit_allocation::{Method, Problem, UtilityTable, allocate, relax, utility};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// Heterogeneous workers as in Song & Choi 2026: `p = exp(-0.1 psi)`, psi spread over (0.1, 2) by
/// the golden ratio, 5 spare bits a worker, baseline scaling.
fn heterogeneous(workers: usize, allow_idle: bool) -> Problem {
    let psi = |i: usize| 0.1 + 1.9 * (i as f64 * 0.618_033_988_749_895).fract();
    let p: Vec<f64> = (0..workers).map(|i| (-0.1 * psi(i)).exp()).collect();
    let eta = utility::balanced_scaling(&p, 7.0, 5e6);
    let phi = |z: u8| eta * utility::qsgd_phi(z, 5e6);
    Problem {
        tables: utility::tables(&p, &phi, 2..=16, allow_idle).expect("valid p and phi"),
        total_bits: 7 * workers as u64,
    }
}

/// One jump a worker, of lengths without a common divisor and nearly equal worth per bit: the
/// relaxation leaves the largest gap.
fn jumps(workers: usize) -> Problem {
    let table = |i: usize| {
        let jump = [6u8, 9, 13, 15][i % 4];
        let worth = f64::from(jump) * (1.0 + 0.3 * (i as f64 * 0.618_033_988_749_895).fract());
        let values = (2..=16).map(|z| if z >= jump { worth } else { 0.0 });
        UtilityTable::new((2..=16).collect(), values.collect()).expect("valid table")
    };
    Problem {
        tables: (0..workers).map(table).collect(),
        total_bits: 7 * workers as u64 + 1,
    }
}

/// Every worker the same.
fn equal(workers: usize) -> Problem {
    let phi = |z: u8| utility::qsgd_phi(z, 4.0 * 3580.0);
    Problem {
        tables: utility::tables(&vec![0.9; workers], &phi, 2..=16, true).expect("valid p and phi"),
        total_bits: 7 * workers as u64 + 1,
    }
}

fn exact(c: &mut Criterion) {
    let mut group = c.benchmark_group("allocate/exact");
    for workers in [100, 1_000, 10_000] {
        for (name, problem) in [
            ("heterogeneous", heterogeneous(workers, false)),
            ("idle", heterogeneous(workers, true)),
            ("equal", equal(workers)),
            ("jumps", jumps(workers)),
        ] {
            let solved = allocate(&problem, Method::Exact).expect("a reachable budget");
            assert!(solved.optimal, "{name} {workers}");
            group.bench_with_input(BenchmarkId::new(name, workers), &problem, |b, problem| {
                b.iter(|| allocate(black_box(problem), Method::Exact));
            });
        }
        // The floor of any method that sorts hulls.
        let problem = heterogeneous(workers, false);
        group.bench_with_input(
            BenchmarkId::new("relax", workers),
            &problem,
            |b, problem| {
                b.iter(|| relax(black_box(problem)));
            },
        );
    }
    group.finish();
}

fn fifty(c: &mut Criterion) {
    let mut group = c.benchmark_group("allocate/50");
    let problem = heterogeneous(50, false);
    for method in [
        Method::Exact,
        Method::Dp,
        Method::Algorithm1,
        Method::Greedy,
    ] {
        group.bench_with_input(
            BenchmarkId::from_parameter(method),
            &problem,
            |b, problem| {
                b.iter(|| allocate(black_box(problem), method));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, exact, fifty);
criterion_main!(benches);
