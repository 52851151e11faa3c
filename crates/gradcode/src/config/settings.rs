//! The configuration as the program uses it: complete, checked, typed.

use std::path::PathBuf;

use super::origin::Origins;
use super::values::{
    Augment, CodecDevice, CodecNorm, CodecPreset, CodecSharing, DeadlineSeconds, Decay, DelayKind,
    DownlinkForm, EmptyRound, Estimator, Every, Feedback, Inject, Injection, Labels, Loss,
    MedianPlusMad, ModelKind, Norm, OnDrift, OneOrMany, OptimizerKind, PhiSource, PlannedDeadline,
    Precision, Quantile, Rates, Scaling, Schedule, SchemeKind, Stem, TraceOrder, UnitSeconds,
};
use gradient_code::SchemeConfig;

mod written;

/// A complete configuration. `default.toml` documents every key.
///
/// Serializes to the same shape that is read: the TOML stored in a run gives this value again.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Shown in reports.
    pub title: String,
    /// Every random draw is a function of it.
    pub seed: u64,
    /// Optimizer steps.
    pub iterations: u64,
    /// Logical workers, k.
    pub workers: usize,
    /// Data partitions, n.
    pub partitions: usize,
    /// The run directory.
    pub out: PathBuf,
    /// `[[inject]]`: faults on purpose.
    pub inject: Vec<Injection>,
    /// `[model]`
    pub model: Model,
    /// `[data]`
    pub data: Data,
    /// `[scheme]`
    pub scheme: Scheme,
    /// `[budget]`
    pub budget: Budget,
    /// `[codec]`
    pub codec: Codec,
    /// `[optimizer]`
    pub optimizer: Optimizer,
    /// `[evaluation]`
    pub evaluation: Evaluation,
    /// `[downlink]`
    pub downlink: Downlink,
    /// `[checkpoint]`
    pub checkpoint: Checkpoint,
    /// `[round]`
    pub round: Round,
    /// `[straggler]`
    pub straggler: Straggler,
    /// `[deadline]`
    pub deadline: Deadline,
    /// `[compute]`
    pub compute: Compute,
    /// `[replan]`
    pub replan: Replan,
    /// `[mpi]`
    pub mpi: Mpi,
    /// Which layer set what.
    pub origins: Origins,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Which model, with what only it has.
    pub architecture: Architecture,
    /// Classes with the background; `None`: as many as the labels of the data need.
    pub classes: Option<u32>,
    /// How category ids become labels.
    pub labels: Labels,
    /// Coordinates to plan for where the model cannot be asked; the convex models have their own.
    pub planned_dimension: Option<usize>,
    /// What networks over libtorch multiply in.
    pub precision: Precision,
    /// The TorchScript file.
    pub file: Option<PathBuf>,
    /// Weights file to start from.
    pub weights: Option<PathBuf>,
    /// The layers that tell classes apart start anew where that file does not fit them.
    pub ignore_head: bool,
    /// Whatever that file lacks starts anew.
    pub partial_weights: bool,
    /// Convex models: coefficient of the l2 penalty.
    pub l2: f64,
}

/// A model and its sizes: `width` in channels, `side` in input pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Architecture {
    TinySsd { width: u32, side: u32 },
    SsdLite { side: u32, norm: Norm },
    Cnn { width: u32, side: u32 },
    ResNet18 { side: u32, norm: Norm, stem: Stem },
    ResNet50 { side: u32, norm: Norm, stem: Stem },
    LeastSquares { dimension: usize },
    LogisticRegression { dimension: usize },
    Mlp { hidden: usize, loss: Loss },
    Gpt2(Gpt2),
    TorchScript,
}

/// The sizes of a GPT-2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpt2 {
    /// Blocks.
    pub layers: u32,
    /// Attention heads.
    pub heads: u32,
    /// Components of a token's vector.
    pub width: u32,
    /// Tokens that the network sees at most.
    pub context: u32,
    /// Different tokens; `None`: as many as beside the token file.
    pub vocab: Option<u32>,
}

