//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;
use crate::run::resume::ResumeFrom;
use bit_allocation::Method;

mod codec;
mod models;

pub use codec::{CodecCommand, PhiArgs};
pub use models::{
    CheckArgs, DataCommand, DetectArgs, EvalArgs, PictureFormat, SynthArgs, TokenizeArgs,
};

/// Coded, quantized distributed training over MPI.
#[derive(Debug, Parser)]
#[command(name = "gradcode", version, about, after_long_help = first_steps(), arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  gradcode doctor                                        is this machine ready?
  gradcode data synth --out data/quickstart              a small data set to detect shapes in
  gradcode plan configs/quickstart.toml                  who computes what, with how many bits
  mpirun -n 5 gradcode train configs/quickstart.toml     train: 1 master and 4 workers
  gradcode report runs/quickstart/run.h5                 what came of it

Exit codes:
";

fn first_steps() -> String {
    let mut text = FIRST_STEPS.to_owned();
    for (code, meaning) in crate::exit::CODES {
        text.push_str(&format!("  {code:>2}  {meaning}\n"));
    }
    text
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train under mpirun or srun: rank 0 is the master, the others are workers.
    Train(TrainArgs),
    /// Run the same loop in one process, with workers in virtual time and without MPI; run studies of
    /// many schemes and seeds.
    Simulate(SimulateArgs),
    /// Measure the workers under mpirun or srun, fit their delays, and write a cluster file.
    Calibrate(CalibrateArgs),
    /// Print the code, the bits, the loads and the predicted error of an experiment.
    Plan(PlanArgs),
    /// Allocate bits to workers, given their straggle probabilities.
    Allocate(AllocateArgs),
    /// Summarise, compare and plot runs.
    Report(crate::report::ReportArgs),
    /// Evaluate trained models on held-out data, or detections in COCO's results format.
    Eval(EvalArgs),
    /// Find objects in images with trained detectors, and draw them side by side.
    Detect(DetectArgs),
    /// Make or check data sets in COCO format.
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure compressors.
    #[command(subcommand)]
    Codec(CodecCommand),
    /// Look at the machine: MPI, libtorch, GPUs, HDF5, threads, limits.
    Doctor(DoctorArgs),
    /// Print or check configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// An experiment and what is laid over it.
#[derive(Args, Clone, Debug)]
pub struct ExperimentArgs {
    /// The experiment: what is computed (TOML).
    pub experiment: PathBuf,
    /// The cluster: where it is computed (TOML, laid over the experiment).
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
    /// Override a key, e.g. --set optimizer.learning_rate=0.01 (TOML; a bare word is a string).
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Of a study, this scheme alone, by its label; swept keys take their first value unless set.
    #[arg(long, value_name = "LABEL")]
    pub scheme: Option<String>,
}

impl ExperimentArgs {
    /// The layers to load.
    pub fn sources(&self) -> Sources {
        Sources {
            experiment: self.experiment.clone(),
            cluster: self.cluster.clone(),
            set: self.set.clone(),
            scheme: self.scheme.clone(),
            ..Sources::default()
        }
    }
}

/// What a run starts from.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// Start from this safetensors or torch.save file (model.weights).
    #[arg(long, value_name = "FILE")]
    pub init: Option<String>,
    /// Layers that tell classes apart start anew where the file has other classes
    /// (model.ignore_head).
    #[arg(long)]
    pub init_ignore_head: bool,
    /// Tensors that the file lacks start anew (model.partial_weights).
    #[arg(long)]
    pub init_partial: bool,
}

impl InitArgs {
    /// The keys that these arguments are short for.
    fn set(&self) -> impl Iterator<Item = String> {
        let file = self.init.as_ref();
        let flags = [
            ("model.ignore_head=true", self.init_ignore_head),
            ("model.partial_weights=true", self.init_partial),
        ];
        file.map(|file| format!("model.weights={}", toml::Value::String(file.clone())))
            .into_iter()
            .chain(
                flags
                    .into_iter()
                    .filter(|(_, set)| *set)
                    .map(|(key, _)| key.to_owned()),
            )
    }
}

/// How a run is continued, and when it is broken off.
#[derive(Args, Clone, Debug)]
pub struct KeepingArgs {
    /// Go on from a checkpoint: `auto` takes the newest of the run directory, or begins where there is
    /// none; a path names one, or another run's directory. [default: never]
    #[arg(
        long,
        value_name = "auto|never|PATH",
        default_value = "never",
        hide_default_value = true,
        conflicts_with = "overwrite"
    )]
    pub resume: ResumeFrom,
    /// Stop with a checkpoint and exit code 85 in time before so long after the start: seconds, or
    /// e.g. 3h50m.
    #[arg(long, value_name = "TIME", value_parser = seconds_or_duration)]
    pub max_walltime: Option<Duration>,
}

