//! The rules that a frame has to keep: its header against the plan, and its contents.

use super::blocks::Blocks;
use super::entries::{Coordinates, Entries};
use super::{Expected, FrameError};
use crate::checksum;
use crate::compressor::{Compressor, Operator};
use crate::header::{Header, MAGIC, VERSION};
use crate::kernels::Kernels;
use crate::layout::{BLOCK, SEGMENT};
use crate::partial;
use crate::quantizer::{MessageId, Quantizer, Sharing};

/// Blocks that are checked and then added to the checksum, at most 16 KB.
const PIECE: usize = 16;

/// Finite, not negative, and so is its product with the outermost level.
fn step_is_valid(step: f32, quantizer: &Quantizer) -> bool {
    step.is_sign_positive() && (step * quantizer.outermost()).is_finite()
}

/// The header's step: there only with a global scale, and then a valid one.
pub(super) fn header_step(found: f32, compressor: &Compressor) -> Result<(), FrameError> {
    let fits = match compressor.operator() {
        Operator::Quantizer(quantizer) => {
            quantizer.scale().is_global() && step_is_valid(found, &quantizer)
        }
        _ => false,
    };
    if fits || found.to_bits() == 0 {
        Ok(())
    } else {
        Err(FrameError::HeaderStep { found })
    }
}

/// Every field of the header against the plan.
pub(super) fn header(header: &Header, intact: bool, expected: &Expected) -> Result<(), FrameError> {
    let compressor = &expected.compressor;
    // The seed has a say in the key alone, which is looked at by itself.
    let id = MessageId {
        seed: 0,
        iteration: expected.iteration,
        worker: expected.worker,
    };
    let wanted = Header::new(compressor, &id, 0);
    if header.magic != MAGIC {
        return Err(FrameError::Magic {
            found: header.magic,
        });
    }
    if header.version != VERSION {
        return Err(FrameError::Version {
            found: header.version,
            expected: VERSION,
        });
    }
    if !intact {
        return Err(FrameError::HeaderChecksum);
    }
    macro_rules! same {
        ($field:ident, $variant:ident) => {
            if header.$field != wanted.$field {
                return Err(FrameError::$variant {
                    found: header.$field,
                    expected: wanted.$field,
                });
            }
        };
    }
    same!(bits, Bits);
    same!(scale, Scale);
    same!(levels, Levels);
    same!(generator, Generator);
    same!(log2_bucket, Bucket);
    same!(log2_segment, Segment);
    same!(flags, Flags);
    same!(n, Coordinates);
    same!(iteration, Iteration);
    same!(worker, Worker);
    if u64::from(header.tail) != expected.tail as u64 {
        return Err(FrameError::Tail {
            found: u64::from(header.tail),
            expected: expected.tail as u64,
        });
    }
    let found = header.key;
    let sharing = match compressor.operator() {
        Operator::Quantizer(quantizer) => quantizer.sharing(),
        // Any key will do: it chooses among the coordinates, or a rotation, and nothing else.
        Operator::RandK { .. } => Some(Sharing::Message),
        Operator::TopK { .. } => None,
    };
    match (sharing, expected.rotation) {
        (Some(Sharing::Message), _) => {}
        (Some(Sharing::Round), expected) if found != expected => {
            return Err(FrameError::Rotation { found, expected });
        }
        (Some(Sharing::Round), _) => {}
        (None, _) if found != 0 => return Err(FrameError::Key { found }),
        (None, _) => {}
    }
    same!(entries, Entries);
    Ok(())
}