impl Architecture {
    /// The word of `model.kind`.
    pub fn kind(&self) -> ModelKind {
        match self {
            Architecture::TinySsd { .. } => ModelKind::TinySsd,
            Architecture::SsdLite { .. } => ModelKind::SsdLite,
            Architecture::Cnn { .. } => ModelKind::Cnn,
            Architecture::ResNet18 { .. } => ModelKind::ResNet18,
            Architecture::ResNet50 { .. } => ModelKind::ResNet50,
            Architecture::LeastSquares { .. } => ModelKind::LeastSquares,
            Architecture::LogisticRegression { .. } => ModelKind::LogisticRegression,
            Architecture::Mlp { .. } => ModelKind::Mlp,
            Architecture::Gpt2(_) => ModelKind::Gpt2,
            Architecture::TorchScript => ModelKind::TorchScript,
        }
    }

    /// Learns from files, with libtorch.
    pub fn needs_files(&self) -> bool {
        !matches!(
            self,
            Architecture::LeastSquares { .. }
                | Architecture::LogisticRegression { .. }
                | Architecture::Mlp { .. }
        )
    }

    /// Says what is in an image, not where.
    pub fn classifies_images(&self) -> bool {
        matches!(
            self,
            Architecture::Cnn { .. }
                | Architecture::ResNet18 { .. }
                | Architecture::ResNet50 { .. }
        )
    }

    /// Learns from images.
    pub fn sees_images(&self) -> bool {
        self.needs_files() && !matches!(self, Architecture::Gpt2(_) | Architecture::TorchScript)
    }
}

/// A data set in COCO format.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoPaths {
    /// `instances_*.json`
    pub annotations: PathBuf,
    /// The directory of the JPEG files.
    pub images: PathBuf,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Training set; models that learn from files need it.
    pub train: Option<CocoPaths>,
    /// Held-out set.
    pub validation: Option<CocoPaths>,
    /// Token file that language models learn from.
    pub train_tokens: Option<PathBuf>,
    /// A directory per class of training images.
    pub train_folder: Option<PathBuf>,
    /// The same, held out.
    pub validation_folder: Option<PathBuf>,
    /// Held-out token file.
    pub validation_tokens: Option<PathBuf>,
    /// Tokens of a sample; `None`: the context.
    pub length: Option<u32>,
    /// Arrays that a TorchScript model learns from.
    pub train_arrays: Option<PathBuf>,
    /// Held-out arrays.
    pub validation_arrays: Option<PathBuf>,
    /// Names of the arrays in the order in which `forward` takes them.
    pub arrays: Vec<String>,
    /// Samples per partition and iteration.
    pub batch: u32,
    /// How training images are changed at random.
    pub augment: Augment,
    /// MiB of decoded images in memory.
    pub cache_mb: u64,
    /// Threads that decode images.
    pub loader_threads: usize,
    /// Convex models and synthetic digits: samples drawn.
    pub samples: u32,
    /// Convex models: noise on the targets; synthetic digits: noise of the pixels.
    pub noise: f64,
    /// Convex models: standard deviation of the features.
    pub feature_sd: f64,
    /// Convex models: standard deviation of the initial point's coordinates.
    pub initial_sd: f64,
}

/// `[scheme]`
#[derive(Clone, Debug, PartialEq)]
pub struct Scheme {
    /// The gradient code.
    pub kind: SchemeKind,
    /// The keys of all schemes, `kind` among them.
    pub options: SchemeConfig,
}

/// The bit budget as the user stated it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BudgetBits {
    /// Z_tot.
    Total(u64),
    /// Z_res = Z_tot - 2k.
    Residual(u64),
    /// Z_tot / k.
    Mean(f64),
}

/// `[budget]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// `None` where nothing is quantized.
    pub bits: Option<BudgetBits>,
    /// Largest width of a worker.
    pub max_bits: u8,
    /// Eta.
    pub scaling: Scaling,
}

/// `[codec]`
#[derive(Clone, Debug, PartialEq)]
pub struct Codec {
    /// The family.
    pub preset: CodecPreset,
    /// Bucketed: what a bucket is scaled by.
    pub norm: CodecNorm,
    /// Bucketed and rotated: coordinates.
    pub bucket: u32,
    /// Rotated: who shares a rotation.
    pub sharing: CodecSharing,
    /// Sign: coordinates per group; 0 = all.
    pub group: u32,
    /// One-bit: what the magnitude is.
    pub scale: CodecNorm,
    /// Sparsifiers: coordinates kept; 0 = as many as the width pays for.
    pub entries: u64,
    /// Whether workers remember what was not delivered.
    pub error_feedback: Feedback,
    /// Shrink unbiased messages, so that error feedback stays stable.
    pub shrink: bool,
    /// The phi(z) that plans are made with; `None`: by the preset.
    pub phi: Option<PhiSource>,
    /// Iterations between measurements of the quantization error; 0 = never.
    pub phi_every: u64,
    /// Where gradients are encoded.
    pub device: CodecDevice,
    /// Where the master decodes and sums them.
    pub decode_device: CodecDevice,
}

