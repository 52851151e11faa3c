//! A run from its plan to its last words, the same over MPI and in process.

use checkpoint::Store;
use cluster::{
    Belief, Checkpoints, Every, LostWorker, Master, Parts, Resume, RunError, Settings, Signals,
    Transport,
};
use gradient_code::Plan;
use learner::{Learner, Metric};
use run_log::{AttributeValue, RunInfo, RunLog, Segment};
use serde_json::{Map, Value, json};

use super::directory::{RunDirectory, Status};
use super::journal::RunJournal;
use super::learner::device_sums;
use super::progress::Progress;
use super::resume::LogStart;
use super::rules::every;
use crate::config::planning::PlanInputs;
use crate::config::{Config, Resolved};
use crate::exit::{
    BUG, DIVERGED, DONE, ENVIRONMENT, Failure, LOG_LOST, Outcome, STOPPED, STOPPED_FOR_GOOD, USAGE,
    WORKERS_MISSING,
};

/// Everything a run is conducted with.
pub struct Conduct<'a> {
    /// The configuration.
    pub resolved: &'a Resolved,
    /// The rules that follow from it.
    pub settings: &'a Settings,
    /// The plan to begin with.
    pub plan: Plan,
    /// For plans without lost workers.
    pub inputs: &'a PlanInputs,
    /// The workers.
    pub transport: &'a mut dyn Transport,
    /// The master's own model and data.
    pub learner: &'a mut dyn Learner,
    /// Where results go.
    pub directory: &'a RunDirectory,
    /// What becomes of a log that is there.
    pub log: LogStart,
    /// What the run goes on from, instead of its beginning.
    pub resume: Option<Resume>,
    /// What the log says of the ranks.
    pub segment: Segment,
    /// The MPI library, or what stands in for it.
    pub mpi_library: String,
    /// What is asked for from outside.
    pub signals: Signals,
    /// Show no progress.
    pub quiet: bool,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code.
    pub code: u8,
    /// Why it failed.
    pub message: Option<String>,
    /// Iterations done.
    pub iterations: u64,
    /// After how many of them the newest checkpoint was written.
    pub checkpoint: Option<u64>,
    /// Workers lost on the way.
    pub lost: Vec<LostWorker>,
    /// Metrics of the last evaluation.
    pub metrics: Vec<Metric>,
}

impl Ended {
    /// The end as one JSON object.
    pub fn json(&self, directory: &RunDirectory) -> Value {
        let metrics: Map<String, Value> = self
            .metrics
            .iter()
            .map(|metric| (metric.name.clone(), json!(metric.value)))
            .collect();
        json!({
            "exit_code": self.code,
            "message": self.message,
            "iterations": self.iterations,
            "checkpoint": self.checkpoint,
            "lost_workers": self.lost,
            "metrics": metrics,
            "log": directory.log(),
        })
    }

    /// The end as the command's outcome.
    ///
    /// # Errors
    /// The failure, if the run failed or was stopped.
    pub fn outcome(&self) -> Outcome {
        match &self.message {
            Some(message) => Err(Failure::new(self.code, message)),
            None => Ok(()),
        }
    }
}

/// Runs the master's loop and leaves a complete run directory behind, however it ends.
///
/// # Errors
/// Before the log is created only, and when it cannot be.
/// Later failures are in [`Ended`].
pub fn conduct(run: Conduct<'_>) -> Outcome<Ended> {
    let config = &run.resolved.config;
    let info = info(&run);
    let first = run.resume.as_ref().map_or(0, Resume::iterations);
    let checkpoints = checkpoints(&run, &info.config_toml);
    let optimizer = config
        .build_optimizer(&run.learner.describe())
        .map_err(|error| Failure::usage(format!("failed to build the optimizer: {error}")))?;
    let log = open_log(&run, &info, first)?;
    run.directory.write_config(&info.config_toml)?;
    let running = Ended {
        code: DONE,
        message: None,
        iterations: first,
        checkpoint: run.resume.as_ref().map(Resume::iterations),
        lost: Vec::new(),
        metrics: Vec::new(),
    };
    write_status(run.directory, config, "running", None, &running)?;

    let progress = Progress::new(first, config.iterations, run.quiet);
    let mut journal = RunJournal::new(log, progress, running.checkpoint);
    let inputs = run.inputs;
    let mut replanner = |belief: &Belief| inputs.replan(belief).map_err(|error| error.to_string());
    let sums = device_sums(config, &*run.learner);
    let master = Master::new(Parts {
        settings: run.settings,
        transport: run.transport,
        journal: &mut journal,
        replanner: &mut replanner,
        signals: run.signals,
        sums,
        learner: run.learner,
        optimizer,
        plan: run.plan,
        checkpoints,
        resume: run.resume,
    });
    let begun = master.is_ok();
    let (result, lost, parameters) = match master {
        Ok(mut master) => {
            let result = master.run();
            let lost = master.lost().to_vec();
            (result, lost, master.parameters().to_vec())
        }
        Err(error) => (Err(error), Vec::new(), Vec::new()),
    };
    let mut ended = match result {
        Ok(outcome) if outcome.stopped => Ended {
            code: match outcome.checkpoint {
                Some(_) => STOPPED,
                None => STOPPED_FOR_GOOD,
            },
            message: Some(stopped(&outcome, config.iterations)),
            iterations: outcome.iterations,
            checkpoint: outcome.checkpoint,
            lost,
            metrics: outcome.metrics,
        },
        Ok(outcome) => Ended {
            code: DONE,
            message: None,
            iterations: outcome.iterations,
            checkpoint: outcome.checkpoint,
            lost,
            metrics: outcome.metrics,
        },
        Err(error) => Ended {
            code: if begun { code_of(&error) } else { USAGE },
            message: Some(reason(&error)),
            iterations: journal.iterations,
            checkpoint: journal.checkpoint,
            lost,
            metrics: Vec::new(),
        },
    };
    if let Err(error) = journal.into_log().finish() {
        let message = format!("failed to write the end of the log: {error}");
        if ended.code == DONE {
            ended.code = LOG_LOST;
        }
        ended.message = Some(match ended.message.take() {
            Some(before) => format!("{before}; {message}"),
            None => message,
        });
    }
    if matches!(ended.code, DONE | STOPPED | STOPPED_FOR_GOOD) {
        save_model(run.learner, &parameters, run.directory);
    }
    let word = match ended.code {
        DONE => "done",
        STOPPED | STOPPED_FOR_GOOD => "stopped",
        _ => "failed",
    };
    let code = Some(ended.code);
    if let Err(failure) = write_status(run.directory, config, word, code, &ended) {
        eprintln!("gradcode: warning: {failure}");
    }
    Ok(ended)
}