fn seconds_or_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    seconds
        .or_else(|_| humantime::parse_duration(text))
        .map_err(|error| format!("{error}; expected seconds, or e.g. 3h50m"))
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  mpirun -n 5 gradcode train configs/quickstart.toml
  mpirun -n 3 gradcode train configs/quickstart.toml          4 workers on 2 ranks
  srun gradcode train exp.toml --cluster configs/clusters/slurm-cpu.toml
  mpirun -n 5 gradcode train exp.toml --set optimizer.learning_rate=0.01 --out runs/slow
  mpirun -n 5 gradcode train exp.toml --resume auto --max-walltime 3h50m    again and again until done
  mpirun -n 5 gradcode train exp.toml --init coco.pth --init-ignore-head    fine-tune on other classes

More ranks than cores: mpirun --oversubscribe --bind-to none, and OMP_NUM_THREADS=1.")]
pub struct TrainArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// The run directory; default: `out` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace an existing run.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub init: InitArgs,
    #[command(flatten)]
    pub keeping: KeepingArgs,
    /// Load everything, print settings and plan, and stop before the first iteration.
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object on standard output at the end.
    #[arg(long)]
    pub json: bool,
}

impl TrainArgs {
    /// The layers to load; `worker_ranks` is the default number of workers.
    pub fn sources(&self, worker_ranks: usize) -> Sources {
        let mut sources = Sources {
            out: self.out.clone(),
            worker_ranks: Some(worker_ranks),
            ..self.experiment.sources()
        };
        sources.set.extend(self.init.set());
        sources
    }
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode simulate configs/quickstart.toml --set iterations=50
  gradcode simulate exp.toml --runs 10 --out runs/ten          seeds seed, seed + 1, ...
  gradcode simulate exp.toml --study --runs 10                 the same, averaged, in one file
  gradcode simulate study.toml --dry-run                       the points of a study and their plans
  gradcode simulate study.toml                                 all of it; run it again to go on

A file with a [[scheme]] list, [sweep] or [study] is a study: every run of every point goes into
OUT/study.h5, with means and standard errors; `gradcode report --compare OUT` draws it. Run r takes
the seed `seed + r` at every point, so the schemes meet the same data and the same stragglers. A
study that was stopped is resumed by the same command; more --runs are added to a finished one.

A simulated run and an MPI run of the same experiment with inject = \"erase\" give the same losses
to the last bit.")]
pub struct SimulateArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// The run directory; default: `out` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs with seeds seed, seed + 1, ...: of every point of a study (default: study.runs), or of a
    /// single experiment (default: 1; more than one go to OUT/run-000, OUT/run-001, ...).
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: Option<u32>,
    /// Runs of a study at once; default: study.jobs, or one per core.
    #[arg(long, value_name = "J")]
    pub jobs: Option<usize>,
    /// Take a single experiment as a study of one point.
    #[arg(long, conflicts_with = "scheme")]
    pub study: bool,
    /// Replace an existing run or study.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub init: InitArgs,
    #[command(flatten)]
    pub keeping: KeepingArgs,
    /// Load everything, print settings and plan, and stop before the first iteration.
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object on standard output at the end.
    #[arg(long)]
    pub json: bool,
}

impl SimulateArgs {
    /// The layers of a study, in which --runs and --jobs are keys.
    pub fn study_sources(&self) -> Sources {
        let mut sources = self.sources();
        let runs = self.runs.map(|runs| format!("study.runs={runs}"));
        let jobs = self.jobs.map(|jobs| format!("study.jobs={jobs}"));
        sources.set.extend(runs.into_iter().chain(jobs));
        sources
    }

    /// The layers to load.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources {
            out: self.out.clone(),
            ..self.experiment.sources()
        };
        sources.set.extend(self.init.set());
        sources
    }
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  mpirun -n 5 gradcode calibrate configs/quickstart.toml --out cluster.toml
  srun gradcode calibrate exp.toml --cluster configs/clusters/slurm-cpu.toml --rounds 500 --limit 2
  mpirun -n 5 gradcode train configs/quickstart.toml --cluster cluster.toml

Every worker computes at the load and the width that the experiment plans, then at other loads and
widths; nothing is learnt. Its reports are fitted by a shifted exponential or an exponential, whichever
explains all workers better, and the deadline with the least tau (1 + 1/S) is chosen for the experiment's
scheme. The file says how well it all fits. docs/deadlines.md explains it.")]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Rounds that delays are fitted to; half as many again and more measure other loads and widths.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = rounds)]
    pub rounds: usize,
    /// Wait at most so many seconds for reports; later ones are known to be later, and no more.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub limit: Option<f64>,
    /// How often the intervals hold the true values.
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = share)]
    pub confidence: f64,
    /// The cluster file to write.
    #[arg(long, value_name = "FILE", default_value = "cluster.toml")]
    pub out: PathBuf,
    /// Write the measured delays themselves too, for straggler.model = "trace".
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Replace files that exist.
    #[arg(long)]
    pub overwrite: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

