//! The values of the configuration that are more than a number or a string: named choices here,
//! values of several shapes in `shapes`.

mod augment;
mod inject;
mod phi;
mod scheme_kind;
mod shapes;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use augment::Augment;
pub use bit_allocation::Method;
pub use gradient_code::schemes::{
    Assignment, BlockDesign, CodeKind, Construction, Decoding, Graph, Ridge,
};
pub use inject::Injection;
pub use phi::{PhiFile, PhiSource};
pub use scheme_kind::SchemeKind;
pub use shapes::{
    DeadlineSeconds, Every, MedianPlusMad, OneOrMany, PlannedDeadline, Quantile, Rates, Scaling,
    UnitSeconds,
};

/// An enum whose variants are written as words in TOML and on the command line.
macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ })+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+ }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err(format!("expected one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $word,)+ })
            }
        }
    )+ };
}

words! {
    /// `model.kind`
    ModelKind {
        /// A small single-shot detector with group norm.
        TinySsd = "tiny-ssd",
        /// torchvision's `ssdlite320_mobilenet_v3_large`.
        SsdLite = "ssdlite",
        /// A small convolutional classifier.
        Cnn = "cnn",
        /// torchvision's `resnet18`.
        ResNet18 = "resnet18",
        /// torchvision's `resnet50`.
        ResNet50 = "resnet50",
        /// Least squares on data drawn in memory.
        LeastSquares = "least-squares",
        /// Logistic regression on data drawn in memory.
        LogisticRegression = "logistic-regression",
        /// A multilayer perceptron on digits.
        Mlp = "mlp",
        /// Hugging Face's `GPT2LMHeadModel`.
        Gpt2 = "gpt2",
        /// A TorchScript file whose `forward` returns the loss.
        TorchScript = "torchscript",
    }
    /// `model.size`
    Gpt2Size {
        /// 2 blocks of 64 components: 121 thousand parameters with 256 tokens.
        Nano = "nano",
        /// GPT-2: 124 million.
        Small = "small",
        /// 355 million.
        Medium = "medium",
        /// 774 million.
        Large = "large",
        /// 1558 million.
        Xl = "xl",
    }
    /// `model.precision`
    Precision {
        /// f32.
        F32 = "f32",
        /// Products of bfloat16 operands, all else f32.
        Bf16 = "bf16",
    }
    /// `model.loss`
    Loss {
        /// Binary cross entropy of every output.
        CrossEntropy = "cross-entropy",
        /// Half the squared error of the outputs.
        SquaredError = "squared-error",
    }
    /// `model.norm`
    Norm {
        /// Group norm: every sample on its own.
        Group = "group",
        /// Batch norm, statistics of one partition's minibatch.
        Batch = "batch",
        /// Batch norm with fixed statistics.
        Frozen = "frozen",
    }
    /// `model.stem`
    Stem {
        /// A 7x7 convolution of stride 2 and max pooling.
        Standard = "standard",
        /// A 3x3 convolution.
        Small = "small",
    }
    /// `model.labels`
    Labels {
        /// 1..=C in the order of the category ids.
        Dense = "dense",
        /// The category ids themselves.
        Raw = "raw",
    }
    /// `codec.preset`
    CodecPreset {
        /// Global l2 norm, eqs 3-5.
        Qsgd = "qsgd",
        /// One scale per bucket.
        QsgdBucketed = "qsgd-bucketed",
        /// One scale per randomly rotated bucket, stochastic rounding.
        Rotated = "rotated",
        /// Randomly rotated buckets, nearest Lloyd-Max levels.
        Eden = "eden",
        /// Unquantized.
        F32 = "f32",
        /// Signs and one magnitude per group.
        Sign = "sign",
        /// Stochastic signs.
        OneBit = "one-bit",
        /// The largest magnitudes.
        TopK = "top-k",
        /// Random coordinates, amplified.
        RandK = "rand-k",
    }
    /// `codec.sharing`
    CodecSharing {
        /// One rotation for all workers of an iteration.
        Round = "round",
        /// A rotation for every message.
        Message = "message",
    }
    /// `codec.norm` and `codec.scale`
    CodecNorm {
        /// Largest magnitude.
        Max = "max",
        /// l2 norm.
        L2 = "l2",
    }
    /// `codec.device` and `codec.decode_device`
    CodecDevice {
        /// Where the model is if that is a GPU, else the CPU.
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// Where the model is.
        Model = "model",
    }
    /// `codec.error_feedback`
    Feedback {
        /// Workers remember nothing.
        None = "none",
        /// A late worker's gradient is discarded, its memory stays.
        Keep = "keep",
        /// A late worker remembers its gradient in full.
        Lost = "lost",
    }
    /// `optimizer.kind`
    OptimizerKind {
        /// Stochastic gradient descent with momentum.
        Sgd = "sgd",
        /// Adam.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
    /// `optimizer.decay`
    Decay {
        /// On every parameter.
        All = "all",
        /// On tensors of two dimensions or more.
        Matrices = "matrices",
    }
    /// `downlink.form`
    DownlinkForm {
        /// As the master has it.
        F32 = "f32",
        /// Rounded to 16 bits.
        Bf16 = "bf16",
        /// Quantized updates.
        Delta = "delta",
    }
    /// `optimizer.schedule`
    Schedule {
        /// The same at every iteration.
        Constant = "constant",
        /// Half a cosine, down to `final_learning_rate` at the end.
        Cosine = "cosine",
        /// `learning_rate / (t + 1)` (Theorem 2).
        InverseTime = "inverse-time",
        /// `learning_rate / sqrt(t + 1)` (Theorem 3).
        InverseSqrt = "inverse-sqrt",
    }
    /// `round.empty_round`
    EmptyRound {
        /// Step with a zero gradient, which unbiasedness asks for.
        Step = "step",
        /// Leave parameters and optimizer state alone.
        Skip = "skip",
    }
    /// `straggler.model`
    DelayKind {
        /// `shift + Exponential(rate)`.
        ShiftedExponential = "shifted-exponential",
        /// `Exponential(rate)`.
        Exponential = "exponential",
        /// Measured delays from a file.
        Trace = "trace",
    }
    /// `straggler.trace_order`
    TraceOrder {
        /// As recorded, over and over.
        Replay = "replay",
        /// Drawn independently.
        Resample = "resample",
    }
    /// `replan.on_drift`
    OnDrift {
        /// Where stragglers are real.
        Auto = "auto",
        /// Whatever makes them.
        Always = "always",
        /// Only lost workers change a plan.
        Never = "never",
    }
    /// `replan.estimator`
    Estimator {
        /// The share of missed rounds.
        Frequency = "frequency",
        /// A shifted exponential fitted to the arrivals.
        ShiftedExponential = "shifted-exponential",
    }
    /// `study.kind`
    StudyKind {
        /// Runs of the training loop.
        Training = "training",
        /// The decoding error of CE-AGC by the number of stragglers.
        DecodingError = "decoding-error",
        /// The objective F of the bit allocation by the budget.
        Allocation = "allocation",
    }
    /// `study.rates`
    StudyRates {
        /// Drawn rates are the same in every run.
        Shared = "shared",
        /// Every run draws its own.
        PerRun = "per-run",
    }
    /// `inject.fault`
    InjectedFault {
        /// The worker does nothing for a while.
        Delay = "delay",
        /// The worker forgets its task.
        Drop = "drop",
        /// The worker's process dies.
        Kill = "kill",
        /// The worker's process stops for a while.
        Freeze = "freeze",
        /// A finite error.
        Corrupt = "corrupt",
        /// An error that is not a number.
        Nan = "nan",
        /// The worker's code panics.
        Panic = "panic",
        /// The worker finds no memory.
        Memory = "memory",
        /// The worker takes several times as long.
        Slow = "slow",
    }
    /// `inject.phase`
    InjectedPhase {
        /// Before or in the computation.
        Compute = "compute",
        /// After it, before the master is told.
        Header = "header",
        /// While the frame is sent.
        Payload = "payload",
    }
    /// `straggler.inject`
    Inject {
        /// A seeded draw decides who answers.
        Erase = "erase",
        /// Workers sleep their drawn delay.
        Delay = "delay",
        /// Nothing is injected: stragglers are real.
        None = "none",
    }
}
