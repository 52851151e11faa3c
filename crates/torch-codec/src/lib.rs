//! The gradient codec as libtorch operations, for vectors in a GPU's memory: what crosses to the host
//! is packed.
//!
//! [`Encoder`] writes the very bytes of [`gradient_codec::Compressor::encode`] with
//! [`gradient_codec::Generator::Philox`], and [`Accumulator`] adds frames up with the very bits
//! of [`gradient_codec::accumulate_many`]. `docs/format.md` is the contract of both.
//!
//! From the bottom up: `philox` makes the random bits, `scale` a bucket's norm, largest or mean magnitude and
//! its step, `rotate` random rotations, `round` and `nearest` the codes, `pack` the words of a block; `levels` goes
//! back from words to what they stand for. All of it is integer operations, and f32 and f64 operations that IEEE 754 fixes (one operation per kernel, so
//! that nothing is fused), so any device gives the same bytes; [`Encoder::agrees_with_the_cpu`] and
//! [`Accumulator::agrees_with_the_cpu`] try.
//!
//! ```
//! use gradient_codec::{Expected, Frame, Generator, MessageId, Preset};
//! use tch::{Device, Tensor};
//! use torch_codec::{Accumulator, Encoder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let compressor = Preset::default().compressor(4, 1000)?.with_generator(Generator::Philox);
//! let id = MessageId { seed: 1, iteration: 7, worker: 3 };
//! let x: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
//!
//! let (mut frame, mut on_cpu) = (Vec::new(), Vec::new());
//! Encoder::new(Device::Cpu).encode(&compressor, &id, &Tensor::from_slice(&x), &[0.25], &mut frame)?;
//! compressor.encode(&id, &x, &[0.25], &mut on_cpu)?;
//! assert_eq!(frame, on_cpu);
//!
//! let expected = Expected::new(&id, compressor, 1);
//! let parsed = Frame::parse(&frame, &expected)?;
//! let mut sums = Accumulator::new(Device::Cpu);
//! sums.clear(1, 1000)?;
//! sums.add(None, &[(parsed, vec![2.0])])?;
//! sums.finish(None)?;
//! let mut wanted = vec![0.0; 1000];
//! parsed.accumulate(2.0, &mut wanted);
//! assert_eq!(sums.values(), wanted);
//! # Ok(())
//! # }
//! ```

mod accumulator;
mod encoder;
mod error;
mod layout;
mod levels;
mod nearest;
mod pack;
mod philox;
mod rotate;
mod round;
mod scale;
mod verify;

pub use accumulator::Accumulator;
pub use encoder::Encoder;
pub use error::DeviceCodecError;
