//! Who is late how often: the delay model at a deadline, and the deadline itself where it is to be
//! chosen.

use gradient_code::{Criterion, DeadlineChoice, optimal_deadline};
use gradient_codec::Preset;
use straggler::DelayModel;

use super::error::ConfigError;
use super::planning::PlanInputs;
use super::settings::{Config, Deadline};
use super::values::{DeadlineSeconds, Inject, UnitSeconds};

/// Deadlines that are looked at before the best of them is refined.
const CANDIDATES: usize = 60;

/// The delay model at a deadline, for messages that take time to send.
#[derive(Clone, Debug)]
pub struct Lateness {
    /// Delays without sending, in the model's unit.
    pub model: DelayModel,
    /// The deadline in the same unit.
    pub deadline: f64,
    /// Bits per unit of every worker.
    pub bandwidth: Vec<f64>,
    /// The compressor.
    pub preset: Preset,
    /// Coordinates of a message.
    pub message_len: usize,
}

impl Lateness {
    /// p_i(z): the compute time and that of `bits` bits per coordinate, beyond the deadline.
    pub fn probability(&self, worker: usize, bits: u8) -> f64 {
        let left = self.deadline - self.sending(bits) / self.bandwidth[worker];
        self.model.workers()[worker].straggle_probability(left)
    }

    /// Payload bits of a message at a width; without end where the preset does not have it.
    fn sending(&self, bits: u8) -> f64 {
        let compressor = self.preset.compressor(bits, self.message_len);
        compressor.map_or(f64::INFINITY, |c| c.payload_bits() as f64)
    }
}

/// Where p_i come from.
enum Source {
    /// They are the user's.
    Given(Vec<f64>),
    /// Everybody is late equally often by construction of the deadline.
    Equal(f64),
    /// The delay model at this deadline, in its unit.
    Model(f64),
}

fn source(config: &Config, planned: Option<f64>) -> Result<Source, ConfigError> {
    let straggler = &config.straggler;
    if let Some(given) = &straggler.probabilities {
        return Ok(Source::Given(given.expand(config.workers)));
    }
    let planned = || planned.ok_or_else(|| no_number(config));
    let unit = match straggler.unit_seconds {
        UnitSeconds::Fixed(unit) => Some(unit),
        UnitSeconds::Auto => None,
    };
    Ok(match (straggler.inject, config.deadline, unit) {
        (Inject::None, Deadline::Quantile(quantile), _) => Source::Equal(1.0 - quantile.q),
        (Inject::None, Deadline::MedianPlusMad(rule), None) => Source::Equal(like_one(rule.k)),
        // Median and deviation are in proportion to the unit, whatever it is.
        (Inject::None, Deadline::MedianPlusMad(rule), Some(_)) => {
            let model = config.delay_model()?;
            Source::Model(model.pooled_quantile(0.5) + rule.k * model.pooled_deviation())
        }
        (Inject::None, Deadline::Seconds(DeadlineSeconds::Fixed(seconds)), Some(unit)) => {
            Source::Model(seconds / unit)
        }
        _ => Source::Model(planned()?),
    })
}

fn no_number(config: &Config) -> ConfigError {
    config.refused(
        "the deadline is only known once the model's size is; give a number",
        &["straggler.deadline"],
    )
}

/// p_i of every worker, for the design, at the planned deadline (in the delay model's unit).
///
/// `straggler.probabilities` if set. Otherwise the delay model at the planned deadline, except for real
/// stragglers (`inject = "none"`) with a deadline of their own: with a quantile every worker is late
/// with 1 - q by construction; with a fixed one the model is asked at `seconds / unit_seconds`; with
/// `median_plus_mad` it is asked at its own median plus k deviations where its unit is known, and
/// otherwise every worker is late as if all had the same shifted exponential ([`like_one`]).
///
/// # Errors
/// [`ConfigError::Probability`] for a p_i of 0 or 1, [`ConfigError::Plan`] where the planned deadline is
/// asked for and not given; what [`Config::delay_model`] says.
pub fn straggle_probabilities(
    config: &Config,
    planned: Option<f64>,
) -> Result<Vec<f64>, ConfigError> {
    let (probabilities, how) = match source(config, planned)? {
        Source::Given(given) => (given, "as given".to_owned()),
        Source::Equal(p) => return Ok(vec![p; config.workers]),
        Source::Model(deadline) => (
            config.delay_model()?.straggle_probabilities(deadline),
            format!("by the delay model at deadline {deadline}"),
        ),
    };
    match probabilities.iter().position(|p| !(*p > 0.0 && *p < 1.0)) {
        Some(worker) => Err(ConfigError::Probability {
            worker,
            probability: probabilities[worker],
            how,
            keys: Box::new(config.deciding(&config.keys_of_lateness())),
        }),
        None => Ok(probabilities),
    }
}

