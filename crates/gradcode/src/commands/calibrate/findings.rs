//! From observations to delay models and bandwidths, worker by worker.

use gradient_code::Criterion;
use straggler::fit::{DelayFit, Family, Interval, fit};

use super::{LEAST_ARRIVALS, Measured};
use crate::cli::CalibrateArgs;
use crate::config::Config;
use crate::config::planning::PlanInputs;
use crate::config::settings::Deadline;
use crate::config::values::{
    DeadlineSeconds, DelayKind, Inject, OneOrMany, PlannedDeadline, Rates, UnitSeconds,
};
use crate::exit::{ENVIRONMENT, Failure, Outcome};

/// What is known of all workers.
pub struct Findings {
    /// The family of the fits.
    pub family: Family,
    /// In the order of the workers.
    pub workers: Vec<Worker>,
    /// Partitions of every worker in the rounds that delays are fitted to.
    pub load: usize,
    /// Bits per coordinate in them.
    pub bits: u8,
    /// Coordinates of a message.
    pub dimension: usize,
    /// Rounds that delays are fitted to.
    pub rounds: usize,
    /// Seconds after which reports were cut.
    pub limit: f64,
    /// Seconds of the deadline, and where it comes from.
    pub deadline: (f64, String),
    /// Whether the experiment injected delays, which are then in what was measured.
    pub injected: bool,
    /// Arrivals of the fitted rounds, round by round; cut ones stand at the limit.
    pub arrivals: Vec<Vec<f64>>,
}

/// What is known of a worker. Times in seconds.
pub struct Worker {
    /// Its delays.
    pub fit: DelayFit,
    /// Computing: seconds of every partition, and those that come on top. NaN with one load.
    pub compute: Line,
    /// Mean seconds of quantizing and packing a message of the mean width.
    pub encode: f64,
    /// Fetching a frame: seconds per bit, and those that come on top. NaN with one width.
    pub transfer: Line,
}

/// A straight line through measured points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Its slope, with the interval of two standard errors.
    pub slope: Interval,
    /// Its value at 0.
    pub offset: f64,
}

impl Line {
    /// The line through the medians of the points with equal x, each weighed equally; a few outliers
    /// do not move it.
    pub fn through(points: &[(f64, f64)]) -> Self {
        let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
        for &(x, y) in points.iter().filter(|(_, y)| y.is_finite()) {
            match groups.iter_mut().find(|(at, _)| *at == x) {
                Some((_, values)) => values.push(y),
                None => groups.push((x, vec![y])),
            }
        }
        let unknown = Interval {
            value: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
        };
        let medians: Vec<(f64, f64, f64)> = groups
            .into_iter()
            .map(|(x, mut values)| {
                values.sort_by(f64::total_cmp);
                let n = values.len();
                let median = (values[n / 2] + values[(n - 1) / 2]) / 2.0;
                // Order statistics two standard errors of the rank away: twice the median's own error.
                let reach = (n as f64).sqrt().ceil() as usize;
                let low = values[(n / 2).saturating_sub(reach)];
                let high = values[(n / 2 + reach).min(n - 1)];
                (x, median, (high - low) / 4.0)
            })
            .collect();
        let count = medians.len() as f64;
        let mean = |of: fn(&(f64, f64, f64)) -> f64| medians.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|m| m.0), mean(|m| m.1));
        let spread: f64 = medians.iter().map(|m| (m.0 - x).powi(2)).sum();
        if medians.len() < 2 || spread == 0.0 {
            return Line {
                slope: unknown,
                offset: y,
            };
        }
        let slope = medians.iter().map(|m| (m.0 - x) * (m.1 - y)).sum::<f64>() / spread;
        let error = medians
            .iter()
            .map(|m| ((m.0 - x) * m.2 / spread).powi(2))
            .sum::<f64>()
            .sqrt();
        Line {
            slope: Interval {
                value: slope,
                low: slope - 2.0 * error,
                high: slope + 2.0 * error,
            },
            offset: y - slope * x,
        }
    }
}

impl Worker {
    /// Bits per second, where sending more of them is seen to take longer.
    pub fn bandwidth(&self) -> Option<f64> {
        (self.transfer.slope.low > 0.0).then(|| self.transfer.slope.value.recip())
    }
}

