//! Upper concave hulls of the tables and the linear relaxation over them.
//!
//! Relaxed to convex combinations of widths, problem b-SP1 is solved by walking up the hulls in the
//! order of falling slope (the multiple-choice knapsack's relaxation; Sinha & Zoltners 1979). All
//! steps before the one that no longer fits are taken whole: that is the *break solution*, which
//! is optimal for its own total and leaves a *residual* smaller than the step.

use crate::UtilityTable;

/// From one vertex of a worker's hull to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Utility per bit. Strictly falling along one hull; negative on its far side.
    pub slope: f64,
    /// Position of the table.
    pub worker: usize,
    /// Index of the width where the step starts.
    pub from: u8,
    /// Index of the width where it ends.
    pub to: u8,
    /// Its length in bits.
    pub bits: u8,
}

/// The hull steps of all tables by falling slope; ties by position, along each hull in order.
pub(crate) fn steps(tables: &[&UtilityTable]) -> Vec<Step> {
    let mut all = Vec::with_capacity(tables.iter().map(|t| t.widths().len() - 1).sum());
    let mut hull: Vec<Step> = Vec::new();
    for (worker, table) in tables.iter().enumerate() {
        hull.clear();
        for to in 1..=table.last() {
            let mut step = step(table, worker, to - 1, to);
            // A vertex on or below the line from its predecessor to the new point is none.
            while let Some(before) = hull.last()
                && before.slope <= step.slope
            {
                step = self::step(table, worker, before.from, to);
                hull.pop();
            }
            hull.push(step);
        }
        all.append(&mut hull);
    }
    all.sort_unstable_by(|a, b| {
        (b.slope.total_cmp(&a.slope))
            .then(a.worker.cmp(&b.worker))
            .then(a.from.cmp(&b.from))
    });
    all
}

fn step(table: &UtilityTable, worker: usize, from: u8, to: u8) -> Step {
    // Widths strictly increase, so the length is in 1..=255.
    let bits = table.deviation(from, to) as u8;
    Step {
        slope: table.gain(from, to) / f64::from(bits),
        worker,
        from,
        to,
        bits,
    }
}

/// The break solution for a budget.
#[derive(Clone, Debug)]
pub(crate) struct BreakSolution {
    /// Index of the width of every worker: a vertex of its hull.
    pub choice: Vec<u8>,
    /// Bits of the budget left over; less than the length of the step they are missing for.
    pub residual: u64,
    /// Slope of that step: the price of a bit. 0 when nothing is left over.
    pub price: f64,
    /// The worker of that step.
    pub worker: usize,
}

impl BreakSolution {
    /// The break solution of the first `workers` tables, whose `steps` these are among; `spare` is
    /// the budget above the sum of their smallest widths, at most what their largest ones take.
    pub fn new(workers: usize, steps: &[Step], spare: u64) -> Self {
        let mut choice = vec![0; workers];
        let mut residual = spare;
        for step in steps.iter().filter(|step| step.worker < workers) {
            if residual == 0 {
                break;
            }
            if u64::from(step.bits) > residual {
                return Self {
                    choice,
                    residual,
                    price: step.slope,
                    worker: step.worker,
                };
            }
            choice[step.worker] = step.to;
            residual -= u64::from(step.bits);
        }
        Self {
            choice,
            residual,
            price: 0.0,
            worker: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::value;
    use crate::test_tables::{any_tables, refs};
    use proptest::prelude::*;

    #[test]
    fn the_hull_of_an_s_shaped_table_skips_its_convex_part() {
        let table =
            UtilityTable::new(vec![0, 2, 3, 4, 5, 6], vec![0.0, 0.1, 0.4, 2.0, 3.0, 3.0]).unwrap();
        let hull: Vec<_> = steps(&[&table])
            .iter()
            .map(|s| (s.from, s.to, s.bits, s.slope))
            .collect();
        // 4 bits are worth 0.5 a bit, 5 bits 0.6: the vertex at 4 is skipped too.
        assert_eq!(hull, [(0, 4, 5, 0.6), (4, 5, 1, 0.0)]);
    }

    #[test]
    fn a_single_width_has_no_steps() {
        assert!(steps(&[&UtilityTable::idle()]).is_empty());
    }

    proptest! {
        /// Vertices from the smallest to the largest width, slopes strictly falling, and no point
        /// of the table above its hull.
        #[test]
        fn hulls_are_concave_and_cover_their_tables(tables in any_tables(1..4)) {
            for table in &tables {
                let hull = steps(&[table]);
                for pair in hull.windows(2) {
                    prop_assert_eq!(pair[0].to, pair[1].from);
                    prop_assert!(pair[0].slope > pair[1].slope);
                }
                prop_assert_eq!(hull.first().map_or(0, |s| s.from), 0);
                prop_assert_eq!(hull.last().map_or(0, |s| s.to), table.last());
                for step in &hull {
                    for index in step.from..=step.to {
                        let line = step.slope * f64::from(table.deviation(step.from, index));
                        let height = table.gain(step.from, index);
                        prop_assert!(height <= line + 1e-12 * (1.0 + line.abs() + height.abs()));
                    }
                }
            }
        }

        /// At the price of the break step nobody would rather have another width.
        #[test]
        fn the_break_solution_is_optimal_at_its_price(
            tables in any_tables(1..6), share in 0.0..=1.0,
        ) {
            let tables = refs(&tables);
            let room: u64 = tables.iter().map(|t| t.deviation(0, t.last()) as u64).sum();
            let spare = (share * room as f64) as u64;
            let solution = BreakSolution::new(tables.len(), &steps(&tables), spare);
            let spent: i32 = tables
                .iter()
                .zip(&solution.choice)
                .map(|(t, &c)| t.deviation(0, c))
                .sum();
            prop_assert_eq!(spent as u64 + solution.residual, spare);
            prop_assert!(value(&tables, &solution.choice).is_finite());
            if solution.residual > 0 {
                for (table, &choice) in tables.iter().zip(&solution.choice) {
                    for other in 0..=table.last() {
                        let bought = solution.price * f64::from(table.deviation(choice, other));
                        let gain = table.gain(choice, other);
                        prop_assert!(gain <= bought + 1e-12 * (1.0 + gain.abs() + bought.abs()));
                    }
                }
            }
        }
    }
}
