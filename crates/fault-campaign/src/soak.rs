//! Very many rounds with random delays, in which every message says which round it is of.
//!
//! Parameters, losses and gradients are all the number of the iteration: beta_t = t, the loss of every
//! partition is t, its gradient is t + 1 in every coordinate. A worker that is given the parameters of another
//! round, or a master that folds in the message of another round, shows in the next row.

use cluster::mpi::{MpiOptions, MpiTransport, Session, WorkerRank};
use cluster::{
    Belief, DeadlinePolicy, Downlink, Engine, Fault, FaultKind, Faults, InProcess, Journal, Limits,
    Master, Parts, Phase, Receiver, Settings, Signals, Straggling, Tolerance, Transport,
};
use gradient_code::{Budget, Decoder, Plan, Scaling, SchemeConfig, Setting};
use gradient_codec::Preset;
use learner::optimizer::{OptimizerError, OptimizerState};
use learner::{Description, Learner, LearnerError, Metric, Optimizer, PartitionLoss, Second};
use run_log::IterationRow;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WORKERS: usize = 4;
const SEED: u64 = 1;

/// What a soak has shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Rounds run.
    pub rounds: u64,
    /// Rounds that somebody answered.
    pub answered: u64,
    /// Messages that were in time.
    pub accepted: u64,
    /// Times that a worker was late.
    pub late: u64,
    /// Times that a worker was still busy with an earlier round.
    pub behind: u64,
    /// The first few things that were not of their round.
    pub violations: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Resident memory of each process after a tenth of the rounds, bytes.
    pub memory_early: Vec<u64>,
    /// And at the end.
    pub memory_late: Vec<u64>,
}

impl Findings {
    fn note(&mut self, violation: String) {
        if self.violations.len() < 20 {
            self.violations.push(violation);
        }
    }

    /// Growth of each process's memory from a tenth of the rounds to the end, bytes.
    pub fn growth(&self) -> Vec<i64> {
        self.memory_early
            .iter()
            .zip(&self.memory_late)
            .map(|(early, late)| *late as i64 - *early as i64)
            .collect()
    }
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kib.unwrap_or(0)
}

/// Everything is the number of the iteration.
struct Numbered {
    dimension: usize,
    watch: Option<Watch>,
}

/// Where a worker's resident memory is noted, bytes.
struct Watch {
    /// From this iteration on.
    from: u64,
    /// At first, and last.
    noted: Arc<Mutex<(u64, u64)>>,
}

impl Learner for Numbered {
    fn dimension(&self) -> usize {
        self.dimension
    }
    fn partitions(&self) -> usize {
        WORKERS
    }
    fn initial_parameters(&mut self) -> Vec<f32> {
        vec![0.0; self.dimension]
    }
    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        let of_this_round = parameters.iter().all(|beta| *beta == iteration as f32);
        let coefficients: f64 = assignment.iter().map(|(_, a)| a).sum();
        gradient.fill((coefficients * (iteration + 1) as f64) as f32);
        if let Some(watch) = &self.watch
            && iteration >= watch.from
            && iteration.is_multiple_of(16)
            && let Ok(mut noted) = watch.noted.lock()
        {
            noted.1 = resident();
            if noted.0 == 0 {
                noted.0 = noted.1;
            }
        }
        let loss = if of_this_round {
            iteration as f64
        } else {
            -1.0
        };
        let entry = |&(partition, _): &(usize, f64)| PartitionLoss {
            partition,
            loss,
            samples: 1.0,
        };
        Ok(assignment.iter().map(entry).collect())
    }
    fn evaluate(&mut self, _: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        Ok(Vec::new())
    }
    fn describe(&self) -> Description {
        Description {
            parameters: self.dimension,
            ..Description::default()
        }
    }
}

/// beta_t = t, whatever the gradient.
struct Counter(u64);

impl Optimizer for Counter {
    fn step_scaled(
        &mut self,
        parameters: &mut [f32],
        _gradient: &[f32],
        _scale: f32,
        _second: Second<'_>,
        _learning_rate: f32,
    ) {
        self.0 += 1;
        parameters.fill(self.0 as f32);
    }
    fn has_second_moment(&self) -> bool {
        false
    }
    fn state(&self) -> OptimizerState {
        OptimizerState {
            kind: "counter".to_owned(),
            step: self.0,
            vectors: Vec::new(),
        }
    }
    fn restore(&mut self, state: OptimizerState) -> Result<(), OptimizerError> {
        self.0 = state.step;
        Ok(())
    }
}