impl CalibrateArgs {
    /// The layers to load; `worker_ranks` is the default number of workers.
    pub fn sources(&self, worker_ranks: usize) -> Sources {
        Sources {
            worker_ranks: Some(worker_ranks),
            ..self.experiment.sources()
        }
    }
}

fn rounds(text: &str) -> Result<usize, String> {
    let value: usize = text
        .parse()
        .map_err(|_| "expected a whole number".to_owned())?;
    (value >= 10)
        .then_some(value)
        .ok_or_else(|| "needs at least 10".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let valid = value.is_finite() && value > 0.0;
    valid
        .then_some(value)
        .ok_or_else(|| "must be above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let valid = value > 0.0 && value < 1.0;
    valid
        .then_some(value)
        .ok_or_else(|| "must lie between 0 and 1".to_owned())
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode plan configs/quickstart.toml
  gradcode plan configs/coco-mobilenetv3.toml --set budget.residual_bits=50 --json
  gradcode plan exp.toml --set scheme.kind=osgc
  gradcode plan exp.toml --deadlines                     what other deadlines promise
  gradcode plan exp.toml --set straggler.deadline=optimal

Needs neither MPI nor the images. The model's size comes from model.dimension if that is set, else
from the model and its classes (model.classes, or the annotation file's categories).")]
pub struct PlanArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Show tau (1 + 1/S(tau)) over the deadlines tau, also where the deadline is a number.
    #[arg(long)]
    pub deadlines: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode allocate --probabilities 0.9,0.8,0.5,0.2 --budget 20 --dimension 3440060
  gradcode allocate --probabilities @p.txt --budget 50000 --dimension 1000000 --scaling 1e-4 --json
  gradcode allocate --probabilities 0.99,0.2 --budget 6 --dimension 1000 --allow-idle --method dp

A file after @ holds probabilities between commas, spaces or line breaks. `bound` is proved: no
allocation has a higher utility F; `optimal` says that this one reaches it.")]
pub struct AllocateArgs {
    /// Straggle probabilities p_i, between 0 and 1, as a list or @FILE.
    #[arg(long, value_name = "LIST|@FILE")]
    pub probabilities: String,
    /// Z_tot, bits per coordinate over all workers; at least 2 for each unless --allow-idle.
    #[arg(long, value_name = "BITS")]
    pub budget: u64,
    /// l, coordinates of the model.
    #[arg(long, value_name = "L")]
    pub dimension: u64,
    /// eta, the weight of quantization noise (eq 33): a number, or balanced for the baseline, or
    /// balanced*X for X times it.
    #[arg(long, value_name = "ETA", default_value = "1")]
    pub scaling: String,
    /// How: exact, dp, algorithm1, greedy, continuous, equal or brute-force.
    #[arg(long, value_name = "METHOD", default_value = "exact")]
    pub method: Method,
    /// No worker gets more bits than this.
    #[arg(long, value_name = "BITS", default_value_t = 32, value_parser = clap::value_parser!(u8).range(2..=32))]
    pub max_bits: u8,
    /// A worker may get no bits (and then no data).
    #[arg(long)]
    pub allow_idle: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Run it on every node: mpirun --map-by node gradcode doctor. Exit code 30 when something is missing
that training needs.")]
pub struct DoctorArgs {
    /// Measure how fast this node encodes and decodes, with one core and with all: some seconds.
    #[arg(long)]
    pub bench: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the default configuration: every key, its meaning, its default.
    Default,
    /// Load an experiment as `train` would, and say whether it can be used.
    Check(ConfigCheckArgs),
    /// Print an experiment with everything filled in, as the run stores it.
    Show(ConfigShowArgs),
}

#[derive(Args, Clone, Debug)]
pub struct ConfigCheckArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Example:
  gradcode config show configs/quickstart.toml --cluster configs/clusters/laptop.toml --origin")]
pub struct ConfigShowArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Say behind every value which file and line, or which --set, it comes from.
    #[arg(long)]
    pub origin: bool,
    /// JSON instead of TOML.
    #[arg(long, conflicts_with = "origin")]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn init_is_short_for_keys_of_the_model() {
        let words = "gradcode simulate exp.toml --init 2026.pth --init-ignore-head --out runs/x";
        let Command::Simulate(args) = Cli::parse_from(words.split(' ')).command else {
            panic!("another command");
        };
        let set = args.sources().set;
        assert_eq!(
            set,
            ["model.weights=\"2026.pth\"", "model.ignore_head=true"]
        );
    }
}