/// Checks p_i without a model's size: nothing can be said of a deadline that is still to be chosen.
///
/// # Errors
/// As [`straggle_probabilities`].
pub fn check(config: &Config) -> Result<(), ConfigError> {
    match config.straggler.deadline.units() {
        Some(deadline) => straggle_probabilities(config, Some(deadline)).map(|_| ()),
        None => config.delay_model().map(|_| ()),
    }
}

/// The lateness by width that holds at `deadline`; `None` where the time of sending does not decide who
/// is late: without `straggler.bandwidth`, where p_i are given, and with real stragglers, whose
/// deadline is about the header that comes before the message.
///
/// # Errors
/// What [`Config::delay_model`] says.
pub fn by_width(
    config: &Config,
    deadline: f64,
    message_len: usize,
) -> Result<Option<Lateness>, ConfigError> {
    let straggler = &config.straggler;
    let Some(bandwidth) = &straggler.bandwidth else {
        return Ok(None);
    };
    if straggler.inject == Inject::None || straggler.probabilities.is_some() {
        return Ok(None);
    }
    Ok(Some(Lateness {
        model: config.delay_model()?,
        deadline,
        bandwidth: bandwidth.expand(config.workers),
        preset: config.preset(),
        message_len,
    }))
}

/// The deadline that is best by `criterion`; `inputs` are those of any other deadline.
///
/// # Errors
/// [`ConfigError::Plan`] if there is none; what [`Config::delay_model`] says.
pub fn choose(
    config: &Config,
    inputs: &PlanInputs,
    criterion: Criterion,
) -> Result<DeadlineChoice, ConfigError> {
    let model = config.delay_model()?;
    let mut candidates = model.candidate_deadlines(CANDIDATES);
    let mean_width = inputs.budget.total_bits / config.workers.max(1) as u64;
    let mean_width = mean_width.clamp(1, 32) as u8;
    if let Some(lateness) = by_width(config, 0.0, inputs.message_len)? {
        // The deadlines of a worker that sends at the narrowest and at the mean width.
        let fastest = lateness.bandwidth.iter().fold(0.0, |a: f64, &b| a.max(b));
        let slowest = lateness.bandwidth.iter().fold(fastest, |a, &b| a.min(b));
        let later: Vec<f64> = [(fastest, inputs.budget.min_bits), (slowest, mean_width)]
            .iter()
            .flat_map(|&(rate, width)| {
                let sending = lateness.sending(width) / rate;
                candidates.iter().map(move |candidate| candidate + sending)
            })
            .collect();
        candidates = later;
        candidates.sort_by(f64::total_cmp);
    }
    let plan_at = |deadline: f64| inputs.at(&model, deadline).plan_without(&[]);
    optimal_deadline(&candidates, criterion, plan_at)
        .map_err(|fault| config.refused_deadline(&fault))
}

/// How often a worker is later than median + k median absolute deviations when all have the same shifted
/// exponential, whichever: the median is `a + ln 2 / psi`, the deviation `asinh(1/2) / psi`, so that
/// `p = exp(-ln 2 - k asinh(1/2)) = phi^-k / 2` with the golden ratio phi.
fn like_one(k: f64) -> f64 {
    0.5 * (-k * 0.5f64.asinh()).exp()
}

#[cfg(test)]
mod tests {
    use super::super::testing::config;
    use super::*;
    use crate::config::planning;

    const BASE: &str = "workers = 2\nbudget.mean_bits = 4\nstraggler.rate = 2\n";

    fn p(config: &Config) -> Result<Vec<f64>, ConfigError> {
        straggle_probabilities(config, config.straggler.deadline.units())
    }