impl Findings {
    /// Fits everything, and chooses a deadline for the experiment.
    ///
    /// # Errors
    /// [`ENVIRONMENT`] for a worker with too few arrivals, or delays that cannot be fitted.
    pub fn new(
        config: &Config,
        dimension: usize,
        measured: Measured,
        args: &CalibrateArgs,
    ) -> Outcome<Self> {
        let (family, fits) = fits(config, &measured, args)?;
        let workers: Vec<Worker> = fits
            .into_iter()
            .enumerate()
            .map(|(worker, fit)| describe(worker, fit, &measured))
            .collect();
        let first = &measured.plans[0].workers[0];
        let main = || measured.observations.iter().filter(|seen| seen.plan == 0);
        let mut rounds: Vec<usize> = main().map(|seen| seen.round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        let arrivals = rounds
            .iter()
            .map(|&round| {
                (0..config.workers)
                    .map(|worker| {
                        let seen = main().find(|o| o.round == round && o.worker == worker);
                        // Whoever was still busy with an earlier round is as late as that.
                        seen.and_then(|seen| seen.arrival).unwrap_or(measured.limit)
                    })
                    .collect()
            })
            .collect();
        let mut findings = Findings {
            family,
            workers,
            load: first.load(),
            bits: first.bits,
            dimension,
            rounds: rounds.len(),
            limit: measured.limit,
            deadline: (f64::NAN, String::new()),
            injected: config.straggler.inject == Inject::Delay,
            arrivals,
        };
        findings.deadline = deadline(config, &findings);
        Ok(findings)
    }

    /// The straggler model of the cluster file, in seconds.
    pub fn apply(&self, config: &Config) -> Config {
        let mut config = config.clone();
        let straggler = &mut config.straggler;
        straggler.model = match self.family {
            Family::ShiftedExponential => DelayKind::ShiftedExponential,
            Family::Exponential => DelayKind::Exponential,
        };
        let fits = || self.workers.iter().map(|worker| &worker.fit);
        straggler.shift = OneOrMany::Many(fits().map(|fit| fit.shift.value).collect());
        straggler.rate = Rates::Many(fits().map(|fit| fit.rate.value).collect());
        straggler.unit_seconds = UnitSeconds::Fixed(1.0);
        straggler.bandwidth = None;
        straggler.probabilities = None;
        straggler.inject = Inject::None;
        if let PlannedDeadline::Units(_) = straggler.deadline {
            straggler.deadline = PlannedDeadline::Optimal(Criterion::default());
        }
        config.deadline = Deadline::Seconds(DeadlineSeconds::Planned);
        config
    }
}

/// The family that explains all workers best, and its fits.
fn fits(
    config: &Config,
    measured: &Measured,
    args: &CalibrateArgs,
) -> Outcome<(Family, Vec<DelayFit>)> {
    let mut best: Option<(f64, Family, Vec<DelayFit>)> = None;
    for family in [Family::ShiftedExponential, Family::Exponential] {
        let mut fits = Vec::new();
        for worker in 0..config.workers {
            let seen = || {
                let mine = |o: &&cluster::Observation| o.plan == 0 && o.worker == worker;
                measured.observations.iter().filter(mine)
            };
            let arrived: Vec<f64> = seen().filter_map(|seen| seen.arrival).collect();
            let tasks = seen().count() as u64;
            if arrived.len() < LEAST_ARRIVALS {
                return Err(Failure::new(
                    ENVIRONMENT,
                    format!(
                        "failed to fit the delays of worker {worker}: {} of {tasks} tasks were reported within the limit, and at \
                         least {LEAST_ARRIVALS} are needed",
                        arrived.len()
                    ),
                )
                .hint("more --rounds, or a longer --limit"));
            }
            let fit = fit(family, &arrived, tasks, measured.limit, args.confidence);
            fits.push(fit.map_err(|error| {
                Failure::environment(format!("fit the delays of worker {worker}"), &error)
            })?);
        }
        let criterion: f64 = fits.iter().map(DelayFit::criterion).sum();
        if best.as_ref().is_none_or(|(least, ..)| criterion < *least) {
            best = Some((criterion, family, fits));
        }
    }
    let (_, family, fits) = best.unwrap_or((0.0, Family::ShiftedExponential, Vec::new()));
    Ok((family, fits))
}

fn describe(worker: usize, fit: DelayFit, measured: &Measured) -> Worker {
    let mine = || {
        let mine = |o: &&cluster::Observation| o.worker == worker && o.arrival.is_some();
        measured.observations.iter().filter(mine)
    };
    let width = measured.plans[0].workers[worker].bits;
    let load = |plan: usize| measured.plans[plan].workers[worker].load();
    let compute: Vec<(f64, f64)> = mine()
        .map(|seen| (load(seen.plan) as f64, seen.compute))
        .collect();
    let transfer: Vec<(f64, f64)> = mine()
        .map(|seen| (seen.frame_bits as f64, seen.transfer))
        .collect();
    let of_width = |plan: usize| measured.plans[plan].workers[worker].bits == width;
    let encode: Vec<f64> = mine()
        .filter(|seen| of_width(seen.plan))
        .map(|seen| seen.encode)
        .collect();
    Worker {
        fit,
        compute: Line::through(&compute),
        encode: encode.iter().sum::<f64>() / encode.len().max(1) as f64,
        transfer: Line::through(&transfer),
    }
}

/// The optimal deadline of the experiment on these workers, in seconds; where there is none, the time
/// at which nine of ten have reported.
fn deadline(config: &Config, findings: &Findings) -> (f64, String) {
    let measured = findings.apply(config);
    match PlanInputs::new(&measured, findings.dimension) {
        Ok(inputs) => {
            let scheme = &config.scheme.kind;
            (
                inputs.deadline,
                format!("chosen by the planner for scheme {scheme}"),
            )
        }
        Err(error) => {
            let mut all: Vec<f64> = findings.arrivals.iter().flatten().copied().collect();
            all.sort_by(f64::total_cmp);
            let at = (all.len() * 9 / 10).min(all.len().saturating_sub(1));
            (
                all.get(at).copied().unwrap_or(f64::NAN),
                format!(
                    "the 0.9-quantile of what was measured, because the planner failed to {error}"
                ),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_the_medians() {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for x in [1.0, 2.0, 4.0] {
            for noise in [-0.1, 0.0, 0.1] {
                points.push((x, 3.0 + 0.5 * x + noise));
            }
            points.push((x, f64::NAN));
        }
        let line = Line::through(&points);
        assert!((line.slope.value - 0.5).abs() < 1e-12 && (line.offset - 3.0).abs() < 1e-12);
        assert!(line.slope.low < 0.5 && line.slope.high > 0.5);
        points.push((2.0, 1e6));
        assert!((Line::through(&points).slope.value - 0.5).abs() < 0.1);
        let flat = Line::through(&[(2.0, 1.0), (2.0, 3.0)]);
        assert!(flat.slope.value.is_nan() && flat.offset == 2.0);
    }
}
