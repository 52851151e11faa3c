//! `fault-campaign`: hundreds of runs in which something goes wrong, and very long ones in which
//! nothing may.

use clap::{Args, Parser, Subcommand};
use fault_campaign::launch::{Launcher, Limits};
use fault_campaign::{Case, Deadline, Verdict, combinations, master_kills, soak};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs gradcode under mpirun while things go wrong on purpose, and says whether each run ended as
/// docs/faults.md promises. Exit code 1 on any violation.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Command {
    /// Very many rounds with random delays: no message may enter another round, no memory may grow
    Soak(Soak),
    /// Masters killed at random moments: every run must end as if nothing had happened, bit for bit
    MasterKills(MasterKills),
    /// One rank of a soak (started by `soak` itself)
    #[command(hide = true)]
    SoakRank(SoakRank),
}

#[derive(Args)]
struct Campaign {
    /// Runs, spread evenly over all combinations of fault, phase and deadline
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// What victims and moments are drawn with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults to inject, with commas between: kill, freeze, delay, corrupt, nan, panic, memory, drop; default: all
    #[arg(long, value_delimiter = ',', value_parser = ["kill", "freeze", "delay", "corrupt", "nan", "panic", "memory", "drop"])]
    kinds: Vec<String>,
    /// The program under test; default: gradcode beside this program
    #[arg(long)]
    program: Option<PathBuf>,
    /// Runs at a time; more than one disturb each other's timing, which the verdicts allow for
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// The launcher is Open MPI 5 with ULFM: the master must be told of deaths at once
    #[arg(long)]
    ulfm: bool,
    /// Keep the directories of runs with violations here
    #[arg(long, default_value = "fault-campaign-failures")]
    keep: PathBuf,
    /// One JSON object per run on standard output instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Soak {
    /// Rounds in process, in virtual time
    #[arg(long, default_value_t = 100_000)]
    rounds: u64,
    /// Rounds over MPI with 5 ranks, in real time
    #[arg(long, default_value_t = 10_000)]
    mpi_rounds: u64,
    /// Deadline over MPI, seconds; delays are multiples of it
    #[arg(long, default_value_t = 0.008)]
    deadline: f64,
    /// Coordinates over MPI
    #[arg(long, default_value_t = 20_000)]
    dimension: usize,
}

#[derive(Args)]
struct MasterKills {
    /// How many masters to kill
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// What the moments are drawn with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program under test; default: gradcode beside this program
    #[arg(long)]
    program: Option<PathBuf>,
}

