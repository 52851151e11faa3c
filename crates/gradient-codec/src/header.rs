//! The 64-byte header: byte offsets, writing and reading. All fields little-endian.
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | 4 bytes | magic `GCDF` |
//! | 4 | u16 | version, 1 |
//! | 6 | u8 | bits per value: 1 signs, 1..=16 levels, 32 for raw f32 and sparse frames |
//! | 7 | u8 | scale: 0 none, 1 bucket max, 2 bucket l2, 3 global l2, 4 global max, 5 bucket mean, 6 global mean, 7 bucket unbiased |
//! | 8 | u8 | levels: 0 raw f32, 1 uniform with a zero level, 2 mid-rise, 3 Lloyd-Max, 4 sign, 5 stochastic sign, 6 top-K, 7 rand-K |
//! | 9 | u8 | generator: 0 none (nothing is drawn), 1 Philox4x32-7, 2 ARS-5 |
//! | 10 | u8 | log2 bucket; 0 without buckets |
//! | 11 | u8 | log2 segment, 16; 0 for raw f32 and sparse frames |
//! | 12 | u32 | flags: bit 0 rotated, bit 1 shrunk, bit 2 all workers of the iteration share the rotation, all others 0 |
//! | 16 | u64 | n, coordinates |
//! | 24 | u64 | iteration |
//! | 32 | u32 | worker |
//! | 36 | u32 | tail length, in f32 |
//! | 40 | u64 | rand-K: key of the coordinates; rotated: key of the rotation; 0 otherwise |
//! | 48 | f32 | step of a global scale; 0 otherwise |
//! | 52 | u32 | entries of a sparse frame; 0 otherwise |
//! | 56 | u32 | CRC32C of everything after the header |
//! | 60 | u32 | CRC32C of bytes 0..60 |

use crate::checksum;
use crate::compressor::{Compressor, Operator};
use crate::layout::{HEADER_BYTES, LOG2_SEGMENT};
use crate::quantizer::{Coding, Generator, MessageId, Scale, Sharing};

/// First bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"GCDF";
/// Version of the frame format.
pub(crate) const VERSION: u16 = 1;
/// The flag of rotated frames.
pub(crate) const ROTATED: u32 = 1;
/// The flag of shrunk frames.
pub(crate) const SHRUNK: u32 = 1 << 1;
/// The flag of frames whose rotation all workers of the iteration share.
pub(crate) const SHARED: u32 = 1 << 2;

/// Levels kinds of sparse frames; those of quantizers are [`Coding`]'s numbers.
const TOP_K: u8 = 6;
const RAND_K: u8 = 7;

/// The fields of a header, unchecked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Header {
    pub magic: [u8; 4],
    pub version: u16,
    pub bits: u8,
    pub scale: u8,
    pub levels: u8,
    pub generator: u8,
    pub log2_bucket: u8,
    pub log2_segment: u8,
    pub flags: u32,
    pub n: u64,
    pub iteration: u64,
    pub worker: u32,
    pub tail: u32,
    pub key: u64,
    pub step: f32,
    pub entries: u32,
    pub payload_checksum: u32,
}

