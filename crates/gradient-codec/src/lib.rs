//! Gradients as exactly z bits per coordinate: quantizers, bit packing, frames, and decoding
//! straight into an accumulator.
//!
//! From the bottom up: [`layout`] says where every byte of a frame lies, [`random`] defines the
//! random bits of stochastic rounding, [`reference`](mod@reference) is the format as slow loops. A [`Compressor`]
//! (a [`Quantizer`] or a sparsifier, for vectors of n coordinates) encodes to the same bytes with
//! vectorised loops chosen at run time, [`Frame`] checks what arrived against what was planned and folds
//! it into a sum, and [`Preset`] names the compressors and bounds their error. `docs/format.md` is the
//! contract in prose.
//!
//! | preset | bits per coordinate | unbiased | contractive |
//! |---|---|---|---|
//! | `qsgd`, `qsgd-bucketed` | 2..=16 as planned | yes | at enough bits |
//! | `one-bit` | 1 | yes | no |
//! | `rand-k` | 32 K / n | yes | for K > n/2 |
//! | `sign` | 1 | no | yes |
//! | `top-k` | (32 + ceil(log2 n)) K / n | no | yes |
//!
//! The unbiased ones become contractions when they are shrunk ([`Compressor::with_shrink`]).
//!
//! Everything is a pure function of its arguments: the same bytes and sums on any CPU and with any
//! number of threads.
//!
//! ```
//! use gradient_codec::{Expected, Frame, MessageId, Preset, accumulate_many};
//!
//! let (n, compressor) = (10_000, Preset::default().compressor(4, 10_000)?);
//! let gradient: Vec<f32> = (0..n).map(|i| (i as f32 * 0.01).cos()).collect();
//!
//! // Two workers send the same gradient, each with its own rounding.
//! let mut messages = [Vec::new(), Vec::new()];
//! for (worker, bytes) in messages.iter_mut().enumerate() {
//!     let id = MessageId { seed: 42, iteration: 0, worker: worker as u32 };
//!     compressor.encode(&id, &gradient, &[], bytes)?;
//! }
//!
//! // The master checks both frames and adds them, half each, in one pass.
//! let mut mean = vec![0.0; n];
//! let mut frames = Vec::new();
//! for (worker, bytes) in messages.iter().enumerate() {
//!     let id = MessageId { seed: 42, iteration: 0, worker: worker as u32 };
//!     let expected = Expected::new(&id, compressor, 0);
//!     frames.push((Frame::parse(bytes, &expected)?, 0.5));
//! }
//! accumulate_many(&frames, &mut mean);
//!
//! let squares = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
//! let error: Vec<f32> = mean.iter().zip(&gradient).map(|(a, b)| a - b).collect();
//! let phi = compressor.distortion(&gradient);
//! assert!((squares(&error) / squares(&gradient) / (phi / 2.0) - 1.0).abs() < 0.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assemble;
mod checksum;
mod compressor;
mod distortion;
mod encode;
mod frame;
mod header;
mod kernels;
pub mod layout;
mod lloyd_max;
mod partial;
mod preset;
mod quantizer;
pub mod random;
pub mod reference;
mod rotation;
mod sparse;
#[cfg(test)]
mod tests;

pub use assemble::{BUCKET_HEADROOM, SMALLEST_BUCKET_SCALE};
pub use compressor::{Compressor, Operator};
pub use encode::EncodeError;
pub use frame::{Expected, Frame, FrameError, accumulate_many, accumulate_rotated};
pub use preset::{BucketNorm, Preset, PresetError, Widths};
pub use quantizer::{
    Coding, FixedPoint, Generator, MessageId, OneBitScale, Quantizer, QuantizerError, Scale,
    Sharing,
};
pub use rotation::Rotation;

/// Uses the loops of a slower instruction set than this CPU has, to measure or to test them; the names are
/// those of [`instruction_set`]. For the whole process, once, and before anything is encoded or
/// decoded: `false` if the CPU has not the set or another one is in use. No byte depends on it.
pub fn choose_instruction_set(name: &str) -> bool {
    kernels::Kernels::choose(name)
}

/// The instruction set whose loops this CPU runs: `avx512`, `avx2-vaes`, `avx2` or `portable`.
pub fn instruction_set() -> &'static str {
    kernels::Kernels::best().name()
}