/// Checks every row and forgets it.
struct Inspector {
    plan: Option<Plan>,
    dimension: usize,
    findings: Findings,
    early: u64,
}

impl Journal for Inspector {
    fn iteration(&mut self, row: IterationRow) {
        let t = row.iteration;
        let findings = &mut self.findings;
        findings.rounds += 1;
        if t == self.early {
            findings.memory_early.push(resident());
        }
        if row.foreign > 0 || row.refused > 0 {
            let (foreign, refused) = (row.foreign, row.refused);
            findings.note(format!(
                "round {t}: {foreign} foreign, {refused} refused messages"
            ));
        }
        let Some(Decoder::Fixed { weights, .. }) = self.plan.as_ref().map(|plan| &plan.decoder)
        else {
            return;
        };
        let mut expected = 0.0;
        for (worker, weight) in weights.iter().enumerate() {
            match row.per_worker.late_iterations[worker] {
                0 => {
                    findings.accepted += 1;
                    let held = self
                        .plan
                        .iter()
                        .flat_map(|plan| &plan.workers[worker].assignment);
                    let coefficients: f64 = held.map(|(_, a)| a).sum();
                    expected += weight * coefficients * (t + 1) as f64 / WORKERS as f64;
                    let loss = row.per_worker.loss[worker];
                    if loss != t as f64 {
                        findings.note(format!(
                            "round {t}: worker {worker} sent the loss of {loss}"
                        ));
                    }
                }
                behind => {
                    findings.late += 1;
                    findings.behind += u64::from(behind > 1);
                }
            }
        }
        if row.responders > 0 {
            findings.answered += 1;
            if row.loss != t as f64 {
                findings.note(format!("round {t}: the loss is {}", row.loss));
            }
        }
        let expected = expected.abs() * (self.dimension as f64).sqrt();
        if (row.gradient_norm - expected).abs() > 1e-4 * expected {
            let norm = row.gradient_norm;
            findings.note(format!("round {t}: the gradient is {norm}, not {expected}"));
        }
    }
    fn plan(&mut self, _: u64, plan: &Plan, _: &str) {
        self.plan = Some(plan.clone());
    }
    fn warning(&mut self, text: &str) {
        self.findings.note(text.to_owned());
    }
}

/// Delays in every phase of a task, some beyond the deadline and some not, in units of it.
fn delays(deadline: f64) -> Faults {
    let delay = |phase, probability, lasts: f64| Fault {
        kind: FaultKind::Delay,
        phase,
        workers: None,
        from: 0,
        to: u64::MAX,
        probability,
        seconds: lasts * deadline,
        factor: 1.0,
    };
    Faults::new(
        SEED,
        vec![
            delay(Phase::Compute, 0.3, 0.4),
            delay(Phase::Compute, 0.1, 1.3),
            delay(Phase::Compute, 0.02, 3.7),
            delay(Phase::Header, 0.2, 0.3),
            delay(Phase::Header, 0.1, 1.1),
            delay(Phase::Payload, 0.1, 0.5),
            delay(Phase::Payload, 0.02, 2.5),
        ],
    )
}

fn settings(rounds: u64, deadline: f64) -> Settings {
    let straggling = Straggling::Real(DeadlinePolicy::Fixed { seconds: deadline });
    Settings {
        seed: SEED,
        max_empty_rounds: u64::MAX,
        give_up_after: u64::MAX,
        give_up_seconds: 1e9,
        tolerance: Tolerance::ANYTHING,
        limits: Limits {
            refuse: 0.0, // gradients grow as the iterations do
            clip: 0.0,
        },
        silence_timeout: 120.0,
        ..Settings::plain(Preset::F32, straggling, rounds, 1.0)
    }
}

fn plan() -> Result<Plan, String> {
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: &[0.2, 0.25, 0.3, 0.35],
        phi: &|_| 0.0,
        by_width: None,
        scaling: Scaling::Factor(1.0),
        compressor_unbiased: true,
        seed: SEED,
    };
    let budget = Budget {
        total_bits: 32 * WORKERS as u64,
        min_bits: 32,
        max_bits: 32,
    };
    let scheme = SchemeConfig::new("osgc");
    gradient_code::replan_without(&[], &scheme, &setting, &budget, None)
        .map_err(|error| error.to_string())
}

