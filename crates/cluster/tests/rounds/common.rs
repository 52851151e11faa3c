//! A small least-squares run, assembled by hand.

use cluster::{
    Belief, Checkpoints, Engine, InProcess, Journal, Master, Outcome, Parts, Resume, RunError,
    Settings, Signals, Straggling, Tolerance, Transport,
};
use gradient_code::{Budget, Decoder, PerRound, Plan, Scaling, SchemeConfig, Setting};
use gradient_codec::{BucketNorm, Preset, Widths};
use learner::convex::{ConvexConfig, ConvexProblem, Objective};
use learner::{Learner, Metric, OptimizerConfig, Sums};
use run_log::IterationRow;
use std::sync::atomic::Ordering;
use straggler::{DelayModel, WorkerDelay};

pub const WORKERS: usize = 6;
pub const TAU: f64 = 1.3;

pub fn problem() -> ConvexProblem {
    ConvexProblem::new(&ConvexConfig {
        objective: Objective::LeastSquares,
        dimension: 20,
        samples: 240,
        partitions: WORKERS,
        batch: 0,
        noise: 0.1,
        l2: 0.0,
        seed: 7,
        ..ConvexConfig::default()
    })
    .expect("a valid problem")
}

pub fn delays() -> DelayModel {
    let worker = |i: usize| WorkerDelay::ShiftedExponential {
        shift: 1.0,
        rate: 1.0 + i as f64,
    };
    DelayModel::new((0..WORKERS).map(worker).collect()).expect("valid delays")
}

pub fn preset() -> Preset {
    Preset::QsgdBucketed {
        norm: BucketNorm::Max,
        bucket: 512,
    }
}

pub fn plan_for(dead: &[usize]) -> Plan {
    plan_with(&preset(), 60, dead)
}

/// The plan of `total_bits` bits a coordinate for what a run has learnt.
fn plan_believing(belief: &Belief, total_bits: u64) -> Plan {
    let planned = delays().straggle_probabilities(TAU);
    let p = belief.probabilities.as_ref().unwrap_or(&planned);
    let planned = |bits: u8| preset().phi(bits, 20);
    let phi = |bits: u8| belief.phi.get(&bits).copied().unwrap_or(planned(bits));
    plan_of(&preset(), total_bits, &belief.lost(), p, &phi)
}

/// A plan of `total_bits` bits a coordinate for the widths of `preset`.
pub fn plan_with(preset: &Preset, total_bits: u64, dead: &[usize]) -> Plan {
    plan_of(
        preset,
        total_bits,
        dead,
        &delays().straggle_probabilities(TAU),
        &|bits| preset.phi(bits, 20),
    )
}

fn plan_of(
    preset: &Preset,
    total_bits: u64,
    dead: &[usize],
    p: &[f64],
    phi: &dyn Fn(u8) -> f64,
) -> Plan {
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: p,
        phi,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: preset.unbiased(),
        seed: 0,
    };
    let budget = budget_for(preset, WORKERS, total_bits, 20);
    gradient_code::replan_without(dead, &SchemeConfig::new("joint"), &setting, &budget, None)
        .expect("a plan")
}

/// `total_bits` bits a coordinate where widths can be chosen, else what the preset costs.
pub fn budget_for(preset: &Preset, workers: usize, total_bits: u64, dimension: usize) -> Budget {
    match preset.widths(dimension) {
        Widths::Adjustable { min, max } => Budget {
            total_bits,
            min_bits: min,
            max_bits: max,
        },
        Widths::Fixed(bits) => Budget {
            total_bits: u64::from(bits) * workers as u64,
            min_bits: bits,
            max_bits: bits,
        },
    }
}

/// In which nobody is late, whatever the plan expects.
pub fn everybody_in_time() -> Straggling {
    Straggling::Erase {
        model: delays(),
        deadline: 1e3,
        bandwidth: None,
        unit_seconds: 1.0,
    }
}

/// Compressors of every kind.
pub fn compressors() -> [Preset; 6] {
    let named = |text: &str| text.parse().expect("a preset");
    [
        "qsgd",
        "qsgd-bucketed",
        "sign",
        "one-bit:max",
        "top-k:5",
        "rand-k:5",
    ]
    .map(named)
}

pub fn per_round() -> Decoder {
    Decoder::PerRound(PerRound::default())
}

pub fn settings(straggling: Straggling, iterations: u64) -> Settings {
    Settings {
        seed: 3,
        evaluate_at_end: true,
        give_up_after: 5,
        give_up_seconds: 0.0,
        tolerance: Tolerance::ANYTHING,
        silence_timeout: 100.0,
        grants: 2,
        ..Settings::plain(preset(), straggling, iterations, 0.05)
    }
}

pub fn erase() -> Straggling {
    Straggling::Erase {
        model: delays(),
        deadline: TAU,
        bandwidth: None,
        unit_seconds: 1.0,
    }
}

