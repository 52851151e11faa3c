//! `gradcode codec ...`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gradient_codec::Preset;

use crate::config::Sources;
use crate::phi::reference::Reference;

#[derive(Debug, Subcommand)]
pub enum CodecCommand {
    /// Measure phi(z) = E|Q(x) - x|^2 / |x|^2, by preset and width.
    Phi(PhiArgs),
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode codec phi                                          all quantizers on reference vectors
  gradcode codec phi --preset qsgd --dimension 5000000 --bits 4,8
  gradcode codec phi --vector gradient.npy --preset qsgd-bucketed --json phi.json
  gradcode codec phi configs/quickstart.toml --json phi.json  the coded gradients at the initial point
  gradcode plan exp.toml --set codec.phi='{ file = \"phi.json\" }'

Every vector is sent several times, with roundings and rotations of its own each time. bias^2 is an unbiased
estimate of |E[Q(x)] - x|^2 / |x|^2: noise around 0 where there is none. docs/phi.md explains it.")]
pub struct PhiArgs {
    /// Measure the coded gradients of this experiment (TOML), as its plan has them, at the initial point.
    pub experiment: Option<PathBuf>,
    /// The cluster, laid over the experiment.
    #[arg(long, value_name = "FILE", requires = "experiment")]
    pub cluster: Option<PathBuf>,
    /// Override a key of the experiment.
    #[arg(long, value_name = "KEY=VALUE", requires = "experiment")]
    pub set: Vec<String>,
    /// Of a study, this scheme alone, by its label.
    #[arg(long, value_name = "LABEL", requires = "experiment")]
    pub scheme: Option<String>,
    /// Iterations whose minibatches the experiment's gradients are of, all at the initial point.
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), requires = "experiment")]
    pub iterations: u64,
    /// Measure the vector in this file: .npy, .npz, .safetensors, .h5 or a directory of .npy files. All its
    /// arrays, by name, one after another.
    #[arg(long, value_name = "FILE", conflicts_with = "experiment")]
    pub vector: Option<PathBuf>,
    /// Of that file, this array alone.
    #[arg(long, value_name = "NAME", requires = "vector")]
    pub array: Option<String>,
    /// Measure vectors of this law; may be repeated. [default: both, unless there is a vector or an experiment]
    #[arg(long, value_name = "LAW")]
    pub reference: Vec<Reference>,
    /// Coordinates of reference vectors.
    #[arg(long, value_name = "N", default_value_t = 1 << 20, value_parser = dimension)]
    pub dimension: usize,
    /// Vectors of each law, and of the experiment at most so many workers' in each iteration.
    #[arg(long, value_name = "V", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub vectors: u32,
    /// A compressor as text, e.g. qsgd, qsgd-bucketed:max:4096, sign:512; may be repeated. [default: the
    /// experiment's, or all quantizers]
    #[arg(long, value_name = "PRESET")]
    pub preset: Vec<Preset>,
    /// Bits per coordinate; those that a preset does not have are left out. [default: all up to 16]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=31))]
    pub bits: Vec<u8>,
    /// Messages of every vector.
    #[arg(long, value_name = "M", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..))]
    pub messages: u32,
    /// Seed of vectors, roundings and rotations.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Write the table as JSON, for codec.phi = { file = ... }; - prints it.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Replace a file that exists.
    #[arg(long, requires = "json")]
    pub overwrite: bool,
}

impl PhiArgs {
    /// The layers of the experiment, if there is one.
    pub fn sources(&self) -> Option<Sources> {
        Some(Sources {
            experiment: self.experiment.clone()?,
            cluster: self.cluster.clone(),
            set: self.set.clone(),
            scheme: self.scheme.clone(),
            ..Sources::default()
        })
    }
}

fn dimension(text: &str) -> Result<usize, String> {
    let value: usize = text
        .parse()
        .map_err(|_| "expected a whole number".to_owned())?;
    (value >= 1)
        .then_some(value)
        .ok_or_else(|| "needs at least 1 coordinate".to_owned())
}
