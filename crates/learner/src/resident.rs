//! Gradients that do not leave their device before they are compressed.

use crate::{LearnerError, PartitionLoss};
use gradient_codec::{Compressor, EncodeError, MessageId};

/// A learner whose gradients can stay in the memory of the device that computes them, a GPU's, until
/// they are encoded, so that only packed bytes cross to the host.
///
/// It is an optimization and nothing else: frames are those of [`gradient_codec::Compressor::encode`], byte for byte.
pub trait ResidentGradient {
    /// Whether frames of this compressor can be made here.
    ///
    /// # Errors
    /// Why not, to be read after "because".
    fn encodes(&mut self, compressor: &Compressor) -> Result<(), String>;

    /// As [`crate::Learner::coded_gradient`], but the gradient stays where it is, until the next call of
    /// that or this.
    ///
    /// # Errors
    /// As [`crate::Learner::coded_gradient`], but a gradient that is not finite is noticed when it is
    /// encoded.
    fn compute(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
    ) -> Result<Vec<PartitionLoss>, LearnerError>;

    /// Encodes the gradient that [`ResidentGradient::compute`] left, as
    /// [`gradient_codec::Compressor::encode`] would.
    ///
    /// # Errors
    /// What [`gradient_codec::Compressor::encode`] refuses, and what the device fails at.
    fn encode(
        &mut self,
        compressor: &Compressor,
        id: &MessageId,
        tail: &[f32],
        frame: &mut Vec<u8>,
    ) -> Result<(), ResidentError>;
}

/// Why a gradient was not encoded on its device.
#[derive(Debug, thiserror::Error)]
pub enum ResidentError {
    /// It cannot be encoded anywhere.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The device failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
}
