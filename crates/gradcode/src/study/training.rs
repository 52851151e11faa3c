//! One run of the training loop, in process and in virtual time, with its results in memory.

use cluster::{Belief, InProcess, Master, Parts, Probe, ProbeParts, RunError, Signals, Tolerance};
use gradient_code::Plan;
use learner::{Cached, Learner, LearnerError};
use run_log::study::Outcome as RunOutcome;

use super::Findings;
use super::journal::Recorder;
use crate::config::Config;
use crate::config::planning::{PlanInputs, plan_of};
use crate::config::values::Every;
use crate::exit::{ENVIRONMENT, Failure, Outcome, USAGE, WORKERS_MISSING};
use crate::run::{StopFlag, build_engine, build_learner, device_sums, virtual_rules};
use cluster::Journal;

/// Iterations after which the model is evaluated: 0, as configured, and the last.
pub fn positions(config: &Config) -> Vec<f64> {
    steps(config).into_iter().map(|step| step as f64).collect()
}

fn steps(config: &Config) -> Vec<u64> {
    let total = config.iterations;
    let mut steps = vec![0];
    if let Every::Steps(every) = config.evaluation.every
        && let Ok(stride) = usize::try_from(every.max(1))
    {
        steps.extend((every.max(1)..=total).step_by(stride));
    }
    if config.evaluation.at_end && steps.last() != Some(&total) {
        steps.push(total);
    }
    steps
}

/// Trains once, after measuring the decoded gradient at the initial point in `probe_rounds` rounds,
/// which change nothing; `None` if it was stopped before the end.
///
/// # Errors
/// What is wrong with settings, files or devices. Divergence is a result.
pub fn run(config: &Config, probe_rounds: u64, stop: &StopFlag) -> Outcome<Option<Findings>> {
    let mut learner = build_learner(config, 0, 1)?;
    let inputs = PlanInputs::new(config, learner.dimension())?;
    let mut settings = virtual_rules(config, &inputs)?;
    if config.inject.is_empty() {
        // Every worker is honest here, and one that sends too much shows what the scheme does.
        settings.tolerance = Tolerance::ANYTHING;
        settings.limits.refuse = 0.0;
    }
    let plan = plan_of(config, &inputs)?;
    let mut facts = facts(&plan);
    facts.push(("planned_deadline".into(), inputs.deadline));
    facts.push(("dimension".into(), learner.dimension() as f64));
    let json = serde_json::to_string(&plan).ok();

    let mut recorder = Recorder::new(steps(config));
    let initial = learner.initial_parameters();
    match learner.evaluate(&initial) {
        Ok(metrics) => recorder.evaluation(0, &metrics),
        Err(error) => return Err(Failure::environment("evaluate the initial model", &error)),
    }
    if probe_rounds > 0 {
        let probe = cluster::probe(ProbeParts {
            settings: &settings,
            plan: &plan,
            learner: &mut *learner,
            parameters: &initial,
            iteration: 0,
            rounds: probe_rounds,
        })
        .map_err(|error| failure(&error))?;
        facts.extend(measured(&probe, &plan));
    }
    let for_rebuild = plan.clone();
    let rebuild = move |config: &Config| worker_learner(config, &for_rebuild);
    let engine = build_engine(config, worker_learner(config, &plan)?, rebuild);
    let mut transport = InProcess::new(engine);
    let optimizer = config
        .build_optimizer(&learner.describe())
        .map_err(|error| Failure::usage(format!("failed to build the optimizer: {error}")))?;
    let mut replanner = |belief: &Belief| inputs.replan(belief).map_err(|error| error.to_string());
    let result = Master::new(Parts {
        settings: &settings,
        transport: &mut transport,
        journal: &mut recorder,
        replanner: &mut replanner,
        signals: Signals {
            stop: stop.clone(),
            ..Signals::default()
        },
        sums: device_sums(config, &*learner),
        learner: &mut *learner,
        optimizer,
        plan,
        checkpoints: None,
        resume: None,
    })
    .map_err(|error| Failure::usage(error.to_string()))?
    .run();
    let outcome = match result {
        Ok(outcome) if outcome.stopped => return Ok(None),
        Ok(_) => RunOutcome::Finished,
        Err(error) if is_divergence(&error) => RunOutcome::Diverged {
            from: recorder.reached(),
        },
        Err(error) => return Err(failure(&error)),
    };
    let outcome = match recorder.first_not_finite() {
        Some(from) => RunOutcome::Diverged { from },
        None => outcome,
    };
    // A run that diverges warns of every gradient on the way; that it did is all there is to say.
    if outcome == RunOutcome::Finished {
        for warning in recorder.warnings() {
            eprintln!("gradcode: warning: {warning}");
        }
    }
    Ok(Some(Findings {
        outcome,
        series: recorder.into_series(),
        facts,
        bounds: vec![],
        plan: json,
    }))
}