impl Header {
    /// The header of a message; its step and checksum are still to be filled in.
    pub fn new(compressor: &Compressor, id: &MessageId, tail: u32) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version: VERSION,
            bits: 32,
            scale: Scale::None as u8,
            levels: 0,
            generator: 0,
            log2_bucket: 0,
            log2_segment: 0,
            flags: if compressor.is_shrunk() { SHRUNK } else { 0 },
            n: compressor.coordinates() as u64,
            iteration: id.iteration,
            worker: id.worker,
            tail,
            key: compressor.key(id),
            step: 0.0,
            entries: compressor.entries().unwrap_or(0),
            payload_checksum: 0,
        };
        match compressor.operator() {
            Operator::Quantizer(quantizer) => {
                header.bits = quantizer.bits();
                header.scale = quantizer.scale() as u8;
                header.levels = quantizer.coding() as u8;
                if quantizer.draws() {
                    header.generator = quantizer.generator() as u8;
                }
                header.log2_bucket = quantizer.bucket().map_or(0, |b| b.trailing_zeros() as u8);
                header.flags |= match quantizer.sharing() {
                    None => 0,
                    Some(Sharing::Message) => ROTATED,
                    Some(Sharing::Round) => ROTATED | SHARED,
                };
                if quantizer.coding() != Coding::F32 {
                    header.log2_segment = LOG2_SEGMENT as u8;
                }
            }
            Operator::TopK { .. } => header.levels = TOP_K,
            Operator::RandK { .. } => {
                header.levels = RAND_K;
                header.generator = Generator::Philox as u8;
            }
        }
        header
    }

    /// The bytes, with their own checksum.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.magic);
        put(4, &self.version.to_le_bytes());
        put(6, &[self.bits, self.scale, self.levels, self.generator]);
        put(10, &[self.log2_bucket, self.log2_segment]);
        put(12, &self.flags.to_le_bytes());
        put(16, &self.n.to_le_bytes());
        put(24, &self.iteration.to_le_bytes());
        put(32, &self.worker.to_le_bytes());
        put(36, &self.tail.to_le_bytes());
        put(40, &self.key.to_le_bytes());
        put(48, &self.step.to_le_bytes());
        put(52, &self.entries.to_le_bytes());
        put(56, &self.payload_checksum.to_le_bytes());
        let checksum = checksum::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The fields, and whether the header's own checksum holds.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> (Self, bool) {
        fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
            std::array::from_fn(|i| bytes[at + i])
        }
        let u32_at = |at| u32::from_le_bytes(take(bytes, at));
        let u64_at = |at| u64::from_le_bytes(take(bytes, at));
        let header = Self {
            magic: take(bytes, 0),
            version: u16::from_le_bytes(take(bytes, 4)),
            bits: bytes[6],
            scale: bytes[7],
            levels: bytes[8],
            generator: bytes[9],
            log2_bucket: bytes[10],
            log2_segment: bytes[11],
            flags: u32_at(12),
            n: u64_at(16),
            iteration: u64_at(24),
            worker: u32_at(32),
            tail: u32_at(36),
            key: u64_at(40),
            step: f32::from_le_bytes(take(bytes, 48)),
            entries: u32_at(52),
            payload_checksum: u32_at(56),
        };
        (header, checksum::crc32c(&bytes[..60]) == u32_at(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OneBitScale, Quantizer};

    const ID: MessageId = MessageId {
        seed: 5,
        iteration: 6,
        worker: 7,
    };

    #[test]
    fn fields_lie_where_the_contract_says() {
        let q = Quantizer::new(Scale::BucketL2, 1024, 7, Generator::Philox).unwrap();
        let id = MessageId {
            seed: 0,
            iteration: 0x1112_1314_1516_1718,
            worker: 0x2122_2324,
        };
        let mut header = Header::new(&q.compressor(0x0102_0304_0506_0708), &id, 0x3132_3334);
        header.step = 1.0;
        header.payload_checksum = 0x4142_4344;
        let bytes = header.to_bytes();
        let expected: [u8; 60] = [
            b'G', b'C', b'D', b'F', 1, 0, 7, 2, 1, 1, 10, 16, 0, 0, 0, 0, //
            8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, //
            0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31, 0, 0, 0, 0, 0, 0, 0, 0, //
            0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0x44, 0x43, 0x42, 0x41,
        ];
        assert_eq!(bytes[..60], expected);
        assert_eq!(Header::from_bytes(&bytes), (header, true));
    }

    #[test]
    fn new_kinds_lie_where_the_contract_says() {
        let kind = |compressor: Compressor| {
            let bytes = Header::new(&compressor, &ID, 0).to_bytes();
            let entries = u32::from_le_bytes([bytes[52], bytes[53], bytes[54], bytes[55]]);
            ([6, 7, 8, 9, 10, 11, 12].map(|at: usize| bytes[at]), entries)
        };
        let one_bit = |scale| Quantizer::one_bit(scale, Generator::Ars).compressor(700);
        for (compressor, wanted) in [
            (
                Quantizer::sign(512).unwrap().compressor(700),
                ([1, 5, 4, 0, 9, 16, 0], 0),
            ),
            (
                Quantizer::sign(0).unwrap().compressor(700),
                ([1, 6, 4, 0, 0, 16, 0], 0),
            ),
            (one_bit(OneBitScale::Max), ([1, 4, 5, 2, 0, 16, 0], 0)),
            (one_bit(OneBitScale::L2), ([1, 3, 5, 2, 0, 16, 0], 0)),
            (
                Quantizer::mid_rise(512, 1, Generator::Ars)
                    .unwrap()
                    .compressor(700),
                ([1, 1, 2, 2, 9, 16, 0], 0),
            ),
            (
                Quantizer::mid_rise(512, 4, Generator::Ars)
                    .and_then(|quantizer| quantizer.rotated(Sharing::Round))
                    .unwrap()
                    .compressor(700),
                ([4, 1, 2, 2, 9, 16, 5], 0),
            ),
            (
                Quantizer::eden(4096, 3, Sharing::Message)
                    .unwrap()
                    .compressor(700),
                ([3, 7, 3, 0, 12, 16, 1], 0),
            ),
            (
                Compressor::top_k(7, 700).unwrap(),
                ([32, 0, 6, 0, 0, 0, 0], 7),
            ),
            (
                Compressor::rand_k(7, 700).unwrap().with_shrink(true),
                ([32, 0, 7, 1, 0, 0, 2], 7),
            ),
        ] {
            assert_eq!(kind(compressor), wanted, "{compressor:?}");
        }
    }

    #[test]
    fn any_flipped_bit_breaks_the_checksum() {
        let header = Header::new(&Quantizer::f32().compressor(5), &ID, 8).to_bytes();
        for bit in 0..8 * HEADER_BYTES {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Header::from_bytes(&flipped).1, "bit {bit}");
        }
    }
}
