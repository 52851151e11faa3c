//! A compressor: what turns a vector of n coordinates into one frame of a known length.

use crate::layout;
use crate::quantizer::{Generator, MessageId, Quantizer, QuantizerError, Sharing};
use crate::rotation::Rotation;
use crate::sparse;

/// How coordinates are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// All of them, each as a code of a few bits.
    Quantizer(Quantizer),
    /// The `entries` largest magnitudes as f32 with their indices, nothing else (ties: lowest index
    /// first). Biased, contractive.
    TopK {
        /// Coordinates kept.
        entries: u32,
    },
    /// `entries` distinct coordinates drawn uniformly, times n / entries: unbiased. Only the values
    /// travel: the coordinates are a function of the message's key.
    RandK {
        /// Coordinates kept.
        entries: u32,
    },
}

/// What a worker's vectors are compressed with: an operator and the number of coordinates, which
/// together fix every length.
///
/// [`Preset::compressor`](crate::Preset::compressor) makes one from a name and a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compressor {
    operator: Operator,
    n: usize,
    shrink: bool,
}

impl Quantizer {
    /// The compressor of vectors of `n` coordinates with this quantizer.
    pub fn compressor(self, n: usize) -> Compressor {
        Compressor {
            operator: Operator::Quantizer(self),
            n,
            shrink: false,
        }
    }
}

impl Compressor {
    /// The compressor that keeps the `entries` largest of `n` coordinates.
    ///
    /// # Errors
    /// `entries` is 0 (with n > 0), more than n, or more than 2^32 - 1.
    pub fn top_k(entries: u64, n: usize) -> Result<Self, QuantizerError> {
        let entries = checked_entries(entries, n)?;
        Ok(Self {
            operator: Operator::TopK { entries },
            n,
            shrink: false,
        })
    }

    /// The compressor that keeps `entries` random ones of `n` coordinates, amplified by n / entries.
    ///
    /// # Errors
    /// As [`Compressor::top_k`].
    pub fn rand_k(entries: u64, n: usize) -> Result<Self, QuantizerError> {
        let entries = checked_entries(entries, n)?;
        Ok(Self {
            operator: Operator::RandK { entries },
            n,
            shrink: false,
        })
    }

    /// The same compressor, shrunk or not: instead of an unbiased `C(x)` send `C(x) / (1 + w)`, w
    /// the exact [`distortion`](Compressor::distortion) of this very vector, by scaling the steps (or values) on the wire.
    ///
    /// `E||C(x)/(1+w) - x||^2 = w/(1+w) ||x||^2 < ||x||^2`: always a contraction, so that an error
    /// memory stays bounded whatever the width, where the unbiased operator with w >= 1 makes it
    /// explode. The price is the bias. Operators that are biased already, and f32, are unchanged.
    pub fn with_shrink(self, shrink: bool) -> Self {
        let shrink = shrink
            && match self.operator {
                Operator::Quantizer(quantizer) => !quantizer.is_f32() && quantizer.is_unbiased(),
                Operator::TopK { .. } => false,
                Operator::RandK { .. } => true,
            };
        Self { shrink, ..self }
    }

    /// The same compressor with the random bits of its rounding from `generator`; rand-K draws with
    /// Philox whatever it is.
    pub fn with_generator(self, generator: Generator) -> Self {
        let operator = match self.operator {
            Operator::Quantizer(quantizer) => {
                Operator::Quantizer(quantizer.with_generator(generator))
            }
            sparse => sparse,
        };
        Self { operator, ..self }
    }

    /// The key in the header of the message `id`: of its coordinates (rand-K) or of its rotation, 0 where
    /// neither is drawn.
    pub(crate) fn key(&self, id: &MessageId) -> u64 {
        match self.operator {
            Operator::Quantizer(quantizer) => {
                let sharing = quantizer.sharing();
                sharing.map_or(0, |sharing| id.rotation_key(sharing))
            }
            Operator::RandK { .. } => id.coordinates_key(),
            Operator::TopK { .. } => 0,
        }
    }

    /// The rotation of the message `id`; `None` where nothing is rotated.
    pub fn rotation(&self, id: &MessageId) -> Option<Rotation> {
        match self.operator {
            Operator::Quantizer(quantizer) => quantizer.rotation(self.key(id)),
            _ => None,
        }
    }

    /// The rotation that this message shares with those of all other workers of its iteration; `None`
    /// where nothing is rotated or every message has a rotation of its own.
    pub fn shared_rotation(&self, id: &MessageId) -> Option<Rotation> {
        match self.operator {
            Operator::Quantizer(quantizer) if quantizer.sharing() == Some(Sharing::Round) => {
                self.rotation(id)
            }
            _ => None,
        }
    }

    /// How coordinates are compressed.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Coordinates of a vector.
    pub fn coordinates(&self) -> usize {
        self.n
    }

