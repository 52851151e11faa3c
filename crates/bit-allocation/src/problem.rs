//! Utility tables and the problem over them.

use crate::{AllocationError, TableError};
use std::ops::RangeInclusive;

/// The widths one worker may be given and what it is worth at each.
///
/// Widths are bits per coordinate, strictly increasing; 0 means that the worker idles. Utilities
/// are finite and otherwise unrestricted: they may fall, stay flat or jump, and be negative.
#[derive(Clone, Debug, PartialEq)]
pub struct UtilityTable {
    widths: Vec<u8>,
    values: Vec<f64>,
}

impl UtilityTable {
    /// The table with `values[j]` at `widths[j]`.
    ///
    /// # Errors
    /// Without widths, with another number of values than widths, when the widths do not strictly
    /// increase, or when a value is not finite.
    pub fn new(widths: Vec<u8>, values: Vec<f64>) -> Result<Self, TableError> {
        if widths.is_empty() {
            return Err(TableError::NoWidths);
        }
        if widths.len() != values.len() {
            return Err(TableError::Lengths {
                widths: widths.len(),
                values: values.len(),
            });
        }
        if let Some(pair) = widths.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(TableError::NotIncreasing {
                previous: pair[0],
                width: pair[1],
            });
        }
        if let Some(j) = values.iter().position(|value| !value.is_finite()) {
            return Err(TableError::NotFinite {
                width: widths[j],
                value: values[j],
            });
        }
        Ok(Self { widths, values })
    }

    /// The table of a worker that gets nothing: width 0, utility 0.
    pub fn idle() -> Self {
        Self {
            widths: vec![0],
            values: vec![0.0],
        }
    }

    /// The widths, strictly increasing, at least one.
    pub fn widths(&self) -> &[u8] {
        &self.widths
    }

    /// The utility at each of [`Self::widths`].
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The utility at `width`, if that is one of the widths.
    pub fn utility(&self, width: u8) -> Option<f64> {
        let index = self.widths.binary_search(&width).ok()?;
        Some(self.values[index])
    }

    /// The smallest width.
    pub fn min_width(&self) -> u8 {
        self.widths[0]
    }

    /// The largest width.
    pub fn max_width(&self) -> u8 {
        self.widths[self.widths.len() - 1]
    }

    /// The same widths with other utilities, one finite number per width.
    pub(crate) fn with_values(&self, values: Vec<f64>) -> Self {
        debug_assert_eq!(self.widths.len(), values.len());
        Self {
            widths: self.widths.clone(),
            values,
        }
    }

    /// Bits from width `from` to width `to`, both given by index.
    pub(crate) fn deviation(&self, from: u8, to: u8) -> i32 {
        i32::from(self.widths[usize::from(to)]) - i32::from(self.widths[usize::from(from)])
    }

    /// Utility gained from width `from` to width `to`, both given by index.
    pub(crate) fn gain(&self, from: u8, to: u8) -> f64 {
        self.values[usize::from(to)] - self.values[usize::from(from)]
    }

    /// Index of the largest width. A table has at most 256 widths, so indices fit a byte.
    pub(crate) fn last(&self) -> u8 {
        (self.widths.len() - 1) as u8
    }
}

/// Tables of all workers and the bits to be spent on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// One table per worker, in any order.
    pub tables: Vec<UtilityTable>,
    /// What the widths must sum to, in bits per coordinate.
    pub total_bits: u64,
}

impl Problem {
    /// From the sum of the smallest widths to the sum of the largest ones: the budgets that are
    /// possible, though not all of them need be reachable when widths have gaps.
    pub fn range(&self) -> RangeInclusive<u64> {
        let sum = |width: fn(&UtilityTable) -> u8| {
            self.tables.iter().map(|t| u64::from(width(t))).sum::<u64>()
        };
        sum(UtilityTable::min_width)..=sum(UtilityTable::max_width)
    }

    /// Checks what does not need a solver: workers, finite sums, the range of the budget.
    pub(crate) fn check(&self) -> Result<(), AllocationError> {
        let workers = self.tables.len();
        if workers == 0 {
            return Err(AllocationError::NoWorkers);
        }
        let largest = |table: &UtilityTable| {
            table
                .values
                .iter()
                .fold(0.0f64, |most, value| most.max(value.abs()))
        };
        // Differences of utilities, and sums of them, are then finite as well.
        if self.tables.iter().map(largest).sum::<f64>() > f64::MAX / 8.0 {
            return Err(AllocationError::Overflow { workers });
        }
        let range = self.range();
        if range.contains(&self.total_bits) {
            Ok(())
        } else {
            Err(AllocationError::BudgetOutOfRange {
                total_bits: self.total_bits,
                workers,
                min: *range.start(),
                max: *range.end(),
            })
        }
    }
}

/// Sum of the utilities at the chosen indices, added in the order of the tables: allocations that
/// are equal have bitwise equal values, whichever method found them.
pub(crate) fn value(tables: &[&UtilityTable], choice: &[u8]) -> f64 {
    tables
        .iter()
        .zip(choice)
        .map(|(table, &index)| table.values[usize::from(index)])
        .sum()
}

/// Positions of the tables from the most to the least reliable worker ([`crate::Method`]).
pub(crate) fn reliability_order(tables: &[&UtilityTable]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by(|&a, &b| {
        let from_the_largest_width = |i: usize| tables[i].values.iter().rev();
        from_the_largest_width(b)
            .zip(from_the_largest_width(a))
            .map(|(b, a)| b.total_cmp(a))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(a.cmp(&b))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_checked() {
        let new = |widths: &[u8], values: &[f64]| {
            UtilityTable::new(widths.to_vec(), values.to_vec())
                .unwrap_err()
                .to_string()
        };
        assert!(new(&[], &[]).contains("at least one"));
        assert!(new(&[2, 3], &[1.0]).contains("2 widths and 1 values"));
        assert!(new(&[2, 4, 4], &[0.0; 3]).contains("width 4 follows width 4"));
        assert!(new(&[2, 3], &[0.0, f64::INFINITY]).contains("inf at width 3"));
        assert!(new(&[2, 3], &[f64::NAN, 0.0]).contains("NaN at width 2"));
        let every_width = UtilityTable::new((0..=255).collect(), vec![0.0; 256]).unwrap();
        assert_eq!(every_width.last(), 255);
    }

    #[test]
    fn a_table_is_read_by_width() {
        let table = UtilityTable::new(vec![0, 2, 5], vec![0.0, 0.5, 2.0]).unwrap();
        assert_eq!(table.utility(5), Some(2.0));
        assert_eq!(table.utility(3), None);
        assert_eq!((table.min_width(), table.max_width()), (0, 5));
        assert_eq!((table.deviation(2, 1), table.gain(2, 1)), (-3, -1.5));
    }

    #[test]
    fn reliability_ties_go_to_smaller_widths_and_then_to_the_first() {
        let table = |values: [f64; 2]| UtilityTable::new(vec![2, 3], values.to_vec()).unwrap();
        let tables = [[1.0, 2.0], [0.5, 3.0], [0.7, 3.0], [0.7, 3.0]].map(table);
        assert_eq!(reliability_order(&tables.each_ref()), [2, 3, 1, 0]);
    }
}
