//! What cannot be a quantizer.

use super::Scale;

/// Settings that no quantizer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizerError {
    /// The quantizer has no such width.
    #[error(
        "quantize to {bits} bits per coordinate: widths are 2..=16 with a zero level, 1..=16 without, \
         or 32 for f32"
    )]
    Bits {
        /// The width asked for.
        bits: u8,
    },
    /// The bucket size is not a power of two in 512..=8192.
    #[error("use buckets of {bucket} coordinates: sizes are powers of two from 512 to 8192")]
    Bucket {
        /// The size asked for.
        bucket: u32,
    },
    /// The group of a sign quantizer is not 0 or a power of two in 512..=65536.
    #[error(
        "take signs in groups of {group} coordinates: sizes are powers of two from 512 to 65536, or 0 \
         for the whole vector"
    )]
    Group {
        /// The size asked for.
        group: u32,
    },
    /// The scale belongs to another kind of quantizer.
    #[error(
        "use scale {scale:?} with these levels: uniform ones have bucket-max, bucket-l2 and global-l2, \
         mid-rise ones and rotations bucket-max"
    )]
    Scale {
        /// The scale asked for.
        scale: Scale,
    },
    /// The preset has no such width.
    #[error("compress to {bits} bits per coordinate with {preset}, which has no such width")]
    Width {
        /// The width asked for.
        bits: u8,
        /// The preset's name.
        preset: &'static str,
    },
    /// A sparsifier cannot keep that many coordinates.
    #[error("keep {entries} of {n} coordinates: at least 1, at most all and at most 4294967295")]
    Entries {
        /// Coordinates to keep.
        entries: u64,
        /// Coordinates of the vector.
        n: usize,
    },
}
