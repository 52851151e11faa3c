//! Masters killed at random moments, and runs that end as if nothing had happened.
//!
//! Each job is started with `--resume auto` on another number of ranks, and its rank 0 gets a SIGKILL
//! at a moment drawn evenly from the time that an uninterrupted job takes, start-up included. A run
//! goes on, job after job, until one of its jobs is faster than its kill; then the final parameters
//! and every logged row have to equal those of a run that nobody interrupted.

use crate::launch::{Launcher, Limits, kill_rank};
use checkpoint::{Checkpoint, Store};
use counter_rng::{Purpose, rng};
use rand::RngExt;
use run_log::RunReader;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Memories, momentum, drawn arrivals; some seconds of rounds.
const EXPERIMENT: &str = "seed = 11
iterations = 600
workers = 5
evaluation.every = { steps = 150 }
compute.threads = 1
checkpoint.every = { steps = 20 }
model = { kind = \"least-squares\", dimension = 20000 }
data = { samples = 200, batch = 8 }
scheme.kind = \"coco-ef\"
optimizer = { learning_rate = 1e-5, momentum = 0.5 }
straggler = { rate = [2.0, 1.5, 1.0, 0.7, 0.5], deadline = 1.8, inject = \"erase\" }
";

/// Ranks of one job after the other.
const RANKS: [usize; 4] = [5, 3, 2, 4];

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// Masters killed.
    pub kills: u64,
    /// Kills that came before the run had its first checkpoint.
    pub before_a_checkpoint: u64,
    /// Runs that reached their end.
    pub runs: u64,
    /// Seconds that an uninterrupted job takes.
    pub horizon: f64,
    /// Longest time from a kill to the end of its job, seconds.
    pub longest_end: f64,
    /// What is not as promised.
    pub violations: Vec<String>,
}

/// Kills `kills` masters; `tell` is called after every job.
///
/// # Errors
/// If a job cannot be started.
pub fn master_kills(
    launcher: &Launcher,
    program: &Path,
    kills: u64,
    seed: u64,
    mut tell: impl FnMut(&Findings),
) -> Result<Findings> {
    let scratch = tempfile::TempDir::with_prefix("fault-campaign-")?;
    let experiment = scratch.path().join("experiment.toml");
    fs::write(&experiment, EXPERIMENT)?;
    let reference = scratch.path().join("reference");
    simulate(program, &experiment, &reference)?;
    let mut findings = Findings::default();
    let words = |out: &Path| {
        [
            "train".to_owned(),
            experiment.display().to_string(),
            "--out".to_owned(),
            out.display().to_string(),
            "--resume".to_owned(),
            "auto".to_owned(),
        ]
    };
    let limits = Limits::default();

    // How long a job takes when nobody is killed.
    let directory = scratch.path().join("uninterrupted");
    fs::create_dir_all(&directory)?;
    let out = directory.join("run");
    let ended = launcher.run(RANKS[0], program, &words(&out), &directory, limits)?;
    if ended.code != Some(0) {
        return Err(format!("the uninterrupted job failed\n{}", ended.output).into());
    }
    findings.horizon = ended.seconds;
    findings.violations.extend(differences(&out, &reference));

    let mut job = 0u64;
    while findings.kills < kills {
        let directory = scratch.path().join(format!("run-{}", findings.runs));
        fs::create_dir_all(&directory)?;
        let out = directory.join("run");
        loop {
            let mut draws = rng(seed, Purpose::Fault, job, 0);
            let moment = findings.horizon * draws.random::<f64>();
            let ranks = RANKS[(job % RANKS.len() as u64) as usize];
            let mut killed_at = None;
            let ended = launcher.run_watched(
                ranks,
                program,
                &words(&out),
                &directory,
                limits,
                &mut |elapsed: Duration| {
                    let due = elapsed.as_secs_f64() >= moment && findings.kills < kills;
                    if killed_at.is_none() && due && kill_rank(&directory, 0) {
                        killed_at = Some(elapsed.as_secs_f64());
                    }
                },
            )?;
            job += 1;
            let case = format!("run {}, job {job} on {ranks} ranks", findings.runs);
            if ended.hung || !ended.orphans.is_empty() {
                let what = if ended.hung { "hung" } else { "left processes" };
                findings.violations.push(format!("{case} {what}"));
            }
            let Some(killed_at) = killed_at else {
                if ended.code == Some(0) {
                    break;
                }
                let said = ended.output.lines().last().unwrap_or_default();
                let code = ended.code;
                findings.violations.push(format!(
                    "{case} was not killed and ended with {code:?}: {said}"
                ));
                return Ok(findings);
            };
            findings.kills += 1;
            findings.longest_end = findings.longest_end.max(ended.seconds - killed_at);
            match state(&out) {
                Ok(true) => {}
                Ok(false) => findings.before_a_checkpoint += 1,
                Err(what) => findings.violations.push(format!("{case}: {what}")),
            }
            tell(&findings);
        }
        let wrong = differences(&out, &reference);
        let run = findings.runs;
        let wrong = wrong.into_iter().map(|what| format!("run {run}: {what}"));
        findings.violations.extend(wrong);
        findings.runs += 1;
        tell(&findings);
    }
    Ok(findings)
}

/// Whether the run has a checkpoint.
///
/// # Errors
/// If the newest one is not whole, or the log cannot be read or ends before it.
fn state(out: &Path) -> std::result::Result<bool, String> {
    let log = out.join("run.h5");
    let rows = match log.exists() {
        true => RunReader::open(&log)
            .and_then(|log| log.series("iteration"))
            .map_err(|error| format!("the log: {error}"))?,
        false => Vec::new(),
    };
    let store = Store::new(out.join("checkpoints"), 1);
    let iterations = store.iterations().map_err(|error| error.to_string())?;
    let Some(&newest) = iterations.first() else {
        return Ok(false);
    };
    Checkpoint::open(store.path_of(newest))
        .and_then(|checkpoint| checkpoint.verify())
        .map_err(|error| format!("failed to {error}"))?;
    if (rows.len() as u64) < newest {
        let rows = rows.len();
        return Err(format!("the log has {rows} rows, the checkpoint {newest}"));
    }
    Ok(true)
}

/// In what the run at `out` differs from the one at `reference`.
fn differences(out: &Path, reference: &Path) -> Vec<String> {
    let model = |directory: &Path| fs::read(directory.join("model.safetensors"));
    let mut wrong = Vec::new();
    match (model(out), model(reference)) {
        (Ok(a), Ok(b)) if a == b => {}
        (Ok(_), Ok(_)) => wrong.push("the final parameters differ".to_owned()),
        (Err(error), _) | (_, Err(error)) => wrong.push(format!("the model: {error}")),
    }
    for name in ["iteration", "loss", "gradient_norm", "bits_up", "late"] {
        let series = |directory: &Path| -> std::result::Result<Vec<u64>, String> {
            let log = RunReader::open(directory.join("run.h5")).map_err(|e| e.to_string())?;
            let values = log.series(name).map_err(|error| error.to_string())?;
            Ok(values.into_iter().map(f64::to_bits).collect())
        };
        match (series(out), series(reference)) {
            (Ok(a), Ok(b)) if a == b => {}
            (Ok(_), Ok(_)) => wrong.push(format!("{name} differs")),
            (Err(error), _) | (_, Err(error)) => wrong.push(format!("{name}: {error}")),
        }
    }
    wrong
}

fn simulate(program: &Path, experiment: &Path, out: &PathBuf) -> Result<()> {
    let output = Command::new(program)
        .arg("simulate")
        .arg(experiment)
        .arg("--out")
        .arg(out)
        .env("OMP_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}
