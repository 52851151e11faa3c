//! Of the command line, what data sets and trained models are for.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode eval runs/quickstart                                  the model at the end of a run
  gradcode eval runs/joint runs/sgc --per-class                  side by side, and every category
  gradcode eval runs/quickstart/checkpoints/300                  a checkpoint
  gradcode eval runs/coco --detections dets.json --json          keep what was found, as COCO's results
  gradcode eval runs/coco --annotations instances_test.json --images test/     on another set
  gradcode eval --results dets.json --annotations instances_val2017.json

A MODEL is a run directory (or its run.h5, or model.safetensors), or a checkpoint in it. Detectors get
COCO's twelve numbers as pycocotools computes them, on the held-out set of their configuration; other
models what they report during training. --results takes anybody's detections, for instance to compare
with pycocotools: docs/evaluation.md.")]
pub struct EvalArgs {
    /// Run directories, run.h5 files, model.safetensors files or checkpoint directories.
    #[arg(
        value_name = "MODEL",
        required_unless_present = "results",
        conflicts_with = "results"
    )]
    pub models: Vec<PathBuf>,
    /// Detections in COCO's results format to evaluate instead of a model.
    #[arg(long, value_name = "FILE", requires = "annotations", conflicts_with_all = ["detections", "images", "device", "all_images"])]
    pub results: Option<PathBuf>,
    /// Annotation file (instances_*.json) to evaluate against; default: the held-out set.
    #[arg(long, value_name = "FILE")]
    pub annotations: Option<PathBuf>,
    /// The directory of its images.
    #[arg(long, value_name = "DIR", requires = "annotations")]
    pub images: Option<PathBuf>,
    /// All held-out images, also where the configuration has fewer (evaluation.images).
    #[arg(long)]
    pub all_images: bool,
    /// A table of the categories too.
    #[arg(long)]
    pub per_class: bool,
    /// Write the detections of one MODEL as COCO's results format.
    #[arg(long, value_name = "FILE")]
    pub detections: Option<PathBuf>,
    /// `cpu` or `cuda:N`; default: as the run was configured.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// One JSON object on standard output, with the categories; undefined numbers are null.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode detect runs/quickstart                              the first three held-out images
  gradcode detect --compare runs/joint runs/sgc runs/sgd --images 7,12   one panel per run
  gradcode detect --compare runs/joint/run.h5 runs/sgc/run.h5            the same by their logs
  gradcode detect runs/quickstart --files photo.jpg --score 0.3 --json

A RUN is a directory with config.toml and model.safetensors, or its run.h5 or model.safetensors.
Images of the held-out set get a first panel with their annotations. Boxes are [x, y, width, height]
in pixels.")]
pub struct DetectArgs {
    /// Trained runs; several are drawn side by side.
    #[arg(required_unless_present = "compare", value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// More runs to draw side by side.
    #[arg(long, num_args = 1.., value_name = "RUN")]
    pub compare: Vec<PathBuf>,
    /// Places in the held-out set of the first RUN, from 0.
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    pub images: Vec<usize>,
    /// JPEG or PNG files.
    #[arg(long, value_delimiter = ',', value_name = "FILE,..")]
    pub files: Vec<PathBuf>,
    /// Show objects of at least this score.
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    pub score: f64,
    /// What pictures are written as.
    #[arg(long, value_enum, default_value_t = PictureFormat::Png)]
    pub format: PictureFormat,
    /// Directory for the pictures; default: `pictures` in the first RUN.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// `cpu` or `cuda:N`; default: as the run was configured.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// A picture's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PictureFormat {
    /// Pixels.
    Png,
    /// Shapes and text, with the image inside.
    Svg,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Make a COCO-format set of textured shapes, which a small detector learns in a minute; or image
    /// folders of them.
    Synth(SynthArgs),
    /// Read a COCO-format set completely and say what is wrong with it.
    Check(CheckArgs),
    /// Turn text files into the token files that language models learn from.
    Tokenize(TokenizeArgs),
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode data tokenize /usr/share/common-licenses --out data/licences
  gradcode data tokenize books/*.txt --out data/books --vocabulary vocab.json --merges merges.txt

Writes train.bin and val.bin (16-bit little-endian tokens, as nanoGPT reads them), and beside each a JSON
file that says what its numbers mean. Every file is a document; the last documents are held out. Without a
tokenizer every byte is a token. The tokenizers of GPT-2 and its kin need a program that was built with
`cargo build --release --features bpe`.")]
pub struct TokenizeArgs {
    /// Text files, and directories with everything below them.
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<PathBuf>,
    /// Directory to write to.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of the text that is held out, at least 0 and below 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub validation_share: f64,
    /// A byte-pair encoding in one file, tokenizer.json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vocabulary", "merges"])]
    pub tokenizer: Option<PathBuf>,
    /// A byte-pair encoding in two files: vocab.json ..
    #[arg(long, value_name = "FILE", requires = "merges")]
    pub vocabulary: Option<PathBuf>,
    /// .. and merges.txt
    #[arg(long, value_name = "FILE", requires = "vocabulary")]
    pub merges: Option<PathBuf>,
    /// Replace token files that are there.
    #[arg(long)]
    pub overwrite: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  gradcode data synth --out data/quickstart
  gradcode data synth --out data/large --images 10000 --validation 1000 --side 320 --seed 7

  gradcode data synth --folders --out data/shapes --side 64      a directory per shape, for classifiers

Writes instances_train.json, instances_val.json, train/ and val/; with --folders, train/SHAPE/ and
val/SHAPE/ alone, one shape to an image. The same arguments give the same bytes.")]
pub struct SynthArgs {
    /// Directory to write to; must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Make image folders, without annotations.
    #[arg(long)]
    pub folders: bool,
    /// Training images.
    #[arg(long, default_value_t = 2000)]
    pub images: u32,
    /// Held-out images.
    #[arg(long, default_value_t = 200)]
    pub validation: u32,
    /// Pixels on a side.
    #[arg(long, default_value_t = 128)]
    pub side: u32,
    /// Every image is a function of it and of its own number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads; 0: one per core. The result does not depend on it.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Example:
  gradcode data check --annotations data/quickstart/instances_train.json --images data/quickstart/train

Exit code 30 when training could not use the set.")]
pub struct CheckArgs {
    /// instances_*.json
    #[arg(long, value_name = "FILE")]
    pub annotations: PathBuf,
    /// The directory of the JPEG files.
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Decoding threads; 0: one per core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// One JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}
