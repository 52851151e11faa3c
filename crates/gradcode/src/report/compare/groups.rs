//! What is compared with what, and at which bits.

use run_log::smaller_is_better;
use run_log::study::Point;

use super::measure::{at_bits, least_total};
use super::source::{Comparison, Entry, Sweep};

/// What the numbers are about.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Series that is compared.
    pub metric: String,
    /// Series of cumulative bits that is "equal bits".
    pub bits: &'static str,
    /// Label that ratios are against; the first point's without it.
    pub baseline: Option<String>,
    /// Where bits are equal; the most that all points reached without it.
    pub at_bits: Option<f64>,
    /// Value whose price is counted; the median scheme's at equal bits without it.
    pub target: Option<f64>,
}

/// Points that are compared with one another, and the numbers the comparison hangs on.
pub struct Group<'a> {
    /// The values of the swept keys.
    pub sweep: Sweep,
    /// The points.
    pub entries: Vec<&'a Entry>,
    /// What ratios are against.
    pub baseline: &'a Point,
    /// Equal bits; None where bits are not counted.
    pub equal_bits: Option<f64>,
    /// The value whose price is counted.
    pub target: Option<f64>,
}

/// Points by combination of swept values; where one scheme alone was swept, all of them together.
pub fn groups<'a>(comparison: &'a Comparison, terms: &Terms) -> Vec<Group<'a>> {
    let mut combinations = comparison.combinations();
    if comparison.labels().len() == 1 {
        combinations = vec![(vec![], comparison.points.iter().collect())];
    }
    let group = |(sweep, entries): (Sweep, Vec<&'a Entry>)| {
        let wanted = |entry: &&&Entry| Some(&entry.point.label) == terms.baseline.as_ref();
        let baseline = &entries.iter().find(wanted).or(entries.first())?.point;
        let totals = || {
            entries
                .iter()
                .filter_map(|entry| least_total(&entry.point, terms.bits))
        };
        let equal_bits = terms.at_bits.or_else(|| totals().reduce(f64::min));
        let target = terms
            .target
            .or_else(|| median_level(&entries, terms, equal_bits?));
        Some(Group {
            sweep,
            baseline,
            equal_bits: equal_bits.filter(|_| totals().next().is_some()),
            target,
            entries,
        })
    };
    combinations.into_iter().filter_map(group).collect()
}

/// What the median scheme reaches at equal bits, of two the worse, so that most schemes reach it.
fn median_level(entries: &[&Entry], terms: &Terms, amount: f64) -> Option<f64> {
    let level = |entry: &&Entry| at_bits(&entry.point, &terms.metric, terms.bits, amount).mean;
    let mut levels: Vec<f64> = entries
        .iter()
        .map(level)
        .filter(|level| level.is_finite())
        .collect();
    levels.sort_by(f64::total_cmp);
    if !smaller_is_better(&terms.metric) {
        levels.reverse();
    }
    levels.get(levels.len() / 2).copied()
}
