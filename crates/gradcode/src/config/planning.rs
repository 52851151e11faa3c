//! From a configuration to a [`Plan`]: straggle probabilities, quantization errors, the scheme's inputs.

use cluster::Belief;
use gradient_code::{
    Budget, DeadlineChoice, PASSTHROUGH_BITS, Plan, PlanError, SchemeConfig, Setting,
};
use gradient_codec::Widths;
use straggler::DelayModel;

use super::error::ConfigError;
use super::lateness::{self, Lateness};
use super::phi::Phi;
use super::settings::Config;
use super::values::{PlannedDeadline, Scaling};

/// All that a plan is made from; kept by the master, which plans again when workers are lost.
#[derive(Clone, Debug)]
pub struct PlanInputs {
    /// Seeds what a scheme draws.
    pub seed: u64,
    /// n.
    pub partitions: usize,
    /// The deadline that is planned for, in the unit of the delay model; chosen where the configuration
    /// asks for the best.
    pub deadline: f64,
    /// How the deadline was chosen, if it was.
    pub choice: Option<DeadlineChoice>,
    /// p_i, not counting the time of sending; 1 of a worker that the chosen deadline leaves out.
    pub straggle_probabilities: Vec<f64>,
    /// p_i by the width of messages, where sending them counts.
    pub lateness: Option<Lateness>,
    /// The quantizers' phi by width.
    pub phi: Phi,
    /// Coordinates of a message: l, or a block of it.
    pub message_len: usize,
    /// The scheme and its options.
    pub scheme: SchemeConfig,
    /// Whether messages are unbiased.
    pub unbiased: bool,
    /// Bits.
    pub budget: Budget,
    /// Eta.
    pub scaling: gradient_code::Scaling,
    /// Lambda of two-track decoding, if that is wanted.
    pub two_track: Option<f64>,
}

impl PlanInputs {
    /// The inputs for a model of `dimension` coordinates.
    ///
    /// # Errors
    /// As [`lateness::straggle_probabilities`] and [`lateness::choose`]; [`ConfigError::Pair`] if scheme
    /// and compressor do not go together, [`ConfigError::Phi`] if `codec.phi` does not fit them.
    pub fn new(config: &Config, dimension: usize) -> Result<Self, ConfigError> {
        config.pair(dimension).map_err(|reason| ConfigError::Pair {
            scheme: config.scheme.kind.to_string(),
            codec: config.codec_text(),
            reason,
            keys: config.deciding(&[
                "scheme.kind",
                "codec.preset",
                "codec.shrink",
                "codec.error_feedback",
            ]),
        })?;
        let message_len = message_len(config, dimension);
        let mut inputs = PlanInputs {
            seed: config.seed,
            partitions: config.partitions,
            deadline: f64::NAN,
            choice: None,
            straggle_probabilities: Vec::new(),
            lateness: None,
            phi: Phi::new(config, message_len)?,
            message_len,
            scheme: config.scheme.options.clone(),
            unbiased: config.sends_unbiased(),
            budget: budget(config, message_len),
            scaling: match config.budget.scaling {
                Scaling::Fixed(eta) => gradient_code::Scaling::Factor(eta),
                Scaling::Balanced(factor) => gradient_code::Scaling::Balanced(factor),
            },
            two_track: config
                .optimizer
                .two_track
                .then_some(config.optimizer.lambda),
        };
        match config.straggler.deadline {
            PlannedDeadline::Units(deadline) => {
                let p = lateness::straggle_probabilities(config, Some(deadline))?;
                inputs.deadline = deadline;
                inputs.straggle_probabilities = p;
                inputs.lateness = lateness::by_width(config, deadline, message_len)?;
                Ok(inputs)
            }
            PlannedDeadline::Optimal(criterion) => {
                inputs.lateness = lateness::by_width(config, f64::NAN, message_len)?;
                let choice = lateness::choose(config, &inputs, criterion)?;
                let mut chosen = inputs.at(&config.delay_model()?, choice.best.deadline);
                if config.has_real_deadline() {
                    let planned = Some(chosen.deadline);
                    chosen.straggle_probabilities =
                        lateness::straggle_probabilities(config, planned)?;
                }
                Ok(PlanInputs {
                    choice: Some(choice),
                    ..chosen
                })
            }
        }
    }

