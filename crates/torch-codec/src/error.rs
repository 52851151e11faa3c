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
    /// The compressor is one that only the CPU has: [`crate::Encoder::supports`].
    #[error("run the codec on the device: {what} only the CPU does")]
    Unsupported {
        /// What is not done on devices.
        what: &'static str,
    },
    /// The tensor is not what the call needs.
    #[error("run the codec on the device: the tensor is {found} where {expected} is needed")]
    Tensor {
        /// Kind, device and elements of the tensor.
        found: String,
        /// What is needed.
        expected: String,
    },
}
