//! The error of the decoded gradient where the model stands still: what a scheme and a compressor do
//! to one full gradient, measured through the same rounds that train.

use crate::assembly::Parts;
use crate::downlink::Downlink;
use crate::error::RunError;
use crate::in_process::InProcess;
use crate::master::{Belief, Journal, Master};
use crate::norms::Limits;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::worker::Engine;
use gradient_code::Plan;
use learner::{Description, Learner, LearnerError, Metric, OptimizerConfig, PartitionLoss, Slot};
use run_log::IterationRow;
use std::sync::Arc;

/// What to probe.
pub struct ProbeParts<'a> {
    /// The rules, of which the seed, the compressor and the straggling count. Error feedback is left
    /// out: a memory makes rounds depend on each other, and a probe asks what a single one does.
    pub settings: &'a Settings,
    /// The plan.
    pub plan: &'a Plan,
    /// The model and its data. Asked for every partition's gradient once.
    pub learner: &'a mut dyn Learner,
    /// Where the gradients are taken, d coordinates.
    pub parameters: &'a [f32],
    /// The iteration whose minibatches they are of.
    pub iteration: u64,
    /// Number of rounds R. Rounds differ in who answers, in the rounding and in codes that are
    /// redrawn: round r draws what iteration r of a run with this seed would draw.
    pub rounds: u64,
}

/// What was measured. Gradients are sums over partitions, as in the papers: `g = sum_j g_j`.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Rounds R.
    pub rounds: u64,
    /// Mean of `||ghat - g||^2`.
    pub squared_error: f64,
    /// Its standard error; NaN with fewer than 2 rounds.
    pub squared_error_se: f64,
    /// `||mean(ghat) - g||`.
    pub bias: f64,
    /// What `bias` is expected to be, root mean square, if there is none: the square root of ghat's
    /// total variance over R. Where the noise lies in few directions (gradients that are alike), twice
    /// as much is nothing rare. NaN with fewer than 2 rounds.
    pub bias_noise: f64,
    /// The exact gradient g, d coordinates.
    pub exact: Vec<f64>,
    /// `C = max_j ||g_j||^2`, by which a prediction's error bound is multiplied.
    pub largest_partition: f64,
    /// Mean over rounds of what the code alone makes of each partition: `sum_i I_i w_i a_ij`, 1 where it
    /// is unbiased. With blocks the mean over the blocks of their own coefficients.
    pub coefficients: Vec<f64>,
    /// Mean quantized payload bits of the accepted frames in a round.
    pub payload_bits: f64,
    /// Payload bits of a round in which nobody is late.
    pub offered_bits: u64,
    /// Mean number of workers that answered.
    pub responders: f64,
    /// Mean Frobenius norm of the decoding weights; NaN where they are the same in every round.
    pub decoder_norm: f64,
}

/// Runs `parts.rounds` rounds in process at fixed parameters.
///
/// Partition gradients are computed once and kept (n d numbers), so a round costs encoding and
/// decoding alone.
///
/// # Errors
/// If the learner fails, or a round does: see [`RunError`].
pub fn probe(parts: ProbeParts<'_>) -> Result<Probe, RunError> {
    let failed = |source| RunError::Learner {
        what: "compute the partitions' gradients",
        source,
    };
    let gradients = FixedGradients::of(parts.learner, parts.parameters, parts.iteration);
    let gradients = gradients.map_err(failed)?;
    let settings = Settings {
        error_feedback: None,
        downlink: Downlink::F32,
        relative_error_every: 0,
        distortion: Default::default(),
        // What is measured is the scheme.
        limits: Limits {
            refuse: 0.0,
            clip: 0.0,
        },
        replan: None,
        ..parts.settings.clone()
    };
    let engine = Engine::new(Box::new(gradients.clone()), settings.preset, settings.seed)
        .with_generator(settings.generator)
        .with_shrink(settings.shrink);
    let mut observer = Observer::new(&gradients, parts.plan);
    let mut transport = InProcess::new(engine);
    let plan = parts.plan.clone();
    let mut journal = Silent;
    let mut replanner = |_: &Belief| Ok(plan.clone());
    let mut pinned = gradients.clone();
    let mut master = Master::new(Parts {
        settings: &settings,
        transport: &mut transport,
        journal: &mut journal,
        replanner: &mut replanner,
        signals: Signals::default(),
        learner: &mut pinned,
        sums: None,
        optimizer: OptimizerConfig::default()
            .build(gradients.dimension)
            .map_err(|error| failed(LearnerError::Backend(error.to_string())))?,
        plan: plan.clone(),
        checkpoints: None,
        resume: None,
    })?;
    master.begin()?;
    let beta = master.publish_model(0)?;
    for r in 0..parts.rounds {
        let mut row = IterationRow::new(r, plan.workers.len());
        // Nobody tells a probe to stop.
        let Some(round) = master.open_round(r, &beta)? else {
            break;
        };
        master.gather(&round, &mut row)?;
        observer.observe(&master, r);
    }
    let offered_bits = master.messages.offered_bits();
    Ok(observer.finish(gradients, offered_bits))
}

/// Sums over rounds.
struct Observer {
    exact: Vec<f64>,
    /// Sum of ghat - g.
    deviation: Vec<f64>,
    errors: Vec<f64>,
    coefficients: Vec<f64>,
    payload_bits: f64,
    responders: f64,
    decoder_norm: f64,
}