    /// The same inputs for another deadline of the delay model. Workers that are never in time at it
    /// (p_i = 1) are planned without.
    pub fn at(&self, model: &DelayModel, deadline: f64) -> Self {
        Self {
            deadline,
            straggle_probabilities: model.straggle_probabilities(deadline),
            lateness: self.lateness.clone().map(|lateness| Lateness {
                deadline,
                ..lateness
            }),
            ..self.clone()
        }
    }

    /// The plan that goes on when the workers in `dead` are lost; the first one when none is.
    ///
    /// # Errors
    /// As [`gradient_code::replan_without`].
    pub fn plan_without(&self, dead: &[usize]) -> Result<Plan, PlanError> {
        let (p, late) = (&self.straggle_probabilities, self.lateness.as_ref());
        self.plan_with(dead, p, late, &|bits| self.phi.at(bits))
    }

    /// The plan for what a run has learnt of its workers.
    ///
    /// # Errors
    /// As [`gradient_code::replan_without`].
    pub fn replan(&self, belief: &Belief) -> Result<Plan, PlanError> {
        let corrected = self.phi.corrected(&belief.phi);
        let phi = |bits: u8| corrected.get(&bits).copied().unwrap_or(0.0);
        let (p, late) = match belief.probabilities.as_deref() {
            // What was observed holds for the widths that were in use, and is taken as it is.
            Some(learnt) => (learnt, None),
            None => (&*self.straggle_probabilities, self.lateness.as_ref()),
        };
        self.plan_with(&belief.lost(), p, late, &phi)
    }

    fn plan_with(
        &self,
        dead: &[usize],
        probabilities: &[f64],
        lateness: Option<&Lateness>,
        phi: &dyn Fn(u8) -> f64,
    ) -> Result<Plan, PlanError> {
        let late = lateness
            .map(|lateness| move |worker: usize, bits: u8| lateness.probability(worker, bits));
        let setting = Setting {
            partitions: self.partitions,
            straggle_probabilities: probabilities,
            phi,
            scaling: self.scaling,
            by_width: late.as_ref().map(|late| late as &dyn Fn(usize, u8) -> f64),
            compressor_unbiased: self.unbiased,
            seed: self.seed,
        };
        gradient_code::replan_without(dead, &self.scheme, &setting, &self.budget, self.two_track)
    }
}

/// Coordinates of a message about a model of `dimension` coordinates.
fn message_len(config: &Config, dimension: usize) -> usize {
    let in_blocks = config.scheme.kind.scheme().options().contains(&"blocks");
    let blocks = if in_blocks {
        config.scheme.options.blocks
    } else {
        1
    };
    dimension.div_ceil(blocks.max(1))
}

/// The bits that the planner may spend on messages of `dimension` coordinates.
fn budget(config: &Config, dimension: usize) -> Budget {
    let fixed = |bits: u8| Budget {
        total_bits: u64::from(bits) * config.workers as u64,
        min_bits: bits,
        max_bits: bits,
    };
    match (config.total_bits(), config.preset().widths(dimension)) {
        (Some(total_bits), Widths::Adjustable { min, max }) => Budget {
            total_bits,
            min_bits: min,
            max_bits: config.budget.max_bits.min(max),
        },
        // Nothing is quantized: everybody sends f32, which no width competes with.
        _ if !config.quantizes() => fixed(PASSTHROUGH_BITS),
        (_, Widths::Fixed(bits)) => fixed(bits),
        // The check has asked for a budget.
        (None, Widths::Adjustable { min, .. }) => fixed(min),
    }
}

/// Plans `config` for a model of `dimension` coordinates.
///
/// # Errors
/// [`ConfigError::Probability`], or [`ConfigError::Plan`] for what the scheme cannot do.
pub fn plan(config: &Config, dimension: usize) -> Result<Plan, ConfigError> {
    plan_of(config, &PlanInputs::new(config, dimension)?)
}

/// The plan of `config` from inputs that were made for it.
///
/// # Errors
/// [`ConfigError::Plan`] for what the scheme cannot do.
pub fn plan_of(config: &Config, inputs: &PlanInputs) -> Result<Plan, ConfigError> {
    let plan = inputs.plan_without(&[]);
    plan.map_err(|error| config.refused_plan(&error))
}

