//! What a run says of itself once, per segment and per plan.

use serde::{Deserialize, Serialize};

/// Value of a run attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// A whole number, stored as `i64`.
    Integer(i64),
    /// A real number, stored as `f64`.
    Real(f64),
    /// Text, stored as variable-length UTF-8.
    Text(String),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}
impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}
impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
impl From<usize> for AttributeValue {
    fn from(number: usize) -> Self {
        (number as u64).into()
    }
}
impl From<bool> for AttributeValue {
    fn from(truth: bool) -> Self {
        Self::Integer(truth.into())
    }
}
impl std::fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What is written once, when the log is created.
///
/// The named fields are those a summary needs; everything else worth knowing (compiler, features,
/// device, libtorch version, ...) goes to `attributes` under its own name.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    /// Name of the run.
    pub title: String,
    /// Program and version.
    pub source: String,
    /// Commit the program was built from; empty if unknown.
    pub git_commit: String,
    /// Whether the working tree had changes on top of `git_commit`.
    pub git_dirty: bool,
    /// The command as typed.
    pub command_line: String,
    /// Seed of the run.
    pub seed: u64,
    /// Logical workers N.
    pub workers: usize,
    /// Coordinates l of the gradient, from which the bits of an uncompressed run are known; 0 if unknown.
    pub dimension: u64,
    /// MPI library and version, or what stands in for it.
    pub mpi_library: String,
    /// The resolved configuration as run, TOML.
    pub config_toml: String,
    /// Further attributes of the file's root.
    pub attributes: Vec<(String, AttributeValue)>,
    /// The first segment.
    pub segment: Segment,
}

/// One (re)start of a run: what may differ from one to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// First iteration computed in it; set by the log.
    pub start_iteration: u64,
    /// Seconds since 1970-01-01; set by the log.
    pub start_time: f64,
    /// MPI ranks, master included.
    pub ranks: u64,
    /// Batch job, empty without one.
    pub job_id: String,
    /// Hosts, comma separated.
    pub hosts: String,
}

/// A plan as run: who computes and sends what, how it is decoded and what the theory predicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Why it was made: `"start"`, or what happened, for people. Empty in logs that do not say.
    #[serde(default)]
    pub reason: String,
    /// Name of the scheme.
    pub scheme: String,
    /// Partitions n.
    pub partitions: u64,
    /// Straggle probability p_i of each worker.
    pub straggle_probability: Vec<f64>,
    /// Bits z_i per coordinate of each worker; 0 idle, 32 uncompressed.
    pub bits: Vec<i64>,
    /// Decoding weight w_i of each worker; empty if weights are found per round.
    pub decode_weight: Vec<f64>,
    /// Decoding weight v_i of the second track; empty without one.
    pub decode_weight_second: Vec<f64>,
    /// Partitions each worker computes.
    pub load: Vec<i64>,
    /// The encoding matrix's nonzeros: (worker, partition, a_ij).
    pub encoding: Vec<(u64, u64, f64)>,
    /// S of the code.
    pub scaling_s: f64,
    /// Predicted error bound n^2 C / S at C = 1.
    pub error_bound: f64,
    /// Nonzeros of the code over n.
    pub computation_load: f64,
    /// Sum of z_i.
    pub bits_per_coordinate_offered: f64,
    /// Sum of (1 - p_i) z_i.
    pub bits_per_coordinate_expected: f64,
    /// The plan in full, as JSON.
    pub json: String,
}
