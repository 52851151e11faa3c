//! `gradcode train`: one rank of a run under MPI. Rank 0 is the master, the others are workers.

use std::path::Path;
use std::time::Duration;

use cluster::mpi::{Answer, MpiOptions, MpiTransport, Session, WorkerRank};
use cluster::{Ending, Engine, Receiver, Signals, Transport, TransportError};
use learner::Learner;
use run_log::Segment;
use serde::{Deserialize, Serialize};
use torch_models::DataClock;

use crate::cli::TrainArgs;
use crate::config::planning::{PlanInputs, plan_of};
use crate::config::resolve::Resolved;
use crate::config::{self, Config};
use crate::exit::{BUG, ENVIRONMENT, Failure, Outcome};
use crate::run::{
    Conduct, Ended, RunDirectory, build_engine, build_learner, build_timed_learner, conduct,
    downlink, resume, rules, signals, threads,
};
use crate::{output, summary};

/// How long a worker rank waits for its briefing, before it knows the configured bounds.
const BRIEFING_TIMEOUT: Duration = Duration::from_secs(600);

/// What the master tells every rank at the start.
#[derive(Serialize, Deserialize)]
struct Briefing {
    /// The resolved configuration.
    config: String,
}

/// What a worker rank answers when it is ready.
#[derive(Serialize, Deserialize)]
struct Ready {
    /// Parameters of its model.
    dimension: usize,
    host: String,
    device: String,
}

/// Runs this rank to its end. Returns only where MPI was not started; otherwise the process exits
/// with the run's code.
///
/// # Errors
/// Started without a launcher, or MPI is not usable.
pub fn run(args: &TrainArgs) -> Outcome {
    let workers = || {
        let loaded = args.sources(4).load();
        loaded.map_or(4, |resolved| resolved.config.workers)
    };
    launch(
        "train",
        workers,
        args.keeping.max_walltime,
        |place, transport, signals| lead(place, transport, args, signals),
    )
}

/// Rank 0 and where it runs.
pub(super) struct Place<'a> {
    /// MPI.
    pub(super) session: &'a Session,
    /// Number of the rank on its node, and ranks there.
    pub(super) node: (usize, usize),
}

/// Starts MPI, lets rank 0 `lead` and the others work until it says stop. Returns only where MPI was
/// not started. `workers` says how many ranks beside the master to recommend where there are none.
///
/// # Errors
/// Started without a launcher, or MPI is not usable.
pub(super) fn launch(
    command: &str,
    workers: impl Fn() -> usize,
    max_walltime: Option<Duration>,
    lead: impl FnOnce(&Place, &mut MpiTransport, Signals) -> Outcome<u8>,
) -> Outcome {
    if !under_a_launcher() {
        return Err(how_to_launch(command, workers()));
    }
    // The session installs the panic hook that ends the whole job; this one would end only this rank.
    let _ = std::panic::take_hook();
    let session = Session::start().map_err(|error| Failure::environment("start MPI", &error))?;
    let signals = signals(max_walltime)?;
    if session.size() < 2 {
        let failure = how_to_launch(command, workers());
        failure.report();
        session.end(Ending::Clean(failure.code))
    }
    let node = session.local();
    if session.rank() == 0 {
        master(session, node, |place, transport| {
            lead(place, transport, signals)
        })
    } else {
        worker(session, node)
    }
}

/// Whether an MPI launcher started this process.
fn under_a_launcher() -> bool {
    [
        "OMPI_COMM_WORLD_SIZE",
        "PMI_SIZE",
        "PMI_RANK",
        "PMIX_RANK",
        "SLURM_PROCID",
        "MPI_LOCALNRANKS",
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some())
}

fn how_to_launch(command: &str, workers: usize) -> Failure {
    let words: Vec<String> = std::env::args().collect();
    let program = words.first().map_or("gradcode", String::as_str);
    let ranks = workers + 1;
    Failure::usage(format!(
        "{command} needs at least 2 MPI ranks: one master and its workers"
    ))
    .hint(format!(
        "mpirun -n {ranks} {program} {}   (more ranks than cores: add --oversubscribe --bind-to none)",
        words.get(1..).unwrap_or_default().join(" ")
    ))
}

// --- the master -----------------------------------------------------------------------------------

