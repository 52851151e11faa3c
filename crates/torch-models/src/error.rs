//! What can go wrong in this crate, as data.

use std::path::PathBuf;

use learner::LearnerError;
use tch::TchError;

/// Errors of models, devices and weights. Messages read after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// libtorch refused an operation (out of memory, a shape, a missing backend).
    #[error("run libtorch: {0}")]
    Torch(#[from] TchError),
    /// A setting is outside what the model can do.
    #[error("build the model: {key} = {value}, expected {expected}")]
    Setting {
        /// The configuration key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would be valid.
        expected: String,
    },
    /// A device was asked for that this process cannot use.
    #[error("use device {device:?}: {reason}")]
    Device {
        /// The device as written in the configuration.
        device: String,
        /// Why not, with what to do about it.
        reason: String,
    },
    /// A weights file does not fit the model.
    #[error("load the weights {path}: {reason}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which tensor, and what is wrong with it.
        reason: String,
    },
    /// An image that could not be brought to the network's size.
    #[error("resize an image: {0}")]
    Resize(String),
    /// A parameter or gradient tensor no longer lies in the flat buffer: something replaced its
    /// storage. This is a bug of the program, not of its input.
    #[error("keep the {what} of {name} inside the flat buffer")]
    Detached {
        /// "parameter" or "gradient".
        what: &'static str,
        /// The tensor's dotted name.
        name: String,
    },
    /// A flat vector of the wrong length.
    #[error("use a flat vector of {found} numbers for a model of {expected}")]
    Length {
        /// What was given.
        found: usize,
        /// The model's dimension.
        expected: usize,
    },
}

impl From<TorchError> for LearnerError {
    fn from(error: TorchError) -> Self {
        match error {
            TorchError::Setting {
                key,
                value,
                expected,
            } => LearnerError::setting(key, value, expected),
            TorchError::Weights { path, reason } => LearnerError::Data { path, what: reason },
            TorchError::Length { found, expected } => LearnerError::Length {
                what: "the flat vector",
                expected,
                found,
            },
            other => LearnerError::Backend(other.to_string()),
        }
    }
}