    /// Whether messages are shrunk ([`Compressor::with_shrink`]).
    pub fn is_shrunk(&self) -> bool {
        self.shrink
    }

    /// Whether `E[C(x)] = x`, up to the rounding of f32; with Lloyd-Max levels over the rotations
    /// ([`crate::Preset::Eden`]).
    pub fn is_unbiased(&self) -> bool {
        !self.shrink
            && match self.operator {
                Operator::Quantizer(quantizer) => quantizer.is_unbiased(),
                Operator::TopK { .. } => false,
                Operator::RandK { .. } => true,
            }
    }

    /// Values that a sparse frame carries; `None` if all coordinates travel.
    pub fn entries(&self) -> Option<u32> {
        match self.operator {
            Operator::Quantizer(_) => None,
            Operator::TopK { entries } | Operator::RandK { entries } => Some(entries),
        }
    }

    /// Bits of one index on the wire: `ceil(log2 n)` for top-K, 0 where none is sent.
    pub fn index_bits(&self) -> u32 {
        match self.operator {
            Operator::TopK { .. } => sparse::index_bits(self.n),
            _ => 0,
        }
    }

    /// Bytes of a frame with `tail` unquantized f32, known before anything is allocated;
    /// `usize::MAX` where that is not representable.
    pub fn frame_len(&self, tail: usize) -> usize {
        layout::frame_bytes(self, tail).unwrap_or(usize::MAX)
    }

    /// Bits of the compressed payload: codes with the padding of the last block and the steps (one
    /// 32-bit step with a global scale), or values and indices padded to whole bytes. Header and
    /// tail are not counted; `u64::MAX` where that is not representable.
    pub fn payload_bits(&self) -> u64 {
        let header_step = match self.operator {
            Operator::Quantizer(quantizer) if quantizer.scale().is_global() => 32,
            _ => 0,
        };
        layout::body_bytes(self)
            .and_then(|bytes| bytes.checked_mul(8)?.checked_add(header_step))
            .unwrap_or(u64::MAX)
    }
}

fn checked_entries(entries: u64, n: usize) -> Result<u32, QuantizerError> {
    let possible = entries <= n as u64 && (entries > 0 || n == 0);
    match u32::try_from(entries) {
        Ok(entries) if possible => Ok(entries),
        _ => Err(QuantizerError::Entries { entries, n }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, OneBitScale};

    #[test]
    fn payloads_by_hand() {
        let sign = Quantizer::sign(0).unwrap();
        // 100 coordinates: four lanes of one word, and the step in the header.
        assert_eq!(sign.compressor(100).payload_bits(), 4 * 32 + 32);
        assert_eq!(sign.compressor(100).frame_len(2), 64 + 16 + 8);
        // 1025 coordinates in groups of 512: three steps padded to 64 bytes, 2 blocks, one lane.
        let grouped = Quantizer::sign(512).unwrap().compressor(1025);
        assert_eq!(grouped.payload_bits(), 8 * (64 + 2 * 64 + 4));
        let one_bit = Quantizer::one_bit(OneBitScale::L2, Generator::default());
        assert_eq!(one_bit.compressor(512).payload_bits(), 512 + 32);
        // K values and K indices of 7 bits, to whole bytes.
        let top = Compressor::top_k(3, 100).unwrap();
        assert_eq!(top.payload_bits(), 3 * 32 + 24);
        assert_eq!(Compressor::top_k(1, 1).unwrap().payload_bits(), 32);
        let rand = Compressor::rand_k(3, 100).unwrap();
        assert_eq!(rand.payload_bits(), 96);
        assert_eq!(rand.frame_len(0), 64 + 12);
    }

    #[test]
    fn impossible_numbers_of_entries_are_refused() {
        for (entries, n) in [(0, 5), (6, 5), (1, 0), (1 << 32, usize::MAX)] {
            let error = Err(QuantizerError::Entries { entries, n });
            assert_eq!(Compressor::top_k(entries, n), error);
            assert_eq!(Compressor::rand_k(entries, n), error);
        }
        assert!(Compressor::top_k(0, 0).is_ok());
        assert!(Compressor::rand_k(5, 5).is_ok());
    }

    #[test]
    fn only_unbiased_operators_shrink() {
        let shrunk = |compressor: Compressor| compressor.with_shrink(true).is_shrunk();
        assert!(shrunk(Compressor::rand_k(2, 9).unwrap()));
        let one_bit = Quantizer::one_bit(OneBitScale::Max, Generator::default());
        assert!(shrunk(one_bit.compressor(9)));
        assert!(!shrunk(Compressor::top_k(2, 9).unwrap()));
        assert!(!shrunk(Quantizer::sign(0).unwrap().compressor(9)));
        assert!(!shrunk(Quantizer::f32().compressor(9)));
        let shrunk = one_bit.compressor(9).with_shrink(true);
        assert!(!shrunk.is_unbiased());
        assert_eq!(shrunk.with_shrink(true), shrunk);
    }
}