fn master(
    session: Session,
    node: (usize, usize),
    lead: impl FnOnce(&Place, &mut MpiTransport) -> Outcome<u8>,
) -> ! {
    let mut transport = match MpiTransport::new(&session, 0, MpiOptions::default()) {
        Ok(transport) => transport,
        Err(error) => {
            Failure::environment("open the transport", &error).report();
            cluster::mpi::abort(i32::from(ENVIRONMENT))
        }
    };
    let place = Place {
        session: &session,
        node,
    };
    let code = match lead(&place, &mut transport) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.code
        }
    };
    let ending = transport.finish(code);
    drop(transport);
    session.end(ending)
}

/// Everything rank 0 does between the start and the end of MPI; returns the exit code.
fn lead(
    place: &Place,
    transport: &mut MpiTransport,
    args: &TrainArgs,
    signals: Signals,
) -> Outcome<u8> {
    let session = place.session;
    let resolved = super::load(&args.sources(session.size() - 1))?;
    let config = &resolved.config;
    config.check_ranks(session.size())?;
    let Some(start) = resume::start(config, &args.keeping.resume, args.overwrite, args.dry_run)?
    else {
        summary::done_before(config);
        return Ok(crate::exit::DONE);
    };
    let directory = start.directory;
    transport.configure(config.workers, options(config));
    let (learner, answers) = set_up(transport, &resolved, place.node)?;
    let mut learner = learner?;
    let hosts = check_answers(answers, learner.dimension())?;
    let dimension = learner.dimension();
    let resumed = start.checkpoint.map(|checkpoint| {
        let load = || resume::load(checkpoint, dimension, config.workers);
        cluster::beside(transport, load).0
    });
    let resumed = resumed.transpose()?;

    let inputs = PlanInputs::new(config, learner.dimension())?;
    let settings = rules(config, &inputs)?;
    let plan = plan_of(config, &inputs)?;
    let ranks = format!("{} ranks, {}", session.size(), session.library());
    summary::before_run(config, &plan, &learner.describe(), &ranks);
    if args.dry_run {
        return Ok(crate::exit::DONE);
    }
    let ended = conduct(Conduct {
        resolved: &resolved,
        settings: &settings,
        plan,
        inputs: &inputs,
        transport,
        learner: &mut *learner,
        directory: &directory,
        log: start.log,
        resume: resumed,
        segment: segment(session, hosts),
        mpi_library: session.library(),
        signals,
        quiet: args.json,
    })?;
    close(&ended, &directory, args)
}

/// The master's own learner, and what every rank answered to its briefing.
pub(super) type SetUp = (Outcome<Box<dyn Learner>>, Vec<(usize, Answer)>);

/// Briefs the workers, and sets up the master's own learner while they set up theirs.
pub(super) fn set_up(
    transport: &mut MpiTransport,
    resolved: &Resolved,
    node: (usize, usize),
) -> Outcome<SetUp> {
    let briefing = Briefing {
        config: resolved.config.to_toml(),
    };
    let text = serde_json::to_string(&briefing)
        .map_err(|error| Failure::environment("write the briefing", &error))?;
    transport.brief(&text);
    let config = &resolved.config;
    let (learner, answers) = std::thread::scope(|scope| {
        let built = scope.spawn(|| build_learner(config, node.0, threads(config, node.1)));
        let answers = transport.answers();
        // Whoever is ready gets signs of life.
        let (built, _) = cluster::beside(transport, || built.join());
        (built, answers)
    });
    let learner =
        learner.unwrap_or_else(|_| Err(Failure::new(BUG, "the master's set-up panicked")));
    Ok((learner, answers.map_err(|error| lost(&error))?))
}

/// Fails with the first rank's reason when a rank could not set itself up; else the ranks' hosts.
pub(super) fn check_answers(
    answers: Vec<(usize, Answer)>,
    dimension: usize,
) -> Outcome<Vec<String>> {
    let mut hosts = Vec::new();
    let mut problems: Vec<(u8, String)> = Vec::new();
    for (rank, answer) in answers {
        match answer.map(|text| serde_json::from_str::<Ready>(&text)) {
            Ok(Ok(ready)) if ready.dimension == dimension => hosts.push(ready.host),
            Ok(Ok(ready)) => problems.push((
                ENVIRONMENT,
                format!(
                    "rank {rank} on {} has a model of {} parameters, the master one of {dimension}: are its files the same?",
                    ready.host, ready.dimension
                ),
            )),
            Ok(Err(error)) => problems.push((BUG, format!("rank {rank} answered with an unreadable text: {error}"))),
            Err((code, reason)) => problems.push((code, format!("rank {rank}: {reason}"))),
        }
    }
    let Some((code, _)) = problems.first() else {
        return Ok(hosts);
    };
    let code = *code;
    let shown: Vec<&str> = problems
        .iter()
        .take(4)
        .map(|(_, text)| text.as_str())
        .collect();
    let more = problems.len().saturating_sub(shown.len());
    let tail = if more > 0 {
        format!("; and {more} ranks more")
    } else {
        String::new()
    };
    Err(Failure::new(code, format!("{}{tail}", shown.join("; "))))
}

