//! Bits spread as equally as the widths allow, regardless of utility.

use crate::exact;
use crate::problem::{UtilityTable, reliability_order};
use std::collections::BTreeMap;

/// The equal allocation of workers in any order. `None` when `total` cannot be reached.
pub(crate) fn allocate(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let order = reliability_order(tables);
    let sorted: Vec<&UtilityTable> = order.iter().map(|&worker| tables[worker]).collect();
    let spread = spread(&sorted, total)?;
    let mut choice = vec![0; tables.len()];
    for (&worker, index) in order.iter().zip(spread) {
        choice[worker] = index;
    }
    Some(choice)
}

/// The equal allocation of workers given from the most to the least reliable: the least sum of
/// squared widths, larger widths first among workers with the same choice of widths.
pub(crate) fn spread(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    regular(tables, total).or_else(|| least_squares(tables, total))
}

/// `total div k` each and one more for the first `total mod k`, where the tables have those widths:
/// nothing is more equal, whatever other widths they have.
fn regular(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let workers = tables.len() as u64;
    let (base, extra) = (total.checked_div(workers)?, total % workers);
    (0..)
        .zip(tables)
        .map(|(i, table)| {
            let width = u8::try_from(base + u64::from(i < extra)).ok()?;
            let index = table.widths().binary_search(&width).ok()?;
            Some(index as u8)
        })
        .collect()
}

/// The same for any widths, as an allocation problem of its own: utility `-z^2`, in integers.
fn least_squares(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let squares: Vec<UtilityTable> = tables
        .iter()
        .map(|table| {
            let square = |&width: &u8| -(f64::from(width).powi(2));
            table.with_values(table.widths().iter().map(square).collect())
        })
        .collect();
    let mut choice = exact::choose(&squares.iter().collect::<Vec<_>>(), total)?;
    let mut groups: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (worker, table) in tables.iter().enumerate() {
        groups.entry(table.widths()).or_default().push(worker);
    }
    for group in groups.into_values() {
        let mut largest_first: Vec<u8> = group.iter().map(|&worker| choice[worker]).collect();
        largest_first.sort_unstable_by(|a, b| b.cmp(a));
        for (worker, index) in group.into_iter().zip(largest_first) {
            choice[worker] = index;
        }
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(widths: impl IntoIterator<Item = u8>, worth: f64) -> UtilityTable {
        let widths: Vec<u8> = widths.into_iter().collect();
        let values = widths.iter().map(|&z| worth * f64::from(z)).collect();
        UtilityTable::new(widths, values).unwrap()
    }

    fn widths(tables: &[UtilityTable], total: u64) -> Option<Vec<u8>> {
        let tables: Vec<&UtilityTable> = tables.iter().collect();
        let choice = allocate(&tables, total)?;
        let width = |(t, c): (&&UtilityTable, u8)| t.widths()[usize::from(c)];
        Some(tables.iter().zip(choice).map(width).collect())
    }

    #[test]
    fn the_remainder_goes_to_the_most_reliable() {
        let tables = [1.0, 4.0, 2.0, 3.0].map(|worth| table(2..=16, worth));
        assert_eq!(widths(&tables, 8), Some(vec![2, 2, 2, 2]));
        assert_eq!(widths(&tables, 22), Some(vec![5, 6, 5, 6]));
        assert_eq!(widths(&tables, 64), Some(vec![16; 4]));
    }

    #[test]
    fn workers_idle_only_where_the_budget_is_too_small_for_all() {
        let tables = [1.0, 4.0, 2.0, 3.0].map(|worth| table([0, 2, 3, 4], worth));
        assert_eq!(widths(&tables, 4), Some(vec![0, 2, 0, 2]));
        assert_eq!(widths(&tables, 5), Some(vec![0, 3, 0, 2]));
        assert_eq!(widths(&tables, 8), Some(vec![2; 4]));
        assert_eq!(widths(&tables, 1), None);
    }

    #[test]
    fn the_dead_get_nothing_and_the_others_stay_equal() {
        let mut tables = [1.0, 4.0, 2.0, 3.0].map(|worth| table(2..=16, worth));
        tables[1] = UtilityTable::idle();
        assert_eq!(widths(&tables, 16), Some(vec![5, 0, 5, 6]));
    }

    proptest! {
        #[test]
        fn the_least_squares_of_regular_widths_are_the_regular_spread(
            k in 1usize..12, share in 0.0..=1.0,
        ) {
            let tables: Vec<_> = (0..k).map(|i| table(2..=9, 1.0 / (1.0 + i as f64))).collect();
            let tables: Vec<_> = tables.iter().collect();
            let total = 2 * k as u64 + (share * 7.0 * k as f64) as u64;
            prop_assert!(regular(&tables, total).is_some());
            prop_assert_eq!(regular(&tables, total), least_squares(&tables, total));
        }
    }
}
