//! The decoded gradient: measured against predicted error, and what the weights really add up to.

use run_log::{PlanEntry, quantile};
use serde::Serialize;

use super::columns::Columns;

/// How well gradients were decoded, under the plan that was longest in force.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Comparisons with the exact gradient (`round.relative_error_every`).
    pub samples: u64,
    /// Root of the mean squared relative error.
    pub measured: f64,
    /// Median relative error.
    pub measured_median: f64,
    /// sqrt(bound) / n: the plan's bound on the root mean squared error, relative to the gradient, if
    /// the gradients of all partitions were equal. The more they differ, the larger both bound and
    /// error are in proportion.
    pub predicted: f64,
    /// What each partition's gradient counted on average: sum_i (1 - late share of i) w_i a_ij, which
    /// is 1 for every partition if workers are late as often as planned. Empty where weights are found
    /// per round, and where messages mix blocks.
    pub counted: Vec<Counted>,
    /// Whether workers remember what was not delivered: then errors of single rounds are made up for.
    pub error_feedback: bool,
}

/// A partition's weight in the mean decoded gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counted {
    /// The partition.
    pub partition: u64,
    /// What its gradient was multiplied by, on average.
    pub weight: f64,
    /// Standard error of that, with independent rounds.
    pub standard_error: f64,
}

impl Counted {
    /// Whether it differs from 1 by more than chance (4 standard errors) and by more than 2%.
    pub fn is_off(&self) -> bool {
        let off = (self.weight - 1.0).abs();
        off > 0.02 && off > 4.0 * self.standard_error
    }
}

/// What the plan's JSON adds to its record.
pub struct Design {
    /// Lemma 1 with the quantizer's own variance, at C = 1.
    pub error_bound: f64,
    /// Blocks that messages mix; 1 without.
    pub blocks: usize,
}

/// Compares.
pub fn of(
    columns: &Columns,
    plans: &[PlanEntry],
    design: impl Fn(&PlanEntry) -> Design,
    error_feedback: bool,
) -> Accuracy {
    let ends = plans.iter().skip(1).map(|plan| plan.start_iteration as f64);
    let spans = plans
        .iter()
        .zip(ends.chain([f64::INFINITY]))
        .map(|(plan, end)| {
            let within = |iteration: f64| (plan.start_iteration as f64..end).contains(&iteration);
            let rows: Vec<usize> = (0..columns.len())
                .filter(|&t| within(columns.iteration[t]))
                .collect();
            (plan, rows)
        });
    let Some((entry, rows)) = spans.max_by_key(|(_, rows)| rows.len()) else {
        return Accuracy {
            samples: 0,
            measured: f64::NAN,
            measured_median: f64::NAN,
            predicted: f64::NAN,
            counted: vec![],
            error_feedback,
        };
    };
    let errors: Vec<f64> = rows
        .iter()
        .map(|&t| columns.relative_error[t])
        .filter(|error| error.is_finite())
        .collect();
    let design = design(entry);
    let squares: f64 = errors.iter().map(|error| error * error).sum();
    Accuracy {
        samples: errors.len() as u64,
        measured: (squares / errors.len() as f64).sqrt(),
        measured_median: quantile(errors.iter().copied(), 0.5),
        predicted: design.error_bound.sqrt() / entry.plan.partitions as f64,
        counted: if design.blocks > 1 {
            vec![]
        } else {
            counted(columns, entry, &rows)
        },
        error_feedback,
    }
}

fn counted(columns: &Columns, entry: &PlanEntry, rows: &[usize]) -> Vec<Counted> {
    let plan = &entry.plan;
    if plan.decode_weight.is_empty() || rows.is_empty() {
        return vec![];
    }
    let arrived: Vec<(f64, f64)> = (0..columns.workers)
        .map(|i| {
            let on_time = rows.iter().filter(|&&t| columns.lateness[[t, i]] == 0.0);
            let share = on_time.count() as f64 / rows.len() as f64;
            (share, share * (1.0 - share) / rows.len() as f64)
        })
        .collect();
    let mut sums = vec![(0.0, 0.0); plan.partitions as usize];
    for &(worker, partition, coefficient) in &plan.encoding {
        let (worker, partition) = (worker as usize, partition as usize);
        let weight = plan.decode_weight.get(worker).copied().unwrap_or(0.0) * coefficient;
        if let (Some((mean, variance)), Some(sum)) = (arrived.get(worker), sums.get_mut(partition))
        {
            sum.0 += weight * mean;
            sum.1 += weight * weight * variance;
        }
    }
    let of = |(partition, (weight, variance)): (usize, (f64, f64))| Counted {
        partition: partition as u64,
        weight,
        standard_error: variance.sqrt(),
    };
    sums.into_iter().enumerate().map(of).collect()
}