/// What to say when a first plan leaves workers out because they are never in time.
pub fn left_out(plan: &Plan) -> Option<String> {
    let never = |&i: &usize| plan.workers[i].straggle_probability == 1.0;
    let workers: Vec<String> = (0..plan.k()).filter(never).map(|i| i.to_string()).collect();
    (!workers.is_empty()).then(|| {
        format!(
            "planned without worker{} {}: never in time at this deadline",
            if workers.len() == 1 { "" } else { "s" },
            workers.join(", ")
        )
    })
}

/// What to say when the plan cannot spend the budget: no worker sends more than `budget.max_bits` bits per
/// coordinate of its message, which is shorter than the model with block codes. Schemes are then not
/// compared at equal bits.
pub fn shortfall(config: &Config, plan: &Plan) -> Option<String> {
    let total = config.total_bits()? as f64;
    let offered = plan.prediction.bits_per_coordinate_offered;
    // Where bits take time, some are better not spent.
    (config.quantizes() && config.straggler.bandwidth.is_none() && offered < total * (1.0 - 1e-9)).then(|| {
        format!(
            "scheme {} spends {offered} of the {total} bits per coordinate of the budget: no worker sends more than \
             budget.max_bits = {} per coordinate of a message{}",
            plan.scheme,
            config.budget.max_bits,
            if plan.blocks() > 1 {
                format!(", and messages have 1/{} of the model's", plan.blocks())
            } else {
                String::new()
            }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::config;
    use super::*;

    /// k = n = 10, psi = linspace(0.1, 2, 10), tau = 1.1 and the balanced eta: the optimal residual
    /// bits, F = S and n^2/S, computed independently of this program.
    #[test]
    fn the_papers_setting_gives_the_golden_rows() {
        for (residual, bits, s, bound) in [
            (10, [0, 0, 0, 0, 0, 2, 2, 2, 2, 2], 0.745010063, 134.226375),
            (50, [0, 0, 0, 7, 7, 7, 7, 7, 7, 8], 0.980473978, 101.991488),
        ] {
            let config = config(&format!(
                "workers = 10\nbudget.residual_bits = {residual}\nbudget.scaling = {{ balanced = 1.0 }}\n\
                 codec.preset = 'qsgd'\nstraggler.rate = {{ linspace = [0.1, 2.0] }}"
            ));
            let plan = plan(&config, 3_440_060).unwrap();
            let residuals: Vec<u8> = plan.workers.iter().map(|worker| worker.bits - 2).collect();
            assert_eq!(residuals, bits);
            assert!(
                (plan.prediction.scaling_s - s).abs() < 1e-9,
                "{}",
                plan.prediction.scaling_s
            );
            assert!(
                (plan.prediction.error_bound - bound).abs() < 1e-6,
                "{}",
                plan.prediction.error_bound
            );
        }
    }

    /// Seven workers with messages of half the model and at most 16 bits: 56 of the 70 bits.
    #[test]
    fn a_budget_that_short_messages_cannot_spend_is_said() {
        let said = |text: &str| {
            let config = config(&format!("workers = 7\n{text}"));
            shortfall(&config, &plan(&config, 1000).unwrap())
        };
        let ce_agc = "scheme = { kind = 'ce-agc', design = 'bibd', degree = 3 }\n";
        let warning = said(&format!("{ce_agc}budget.mean_bits = 10")).unwrap();
        assert!(
            warning.contains("56 of the 70") && warning.contains("1/2 of the model"),
            "{warning}"
        );
        for text in [
            &format!("{ce_agc}budget.mean_bits = 8"),
            "budget.mean_bits = 10",
            "scheme.kind = 'sgd'",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }

    #[test]
    fn unquantized_schemes_plan_with_f32() {
        for text in [
            "codec.preset = 'f32'",
            "scheme.kind = 'sgd'",
            "scheme.kind = 'osgc'\ncodec.preset = 'f32'",
        ] {
            let plan = plan(&config(&format!("workers = 4\n{text}")), 100).unwrap();
            assert!(
                plan.workers
                    .iter()
                    .all(|worker| worker.bits == PASSTHROUGH_BITS),
                "{text}"
            );
        }
    }
}