fn master(
    transport: &mut dyn Transport,
    rounds: u64,
    deadline: f64,
    dimension: usize,
) -> Result<Findings, String> {
    let settings = settings(rounds, deadline);
    let mut inspector = Inspector {
        plan: None,
        dimension,
        findings: Findings::default(),
        early: rounds / 10,
    };
    let mut learner = Numbered {
        dimension,
        watch: None,
    };
    let mut replanner = |_: &Belief| Err("nobody is lost in a soak".to_owned());
    let started = Instant::now();
    let result = Master::new(Parts {
        settings: &settings,
        transport,
        journal: &mut inspector,
        replanner: &mut replanner,
        signals: Signals::default(),
        learner: &mut learner,
        sums: None,
        optimizer: Box::new(Counter(0)),
        plan: plan()?,
        checkpoints: None,
        resume: None,
    })
    .map_err(|error| error.to_string())?
    .run();
    let mut findings = inspector.findings;
    findings.seconds = started.elapsed().as_secs_f64();
    findings.memory_late.push(resident());
    match result {
        Ok(_) => Ok(findings),
        Err(error) => Err(error.to_string()),
    }
}

fn engine(learner: Numbered, deadline: f64) -> Engine {
    Engine::new(Box::new(learner), Preset::F32, SEED).with_faults(delays(deadline))
}

/// `rounds` rounds in one process, in virtual time.
///
/// # Errors
/// What ended the run early.
pub fn in_process(rounds: u64) -> Result<Findings, String> {
    let (deadline, dimension) = (1.0, 64);
    let learner = Numbered {
        dimension,
        watch: None,
    };
    let mut transport = InProcess::new(engine(learner, deadline));
    master(&mut transport, rounds, deadline, dimension)
}

/// One rank of `rounds` rounds over MPI, in real time; each rank writes what it found into
/// `directory`. Does not return.
pub fn rank(rounds: u64, deadline: f64, dimension: usize, directory: &Path) -> ! {
    let session = match Session::start() {
        Ok(session) => session,
        Err(error) => {
            eprintln!("fault-campaign: failed to start MPI: {error}");
            std::process::exit(30);
        }
    };
    let path = directory.join(format!("rank-{}.json", session.rank()));
    let write = |findings: &Findings| {
        let text = serde_json::to_string(findings).unwrap_or_default();
        if let Err(error) = std::fs::write(&path, text) {
            eprintln!(
                "fault-campaign: failed to write {}: {error}",
                path.display()
            );
        }
    };
    let fail = |text: String| -> ! {
        eprintln!("fault-campaign: rank {}: {text}", session.rank());
        cluster::mpi::abort(30)
    };
    let ending = if session.rank() == 0 {
        let mut transport = match MpiTransport::new(&session, WORKERS, MpiOptions::default()) {
            Ok(transport) => transport,
            Err(error) => fail(error.to_string()),
        };
        match master(&mut transport, rounds, deadline, dimension) {
            Ok(findings) => write(&findings),
            Err(error) => fail(error),
        }
        let ending = transport.finish(0);
        drop(transport);
        ending
    } else {
        let noted = Arc::new(Mutex::new((0, 0)));
        let learner = Numbered {
            dimension,
            watch: Some(Watch {
                from: rounds / 10,
                noted: noted.clone(),
            }),
        };
        let receiver = match Receiver::new(Downlink::F32, dimension) {
            Ok(receiver) => receiver,
            Err(error) => fail(error.to_string()),
        };
        let served = WorkerRank::new(&session, Duration::from_secs(120))
            .and_then(|mut link| link.serve(engine(learner, deadline), receiver));
        let (early, late) = noted.lock().map_or((0, 0), |noted| *noted);
        write(&Findings {
            memory_early: vec![early],
            memory_late: vec![late],
            ..Findings::default()
        });
        match served {
            Ok(ending) => ending,
            Err(error) => fail(error.to_string()),
        }
    };
    session.end(ending)
}

/// What the ranks of a soak over MPI wrote into `directory`.
///
/// # Errors
/// If one of them wrote nothing.
pub fn collect(directory: &Path) -> Result<Findings, String> {
    let read = |rank: usize| -> Result<Findings, String> {
        let path = directory.join(format!("rank-{rank}.json"));
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    };
    let mut findings = read(0)?;
    for rank in 1..=WORKERS {
        let worker = read(rank)?;
        findings.memory_early.extend(worker.memory_early);
        findings.memory_late.extend(worker.memory_late);
    }
    Ok(findings)
}
