//! Spending bits step by step, and the nearest allocation where steps do not fit.

use crate::{UtilityTable, exact, hull};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The greedy allocation from the smallest widths up. `None` when `total` cannot be reached.
pub(crate) fn allocate(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let least: u64 = tables.iter().map(|t| u64::from(t.min_width())).sum();
    complete(tables, vec![0; tables.len()], total.checked_sub(least)?)
}

/// The continuous relaxation rounded: the break solution, completed greedily. `None` when `total`
/// cannot be reached.
pub(crate) fn continuous(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let least: u64 = tables.iter().map(|t| u64::from(t.min_width())).sum();
    let spare = total.checked_sub(least)?;
    let solution = hull::BreakSolution::new(tables.len(), &hull::steps(tables), spare);
    complete(tables, solution.choice, solution.residual)
}

/// Spends `residual` more bits than `choice` does: greedily, and should bits be left that no step
/// can take, on the nearest allocation that spends them all. `None` when there is none.
pub(crate) fn complete(
    tables: &[&UtilityTable],
    mut choice: Vec<u8>,
    residual: u64,
) -> Option<Vec<u8>> {
    let left = fill(tables, &mut choice, residual);
    if left == 0 {
        Some(choice)
    } else {
        nearest(tables, &choice, left)
    }
}

/// A worker's step to its next width.
struct Candidate {
    gain_per_bit: f64,
    bits: u64,
    worker: usize,
}

impl Candidate {
    fn new(tables: &[&UtilityTable], choice: &[u8], worker: usize) -> Option<Self> {
        let (table, at) = (tables[worker], choice[worker]);
        (at < table.last()).then(|| {
            let bits = table.deviation(at, at + 1) as u64;
            Self {
                gain_per_bit: table.gain(at, at + 1) / bits as f64,
                bits,
                worker,
            }
        })
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.gain_per_bit.total_cmp(&other.gain_per_bit)).then(other.worker.cmp(&self.worker))
    }
}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Candidate {}

/// Takes the step with the largest gain per bit among those that fit until none does; returns the
/// bits left. A gain may be negative: bits must be spent.
fn fill(tables: &[&UtilityTable], choice: &mut [u8], mut left: u64) -> u64 {
    if left == 0 {
        return 0;
    }
    let mut candidates: BinaryHeap<Candidate> = (0..tables.len())
        .filter_map(|worker| Candidate::new(tables, choice, worker))
        .collect();
    while left > 0 {
        let Some(best) = candidates.pop() else { break };
        // What is left only shrinks: a step that does not fit now never will.
        if best.bits <= left {
            left -= best.bits;
            choice[best.worker] += 1;
            candidates.extend(Candidate::new(tables, choice, best.worker));
        }
    }
    left
}

/// The allocation with `left` more bits than `choice` that is nearest to it in the sum of squared
/// differences of widths. `None` when there is none.
fn nearest(tables: &[&UtilityTable], choice: &[u8], left: u64) -> Option<Vec<u8>> {
    let distances: Vec<UtilityTable> = tables
        .iter()
        .zip(choice)
        .map(|(table, &at)| {
            let distance = |to| -f64::from(table.deviation(at, to).pow(2));
            table.with_values((0..=table.last()).map(distance).collect())
        })
        .collect();
    let total = tables
        .iter()
        .zip(choice)
        .map(|(table, &at)| u64::from(table.widths()[usize::from(at)]))
        .sum::<u64>()
        + left;
    exact::choose(&distances.iter().collect::<Vec<_>>(), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(widths: &[u8], values: &[f64]) -> UtilityTable {
        UtilityTable::new(widths.to_vec(), values.to_vec()).unwrap()
    }

    #[test]
    fn greedy_follows_the_largest_gain_per_bit() {
        let a = table(&[2, 3, 4], &[0.0, 1.0, 1.5]);
        let b = table(&[2, 4], &[0.0, 1.8]);
        assert_eq!(allocate(&[&a, &b], 5), Some(vec![1, 0]));
        assert_eq!(allocate(&[&a, &b], 7), Some(vec![1, 1]));
        assert_eq!(allocate(&[&a, &b], 8), Some(vec![2, 1]));
    }

    #[test]
    fn greedy_is_blind_to_gains_behind_a_flat_start() {
        let late = table(&[2, 3, 4, 5], &[0.0, 0.0, 0.0, 9.0]);
        let early = table(&[2, 3, 4, 5], &[0.0, 0.1, 0.2, 0.3]);
        assert_eq!(allocate(&[&late, &early], 7), Some(vec![0, 3]));
        // The concave relaxation sees them.
        assert_eq!(continuous(&[&late, &early], 7), Some(vec![3, 0]));
    }

    #[test]
    fn bits_that_no_step_takes_go_to_the_nearest_allocation() {
        // One bit is left when the first worker has its two: the second cannot take a single one.
        let a = table(&[0, 2], &[0.0, 1.0]);
        let b = table(&[0, 3], &[0.0, 0.1]);
        assert_eq!(allocate(&[&a, &b], 3), Some(vec![0, 1]));
        assert_eq!(allocate(&[&a, &b], 4), None);
    }

    #[test]
    fn falling_utilities_are_paid_when_the_budget_demands_it() {
        let a = table(&[2, 3], &[1.0, 0.5]);
        let b = table(&[2, 3], &[1.0, 0.8]);
        assert_eq!(allocate(&[&a, &b], 5), Some(vec![0, 1]));
        assert_eq!(allocate(&[&a, &b], 6), Some(vec![1, 1]));
    }
}
