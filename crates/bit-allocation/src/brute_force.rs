//! Every combination of widths, for tests of everything else.

use crate::UtilityTable;
use crate::problem::value;

/// Most combinations.
pub(crate) const LIMIT: u128 = 100_000_000;

/// How many combinations of widths there are.
pub(crate) fn size(tables: &[&UtilityTable]) -> u128 {
    (tables.iter()).fold(1, |product: u128, t| {
        product.saturating_mul(t.widths().len() as u128)
    })
}

/// The best of all combinations with the total, the first in lexicographic order among equals;
/// `None` when there is none.
pub(crate) fn allocate(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    let mut choice = vec![0u8; tables.len()];
    let mut best: Option<(f64, Vec<u8>)> = None;
    loop {
        let spent =
            |(table, &index): (&&UtilityTable, &u8)| u64::from(table.widths()[usize::from(index)]);
        if tables.iter().zip(&choice).map(spent).sum::<u64>() == total {
            let value = value(tables, &choice);
            if best.as_ref().is_none_or(|(most, _)| value > *most) {
                best = Some((value, choice.clone()));
            }
        }
        // The next combination, like an odometer.
        let Some(worker) = (0..tables.len()).rfind(|&i| choice[i] < tables[i].last()) else {
            return best.map(|(_, choice)| choice);
        };
        choice[worker] += 1;
        choice[worker + 1..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_workers_by_hand() {
        let table = |values: &[f64]| UtilityTable::new(vec![2, 3, 4], values.to_vec()).unwrap();
        let tables = [
            table(&[0.0, 1.0, 1.5]),
            table(&[0.0, 0.2, 3.0]),
            table(&[1.0, 0.9, 0.8]),
        ];
        let tables = tables.each_ref();
        assert_eq!(size(&tables), 27);
        assert_eq!(allocate(&tables, 6), Some(vec![0, 0, 0]));
        assert_eq!(allocate(&tables, 7), Some(vec![1, 0, 0]));
        assert_eq!(allocate(&tables, 8), Some(vec![0, 2, 0]));
        assert_eq!(allocate(&tables, 12), Some(vec![2, 2, 2]));
        assert_eq!(allocate(&tables, 13), None);
    }
}
