//! Every scheme of the registry through whole runs.

use crate::common::*;
use cluster::{Engine, ErrorFeedback, InProcess, Straggling};
use gradient_code::{
    BlockDesign, CodeKind, Decoder, Decoding, Plan, Scaling, SchemeConfig, Setting, schemes,
};
use gradient_codec::Preset;
use learner::convex::{ConvexConfig, ConvexProblem};
use learner::optimizer::AdamConfig;
use learner::{Learner, OptimizerConfig};
use straggler::{DelayModel, WorkerDelay};

const DIMENSION: usize = 21;

/// Numbers of workers and partitions that schemes are tried with: designs exist for some only.
const SIZES: [(usize, usize); 5] = [(6, 6), (12, 12), (7, 7), (13, 13), (12, 6)];

fn model(workers: usize) -> DelayModel {
    let worker = |i: usize| WorkerDelay::ShiftedExponential {
        shift: 1.0,
        rate: 2.0 + 4.0 * (i as f64 / workers as f64),
    };
    DelayModel::new((0..workers).map(worker).collect()).expect("valid delays")
}

/// The scheme's plan for the first size that it can be planned for, or why there is none.
fn plan_scheme(config: &SchemeConfig, preset: &Preset) -> Result<Plan, Vec<String>> {
    let mut refusals = Vec::new();
    for (workers, partitions) in SIZES {
        let p = model(workers).straggle_probabilities(TAU);
        let setting = Setting {
            partitions,
            straggle_probabilities: &p,
            phi: &|bits| preset.phi(bits, DIMENSION),
            scaling: Scaling::Factor(1.0),
            by_width: None,
            compressor_unbiased: preset.unbiased(),
            seed: 1,
        };
        let budget = budget_for(preset, workers, 8 * workers as u64, DIMENSION);
        match gradient_code::plan(config, &setting, &budget, None) {
            Ok(plan) => return Ok(plan),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    Err(refusals)
}

fn problem_of(plan: &Plan) -> ConvexProblem {
    ConvexProblem::new(&ConvexConfig {
        dimension: DIMENSION,
        samples: 312, // 6, 12 and 13 divide it
        partitions: plan.partitions,
        noise: 0.1,
        seed: 7,
        ..ConvexConfig::default()
    })
    .expect("a valid problem")
}

/// Trains twice and looks at every row.
fn trains(
    plan: &Plan,
    preset: Preset,
    feedback: Option<ErrorFeedback>,
    optimizer: OptimizerConfig,
) {
    let mut settings = settings(
        Straggling::Erase {
            model: model(plan.workers.len()),
            deadline: TAU,
            bandwidth: None,
            unit_seconds: 1.0,
        },
        150,
    );
    settings.relative_error_every = 10;
    settings.preset = preset;
    settings.error_feedback = feedback;
    let train = || {
        let mut engine = Engine::new(Box::new(problem_of(plan)), preset, settings.seed);
        if let Some(feedback) = feedback {
            let (rate, total) = (settings.learning_rate, settings.iterations);
            engine = engine.with_error_feedback(feedback, rate, total);
        }
        let mut transport = InProcess::new(engine);
        let mut learner = problem_of(plan);
        run_on(
            &mut learner,
            &settings,
            &mut transport,
            plan.clone(),
            optimizer,
        )
        .expect("a master")
    };
    let label = format!("{} {:?} {optimizer:?}", plan.scheme, plan.decoder);
    let (outcome, record, parameters) = train();
    let outcome = outcome.unwrap_or_else(|error| panic!("{label}: {error}"));
    assert!(record.warnings.is_empty(), "{label}: {:?}", record.warnings);
    assert_eq!(train().2, parameters, "{label}: not reproducible");
    let mut learner = problem_of(plan);
    let start = learner.initial_parameters();
    let before = learner.evaluate(&start).expect("metrics")[0].value;
    let after = outcome.metrics[0].value;
    assert!(after < 0.3 * before, "{label}: {before} -> {after}");

    let per_round = matches!(plan.decoder, Decoder::PerRound(_));
    for row in &record.rows {
        assert_eq!(row.decoder_norm.is_nan(), !per_round, "{label}");
        assert_eq!(row.relative_error.is_nan(), row.iteration % 10 != 0);
        assert!(row.bits_up_payload <= row.bits_up_offered);
        assert_eq!(row.responders + row.late, plan.active().count() as u64);
        assert_eq!(row.refused, 0);
        assert_eq!(row.loss_decoded.is_nan(), row.responders == 0);
    }
}

/// Each with the compressor and the feedback that it is defined with.
#[test]
fn every_scheme_trains_with_sgd_and_adam() {
    for scheme in schemes::all() {
        let own = scheme
            .compressor()
            .map(|own| own.parse().expect("a preset"));
        let preset = own.unwrap_or(preset());
        let config = SchemeConfig::new(scheme.name());
        let plan = plan_scheme(&config, &preset)
            .unwrap_or_else(|refusals| panic!("{}: {refusals:?}", scheme.name()));
        let feedback = scheme.error_feedback().then(ErrorFeedback::default);
        let adam = AdamConfig::default();
        for optimizer in [OptimizerConfig::default(), OptimizerConfig::Adam(adam)] {
            trains(&plan, preset, feedback, optimizer);
        }
    }
}

/// Every decoding that a scheme leaves a choice of.
#[test]
fn every_decoding_trains() {
    let mut tried = Vec::new();
    for scheme in schemes::all().filter(|scheme| scheme.options().contains(&"decoding")) {
        for decoding in [
            Decoding::Plain,
            Decoding::OneStep,
            Decoding::FirstArrival,
            Decoding::Optimal,
        ] {
            let config = SchemeConfig {
                decoding,
                ..SchemeConfig::new(scheme.name())
            };
            if let Ok(plan) = plan_scheme(&config, &preset()) {
                trains(&plan, preset(), None, OptimizerConfig::default());
                tried.push(format!("{} {decoding}", scheme.name()));
            }
        }
    }
    for expected in [
        "bgc one-step",
        "ehd first-arrival",
        "bgc optimal",
        "od optimal",
    ] {
        assert!(tried.iter().any(|one| one == expected), "{tried:?}");
    }
}

/// A Hadamard code recovers both blocks of the whole gradient when nobody is late: half as long
/// messages, and the steps of plain SGD to rounding.
#[test]
fn a_hadamard_code_makes_the_steps_of_plain_sgd() {
    let (workers, partitions) = (12, 6);
    let hadamard = SchemeConfig {
        design: BlockDesign::BiRegular,
        code: CodeKind::Hadamard,
        blocks: 2,
        ..SchemeConfig::new("ce-agc")
    };
    let delay = WorkerDelay::Exponential { rate: 1.0 };
    let mut settings = settings(
        Straggling::Erase {
            model: DelayModel::new(vec![delay; workers]).expect("valid delays"),
            deadline: 1e3, // nobody is late
            bandwidth: None,
            unit_seconds: 1.0,
        },
        100,
    );
    settings.preset = Preset::F32;
    settings.relative_error_every = 1;
    let train = |config: &SchemeConfig| {
        let setting = Setting {
            partitions,
            straggle_probabilities: &vec![0.1; workers],
            phi: &|_| 0.0,
            scaling: Scaling::Factor(1.0),
            by_width: None,
            compressor_unbiased: true,
            seed: 1,
        };
        let budget = budget_for(&Preset::F32, workers, 0, DIMENSION);
        let plan = gradient_code::plan(config, &setting, &budget, None).expect("a plan");
        let engine = Engine::new(Box::new(problem_of(&plan)), settings.preset, settings.seed);
        let mut transport = InProcess::new(engine);
        let plain = OptimizerConfig::default();
        run_on(
            &mut problem_of(&plan),
            &settings,
            &mut transport,
            plan,
            plain,
        )
        .expect("a master")
    };
    let (_, reference, plain) = train(&SchemeConfig::new("sgd"));
    let (outcome, record, decoded) = train(&hadamard);
    outcome.expect("a complete run");
    for (row, reference) in record.rows.iter().zip(&reference.rows) {
        assert_eq!(row.bits_up_payload, 12 * 32 * 11);
        assert!(row.decoder_norm > 1.0);
        let rounding = 1e-6 * (10.0 + row.decoder_norm) / reference.gradient_norm.min(1.0);
        assert!(row.relative_error < rounding, "{}", row.relative_error);
        assert!((row.loss_decoded / reference.loss - 1.0).abs() < 1e-4);
    }
    let difference = decoded.iter().zip(&plain);
    let squares: f64 = difference.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    assert!(squares.sqrt() < 1e-5, "{}", squares.sqrt());
}
