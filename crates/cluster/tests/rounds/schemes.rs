//! Every scheme of the registry through whole runs.

use crate::common::*;
use cluster::{Engine, ErrorFeedback, InProcess};
use gradient_code::{Decoder, Plan, Scaling, SchemeConfig, Setting, schemes};
use gradient_codec::Preset;
use learner::convex::{ConvexConfig, ConvexProblem};
use learner::optimizer::AdamConfig;
use learner::{Learner, OptimizerConfig};
use straggler::{DelayModel, WorkerDelay};

const DIMENSION: usize = 21;

/// Sizes n = k that schemes are tried with: designs exist for some only.
const SIZES: [usize; 4] = [6, 12, 7, 13];

fn model(workers: usize) -> DelayModel {
    let worker = |i: usize| WorkerDelay::ShiftedExponential {
        shift: 1.0,
        rate: 2.0 + 4.0 * (i as f64 / workers as f64),
    };
    DelayModel::new((0..workers).map(worker).collect()).expect("valid delays")
}

/// The scheme's plan for the first size that it can be planned for.
fn plan_scheme(name: &str, preset: &Preset) -> Plan {
    let mut refusals = Vec::new();
    for size in SIZES {
        let p = model(size).straggle_probabilities(TAU);
        let setting = Setting {
            partitions: size,
            straggle_probabilities: &p,
            phi: &|bits| preset.phi(bits, DIMENSION),
            scaling: Scaling::Factor(1.0),
            compressor_unbiased: preset.unbiased(),
            seed: 1,
        };
        let budget = budget_for(preset, size, 8 * size as u64, DIMENSION);
        match gradient_code::plan(&SchemeConfig::new(name), &setting, &budget, None) {
            Ok(plan) => return plan,
            Err(error) => refusals.push(error.to_string()),
        }
    }
    panic!("{name}: {refusals:?}")
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

#[test]
fn every_scheme_trains_with_sgd_and_adam() {
    for name in schemes::names() {
        let scheme = schemes::find(name).expect("it is in the registry");
        let preset = scheme
            .compressor()
            .map_or(preset(), |own| own.parse().expect("a preset"));
        let plan = plan_scheme(name, &preset);
        let workers = plan.workers.len();
        let mut settings = settings(
            cluster::Straggling::Erase {
                model: model(workers),
                deadline: TAU,
                unit_seconds: 1.0,
            },
            150,
        );
        settings.relative_error_every = 10;
        settings.preset = preset;
        settings.error_feedback = scheme.error_feedback().then(ErrorFeedback::default);
        let adam = AdamConfig::default();
        for optimizer in [OptimizerConfig::default(), OptimizerConfig::Adam(adam)] {
            let train = || {
                let mut engine = Engine::new(Box::new(problem_of(&plan)), preset, settings.seed);
                if let Some(feedback) = settings.error_feedback {
                    let (rate, total) = (settings.learning_rate, settings.iterations);
                    engine = engine.with_error_feedback(feedback, rate, total);
                }
                let mut transport = InProcess::new(engine);
                let mut learner = problem_of(&plan);
                run_on(
                    &mut learner,
                    &settings,
                    &mut transport,
                    plan.clone(),
                    optimizer,
                )
                .expect("a master")
            };
            let (outcome, record, parameters) = train();
            let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(record.warnings.is_empty(), "{name}: {:?}", record.warnings);
            assert_eq!(train().2, parameters, "{name}: not reproducible");
            let mut learner = problem_of(&plan);
            let start = learner.initial_parameters();
            let before = learner.evaluate(&start).expect("metrics")[0].value;
            let after = outcome.metrics[0].value;
            assert!(
                after < 0.3 * before,
                "{name} {optimizer:?}: {before} -> {after}"
            );

            let per_round = matches!(plan.decoder, Decoder::PerRound(_));
            for row in &record.rows {
                assert_eq!(row.decoder_norm.is_nan(), !per_round, "{name}");
                assert_eq!(row.relative_error.is_nan(), row.iteration % 10 != 0);
                assert!(row.bits_up_payload <= row.bits_up_offered);
                assert_eq!(row.responders + row.late, plan.active().count() as u64);
                assert_eq!(row.refused, 0);
                assert_eq!(row.loss_decoded.is_nan(), row.responders == 0);
            }
        }
    }
}