fn close(ended: &Ended, directory: &RunDirectory, args: &TrainArgs) -> Outcome<u8> {
    if args.json {
        output::json(&ended.json(directory))?;
    }
    ended.outcome()?;
    summary::after_run(ended, directory);
    Ok(ended.code)
}

pub(super) fn options(config: &Config) -> MpiOptions {
    MpiOptions {
        startup_timeout: patience(config.mpi.startup_timeout_seconds),
        goodbye_timeout: patience(config.mpi.goodbye_timeout_seconds),
    }
}

/// At most a year, since clocks cannot be added to without end.
fn patience(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(365.0 * 86_400.0))
}

fn segment(session: &Session, hosts: Vec<String>) -> Segment {
    let mut hosts: Vec<String> = std::iter::once(session.host()).chain(hosts).collect();
    hosts.sort();
    hosts.dedup();
    Segment {
        ranks: session.size() as u64,
        job_id: std::env::var("SLURM_JOB_ID").unwrap_or_default(),
        hosts: hosts.join(","),
        ..Segment::default()
    }
}

fn lost(error: &TransportError) -> Failure {
    Failure::environment("reach the workers", error)
}

// --- a worker -------------------------------------------------------------------------------------

fn worker(session: Session, node: (usize, usize)) -> ! {
    match serve(&session, node) {
        Ok(ending) => session.end(ending),
        Err(error) => {
            eprintln!("gradcode: rank {}: error: {error}", session.rank());
            cluster::mpi::abort(i32::from(ENVIRONMENT))
        }
    }
}

/// Everything a worker rank does between the start and the end of MPI.
fn serve(session: &Session, node: (usize, usize)) -> Result<Ending, TransportError> {
    let mut link = WorkerRank::new(session, BRIEFING_TIMEOUT)?;
    let text = match link.briefing()? {
        Ok(text) => text,
        Err(ending) => return Ok(ending),
    };
    match prepare(session, &text, node) {
        Ok(prepared) => {
            link.set_patience(prepared.patience);
            link.answer(&Ok(prepared.ready))?;
            let ending = link.serve(prepared.engine, prepared.receiver);
            warn_of_waiting(session, &prepared.clock);
            ending
        }
        Err(failure) => {
            link.answer(&Err((failure.code, failure.message)))?;
            link.await_stop()
        }
    }
}

/// Says so where samples were not read fast enough.
fn warn_of_waiting(session: &Session, clock: &DataClock) {
    const NOTABLE: f64 = 0.05;
    let (waiting, all) = (clock.waiting(), clock.all());
    if waiting > NOTABLE * all {
        eprintln!(
            "gradcode: rank {}: note: {waiting:.1} s of {all:.1} s for gradients went into waiting for \
             samples; more data.loader_threads or data.cache_mb may help",
            session.rank()
        );
    }
}

/// A worker rank that is set up.
struct Prepared {
    engine: Engine,
    receiver: Receiver,
    /// What the master is told.
    ready: String,
    patience: Duration,
    clock: DataClock,
}

fn prepare(session: &Session, text: &str, node: (usize, usize)) -> Outcome<Prepared> {
    let briefing: Briefing = serde_json::from_str(text)
        .map_err(|error| Failure::environment("read the briefing", &error))?;
    let config = config::from_text(&briefing.config, Path::new("briefing"))?.config;
    let threads = threads(&config, node.1);
    let clock = DataClock::default();
    let learner = build_timed_learner(&config, node.0, threads, &clock)?;
    let receiver = Receiver::new(downlink(&config), learner.dimension())
        .map_err(|error| Failure::usage(format!("failed to {error}")))?;
    let ready = Ready {
        dimension: learner.dimension(),
        host: session.host(),
        device: learner.describe().device,
    };
    let ready = serde_json::to_string(&ready)
        .map_err(|error| Failure::environment("write the answer", &error))?;
    let patience = patience(config.mpi.master_timeout_seconds);
    let again = clock.clone();
    let engine = build_engine(&config, learner, move |config| {
        build_timed_learner(config, node.0, threads, &again)
    });
    Ok(Prepared {
        engine,
        receiver,
        ready,
        patience,
        clock,
    })
}