#[derive(Args)]
struct SoakRank {
    rounds: u64,
    deadline: f64,
    dimension: usize,
    directory: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        None => campaign(&cli.campaign),
        Some(Command::Soak(arguments)) => run_soak(arguments),
        Some(Command::MasterKills(arguments)) => kill_masters(arguments),
        Some(Command::SoakRank(arguments)) => soak::rank(
            arguments.rounds,
            arguments.deadline,
            arguments.dimension,
            &arguments.directory,
        ),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fault-campaign: error: {error}");
            ExitCode::from(30)
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What all runs of one combination came to.
#[derive(Default)]
struct Line {
    runs: u64,
    good: u64,
    longest: f64,
    refused: u64,
    lost: usize,
    codes: BTreeMap<String, u64>,
}

fn campaign(arguments: &Campaign) -> Result<bool> {
    let program = match &arguments.program {
        Some(program) => program.canonicalize()?,
        None => beside()?,
    };
    let launcher = Launcher::find()?.with_ulfm(arguments.ulfm);
    if !launcher.survives_deaths() {
        return Err(
            "the launcher is not Open MPI's, whose --enable-recovery the runs need; set MPIEXEC"
                .into(),
        );
    }
    let all = combinations(&arguments.kinds);
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    let failure = std::thread::scope(|scope| {
        let work = || -> std::result::Result<(), String> {
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= arguments.runs {
                    return Ok(());
                }
                one_run(arguments, (&launcher, &program), &all, run, &tally)
                    .map_err(|error| error.to_string())?;
            }
        };
        let threads: Vec<_> = (0..arguments.jobs.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        let mut failures = threads
            .into_iter()
            .filter_map(|thread| match thread.join() {
                Ok(result) => result.err(),
                Err(_) => Some("a panic".to_owned()),
            });
        failures.next()
    });
    if let Some(error) = failure {
        return Err(error.into());
    }
    let Tally { lines, violations } = tally.into_inner().map_err(|error| error.to_string())?;
    if !arguments.json {
        print_table(&all, &lines);
    }
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    eprintln!(
        "{} runs in {minutes:.1} min, {} violations",
        arguments.runs,
        violations.len()
    );
    for violation in &violations {
        eprintln!("violation: {violation}");
    }
    Ok(violations.is_empty())
}

/// All results so far.
#[derive(Default)]
struct Tally {
    /// By combination and size of frames.
    lines: BTreeMap<(usize, bool), Line>,
    violations: Vec<String>,
}

fn one_run(
    arguments: &Campaign,
    (launcher, program): (&Launcher, &Path),
    all: &[(&'static str, &'static str, Deadline)],
    run: u64,
    tally: &Mutex<Tally>,
) -> Result<()> {
    let index = (run % all.len() as u64) as usize;
    let large = (run / all.len() as u64).is_multiple_of(2);
    let case = Case::new(all[index], 10_000 * arguments.seed + run, large);
    let scratch = tempfile::TempDir::with_prefix("fault-campaign-")?;
    let verdict = fault_campaign::run(launcher, program, &case, scratch.path())?;
    let good = verdict.violations.is_empty();
    let mut tally = tally.lock().map_err(|error| error.to_string())?;
    if arguments.json {
        let value = serde_json::json!({ "case": case.to_string(), "verdict": verdict });
        println!("{value}");
    }
    if !arguments.json || !good {
        let word = if good { "as promised" } else { "VIOLATION" };
        eprintln!("{:4} {word:12} {:5.1} s  {case}", run + 1, verdict.seconds);
    }
    if !good {
        let kept = keep(scratch, &arguments.keep, run)?;
        for violation in &verdict.violations {
            eprintln!("       {violation}");
            let text = format!("{case}: {violation} ({})", kept.display());
            tally.violations.push(text);
        }
    }
    note(
        tally.lines.entry((index, case.large)).or_default(),
        &verdict,
    );
    Ok(())
}

/// The gradcode that was built with this program.
fn beside() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("gradcode");
    if program.exists() {
        return Ok(program);
    }
    Err(format!(
        "{} does not exist: build it (cargo build --release -p gradcode), or name another with --program",
        program.display()
    )
    .into())
}

fn keep(scratch: tempfile::TempDir, directory: &Path, run: u64) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let target = directory.join(format!("run-{:04}", run + 1));
    std::fs::create_dir_all(target.join("run"))?;
    for name in [
        "experiment.toml",
        "output.txt",
        "run/run.h5",
        "run/status.json",
    ] {
        let source = scratch.path().join(name);
        if source.exists() {
            std::fs::copy(source, target.join(name))?;
        }
    }
    Ok(target)
}

fn note(line: &mut Line, verdict: &Verdict) {
    line.runs += 1;
    line.good += u64::from(verdict.violations.is_empty());
    line.longest = line.longest.max(verdict.seconds);
    line.refused += verdict.refused;
    line.lost += verdict.lost;
    let code = match verdict.exit_code {
        Some(code) => code.to_string(),
        None => format!("none, mpirun {}", verdict.launcher_code.unwrap_or(-1)),
    };
    *line.codes.entry(code).or_default() += 1;
}

