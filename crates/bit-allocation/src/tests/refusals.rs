//! Problems without a solution, and methods that would take too long.

use super::{paper_problem, uniforms};
use crate::{AllocationError, Method, Problem, UtilityTable, allocate, relax};

#[test]
fn budgets_out_of_range_state_the_range() {
    let p = [0.2, 0.5, 0.9];
    for (idle, total, range) in [
        (false, 5, "6..=48"),
        (false, 49, "6..=48"),
        (true, 49, "0..=48"),
        (false, 0, "6..=48"),
    ] {
        let problem = paper_problem(&p, 10.0, 16, idle, total);
        for method in Method::ALL {
            let message = allocate(&problem, method).unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "allocate a total of {total} bits to 3 workers: their widths allow {range}"
                )
            );
        }
        assert!(relax(&problem).is_err());
    }
}

#[test]
fn the_ends_of_the_range_are_allowed() {
    let p = [0.2, 0.5, 0.9];
    for (idle, total, bits) in [(false, 6, 2), (false, 48, 16), (true, 0, 0), (true, 48, 16)] {
        let problem = paper_problem(&p, 10.0, 16, idle, total);
        for method in Method::ALL {
            let found = allocate(&problem, method).unwrap();
            assert_eq!(found.bits, [bits; 3], "{method}");
            assert!(found.optimal);
        }
    }
}

#[test]
fn totals_in_a_gap_name_the_nearest_that_are_reachable() {
    // With idling a single bit cannot be spent.
    let mut problem = paper_problem(&[0.2, 0.5, 0.9], 10.0, 16, true, 1);
    for method in Method::ALL {
        assert_eq!(
            allocate(&problem, method),
            Err(AllocationError::Unreachable {
                total_bits: 1,
                below: 0,
                above: 2
            }),
            "{method}"
        );
    }
    assert_eq!(relax(&problem).unwrap().widths.iter().sum::<f64>(), 1.0);
    let powers = UtilityTable::new(vec![2, 4, 8, 16], vec![0.0, 1.0, 2.0, 3.0]).unwrap();
    problem.tables = vec![powers; 1000];
    problem.total_bits = 15_995;
    let message = allocate(&problem, Method::Exact).unwrap_err().to_string();
    assert!(message.contains("nearest are 15992 and 16000"), "{message}");
}

#[test]
fn the_dead_get_nothing_and_count_as_nothing() {
    let p = [0.2, 1.0, 0.9, 1.0];
    for method in Method::ALL {
        let found = allocate(&paper_problem(&p, 10.0, 16, false, 12), method).unwrap();
        assert_eq!((found.bits[1], found.bits[3]), (0, 0), "{method}");
        let alive = allocate(&paper_problem(&[0.2, 0.9], 10.0, 16, false, 12), method).unwrap();
        assert_eq!(found.utility, alive.utility, "{method}");
    }
    let nobody = paper_problem(&[1.0, 1.0], 10.0, 16, false, 4);
    let message = allocate(&nobody, Method::Exact).unwrap_err().to_string();
    assert!(message.contains("their widths allow 0..=0"), "{message}");
}

#[test]
fn nobody_and_too_much_are_refused() {
    let nobody = Problem {
        tables: vec![],
        total_bits: 0,
    };
    assert_eq!(
        allocate(&nobody, Method::Exact),
        Err(AllocationError::NoWorkers)
    );
    let huge = UtilityTable::new(vec![2, 3], vec![-1e308, 1e308]).unwrap();
    let overflowing = Problem {
        tables: vec![huge; 2],
        total_bits: 5,
    };
    assert_eq!(
        allocate(&overflowing, Method::Exact),
        Err(AllocationError::Overflow { workers: 2 })
    );
}

#[test]
fn methods_that_enumerate_refuse_what_they_cannot_hold() {
    let p: Vec<f64> = uniforms(1, 20_000).iter().map(|u| 0.1 + 0.8 * u).collect();
    let problem = paper_problem(&p, 10.0, 16, false, 180_000);
    for method in [Method::Dp, Method::BruteForce] {
        let error = allocate(&problem, method).unwrap_err();
        assert!(matches!(error, AllocationError::TooLarge { .. }));
        let message = error.to_string();
        assert!(message.contains(method.name()) && message.ends_with("use method exact"));
    }
}