impl Blocks<'_> {
    /// Steps, padding and codes of the segment that starts at coordinate `start`; its bytes join the
    /// checksum `crc`, while they are in the cache.
    pub(super) fn check_segment(
        &self,
        kernels: &'static Kernels,
        start: usize,
        bytes: &[u8],
        crc: &mut u32,
    ) -> Result<(), FrameError> {
        let quantizer = &self.quantizer;
        if quantizer.is_f32() {
            let mut contents = Ok(());
            for (i, block) in bytes.chunks(4 * BLOCK).enumerate() {
                if kernels.max_abs_bits_le(block) >= f32::INFINITY.to_bits() {
                    let index = start + i * BLOCK;
                    contents = contents.and(Err(FrameError::NotFinite { index }));
                }
                *crc = checksum::append(*crc, block);
            }
            return contents;
        }
        let segment = self.segment(start);
        let bits = quantizer.bits();
        let bucket = quantizer.bucket().map_or(SEGMENT, |b| b as usize);
        let block_bytes = segment.block_bytes();
        let blocks = segment.block_range(0..segment.blocks);
        let after = blocks.end;
        *crc = checksum::append(*crc, &bytes[..blocks.start]);
        let reserved = quantizer.reserves_a_code();
        let mut unused = None;
        for (i, piece) in bytes[blocks].chunks(PIECE * block_bytes).enumerate() {
            if reserved && unused.is_none() && kernels.has_unused(bits, piece) {
                let is_bad = |block: &[u8]| kernels.has_unused(bits, block);
                let block = piece.chunks(block_bytes).position(is_bad);
                unused = Some(start + (PIECE * i + block.unwrap_or(0)) * BLOCK);
            }
            *crc = checksum::append(*crc, piece);
        }
        *crc = checksum::append(*crc, &bytes[after..]);
        let (steps, padding) = bytes[..segment.step_bytes].split_at(4 * segment.steps);
        for (j, step) in steps.as_chunks::<4>().0.iter().enumerate() {
            let found = f32::from_le_bytes(*step);
            if !step_is_valid(found, quantizer) {
                let index = start + j * bucket;
                return Err(FrameError::Step { index, found });
            }
        }
        if padding.iter().any(|b| *b != 0) {
            return Err(FrameError::StepPadding { index: start });
        }
        if let Some(index) = unused {
            return Err(FrameError::UnusedCode { index });
        }
        if segment.partial_lanes > 0 {
            let full = self.spread_partial(&segment, bytes);
            let packed = &full[..segment.block_bytes()];
            if reserved && kernels.has_unused(bits, packed) {
                let index = start + segment.blocks * BLOCK;
                return Err(FrameError::UnusedCode { index });
            }
            // Decode whole lanes: the codes behind the last coordinate must be 0.
            let zero_code = if bits == 1 { 1.0 } else { 0.0 };
            let mut values = [0.0; BLOCK];
            kernels.accumulate(bits, packed, 1.0, &mut values);
            let mut lanes = [0.0; BLOCK];
            let lanes = &mut lanes[..segment.partial_lanes * 32];
            partial::gather(&values, lanes);
            if lanes[segment.coordinates % BLOCK..]
                .iter()
                .any(|v| *v != zero_code)
            {
                return Err(FrameError::CodePadding);
            }
        }
        Ok(())
    }
}

impl Entries<'_> {
    /// Values and indices.
    pub(super) fn check(&self, kernels: &'static Kernels) -> Result<(), FrameError> {
        let is_bad = |bytes: &[u8]| kernels.max_abs_bits_le(bytes) >= f32::INFINITY.to_bits();
        if is_bad(self.values.as_flattened()) {
            let bad = self.values.iter().position(|value| is_bad(value));
            let entry = bad.unwrap_or(0);
            return Err(FrameError::EntryNotFinite { entry });
        }
        let Coordinates::Sent(indices) = self.coordinates else {
            return Ok(());
        };
        let mut least = 0;
        for entry in 0..self.values.len() {
            let found = indices.get(entry);
            if found < least || found >= self.n as u64 {
                return Err(FrameError::EntryIndex { entry, found });
            }
            least = found + 1;
        }
        if indices.padding_is_zero(self.values.len()) {
            Ok(())
        } else {
            Err(FrameError::IndexPadding)
        }
    }
}