fn print_table(
    all: &[(&'static str, &'static str, Deadline)],
    lines: &BTreeMap<(usize, bool), Line>,
) {
    println!(
        "| fault | phase | deadline | frame | runs | as promised | longest, s | refused | lost | exit codes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for ((index, large), line) in lines {
        let (fault, phase, deadline) = all[*index];
        let deadline = match deadline {
            Deadline::Fixed => "fixed",
            Deadline::Quantile => "quantile",
        };
        let frame = if *large { "2 chunks" } else { "1 chunk" };
        let codes: Vec<String> = line
            .codes
            .iter()
            .map(|(code, count)| format!("{code} ({count})"))
            .collect();
        println!(
            "| {fault} | {phase} | {deadline} | {frame} | {} | {} | {:.1} | {} | {} | {} |",
            line.runs,
            line.good,
            line.longest,
            line.refused,
            line.lost,
            codes.join(", ")
        );
    }
}

fn kill_masters(arguments: &MasterKills) -> Result<bool> {
    let program = match &arguments.program {
        Some(program) => program.canonicalize()?,
        None => beside()?,
    };
    let launcher = Launcher::find()?.default_recovery();
    let (kills, seed) = (arguments.kills, arguments.seed);
    let started = Instant::now();
    let findings = master_kills::master_kills(&launcher, &program, kills, seed, |so_far| {
        eprintln!(
            "{} of {kills} masters killed, {} runs ended, {} violations",
            so_far.kills,
            so_far.runs,
            so_far.violations.len()
        );
    })?;
    println!(
        "{} masters killed in {:.1} min, {} of them before the first checkpoint; {} runs ended as uninterrupted ones do; \
         an uninterrupted job takes {:.1} s, a job ended at most {:.1} s after its master; {} violations",
        findings.kills,
        started.elapsed().as_secs_f64() / 60.0,
        findings.before_a_checkpoint,
        findings.runs,
        findings.horizon,
        findings.longest_end,
        findings.violations.len()
    );
    for violation in &findings.violations {
        println!("  violation: {violation}");
    }
    Ok(findings.violations.is_empty())
}

fn run_soak(arguments: &Soak) -> Result<bool> {
    let mut good = true;
    if arguments.rounds > 0 {
        good &= report("in process", &soak::in_process(arguments.rounds)?);
    }
    if arguments.mpi_rounds > 0 {
        let scratch = tempfile::TempDir::with_prefix("fault-campaign-")?;
        let directory = scratch.path().display().to_string();
        let words = [
            "soak-rank".to_owned(),
            arguments.mpi_rounds.to_string(),
            arguments.deadline.to_string(),
            arguments.dimension.to_string(),
            directory,
        ];
        let expected = 60.0 + 20.0 * arguments.deadline * arguments.mpi_rounds as f64;
        let limits = Limits {
            job: Duration::from_secs_f64(expected),
        };
        let program = std::env::current_exe()?;
        let ended = Launcher::find()?.run(5, &program, &words, scratch.path(), limits)?;
        if ended.hung || ended.code != Some(0) {
            eprintln!("{}", ended.output);
            return Err(
                format!("the job ended with {:?} (hung: {})", ended.code, ended.hung).into(),
            );
        }
        good &= report("5 ranks", &soak::collect(scratch.path())?);
    }
    Ok(good)
}

/// Growth of memory that is no leak: allocators keep what they were given.
const GROWTH: i64 = 8 << 20;

fn report(place: &str, findings: &soak::Findings) -> bool {
    let mib = |bytes: f64| format!("{:.2}", bytes / (1u64 << 20) as f64);
    let growth: Vec<String> = findings
        .growth()
        .iter()
        .map(|bytes| mib(*bytes as f64))
        .collect();
    let early: Vec<String> = findings
        .memory_early
        .iter()
        .map(|bytes| mib(*bytes as f64))
        .collect();
    println!(
        "{place}: {} rounds in {:.1} s, {} answered; {} messages in time, {} times late, {} times behind; \
         memory {} MiB, growth {} MiB; {} violations",
        findings.rounds,
        findings.seconds,
        findings.answered,
        findings.accepted,
        findings.late,
        findings.behind,
        early.join(" "),
        growth.join(" "),
        findings.violations.len()
    );
    for violation in &findings.violations {
        println!("  violation: {violation}");
    }
    let flat = findings.growth().iter().all(|growth| *growth < GROWTH);
    if !flat {
        println!("  violation: memory grows");
    }
    flat && findings.violations.is_empty()
}