/// The learner that plays all workers. A network's partition gradients are kept within a round where
/// those who answer hold many partitions more than once; the convex models are faster without.
fn worker_learner(config: &Config, plan: &Plan) -> Outcome<Box<dyn Learner>> {
    let learner = build_learner(config, 0, 1)?;
    let answered: f64 = plan
        .workers
        .iter()
        .map(|worker| (1.0 - worker.straggle_probability) * worker.load() as f64)
        .sum();
    if config.convex_problem().is_none() && answered > 1.2 * plan.partitions as f64 {
        return Ok(Box::new(Cached::new(learner)));
    }
    Ok(learner)
}

/// What the plan promises.
fn facts(plan: &Plan) -> Vec<(String, f64)> {
    let prediction = &plan.prediction;
    [
        ("computation_load", prediction.computation_load),
        ("bits_offered", prediction.bits_per_coordinate_offered),
        ("bits_expected", prediction.bits_per_coordinate_expected),
        ("scaling_s", prediction.scaling_s),
        ("error_bound", prediction.error_bound),
        ("error_bound_unscaled", prediction.error_bound_unscaled),
        ("unbiased", f64::from(u8::from(prediction.unbiased))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What a probe found, with `||ghat - g||^2` for sums over partitions, as in the papers.
///
/// The bound is the plan's for `||g_j||^2 <= C`, with the largest partition gradient at hand as C.
fn measured(probe: &Probe, plan: &Plan) -> Vec<(String, f64)> {
    let bound = plan.prediction.error_bound_unscaled * probe.largest_partition;
    let squared_norm: f64 = probe.exact.iter().map(|g| g * g).sum();
    let (least, most) = probe.coefficients.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), &coefficient| (coefficient.min(least), coefficient.max(most)),
    );
    [
        ("probe_error", probe.squared_error),
        ("probe_error_rounds_se", probe.squared_error_se),
        ("probe_bound", bound),
        ("probe_bias", probe.bias),
        ("probe_bias_noise", probe.bias_noise),
        ("probe_gradient_norm", squared_norm.sqrt()),
        ("probe_coefficient_least", least),
        ("probe_coefficient_most", most),
        ("probe_payload_bits", probe.payload_bits),
        ("probe_responders", probe.responders),
        ("probe_decoder_norm", probe.decoder_norm),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_nan())
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn is_divergence(error: &RunError) -> bool {
    matches!(
        error,
        RunError::Diverged { .. }
            | RunError::Learner {
                source: LearnerError::NotFinite { .. },
                ..
            }
    )
}

fn failure(error: &RunError) -> Failure {
    let code = match error {
        RunError::TooFewWorkers { .. } | RunError::EmptyRounds { .. } => WORKERS_MISSING,
        RunError::Replan(_) => USAGE,
        _ => ENVIRONMENT,
    };
    Failure::new(code, format!("failed to finish a run: {error}"))
}