    #[test]
    fn probabilities_follow_the_deadline_that_is_in_force() {
        let p = |text: &str| p(&config(&format!("{BASE}{text}")));
        let model = (-2.0f64 * (1.1 - 1.0)).exp();
        assert_eq!(p("").unwrap(), [model; 2]);
        assert_eq!(
            p("straggler.probabilities = [0.25, 0.5]").unwrap(),
            [0.25, 0.5]
        );
        let real = "straggler.inject = 'none'\n";
        assert_eq!(
            p(&format!("{real}deadline.quantile = {{ q = 0.75 }}")).unwrap(),
            [0.25; 2]
        );
        let unit = "straggler.unit_seconds = 2";
        let seconds = p(&format!("{real}deadline.seconds = 3\n{unit}")).unwrap();
        assert_eq!(seconds, [(-2.0f64 * 0.5).exp(); 2]);
        let planned = format!("{real}deadline.seconds = 'planned'\n{unit}");
        assert_eq!(p(&planned).unwrap(), [model; 2]);
        // exp(-2 x 999) is 0 in floating point.
        let error = p("straggler.deadline = 1000").unwrap_err().to_string();
        assert!(
            error.contains("worker 0") && error.contains("is 0"),
            "{error}"
        );
    }

    /// Four deviations of one worker's delay: half of phi^-4, whatever the rate, so the model agrees.
    #[test]
    fn median_plus_deviations_asks_the_model_if_its_unit_is_known() {
        let rule = "straggler.inject = 'none'\ndeadline.median_plus_mad = { k = 4 }\n";
        let golden = 0.5 * ((1.0 + 5f64.sqrt()) / 2.0).powi(-4);
        for text in ["", "straggler.unit_seconds = 3"] {
            let found = p(&config(&format!("{BASE}{rule}{text}"))).unwrap();
            assert!(found.iter().all(|p| (p - golden).abs() < 1e-9), "{found:?}");
        }
        // With unequal workers only a model can say whose delays are in the tail.
        let unequal = BASE.replace("rate = 2", "rate = [1, 8]");
        let unequal = config(&format!("{unequal}{rule}straggler.unit_seconds = 3"));
        let found = p(&unequal).unwrap();
        assert!(
            matches!(found[..], [slow, fast] if slow > 0.1 && fast < 1e-3),
            "{found:?}"
        );
    }

    #[test]
    fn the_optimal_deadline_is_no_worse_than_any_number() {
        let with = |deadline: &str| {
            config(&format!(
                "workers = 6\nbudget.mean_bits = 5\nmodel = {{ kind = 'least-squares', dimension = 900 }}\n\
                 straggler = {{ rate = {{ linspace = [0.3, 3] }}, deadline = {deadline} }}"
            ))
        };
        let optimal = PlanInputs::new(&with("'optimal'"), 900).unwrap();
        let choice = optimal.choice.clone().unwrap();
        assert_eq!(choice.best.deadline, optimal.deadline);
        assert!(choice.curve.len() > 20);
        for deadline in [1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0] {
            let plan = planning::plan(&with(&deadline.to_string()), 900).unwrap();
            let point = gradient_code::DeadlinePoint::of(deadline, &plan, Criterion::WorstCase);
            assert!(choice.best.objective <= point.objective, "{deadline}");
        }
        let plan = optimal.plan_without(&[]).unwrap();
        let again = gradient_code::DeadlinePoint::of(optimal.deadline, &plan, Criterion::WorstCase);
        assert_eq!(again, choice.best);
    }

    /// A message of z bits is z x 8192 payload bits and the scale of each bucket of 512, 32 bits.
    #[test]
    fn bandwidth_makes_wide_messages_late() {
        let text = "workers = 2\nbudget.mean_bits = 8\nstraggler = { rate = 2, deadline = 3, bandwidth = [1e6, 2e4] }\n";
        let inputs = PlanInputs::new(&config(text), 8192).unwrap();
        let lateness = inputs.lateness.clone().unwrap();
        let bits = 8.0 * 8192.0 + 16.0 * 32.0;
        let late = |bandwidth: f64| (-2.0 * (3.0 - 1.0 - bits / bandwidth)).exp().min(1.0);
        assert!((lateness.probability(0, 8) - late(1e6)).abs() < 1e-12);
        assert_eq!(lateness.probability(1, 8), 1.0);
        let plan = inputs.plan_without(&[]).unwrap();
        let widths: Vec<u8> = plan.workers.iter().map(|worker| worker.bits).collect();
        assert!(widths[0] > widths[1] && widths[1] < 5, "{widths:?}");
        for (i, worker) in plan.workers.iter().enumerate() {
            let p = lateness.probability(i, worker.bits);
            assert_eq!(worker.straggle_probability, p);
        }
        let real = format!("{text}[deadline]\nquantile = {{ q = 0.5 }}\n");
        let real = real.replace("bandwidth", "inject = 'none', bandwidth");
        assert!(
            PlanInputs::new(&config(&real), 8192)
                .unwrap()
                .lateness
                .is_none()
        );
    }
}
