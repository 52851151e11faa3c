//! Which workers hold which partition, for codes whose coefficients do not depend on it.
//!
//! The lists here say for each partition `j` which workers hold it, `W_j`, ascending; its size is `d_j`.
//! Stochastic gradient coding asks that the assignment be *pairwise balanced*,
//! `|W_i intersect W_j| = d_i d_j / k` for all `i != j` (Bitar, Wootters and El Rouayheb; eq 3 of Li,
//! Skoglund & Xiao 2026, arXiv 2603.16353, asks the same of subsets and devices).
//!
//! *How rare that is.* For equal `d_j = d` the 0/1 vectors of the `W_j`, less their mean `d / k`, are
//! then orthogonal to each other and to the all-ones vector, so **at most `k - 1` partitions can be
//! pairwise balanced unless `d = k`**: never `n = k`, as the comparisons in the papers have it. And
//! `d^2 / k` must be whole. [`pairwise_balanced`] constructs what [`balanced_parameters`] lists;
//! [`random`] is balanced in the mean.

use rand::Rng;

use crate::balanced;
pub use crate::balanced::{BalancedParameters, balanced_parameters};
use crate::draw;

/// `d_j` of each partition, with mean `load` as exactly as `n` whole numbers can have it: the sum is
/// `n load` to the nearest integer, and each is `load` rounded up or down, spread evenly.
pub fn sizes(partitions: usize, load: f64) -> Vec<usize> {
    let total = (partitions as f64 * load).round() as u128;
    let before = |j: usize| j as u128 * total / partitions as u128;
    (0..partitions)
        .map(|j| (before(j + 1) - before(j)) as usize)
        .collect()
}

/// Partition `j` at `sizes[j]` workers drawn uniformly without replacement from `alive`, independently
/// of other partitions; at all of them if there are fewer.
///
/// Each of `workers` workers has a place in the line for each partition, drawn from `seed`: when one dies,
/// only what it held moves.
pub fn random(sizes: &[usize], alive: &[usize], workers: usize, seed: u64) -> Vec<Vec<usize>> {
    let holders = |(j, &size): (usize, &usize)| {
        let mut stream = draw::plan_time(seed, j as u64);
        let places: Vec<u64> = (0..workers).map(|_| stream.next_u64()).collect();
        let mut line = alive.to_vec();
        line.sort_by_key(|&worker| (places[worker], worker));
        line.truncate(size);
        line.sort_unstable();
        line
    };
    sizes.iter().enumerate().map(holders).collect()
}

/// Partition `j` at `sizes[j]` consecutive workers of `alive`, from place `floor(j k / n)` on, around the
/// end; at all of them if there are fewer.
pub fn cyclic(sizes: &[usize], alive: &[usize]) -> Vec<Vec<usize>> {
    let (n, k) = (sizes.len(), alive.len());
    let holders = |(j, &size): (usize, &usize)| {
        let mut line: Vec<usize> = (0..size.min(k))
            .map(|step| alive[(j * k / n + step) % k])
            .collect();
        line.sort_unstable();
        line
    };
    sizes.iter().enumerate().map(holders).collect()
}

/// `partitions` partitions at `load` workers each, of those in `alive`, such that every two share exactly
/// `load^2 / k`; `None` if no construction here has these parameters.
pub fn pairwise_balanced(
    partitions: usize,
    load: usize,
    alive: &[usize],
) -> Option<Vec<Vec<usize>>> {
    let mut holders = balanced::construct(partitions, load, alive.len())?;
    for place in holders.iter_mut().flatten() {
        *place = alive[*place];
    }
    Some(holders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_the_exact_mean() {
        assert_eq!(sizes(4, 2.0), [2; 4]);
        assert_eq!(sizes(4, 1.5), [1, 2, 1, 2]);
        assert_eq!(sizes(5, 2.25).iter().sum::<usize>(), 11);
        assert_eq!(sizes(40, 2.25).iter().sum::<usize>(), 90);
        assert!(sizes(40, 2.25).iter().all(|d| (2..=3).contains(d)));
    }

    #[test]
    fn cyclic_goes_around() {
        assert_eq!(
            cyclic(&[2; 4], &[0, 1, 2, 3]),
            [[0, 1], [1, 2], [2, 3], [0, 3]]
        );
        assert_eq!(cyclic(&[2; 3], &[5, 7]), [[5, 7], [5, 7], [5, 7]]);
        assert_eq!(cyclic(&[3], &[5, 7]), [[5, 7]]);
    }

    /// In the mean over draws `|W_0 intersect W_1| = d^2 / k`.
    #[test]
    fn random_is_balanced_in_the_mean() {
        let alive: Vec<usize> = (0..9).collect();
        let seeds = 4000;
        let common: usize = (0..seeds)
            .map(|seed| {
                let holders = random(&[3, 3], &alive, 9, seed);
                holders[0].iter().filter(|w| holders[1].contains(w)).count()
            })
            .sum();
        // Hypergeometric: mean 1, variance 3 * (1/3) (2/3) (6/8) = 0.5.
        let mean = common as f64 / seeds as f64;
        assert!(
            (mean - 1.0).abs() < 4.0 * (0.5 / seeds as f64).sqrt(),
            "{mean}"
        );
    }

    proptest! {
        #[test]
        fn a_death_moves_only_what_the_dead_held(
            workers in 2usize..20, dead in 0usize..20, load in 1usize..5, seed: u64,
        ) {
            let dead = dead % workers;
            let load = load.min(workers - 1);
            let everybody: Vec<usize> = (0..workers).collect();
            let alive: Vec<usize> = (0..workers).filter(|&w| w != dead).collect();
            let before = random(&[load; 30], &everybody, workers, seed);
            let after = random(&[load; 30], &alive, workers, seed);
            for (before, after) in before.iter().zip(&after) {
                prop_assert_eq!(after.len(), load);
                prop_assert!(after.is_sorted() && !after.contains(&dead));
                prop_assert!(before.iter().all(|w| *w == dead || after.contains(w)));
            }
        }

        #[test]
        fn pairwise_balance_is_exact_where_it_is_promised(workers in 1usize..70) {
            let alive: Vec<usize> = (0..workers).map(|w| 2 * w + 1).collect();
            for BalancedParameters { load, partitions: most } in balanced_parameters(workers) {
                let n = most.unwrap_or(workers + 3);
                let holders = pairwise_balanced(n, load, &alive).expect("it is listed");
                prop_assert_eq!(holders.len(), n);
                for (i, a) in holders.iter().enumerate() {
                    prop_assert_eq!(a.len(), load);
                    prop_assert!(a.windows(2).all(|w| w[0] < w[1]) && a.iter().all(|w| alive.contains(w)));
                    for b in &holders[..i] {
                        let common = a.iter().filter(|w| b.contains(w)).count();
                        prop_assert_eq!(common * workers, load * load);
                    }
                }
                if most.is_some() {
                    prop_assert!(most < Some(workers));
                    prop_assert_eq!(pairwise_balanced(n + 1, load, &alive), None);
                }
            }
        }
    }
}