impl Observer {
    fn new(gradients: &FixedGradients, plan: &Plan) -> Self {
        let mut exact = vec![0.0; gradients.dimension];
        for gradient in gradients.partitions.iter() {
            for (sum, &value) in exact.iter_mut().zip(&gradient.0) {
                *sum += f64::from(value);
            }
        }
        Self {
            deviation: vec![0.0; exact.len()],
            exact,
            errors: Vec::new(),
            coefficients: vec![0.0; plan.partitions],
            payload_bits: 0.0,
            responders: 0.0,
            decoder_norm: 0.0,
        }
    }

    fn observe(&mut self, master: &Master<'_>, r: u64) {
        let (plan, estimate) = (&master.plan, &master.estimate);
        let n = plan.partitions as f64;
        let mut error = 0.0;
        for ((sum, &exact), &decoded) in self
            .deviation
            .iter_mut()
            .zip(&self.exact)
            .zip(estimate.gradient())
        {
            let deviation = n * f64::from(decoded) - exact;
            *sum += deviation;
            error += deviation * deviation;
        }
        self.errors.push(error);
        let blocks = plan.blocks();
        for (&worker, weights) in estimate.responders.iter().zip(estimate.weights(plan)) {
            for (row, value) in plan.column(worker, r) {
                let (block, partition) = (row / plan.partitions, row % plan.partitions);
                self.coefficients[partition] += weights[block] * value / blocks as f64;
            }
        }
        self.payload_bits += estimate.payload_bits as f64;
        self.responders += estimate.responders.len() as f64;
        self.decoder_norm += estimate.decoder_norm();
    }

    fn finish(self, gradients: FixedGradients, offered_bits: u64) -> Probe {
        let rounds = self.errors.len() as f64;
        let mean = |sum: f64| sum / rounds;
        let squared_error = mean(self.errors.iter().sum());
        let spread: f64 = self
            .errors
            .iter()
            .map(|error| (error - squared_error).powi(2))
            .sum();
        let bias_squared: f64 = self.deviation.iter().map(|&sum| mean(sum).powi(2)).sum();
        // sum over rounds of ||ghat - mean(ghat)||^2
        let variation = (rounds * (squared_error - bias_squared)).max(0.0);
        let pairs = (rounds - 1.0) * rounds; // 0 / 0 is NaN, as promised
        let squares = |gradient: &(Vec<f32>, PartitionLoss)| {
            let squares = gradient.0.iter().map(|&x| f64::from(x).powi(2));
            squares.sum::<f64>()
        };
        Probe {
            rounds: self.errors.len() as u64,
            squared_error,
            squared_error_se: (spread / pairs).sqrt(),
            bias: bias_squared.sqrt(),
            bias_noise: (variation / pairs).sqrt(),
            largest_partition: gradients.partitions.iter().map(squares).fold(0.0, f64::max),
            exact: self.exact,
            coefficients: self.coefficients.into_iter().map(mean).collect(),
            payload_bits: mean(self.payload_bits),
            offered_bits,
            responders: mean(self.responders),
            decoder_norm: mean(self.decoder_norm),
        }
    }
}

/// A learner whose partition gradients are given, whatever the parameters and the iteration.
#[derive(Clone)]
struct FixedGradients {
    dimension: usize,
    partitions: Arc<[(Vec<f32>, PartitionLoss)]>,
    /// The coded gradient in f64.
    sum: Vec<f64>,
}

impl FixedGradients {
    fn of(
        learner: &mut dyn Learner,
        parameters: &[f32],
        iteration: u64,
    ) -> Result<Self, LearnerError> {
        let (dimension, partitions) = (learner.dimension(), learner.partitions());
        let one = |partition| {
            let mut gradient = vec![0.0; dimension];
            let assignment = [(partition, 1.0)];
            let loss = learner.coded_gradient(parameters, iteration, &assignment, &mut gradient)?;
            Ok((gradient, loss[0]))
        };
        Ok(Self {
            dimension,
            partitions: (0..partitions)
                .map(one)
                .collect::<Result<_, LearnerError>>()?,
            sum: vec![0.0; dimension],
        })
    }
}

impl Learner for FixedGradients {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn initial_parameters(&mut self) -> Vec<f32> {
        vec![0.0; self.dimension]
    }

    fn coded_gradient(
        &mut self,
        _parameters: &[f32],
        _iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        self.sum.fill(0.0);
        let mut losses = Vec::with_capacity(assignment.len());
        for &(partition, coefficient) in assignment {
            let (values, loss) = &self.partitions[partition];
            for (sum, &value) in self.sum.iter_mut().zip(values) {
                *sum += coefficient * f64::from(value);
            }
            losses.push(*loss);
        }
        for (value, sum) in gradient.iter_mut().zip(&self.sum) {
            *value = *sum as f32;
        }
        Ok(losses)
    }

    fn evaluate(&mut self, _parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        Ok(Vec::new())
    }

    fn describe(&self) -> Description {
        Description {
            model: "fixed gradients".to_owned(),
            parameters: self.dimension,
            slots: vec![Slot {
                name: "parameters".to_owned(),
                offset: 0,
                shape: vec![self.dimension],
            }],
            ..Description::default()
        }
    }
}

/// A probe keeps no log.
struct Silent;

impl Journal for Silent {
    fn iteration(&mut self, _row: IterationRow) {}
    fn warning(&mut self, _text: &str) {}
}