/// Where and when checkpoints are written, unless never.
fn checkpoints(run: &Conduct<'_>, toml: &str) -> Option<Checkpoints> {
    let checkpoint = run.resolved.config.checkpoint;
    let every = every(checkpoint.every);
    (every != Every::Never).then(|| Checkpoints {
        store: Store::new(
            RunDirectory::checkpoints(run.directory.path()).root(),
            checkpoint.keep,
        ),
        every,
        config: toml.to_owned(),
    })
}

/// Creates the log, or continues it from iteration `first`.
fn open_log(run: &Conduct<'_>, info: &RunInfo, first: u64) -> Outcome<RunLog> {
    let path = run.directory.log();
    match run.log {
        LogStart::Create => RunLog::create(path, info),
        LogStart::Overwrite => RunLog::overwrite(path, info),
        LogStart::Continue => {
            // Setting up took its time.
            RunDirectory::check_unused(run.directory.path())?;
            // Of the future that will not be.
            let store = RunDirectory::checkpoints(run.directory.path());
            store
                .forget_after(first)
                .map_err(|error| Failure::environment("resume", &error))?;
            RunLog::resume(path, first, info.workers, &run.segment)
        }
    }
    .map_err(|error| Failure::environment("open the log", &error))
}

fn stopped(outcome: &cluster::Outcome, iterations: u64) -> String {
    let done = outcome.iterations;
    let stopped = format!("stopped after {done} of {iterations} iterations");
    match outcome.checkpoint {
        Some(at) if at == done => format!("{stopped}; go on with --resume auto"),
        Some(at) => format!("{stopped}; --resume auto goes on from iteration {at}"),
        None => format!("{stopped}, without a checkpoint"),
    }
}

fn save_model(learner: &mut dyn Learner, parameters: &[f32], directory: &RunDirectory) {
    if let Err(error) = learner.export(parameters, &directory.model()) {
        eprintln!("gradcode: warning: failed to save the model: {error}");
    }
}

fn write_status(
    directory: &RunDirectory,
    config: &Config,
    outcome: &str,
    exit_code: Option<u8>,
    ended: &Ended,
) -> Outcome {
    directory.write_status(&Status {
        outcome,
        exit_code,
        iterations_done: ended.iterations,
        iterations: config.iterations,
        checkpoint: ended.checkpoint,
        lost_workers: &ended.lost,
        message: ended.message.as_deref(),
    })
}

/// The error in words, with the key that helps.
fn reason(error: &RunError) -> String {
    match error {
        RunError::Sums { .. } => {
            format!("{error}; with codec.decode_device = \"cpu\" the CPU does it")
        }
        other => other.to_string(),
    }
}

fn code_of(error: &RunError) -> u8 {
    match error {
        RunError::TooFewWorkers { .. } | RunError::EmptyRounds { .. } | RunError::Replan(_) => {
            WORKERS_MISSING
        }
        RunError::FeedbackPerRound { .. } | RunError::Optimizer(_) => USAGE,
        RunError::Diverged { .. } | RunError::Publish { .. } => DIVERGED,
        // LAPACK failed on finite numbers.
        RunError::Decode { .. } => BUG,
        RunError::Transport(_)
        | RunError::Calibration { .. }
        | RunError::WorkerData { .. }
        | RunError::Learner { .. }
        | RunError::Sums { .. }
        | RunError::Checkpoint(_) => ENVIRONMENT,
    }
}

/// What the log says of the run as a whole.
fn info(run: &Conduct<'_>) -> RunInfo {
    let config = &run.resolved.config;
    let description = run.learner.describe();
    let attribute = |name: &str, value: AttributeValue| (name.to_owned(), value);
    RunInfo {
        title: config.title.clone(),
        source: concat!("gradcode ", env!("CARGO_PKG_VERSION")).to_owned(),
        git_commit: option_env!("GRADCODE_GIT_COMMIT")
            .unwrap_or_default()
            .to_owned(),
        git_dirty: option_env!("GRADCODE_GIT_DIRTY") == Some("1"),
        command_line: std::env::args().collect::<Vec<_>>().join(" "),
        seed: config.seed,
        workers: config.workers,
        dimension: description.parameters as u64,
        mpi_library: run.mpi_library.clone(),
        config_toml: config.to_toml(),
        attributes: vec![
            attribute("model", description.model.into()),
            attribute("device", description.device.into()),
            attribute("training_samples", description.training_samples.into()),
            attribute("validation_samples", description.validation_samples.into()),
            attribute(
                "libtorch_version",
                torch_models::device::versions().libtorch.into(),
            ),
        ],
        segment: Segment {
            start_iteration: run.resume.as_ref().map_or(0, Resume::iterations),
            ..run.segment.clone()
        },
    }
}
