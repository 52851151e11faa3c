//! Frames whose bodies are written, or read, by other code than this crate's: on a GPU.

use crate::checksum;
use crate::compressor::Compressor;
use crate::encode::{EncodeError, check_tail};
use crate::header::Header;
use crate::layout::HEADER_BYTES;
use crate::quantizer::{HEADROOM, MessageId, SMALLEST_SCALE};

/// Buckets whose scale is below this send zeros: 2^-90.
pub const SMALLEST_BUCKET_SCALE: f32 = SMALLEST_SCALE;
/// Head-room of bucketed steps: `1 + 2^-21`.
pub const BUCKET_HEADROOM: f32 = HEADROOM;

impl Compressor {
    /// A frame around a body that `write` fills in: header, checksums and tail are added here.
    ///
    /// `write` gets the body's bytes, whose content is arbitrary and all of which it must set
    /// ([`crate::layout`]), and returns the step of a global scale, 0 for other scales. The frame is
    /// in `frame` as after [`Compressor::encode`]. That the body follows the contract is for the
    /// caller to see to; [`crate::Frame::parse`] tells.
    ///
    /// # Errors
    /// A tail that is not finite or too long, or `write`'s own; `frame` is then empty.
    pub fn assemble<E: From<EncodeError>>(
        &self,
        id: &MessageId,
        tail: &[f32],
        frame: &mut Vec<u8>,
        write: impl FnOnce(&mut [u8]) -> Result<f32, E>,
    ) -> Result<(), E> {
        let result = self.assembled(id, tail, frame, write);
        if result.is_err() {
            frame.clear();
        }
        result
    }

    fn assembled<E: From<EncodeError>>(
        &self,
        id: &MessageId,
        tail: &[f32],
        frame: &mut Vec<u8>,
        write: impl FnOnce(&mut [u8]) -> Result<f32, E>,
    ) -> Result<(), E> {
        let tail_len = check_tail(tail)?;
        frame.resize(self.frame_len(tail.len()), 0);
        let (header_bytes, payload) = frame.split_at_mut(HEADER_BYTES);
        let (body, tail_bytes) = payload.split_at_mut(payload.len() - 4 * tail.len());
        let mut header = Header::new(self, id, tail_len);
        header.step = write(body)?;
        for (bytes, v) in tail_bytes.as_chunks_mut::<4>().0.iter_mut().zip(tail) {
            *bytes = v.to_le_bytes();
        }
        header.payload_checksum = checksum::crc32c(payload);
        header_bytes.copy_from_slice(&header.to_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, Preset};

    #[test]
    fn a_body_in_its_frame_is_the_frame() {
        let id = MessageId {
            seed: 1,
            iteration: 2,
            worker: 3,
        };
        let x: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
        for text in ["qsgd", "qsgd-bucketed", "sign"] {
            let preset: Preset = text.parse().unwrap();
            let bits = if text == "sign" { 1 } else { 5 };
            let compressor = preset.compressor(bits, 1000).unwrap();
            let compressor = compressor.with_generator(Generator::Philox);
            let (mut wanted, mut found) = (Vec::new(), vec![7; 9]);
            compressor.encode(&id, &x, &[0.5], &mut wanted).unwrap();
            let step = f32::from_le_bytes([wanted[48], wanted[49], wanted[50], wanted[51]]);
            let write = |body: &mut [u8]| {
                body.copy_from_slice(&wanted[64..wanted.len() - 4]);
                Ok::<_, EncodeError>(step)
            };
            compressor.assemble(&id, &[0.5], &mut found, write).unwrap();
            assert_eq!(found, wanted, "{text}");
            let refused = |_: &mut [u8]| Err(EncodeError::NotFinite { index: 4 });
            assert_eq!(
                compressor.assemble(&id, &[], &mut found, refused),
                Err(EncodeError::NotFinite { index: 4 })
            );
            assert!(found.is_empty());
            let tail =
                compressor.assemble(&id, &[f32::NAN], &mut found, |_| Ok::<_, EncodeError>(0.0));
            assert_eq!(tail, Err(EncodeError::TailNotFinite { index: 0 }));
        }
    }
}
