//! Whether a device computes as the contract needs it to.

use crate::accumulator::Accumulator;
use crate::encoder::Encoder;
use crate::error::DeviceCodecError;
use gradient_codec::layout::SEGMENT;
use gradient_codec::{
    Compressor, Expected, Frame, Generator, MessageId, Quantizer, accumulate_many,
    accumulate_rotated, random,
};
use tch::Tensor;

/// Coordinates of the vector that is tried: a segment, then one that ends in the middle of a block.
const COORDINATES: usize = SEGMENT + 9000;

impl Encoder {
    /// Encodes a vector of 74,536 coordinates of very different sizes here and on the CPU, and says whether the
    /// frames are equal. It takes milliseconds; whoever relies on frames not depending on where they
    /// are made asks once per quantizer, since a libtorch or a GPU might compute differently from those
    /// that this was tested on.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn agrees_with_the_cpu(&mut self, quantizer: &Quantizer) -> Result<bool, DeviceCodecError> {
        let compressor = quantizer
            .compressor(COORDINATES)
            .with_generator(Generator::Philox);
        let (id, x) = (message(0), probe());
        let on_cpu = encoded(&compressor, 0)?;
        let mut here = Vec::new();
        let x = Tensor::f_from_slice(&x)?.f_to_device(self.device())?;
        self.encode(&compressor, &id, &x, &[], &mut here)?;
        Ok(here == on_cpu)
    }
}

impl Accumulator {
    /// Adds two frames of 74,536 coordinates of very different sizes to two sums here and on the CPU, and says
    /// whether the sums have equal bits. It takes milliseconds; whoever relies on sums not depending on where
    /// they are made asks once per quantizer. The sums have to be cleared afterwards.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn agrees_with_the_cpu(&mut self, quantizer: &Quantizer) -> Result<bool, DeviceCodecError> {
        const WEIGHTS: [[f32; 2]; 2] = [[0.7, -1.3], [-0.01, 3.0]];
        let compressor = quantizer.compressor(COORDINATES);
        let bytes = [encoded(&compressor, 0)?, encoded(&compressor, 1)?];
        let mut frames = Vec::new();
        for (worker, bytes) in bytes.iter().enumerate() {
            let expected = Expected::new(&message(worker as u32), compressor, 0);
            match Frame::parse(bytes, &expected) {
                Ok(frame) => frames.push((frame, WEIGHTS[worker].to_vec())),
                Err(_) => return Ok(false), // what the CPU does not read is not what it sums
            }
        }
        let shared = compressor.shared_rotation(&message(0));
        let shared = shared.as_ref();
        self.clear(2, COORDINATES)?;
        self.add(shared, &frames)?;
        self.finish(shared)?;
        let mut on_cpu = vec![0.0; 2 * COORDINATES];
        for (r, sum) in on_cpu.chunks_exact_mut(COORDINATES).enumerate() {
            let weighted = [(frames[0].0, WEIGHTS[0][r]), (frames[1].0, WEIGHTS[1][r])];
            match shared {
                Some(rotation) => {
                    accumulate_rotated(rotation, &weighted, sum);
                    rotation.invert(sum);
                }
                None => accumulate_many(&weighted, sum),
            }
        }
        let mut pairs = self.values().iter().zip(&on_cpu);
        let equal = pairs.all(|(here, on_cpu)| here.to_bits() == on_cpu.to_bits());
        Ok(equal && self.values().len() == on_cpu.len())
    }
}

fn message(worker: u32) -> MessageId {
    MessageId {
        seed: 1,
        iteration: u64::MAX,
        worker,
    }
}

/// The CPU's frame of the probe.
fn encoded(compressor: &Compressor, worker: u32) -> Result<Vec<u8>, DeviceCodecError> {
    let mut frame = Vec::new();
    compressor.encode(&message(worker), &probe(), &[], &mut frame)?;
    Ok(frame)
}

/// Values with every sign and mantissa, sizes from subnormal to 2^18 by stretches of 500, some zeros.
fn probe() -> Vec<f32> {
    (0..COORDINATES)
        .map(|i| {
            let bits = random::bits(Generator::Philox, [1, 2, 3, 4], i as u64, 0, 0);
            let exponent = (i / 500 * 37 % 146) as u32 + (bits >> 24) % 8;
            match bits % 9 {
                0 => 0.0,
                _ => f32::from_bits(bits << 31 | exponent << 23 | bits >> 9),
            }
        })
        .collect()
}
