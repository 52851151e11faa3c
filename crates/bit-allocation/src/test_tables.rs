//! Tables of many shapes for property tests.

use crate::UtilityTable;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::Range;

/// Borrowed, as the methods take them.
pub(crate) fn refs(tables: &[UtilityTable]) -> Vec<&UtilityTable> {
    tables.iter().collect()
}

/// Widths 2..=max, with or without idling, or with gaps, or a single one.
fn widths() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (2u8..10).prop_map(|max| (2..=max).collect::<Vec<_>>()),
        3 => (2u8..10).prop_map(|max| std::iter::once(0).chain(2..=max).collect()),
        1 => Just(vec![2, 4, 8]),
        1 => Just(vec![0]),
        2 => proptest::collection::btree_set(0u8..14, 1..7)
            .prop_map(|widths| widths.into_iter().collect()),
    ]
}

/// Utilities at `n` widths: sums of closed form, logistic, tied, random and falling kinds.
fn values(n: usize) -> impl Strategy<Value = Vec<f64>> {
    let at = move |f: Box<dyn Fn(f64) -> f64>| (0..n).map(|j| f(j as f64)).collect::<Vec<f64>>();
    prop_oneof![
        // The paper's h over eleven orders of magnitude of phi and five of p.
        3 => (-5.0..0.0, -4.0..7.0).prop_map(move |(p, phi): (f64, f64)| {
            let (p, d) = (10f64.powf(p).min(0.99), 10f64.powf(phi));
            at(Box::new(move |j| (1.0 - p) / (p + d / ((j + 1.0).exp2() - 1.0).powi(2))))
        }),
        2 => (0.0..10.0, 0.2..4.0, 0.0..3.0).prop_map(move |(middle, steep, worth): (f64, f64, f64)| {
            at(Box::new(move |j| worth / (1.0 + (steep * (middle - j)).exp())))
        }),
        // Few distinct integers: ties and plateaus.
        3 => vec((0u8..4).prop_map(f64::from), n),
        1 => Just(vec![1.0; n]),
        // Straight lines, so that many workers tie at every width.
        2 => (0u8..3).prop_map(move |slope| at(Box::new(move |j| f64::from(slope) * j))),
        2 => vec(-1.0..1.0, n),
        1 => vec(-1e9..1e9, n),
        1 => vec(0.0..1e-9, n),
    ]
}

fn table() -> impl Strategy<Value = UtilityTable> {
    widths().prop_flat_map(|widths| {
        values(widths.len())
            .prop_map(move |values| UtilityTable::new(widths.clone(), values).unwrap())
    })
}

/// Between `count.start` and `count.end - 1` tables: all different, or copies of a few, or all with
/// the same widths.
pub(crate) fn any_tables(count: Range<usize>) -> impl Strategy<Value = Vec<UtilityTable>> {
    let copies = count.clone();
    let same_widths = count.clone();
    prop_oneof![
        vec(table(), count),
        (vec(table(), 1..4), copies).prop_map(|(kinds, k)| kinds
            .into_iter()
            .cycle()
            .take(k)
            .collect()),
        (widths(), same_widths).prop_flat_map(|(widths, k)| {
            vec(values(widths.len()), k).prop_map(move |all| {
                all.into_iter()
                    .map(|values| UtilityTable::new(widths.clone(), values).unwrap())
                    .collect::<Vec<_>>()
            })
        }),
    ]
}
