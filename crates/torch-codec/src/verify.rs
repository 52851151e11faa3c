//! Whether a device computes as the contract needs it to.

use crate::encoder::Encoder;
use crate::error::DeviceCodecError;
use gradient_codec::layout::SEGMENT;
use gradient_codec::{Generator, MessageId, Quantizer, random};
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
        let id = MessageId {
            seed: 1,
            iteration: u64::MAX,
            worker: u32::MAX,
        };
        let x = probe();
        let (mut here, mut on_cpu) = (Vec::new(), Vec::new());
        compressor.encode(&id, &x, &[], &mut on_cpu)?;
        let x = Tensor::f_from_slice(&x)?.f_to_device(self.device())?;
        self.encode(&compressor, &id, &x, &[], &mut here)?;
        Ok(here == on_cpu)
    }
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