/// The workers' side of `settings`, with the memories that these ask for.
pub fn remembering_engine(settings: &Settings) -> Engine {
    let engine = Engine::new(Box::new(problem()), settings.preset, settings.seed)
        .with_shrink(settings.shrink);
    match settings.error_feedback {
        Some(feedback) => {
            engine.with_error_feedback(feedback, settings.learning_rate, settings.iterations)
        }
        None => engine,
    }
}

/// [`remembering_engine`] in process.
pub fn remembering(settings: &Settings) -> InProcess {
    InProcess::new(remembering_engine(settings))
}

/// The l2 norm.
pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

pub fn in_process() -> InProcess {
    InProcess::new(Engine::new(Box::new(problem()), preset(), 3))
}

#[derive(Default)]
pub struct Record {
    pub rows: Vec<IterationRow>,
    pub plans: Vec<(u64, Plan)>,
    pub reasons: Vec<String>,
    pub evaluations: Vec<(u64, Vec<Metric>)>,
    pub warnings: Vec<String>,
    /// Iterations after which a checkpoint was complete.
    pub checkpoints: Vec<u64>,
    /// Why nothing can be committed.
    pub full: Option<String>,
    /// Raised after so many iterations.
    pub stop: Option<(u64, Signals)>,
}

impl Journal for Record {
    fn iteration(&mut self, row: IterationRow) {
        if let Some((after, signals)) = &self.stop {
            let due = row.iteration + 1 >= *after;
            signals.stop.store(due, Ordering::Relaxed);
        }
        self.rows.push(row);
    }
    fn evaluation(&mut self, iterations: u64, metrics: &[Metric]) {
        self.evaluations.push((iterations, metrics.to_vec()));
    }
    fn plan(&mut self, start: u64, plan: &Plan, reason: &str) {
        self.reasons.push(reason.to_owned());
        self.plans.push((start, plan.clone()));
    }
    fn note(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
    fn warning(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
    fn commit(&mut self) -> Result<(), String> {
        self.full.clone().map_or(Ok(()), Err)
    }
    fn checkpoint(&mut self, iterations: u64, _seconds: f64) {
        self.checkpoints.push(iterations);
    }
}

/// Runs to the end with `transport`.
pub fn run(settings: &Settings, transport: &mut dyn Transport) -> Run {
    run_plan(settings, transport, plan_for(&[]))
}

/// Runs `plan` to the end with `transport`.
pub fn run_plan(settings: &Settings, transport: &mut dyn Transport, plan: Plan) -> Run {
    let plain = OptimizerConfig::default();
    run_on(&mut problem(), settings, transport, plan, plain).expect("a master")
}

/// How the run ended, what it logged, and its last parameters.
pub type Run = (Result<Outcome, RunError>, Record, Vec<f32>);

/// [`run_plan`] with the master's model and optimizer given; or why the master refuses the plan.
pub fn run_on(
    learner: &mut dyn Learner,
    settings: &Settings,
    transport: &mut dyn Transport,
    plan: Plan,
    optimizer: OptimizerConfig,
) -> Result<Run, RunError> {
    let kept = Kept::default();
    run_kept(learner, settings, transport, plan, optimizer, kept)
}

/// What a run is kept in and summed on, and how far it gets.
#[derive(Default)]
pub struct Kept {
    pub sums: Option<Box<dyn Sums>>,
    pub checkpoints: Option<Checkpoints>,
    pub resume: Option<Resume>,
    /// Stop after so many iterations.
    pub stop_after: Option<u64>,
    /// Why nothing can be committed.
    pub full: Option<String>,
    /// What is asked for from outside.
    pub signals: Signals,
    /// Bits per coordinate of plans that are made on the way; 60 without it.
    pub replan_bits: Option<u64>,
}

/// [`run_on`], with checkpoints.
pub fn run_kept(
    learner: &mut dyn Learner,
    settings: &Settings,
    transport: &mut dyn Transport,
    plan: Plan,
    optimizer: OptimizerConfig,
    kept: Kept,
) -> Result<Run, RunError> {
    let signals = kept.signals;
    let mut record = Record {
        full: kept.full,
        stop: kept.stop_after.map(|after| (after, signals.clone())),
        ..Record::default()
    };
    let dimension = learner.dimension();
    let bits = kept.replan_bits.unwrap_or(60);
    let mut replanner = |belief: &Belief| Ok(plan_believing(belief, bits));
    let mut master = Master::new(Parts {
        settings,
        transport,
        journal: &mut record,
        replanner: &mut replanner,
        signals,
        learner,
        sums: kept.sums,
        optimizer: optimizer.build(dimension).expect("an optimizer"),
        plan,
        checkpoints: kept.checkpoints,
        resume: kept.resume,
    })?;
    let result = master.run();
    let parameters = master.parameters().to_vec();
    drop(master);
    Ok((result, record, parameters))
}
