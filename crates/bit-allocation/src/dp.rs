//! The dynamic program of Song & Choi 2026, eq 25, over any tables.
//!
//! `V[i, r] = max over a of V[i-1, r-a] + h_i(a)` with `V[0, 0] = 0` and `V[0, r > 0] = -inf`, where
//! `r` and `a` count bits above the smallest widths. Rows only hold the `r` from which the budget
//! can still be met.

use crate::UtilityTable;

/// Most states, each of which costs a byte.
pub(crate) const LIMIT: u128 = 1 << 30;

/// How many states the dynamic program has.
pub(crate) fn size(tables: &[&UtilityTable], total: u64) -> u128 {
    let least: u64 = tables.iter().map(|t| u64::from(t.min_width())).sum();
    tables.len() as u128 * (u128::from(total.saturating_sub(least)) + 1)
}

/// An optimal allocation; `None` when `total` cannot be reached. Memory [`size`] bytes.
pub(crate) fn allocate(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let least: u64 = tables.iter().map(|t| u64::from(t.min_width())).sum();
    let spare = usize::try_from(total.checked_sub(least)?).ok()?;
    // What the workers after the current one can still take.
    let mut room: usize = tables
        .iter()
        .map(|t| t.deviation(0, t.last()) as usize)
        .sum();

    let mut best = vec![f64::NEG_INFINITY; spare + 1];
    best[0] = 0.0;
    let mut next = best.clone();
    let mut taken = vec![0u8; tables.len() * (spare + 1)];
    for (table, taken) in tables.iter().zip(taken.chunks_exact_mut(spare + 1)) {
        room -= table.deviation(0, table.last()) as usize;
        next.fill(f64::NEG_INFINITY);
        let needed = spare.saturating_sub(room);
        for index in 0..=table.last() {
            let (bits, utility) = (
                table.deviation(0, index) as usize,
                table.values()[usize::from(index)],
            );
            let first = needed.max(bits);
            if first > spare {
                break;
            }
            let sources = &best[first - bits..=spare - bits];
            let targets = next[first..].iter_mut().zip(&mut taken[first..]);
            for ((target, taken), source) in targets.zip(sources) {
                let value = source + utility;
                if value > *target {
                    *target = value;
                    *taken = index;
                }
            }
        }
        std::mem::swap(&mut best, &mut next);
    }
    if best[spare] == f64::NEG_INFINITY {
        return None;
    }

    let mut choice = vec![0; tables.len()];
    let mut left = spare;
    let rows = tables.iter().zip(taken.chunks_exact(spare + 1));
    for ((table, taken), choice) in rows.zip(&mut choice).rev() {
        *choice = taken[left];
        left -= table.deviation(0, *choice) as usize;
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brute_force;
    use crate::problem::value;
    use crate::test_tables::{any_tables, refs};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn nothing_is_better_at_any_budget(tables in any_tables(1..5)) {
            let tables = refs(&tables);
            let least: u64 = tables.iter().map(|t| u64::from(t.min_width())).sum();
            let most: u64 = tables.iter().map(|t| u64::from(t.max_width())).sum();
            let mut totals = vec![least, (least + most) / 2, most];
            totals.extend(least + 1..(least + 8).min(most));
            for total in totals {
                let best = brute_force::allocate(&tables, total).map(|c| value(&tables, &c));
                let dp = allocate(&tables, total).map(|c| value(&tables, &c));
                prop_assert_eq!(dp.is_some(), best.is_some());
                if let (Some(dp), Some(best)) = (dp, best) {
                    // Both add utilities in the same order, but round at different prefixes.
                    prop_assert!((dp - best).abs() <= 1e-13 * (1.0 + best.abs()));
                }
            }
        }
    }

    #[test]
    fn totals_outside_the_range_are_not_reached() {
        let table = UtilityTable::new(vec![2, 3], vec![0.0, 1.0]).unwrap();
        let tables = [&table, &table];
        assert_eq!(allocate(&tables, 3), None);
        assert_eq!(allocate(&tables, 7), None);
        assert_eq!(allocate(&tables, 6), Some(vec![1, 1]));
        assert_eq!(size(&tables, 6), 6);
    }
}
