//! What can go wrong on a device.

use gradient_codec::EncodeError;
use tch::TchError;

/// Why a vector was not encoded, or a frame not added, on a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceCodecError {
    /// The vector cannot be encoded anywhere.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// libtorch refused an operation (out of memory, a missing backend).
    #[error("run the codec on the device: {0}")]
    Torch(#[from] TchError),
    /// The compressor is one that only the CPU has: [`crate::Encoder::supports`], and for
    /// [`crate::Accumulator`] a sparse one.
    #[error("run the codec on the device: {what} only the CPU does")]
    Unsupported {
        /// What is not done on devices.
        what: &'static str,
    },
    /// The frame does not belong to the sums.
    #[error("add a frame on the device: its {what} is {found} where {expected} is needed")]
    Frame {
        /// What of it.
        what: &'static str,
        /// As it is.
        found: String,
        /// As it should be.
        expected: String,
    },
    /// The sums are finished, or something failed since they were begun.
    #[error("add up frames on the device: the sums have not been cleared")]
    NotCleared,
    /// The tensor is not what the call needs.
    #[error("run the codec on the device: the tensor is {found} where {expected} is needed")]
    Tensor {
        /// Kind, device and elements of the tensor.
        found: String,
        /// What is needed.
        expected: String,
    },
}
