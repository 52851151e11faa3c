//! Algorithm 1 of Song & Choi 2026, in a deterministic variant for any tables.
//!
//! For `kappa = 1, 2, ...` the `kappa` most reliable workers are active and share the whole budget;
//! the others stay at their smallest width. Two allocations of the active ones are tried, the better
//! one is improved by swaps, and the best over all `kappa` is returned:
//!
//! * *Lagrangian*: the paper maximises `h_i(x) - lambda x` over real `x` for each worker, searches
//!   `lambda` by bisection, rescales, and rounds down. Since `h_i` is S-shaped that inner problem has
//!   several local maxima; here it is solved over the integer widths, where the search for `lambda`
//!   ends at a vertex of the upper hulls and the allocation is [`BreakSolution`], at or below the
//!   budget. What is left goes bit by bit to the largest marginal gain, as in the paper.
//! * *Equal*: the same width for all, the remainder to the most reliable.
//! * *Swaps*: the best pair of one step down and one step up of the same number of bits, as long as
//!   it gains more than 1e-12 of the utilities at hand.

use crate::hull::{self, BreakSolution};
use crate::problem::{UtilityTable, reliability_order, value};
use crate::{equal, greedy};

/// The allocation of workers in any order; `None` when `total` cannot be reached.
pub(crate) fn allocate(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let order = reliability_order(tables);
    let sorted: Vec<&UtilityTable> = order.iter().map(|&worker| tables[worker]).collect();
    let steps = hull::steps(&sorted);
    let least: u64 = sorted.iter().map(|t| u64::from(t.min_width())).sum();
    let spare = total.checked_sub(least)?;

    let mut best: Option<(f64, Vec<u8>)> = None;
    let (mut least_active, mut room) = (0, 0);
    for kappa in 1..=sorted.len() {
        // More active workers than spare bits could not all be given one.
        if best.is_some() && kappa as u64 > spare {
            break;
        }
        let (active, others) = sorted.split_at(kappa);
        let newcomer = active[kappa - 1];
        least_active += u64::from(newcomer.min_width());
        room += newcomer.deviation(0, newcomer.last()) as u64;
        if spare > room {
            continue;
        }
        let lagrangian = BreakSolution::new(kappa, &steps, spare);
        let lagrangian = greedy::complete(active, lagrangian.choice, lagrangian.residual);
        let equal = equal::spread(active, least_active + spare);
        let Some(mut choice) = better(active, equal, lagrangian) else {
            continue;
        };
        swap(active, &mut choice);
        let total_value = value(active, &choice) + value(others, &vec![0; others.len()]);
        if best.as_ref().is_none_or(|(most, _)| total_value > *most) {
            best = Some((total_value, choice));
        }
    }

    let (_, active) = best?;
    let mut choice = vec![0; tables.len()];
    for (&worker, index) in order.iter().zip(active) {
        choice[worker] = index;
    }
    Some(choice)
}

/// The one worth more, the first on a tie.
fn better(
    tables: &[&UtilityTable],
    first: Option<Vec<u8>>,
    second: Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    match (first, second) {
        (Some(first), Some(second)) if value(tables, &second) > value(tables, &first) => {
            Some(second)
        }
        (first, second) => first.or(second),
    }
}

/// The two largest gains so far, of different workers.
#[derive(Clone, Copy, Default)]
struct TopTwo([Option<(f64, usize)>; 2]);

impl TopTwo {
    fn offer(&mut self, gain: f64, worker: usize) {
        let [first, second] = &mut self.0;
        if first.is_none_or(|(most, _)| gain > most) {
            *second = *first;
            *first = Some((gain, worker));
        } else if second.is_none_or(|(most, _)| gain > most) {
            *second = Some((gain, worker));
        }
    }
}

/// Takes the best swap of equally long steps between two workers while one gains.
fn swap(tables: &[&UtilityTable], choice: &mut [u8]) {
    loop {
        let mut up = [TopTwo::default(); 256];
        let mut down = [TopTwo::default(); 256];
        let mut scale = 0.0;
        for (worker, (table, &at)) in tables.iter().zip(&*choice).enumerate() {
            scale += table.values()[usize::from(at)].abs();
            if at < table.last() {
                let bits = table.deviation(at, at + 1) as usize;
                up[bits].offer(table.gain(at, at + 1), worker);
            }
            if at > 0 {
                let bits = table.deviation(at - 1, at) as usize;
                down[bits].offer(table.gain(at, at - 1), worker);
            }
        }
        let best = up
            .iter()
            .zip(&down)
            .flat_map(|(up, down)| {
                let pairs = up.0.iter().flatten().flat_map(|&(gain, receiver)| {
                    (down.0.iter().flatten())
                        .map(move |&(loss, donor)| (gain + loss, receiver, donor))
                });
                pairs.filter(|(_, receiver, donor)| receiver != donor)
            })
            .reduce(|a, b| if b.0 > a.0 { b } else { a });
        match best {
            Some((gain, receiver, donor)) if gain > 1e-12 * scale => {
                choice[receiver] += 1;
                choice[donor] -= 1;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_stop_at_a_local_optimum() {
        let table = |values: &[f64]| UtilityTable::new(vec![2, 3, 4], values.to_vec()).unwrap();
        let tables = [table(&[0.0, 1.0, 1.1]), table(&[0.0, 0.9, 1.7])];
        let tables = tables.each_ref();
        let mut choice = vec![2, 0];
        swap(&tables, &mut choice);
        assert_eq!(choice, [1, 1]);
        let mut choice = vec![0, 1];
        swap(&tables, &mut choice);
        assert_eq!(choice, [1, 0]);
    }

    #[test]
    fn a_worker_is_not_swapped_with_itself() {
        let table = UtilityTable::new(vec![2, 3, 4], vec![1.0, 0.0, 1.0]).unwrap();
        let mut choice = vec![1];
        swap(&[&table], &mut choice);
        assert_eq!(choice, [1]);
    }

    #[test]
    fn only_steps_of_the_same_length_are_swapped() {
        let one = UtilityTable::new(vec![2, 3], vec![0.0, 5.0]).unwrap();
        let two = UtilityTable::new(vec![2, 4], vec![0.0, 1.0]).unwrap();
        let mut choice = vec![0, 1];
        swap(&[&one, &two], &mut choice);
        assert_eq!(choice, [0, 1]);
    }

    #[test]
    fn unreliable_workers_stay_at_their_smallest_width() {
        let s_shape = |worth: f64| {
            let values = [0.0, 0.0, 1.0, 1.1].map(|v| v * worth).to_vec();
            UtilityTable::new(vec![2, 3, 4, 5], values).unwrap()
        };
        let tables = [0.1, 1.0, 0.2].map(s_shape);
        assert_eq!(allocate(&tables.each_ref(), 8), Some(vec![0, 2, 0]));
        assert_eq!(allocate(&tables.each_ref(), 10), Some(vec![0, 2, 2]));
        assert_eq!(allocate(&tables.each_ref(), 5), None);
        assert_eq!(allocate(&tables.each_ref(), 16), None);
    }
}
