//! What was asked for beyond what the data reach: why a table has gaps, or lacks columns.

use run_log::smaller_is_better;
use run_log::study::{Outcome, Point};

use super::super::format::{si, significant};
use super::groups::{Group, Terms};
use super::measure::{at_bits, bits_until};
use super::quantity::{SECONDS, series_title, sweep_text, unit};
use super::source::Entry;

/// How far a point's runs got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Bits at the first evaluation, of the run that had most there.
    pub first_bits: f64,
    /// Bits at the last evaluation that is known, of the run that had fewest there. Both are NaN where bits
    /// are not counted.
    pub last_bits: f64,
    /// The best mean of the metric; NaN if there is none.
    pub best: f64,
}

impl Reach {
    /// How far the runs of `point` got with `metric` and `bits`.
    pub fn of(point: &Point, metric: &str, bits: &str) -> Self {
        let known = |run: usize| {
            let row = point.series.get(bits)?.runs.row(run).to_vec();
            let first = row.iter().copied().find(|value| value.is_finite())?;
            let last = row.iter().rev().copied().find(|value| value.is_finite())?;
            Some((first, last))
        };
        let done = (0..point.outcomes.len()).filter(|&run| point.outcomes[run] != Outcome::Pending);
        let ends: Vec<(f64, f64)> = done.filter_map(known).collect();
        let better = match smaller_is_better(metric) {
            true => f64::min,
            false => f64::max,
        };
        let means = point.series.get(metric).map(|series| series.mean.to_vec());
        let means = means.unwrap_or_default().into_iter();
        Self {
            first_bits: ends.iter().map(|end| end.0).fold(f64::NAN, f64::max),
            last_bits: ends.iter().map(|end| end.1).fold(f64::NAN, f64::min),
            // Of a number and NaN both functions take the number.
            best: means.fold(f64::NAN, better),
        }
    }
}

/// One sentence for every scheme of the group that has no value at `--at-bits` or never gets to `--target`, and
/// for the columns that are missing because of it.
pub fn notes(group: &Group<'_>, terms: &Terms) -> Vec<String> {
    let mut notes = Vec::new();
    if group.equal_bits.is_none() {
        let asked = [("--at-bits", terms.at_bits), ("--target", terms.target)];
        let asked = asked.iter().filter(|(_, value)| value.is_some());
        notes.extend(asked.map(|(option, _)| {
            let of = match terms.bits {
                SECONDS => "time by the delay model",
                _ => "bits",
            };
            format!("{option} has no effect: no run that ended has a count of its {of}")
        }));
        return notes;
    }
    let metric = series_title(&terms.metric);
    if let Some(amount) = terms.at_bits {
        let place = si(amount, unit(terms.bits));
        let lacks = |point: &Point| {
            let level = at_bits(point, &terms.metric, terms.bits, amount);
            !level.mean.is_finite()
        };
        for entry in &group.entries {
            if lacks(&entry.point) {
                let (name, why) = (name(group, entry), gap(&entry.point, terms, amount));
                notes.push(format!("{name} has no {metric} at {place}: {why}"));
            }
        }
        if lacks(group.baseline) {
            let label = &group.baseline.label;
            notes.push(format!(
                "there are no ratios at {place}: the baseline {label} has no {metric} there"
            ));
        }
        if group.target.is_none() {
            notes.push(format!(
                "no bits are counted until a value is reached: without --target it is the median scheme's at {place}, and \
                 no scheme has one"
            ));
        }
    }
    if let Some(target) = terms.target {
        for entry in &group.entries {
            let price = bits_until(&entry.point, &terms.metric, terms.bits, target);
            if price.mean.is_finite() {
                continue;
            }
            let Reach { best, .. } = Reach::of(&entry.point, &terms.metric, terms.bits);
            let (name, target) = (name(group, entry), significant(target, 4));
            notes.push(match best.is_finite() {
                true => format!(
                    "{name} never gets to {metric} {target}: its best mean is {}",
                    significant(best, 4)
                ),
                false => format!("{name} never gets to {metric} {target}: it has none"),
            });
        }
    }
    notes
}

/// Label and, where several points of the group share it, the swept values.
fn name(group: &Group<'_>, entry: &Entry) -> String {
    let point = &entry.point;
    match group.sweep.is_empty() && !point.sweep.is_empty() {
        true => format!("{} ({})", point.label, sweep_text(&point.sweep)),
        false => point.label.clone(),
    }
}

