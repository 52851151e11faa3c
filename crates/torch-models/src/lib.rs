//! Detectors, classifiers and a language model over libtorch, as [`learner::Learner`]s.
//!
//! From the bottom up:
//!
//! 1. [`store`], [`init`], [`flat`]: a model's tensors under PyTorch's names, their seeded start,
//!    and the two flat vectors (parameters, gradients) that all of them are views of.
//! 2. [`layers`] and [`models`]: TinySSD, SSDLite320-MobileNetV3-Large and ResNet-18 and -50 as in
//!    torchvision, GPT-2 as in Hugging Face's transformers, a CNN.
//! 3. [`detection`]: default boxes, matching, box codes, the loss as a sum over images, NMS.
//! 4. [`source`], [`data`]: where samples come from, and minibatches read beside the compute;
//!    [`images`], [`augment`], [`crop`]: images as tensors, changed at random; [`token_windows`]: text.
//! 5. [`detector`], [`classifier`], [`single_label`], [`language_model`]: what is learned and measured;
//!    [`engine`]: the learner itself, which keeps a partition's gradient a function of (parameters, partition, iteration) alone.
//!    [`Predictor`]: a trained detector on images of any kind.
//! 6. [`Scripted`], [`arrays`]: a TorchScript model of the user's own, on rows of arrays.
//!    Gradients may be encoded on the device that computed them ([`learner::ResidentGradient`]), and a
//!    master may add up what it receives on its own ([`DeviceSums`]).
//! 7. [`device`](mod@device): the CPU, or CUDA loaded at run time; [`precision`]: f32 or mixed.
//!
//! Determinism: with equal libtorch thread counts on one kind of device, equal inputs give equal
//! bits. Different thread counts or devices agree to about 1e-6.
//!
//! # One complete program
//! A gradient of every partition of a small data set, and the metrics before training:
//! ```
//! use std::sync::Arc;
//! use coco::{Dataset, synth::{SynthConfig, generate}};
//! use torch_models::{ImageConfig, ModelConfig, TorchConfig, build};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let shapes = scratch.path().join("shapes");
//! generate(&shapes, &SynthConfig { images: 8, validation: 4, side: 64, ..SynthConfig::default() })?;
//! let open = |name: &str| {
//!     Dataset::open(&shapes.join(format!("instances_{name}.json")), &shapes.join(name)).map(Arc::new)
//! };
//! let config = ImageConfig {
//!     model: ModelConfig::TinySsd { width: 8, side: 64 },
//!     torch: TorchConfig { partitions: 2, batch: 4, ..TorchConfig::default() },
//!     ..ImageConfig::default()
//! };
//! let mut learner = build(&config, open("train")?, Some(open("val")?))?;
//!
//! let parameters = learner.initial_parameters();
//! let mut gradient = vec![0.0; learner.dimension()];
//! let losses = learner.coded_gradient(&parameters, 0, &[(0, 1.0), (1, 1.0)], &mut gradient)?;
//! assert_eq!(losses.len(), 2);
//! assert_eq!(learner.evaluate(&parameters)?[0].name, "AP");
//! # Ok(())
//! # }
//! ```

pub mod arrays;
pub mod augment;
pub mod classifier;
mod config;
pub mod crop;
pub mod data;
mod data_clock;
pub mod detection;
pub mod detector;
pub mod device;
pub mod engine;
mod error;
pub mod flat;
pub mod images;
pub mod init;
pub mod language_model;
pub mod layers;
mod losses;
pub mod models;
pub mod precision;
mod predictor;
mod resident;
mod scripted;
pub mod single_label;
mod single_shot;
pub mod source;
pub mod store;
mod sums;
pub mod token_windows;
pub mod weights;

pub use config::{ImageConfig, ModelConfig, TorchConfig, build};
pub use data_clock::DataClock;
pub use device::{Versions, device, driver_present, load_cuda, versions};
pub use engine::TorchLearner;
pub use error::TorchError;
pub use layers::NormKind;
pub use precision::Precision;
pub use predictor::{Found, Predictor};
pub use scripted::{Scripted, build_scripted, scripted_parameters};
pub use single_shot::SingleShot;
pub use sums::DeviceSums;
