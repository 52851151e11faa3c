//! `gradcode simulate`: runs in one process, workers in virtual time.

use std::path::PathBuf;

use cluster::InProcess;
use run_log::Segment;
use serde_json::Value;

use crate::cli::SimulateArgs;
use crate::config::planning::{PlanInputs, plan_of};
use crate::config::values::Inject;
use crate::config::{Config, Resolved, StudyConfig};
use crate::exit::{Failure, Outcome};
use crate::run::{
    Conduct, Ended, RunDirectory, build_engine, build_learner, conduct, resume, signals, threads,
    virtual_rules,
};
use crate::{output, study, summary};

/// Runs a study, or the whole experiment once or for several seeds.
///
/// # Errors
/// Configuration and environment before a run starts; how the first failing run ended.
pub fn run(args: &SimulateArgs) -> Outcome {
    let sources = args.sources();
    if args.experiment.scheme.is_none()
        && let Some(study) = args.study_sources().load_study(args.study)?
    {
        return run_study(&study, args);
    }
    let resolved = super::load(&sources)?;
    if args.jobs.is_some() {
        return Err(Failure::usage(
            "failed to use --jobs: a single experiment has one run at a time",
        )
        .hint("--study averages its runs in one file, on several threads"));
    }
    warn_of_real_stragglers(&resolved.config);
    let runs = args.runs.unwrap_or(1);
    let mut results = Vec::new();
    for number in 0..runs {
        let mut one = resolved.clone();
        if runs > 1 {
            one.config.seed += u64::from(number);
            one.config.out = numbered(&resolved.config.out, number);
        }
        let Some((ended, directory)) = simulate(&one, args)? else {
            continue;
        };
        results.push(ended.json(&directory));
        if let Err(failure) = ended.outcome() {
            print_results(args, &results)?;
            return Err(failure);
        }
        summary::after_run(&ended, &directory);
    }
    print_results(args, &results)
}

fn run_study(study: &StudyConfig, args: &SimulateArgs) -> Outcome {
    for warning in &study.warnings {
        eprintln!("gradcode: warning: {warning}");
    }
    if let Some(point) = study.points.first() {
        warn_of_real_stragglers(&point.config);
    }
    let options = study::Options {
        overwrite: args.overwrite,
        dry_run: args.dry_run,
        json: args.json,
    };
    study::run(study, &options)
}

fn warn_of_real_stragglers(config: &Config) {
    if config.straggler.inject == Inject::None {
        eprintln!(
            "gradcode: warning: straggler.inject = \"none\" has no meaning in virtual time; arrivals are drawn from the delay model"
        );
    }
}

fn numbered(out: &std::path::Path, number: u32) -> PathBuf {
    out.join(format!("run-{number:03}"))
}

fn print_results(args: &SimulateArgs, results: &[Value]) -> Outcome {
    match (args.json, results) {
        (false, _) | (_, []) => Ok(()),
        (true, [one]) => output::json(one),
        (true, many) => output::json(&serde_json::json!({ "runs": many })),
    }
}

/// One run; `None` where there is nothing to do, or nothing should be done.
fn simulate(resolved: &Resolved, args: &SimulateArgs) -> Outcome<Option<(Ended, RunDirectory)>> {
    let config = &resolved.config;
    let Some(start) = resume::start(config, &args.keeping.resume, args.overwrite, args.dry_run)?
    else {
        summary::done_before(config);
        return Ok(None);
    };
    let directory = start.directory;
    let threads = threads(config, 1);
    let mut learner = build_learner(config, 0, threads)?;
    let resumed = start
        .checkpoint
        .map(|checkpoint| resume::load(checkpoint, learner.dimension(), config.workers))
        .transpose()?;
    let inputs = PlanInputs::new(config, learner.dimension())?;
    let settings = virtual_rules(config, &inputs)?;
    let plan = plan_of(config, &inputs)?;
    summary::before_run(
        config,
        &plan,
        &learner.describe(),
        "in process, virtual time",
    );
    if args.dry_run {
        return Ok(None);
    }
    let rebuild = move |config: &Config| build_learner(config, 0, threads);
    let engine = build_engine(config, rebuild(config)?, rebuild);
    let mut transport = InProcess::new(engine);
    let ended = conduct(Conduct {
        resolved,
        settings: &settings,
        plan,
        inputs: &inputs,
        transport: &mut transport,
        learner: &mut *learner,
        directory: &directory,
        log: start.log,
        resume: resumed,
        segment: Segment {
            ranks: 1,
            hosts: crate::run::hostname(),
            ..Segment::default()
        },
        mpi_library: "none (in process)".to_owned(),
        signals: signals(args.keeping.max_walltime)?,
        quiet: args.json,
    })?;
    Ok(Some((ended, directory)))
}