/// Why a point has no value of the metric at so many bits.
fn gap(point: &Point, terms: &Terms, amount: f64) -> String {
    let reach = Reach::of(point, &terms.metric, terms.bits);
    let several = point.done() > 1;
    let amount_of = |bits: f64| si(bits, unit(terms.bits));
    match (reach.last_bits, reach.first_bits) {
        (last, _) if last < amount => {
            let last = amount_of(last);
            match (point.diverged(), several) {
                (0, false) => format!("its run ends at {last}"),
                (0, true) => format!("not all of its runs go beyond {last}"),
                (_, false) => format!("its run diverged after {last}"),
                (diverged, true) => {
                    let runs = point.done();
                    format!("{diverged} of its {runs} runs diverged, the first after {last}")
                }
            }
        }
        (_, first) if first > amount => {
            format!("its first evaluation is at {}", amount_of(first))
        }
        (last, _) if last.is_nan() => "it has no count of them".into(),
        _ => "it was not evaluated before and after".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::groups;
    use super::super::quantity::RECEIVED;
    use super::super::testing::{compared, decoding, swept};
    use super::*;

    fn terms(at_bits: Option<f64>, target: Option<f64>) -> Terms {
        Terms {
            metric: "loss".into(),
            bits: RECEIVED,
            baseline: None,
            at_bits,
            target,
        }
    }

    fn said(study: &run_log::study::Study, terms: &Terms) -> Vec<String> {
        let comparison = compared(study);
        let groups = groups(&comparison, terms);
        groups
            .iter()
            .flat_map(|group| notes(group, terms))
            .collect()
    }

    #[test]
    fn what_is_within_reach_needs_no_words() {
        for terms in [
            terms(None, None),
            terms(Some(3000.0), Some(4.2)),
            terms(Some(1.0), None),
        ] {
            assert_eq!(said(&swept(), &terms), Vec::<String>::new(), "{terms:?}");
        }
    }

    /// At 10.5 bits a worker every run ends at 3150 bits, at 50 at 15,000.
    #[test]
    fn bits_that_nobody_spent() {
        let notes = said(&swept(), &terms(Some(4000.0), None));
        assert_eq!(
            notes,
            [
                "joint has no loss at 4 kbit: not all of its runs go beyond 3.15 kbit",
                "SGC has no loss at 4 kbit: not all of its runs go beyond 3.15 kbit",
                "there are no ratios at 4 kbit: the baseline joint has no loss there",
                "no bits are counted until a value is reached: without --target it is the median scheme's at 4 kbit, and no \
                 scheme has one",
            ]
        );
    }

    #[test]
    fn a_value_that_nobody_reached() {
        let notes = said(&swept(), &terms(None, Some(3.0)));
        assert_eq!(
            notes,
            [
                "SGC never gets to loss 3: its best mean is 4.095",
                "SGC never gets to loss 3: its best mean is 4.02",
            ]
        );
        let mut lone = swept();
        lone.points.retain(|point| point.label == "SGC");
        assert_eq!(
            said(&lone, &terms(None, Some(3.0)))[0],
            "SGC (residual_bits = 10.5) never gets to loss 3: its best mean is 4.095"
        );
    }

    #[test]
    fn divergence_is_the_reason_where_it_is() {
        let mut study = swept();
        study.points.truncate(2);
        let (loss, bits) = ([8.0, 7.0, 1e9, 1e9], [0.0, 1000.0, 2000.0, 3000.0]);
        let values: [(&str, &[f64]); 2] = [("loss", &loss), (RECEIVED, &bits)];
        let diverged = Outcome::Diverged { from: 2 };
        study.points[1].record(1, diverged, &values).unwrap();
        let notes = said(&study, &terms(Some(2500.0), Some(3.0)));
        assert_eq!(
            notes[0],
            "SGC has no loss at 2.5 kbit: 1 of its 2 runs diverged, the first after 1 kbit"
        );
        assert!(
            notes[1].starts_with("SGC never gets to loss 3: its best mean is"),
            "{notes:?}"
        );
    }

    #[test]
    fn bits_that_are_not_counted() {
        let mut terms = terms(Some(10.0), Some(1.0));
        terms.metric = "error".into();
        let notes = said(&decoding(), &terms);
        assert_eq!(
            notes,
            [
                "--at-bits has no effect: no run that ended has a count of its bits",
                "--target has no effect: no run that ended has a count of its bits",
            ]
        );
    }
}