/// `[optimizer]`
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Optimizer {
    pub kind: OptimizerKind,
    pub learning_rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Decode the gradient of the second moment by eq 36.
    pub two_track: bool,
    /// Lambda of eq 36.
    pub lambda: f64,
    /// What weight decay acts on.
    pub decay: Decay,
    pub schedule: Schedule,
    /// Iterations.
    pub warmup: u64,
    /// Where the cosine ends.
    pub final_learning_rate: f64,
    /// 0 = off.
    pub clip_norm: f64,
}

/// `[downlink]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downlink {
    /// In what form the model is sent.
    pub form: DownlinkForm,
    /// Updates: bits per coordinate.
    pub bits: u8,
}

/// `[checkpoint]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// When, beside the end of the run and signals.
    pub every: Every,
    /// How many are kept.
    pub keep: usize,
}

/// `[evaluation]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Recurring.
    pub every: Every,
    /// And after the last iteration.
    pub at_end: bool,
    /// 0 = all.
    pub images: usize,
}

/// `[round]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// What to do when nobody answered.
    pub empty_round: EmptyRound,
    /// In a row.
    pub max_empty_rounds: u64,
    /// Alive.
    pub min_workers: usize,
    /// Rounds of silence.
    pub give_up_after: u64,
    /// Which must have lasted this long.
    pub give_up_seconds: f64,
    /// Refusals in a row; 0 = any number.
    pub max_failures: u64,
    /// Of a worker's last reports.
    pub max_failure_share: f64,
    /// Multiple of the median; 0 = off.
    pub refuse_norm: f64,
    /// Multiple of the median; 0 = off.
    pub clip_norm: f64,
    /// Rounds; 0 = never.
    pub relative_error_every: u64,
}

/// `[straggler]`
#[derive(Clone, Debug, PartialEq)]
pub struct Straggler {
    /// The delay model.
    pub model: DelayKind,
    /// Shortest delay, of all or of every worker.
    pub shift: OneOrMany,
    /// Psi.
    pub rate: Rates,
    /// File of measured delays.
    pub trace: Option<PathBuf>,
    /// How the file is walked.
    pub trace_order: TraceOrder,
    /// Bits per unit of the model, of all or of every worker; `None`: sending takes no time.
    pub bandwidth: Option<OneOrMany>,
    /// Tau, in the model's unit.
    pub deadline: PlannedDeadline,
    /// The model's unit.
    pub unit_seconds: UnitSeconds,
    /// What is done with the model.
    pub inject: Inject,
    /// For the design, instead of the model's.
    pub probabilities: Option<OneOrMany>,
}

/// `[deadline]`: how long a round waits for real stragglers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deadline {
    /// Always this long.
    Seconds(DeadlineSeconds),
    /// From the history of arrivals.
    Quantile(Quantile),
    /// From the history of arrivals, but not from a minority of very late ones.
    MedianPlusMad(MedianPlusMad),
}

/// `[compute]`
#[derive(Clone, Debug, PartialEq)]
pub struct Compute {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Per rank; 0 = allowed CPUs / ranks on this node.
    pub threads: usize,
}

/// `[replan]`: when a plan is made anew because workers have changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replan {
    /// Whether it is at all.
    pub on_drift: OnDrift,
    /// Probability per run of one without a reason.
    pub false_alarms: f64,
    /// Relative change of the odds of being late that is none.
    pub tolerance: f64,
    /// Rounds per worker that estimates are made from.
    pub window: usize,
    /// Rounds between two of them.
    pub pause: u64,
    /// How p_i is estimated.
    pub estimator: Estimator,
    /// Whether plans follow the measured quantization error.
    pub on_phi: bool,
    /// Relative change of phi that is none.
    pub phi_tolerance: f64,
}

/// `[mpi]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mpi {
    /// Payloads under way at once.
    pub grants: usize,
    /// Seconds.
    pub startup_timeout_seconds: f64,
    /// Seconds.
    pub silence_timeout_seconds: f64,
    /// How long a worker waits for a sign of life of the master.
    pub master_timeout_seconds: f64,
    /// Seconds.
    pub goodbye_timeout_seconds: f64,
}
