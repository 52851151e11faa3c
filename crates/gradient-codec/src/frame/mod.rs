//! From bytes to a sum: checking a frame against what was planned, and folding it into an
//! accumulator without a dequantized copy.

mod blocks;
mod check;
mod entries;
mod error;

pub use error::FrameError;

use crate::checksum;
use crate::compressor::{Compressor, Operator};
use crate::header::Header;
use crate::kernels::Kernels;
use crate::layout::{BLOCK, HEADER_BYTES, SEGMENT};
use crate::quantizer::MessageId;
use crate::rotation::{Rotation, Rotor};
use crate::sparse::Indices;
use blocks::Blocks;
use entries::{Coordinates, Entries};
use rayon::prelude::*;

/// What the plan says a frame must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Iteration of the run.
    pub iteration: u64,
    /// Logical worker.
    pub worker: u32,
    /// The worker's compressor, which knows the number of coordinates.
    pub compressor: Compressor,
    /// Uncompressed f32 behind the coordinates.
    pub tail: usize,
    /// Key of the rotation that all workers of the iteration share; 0 where they share none.
    pub rotation: u64,
}

impl Expected {
    /// What must arrive for the message `id`.
    pub fn new(id: &MessageId, compressor: Compressor, tail: usize) -> Self {
        let shared = compressor.shared_rotation(id);
        Self {
            iteration: id.iteration,
            worker: id.worker,
            compressor,
            tail,
            rotation: shared.map_or(0, |rotation| rotation.key()),
        }
    }
}

/// A checked frame: every rule of the format holds, so that decoding cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    compressor: Compressor,
    rotation: Option<Rotation>,
    body: Body<'a>,
    tail: &'a [[u8; 4]],
}

#[derive(Clone, Copy, Debug)]
enum Body<'a> {
    Blocks(Blocks<'a>),
    Entries(Entries<'a>),
}

impl<'a> Body<'a> {
    /// The parts of a body that has the planned length.
    fn new(compressor: &Compressor, header: &Header, body: &'a [u8]) -> Self {
        let n = compressor.coordinates();
        let entries = match compressor.operator() {
            Operator::Quantizer(quantizer) => {
                return Self::Blocks(Blocks {
                    quantizer,
                    n,
                    header_step: header.step,
                    body,
                });
            }
            Operator::TopK { entries } | Operator::RandK { entries } => entries as usize,
        };
        let (values, indices) = body.split_at(4 * entries);
        let coordinates = match compressor.operator() {
            Operator::RandK { .. } => Coordinates::Drawn(header.key),
            _ => Coordinates::Sent(Indices::new(indices, compressor.index_bits())),
        };
        Self::Entries(Entries {
            values: values.as_chunks().0,
            coordinates,
            n,
        })
    }
}

impl<'a> Frame<'a> {
    /// Checks `bytes` against the format and the plan. Reads everything once, allocates nothing
    /// that depends on the frame's own claims, and takes time linear in the *planned* length at
    /// most.
    ///
    /// # Errors
    /// The first rule broken, in the order of [`FrameError`]'s variants.
    pub fn parse(bytes: &'a [u8], expected: &Expected) -> Result<Self, FrameError> {
        Self::parse_with(Kernels::best(), bytes, expected)
    }

    pub(crate) fn parse_with(
        kernels: &'static Kernels,
        bytes: &'a [u8],
        expected: &Expected,
    ) -> Result<Self, FrameError> {
        let (frame, header, body) = Self::split(bytes, expected)?;
        let (checksum, contents) = match &frame.body {
            Body::Blocks(blocks) => blocks.scan(kernels),
            Body::Entries(entries) => (checksum::crc32c(body), entries.check(kernels)),
        };
        if checksum::append(checksum, frame.tail.as_flattened()) != header.payload_checksum {
            return Err(FrameError::PayloadChecksum);
        }
        check::header_step(header.step, &frame.compressor)?;
        contents?;
        match frame.tail().position(|v| !v.is_finite()) {
            Some(index) => Err(FrameError::TailNotFinite { index }),
            None => Ok(frame),
        }
    }

    /// The frame in `bytes` that [`Frame::parse`] has accepted before: only the header is checked, so
    /// this costs nothing. Of other bytes nothing worse comes than wrong sums or a panic.
    ///
    /// # Errors
    /// As [`Frame::parse`], as far as the header and the length show it.
    pub fn reopen(bytes: &'a [u8], expected: &Expected) -> Result<Self, FrameError> {
        Self::split(bytes, expected).map(|(frame, _, _)| frame)
    }

    /// The parts of a frame whose header and length are as planned, and its body.
    fn split(bytes: &'a [u8], expected: &Expected) -> Result<(Self, Header, &'a [u8]), FrameError> {
        let found = bytes.len();
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::Truncated { found });
        };
        let (header, intact) = Header::from_bytes(header);
        check::header(&header, intact, expected)?;
        let compressor = expected.compressor;
        let length = compressor.frame_len(expected.tail);
        if found != length {
            return Err(FrameError::Length {
                found,
                expected: length,
            });
        }
        let (body, tail) = rest.split_at(rest.len() - 4 * expected.tail);
        let frame = Self {
            compressor,
            rotation: match compressor.operator() {
                Operator::Quantizer(quantizer) => quantizer.rotation(header.key),
                _ => None,
            },
            body: Body::new(&compressor, &header, body),
            tail: tail.as_chunks().0,
        };
        Ok((frame, header, body))
    }

    /// Coordinates.
    pub fn coordinates(&self) -> usize {
        self.compressor.coordinates()
    }

    /// What the frame was compressed with.
    pub fn compressor(&self) -> Compressor {
        self.compressor
    }

    /// Bits of the compressed payload: [`Compressor::payload_bits`].
    pub fn payload_bits(&self) -> u64 {
        self.compressor.payload_bits()
    }

    /// How large the message is, without decoding it: at least `||C(x)||` (l2), and the same multiple
    /// of the vector's scale in every frame of one compressor, so that frames can be compared.
    ///
    /// It is the norm of the vector whose coordinates all have the largest magnitude that their step
    /// allows: `||C(x)||` itself for signs, raw f32 and sparse frames, `sqrt(bucket)` times the norm
    /// of the buckets' scales otherwise. Reads one f32 per bucket, raw and sparse frames entirely.
    pub fn magnitude(&self) -> f64 {
        match &self.body {
            Body::Blocks(blocks) => blocks.magnitude(),
            Body::Entries(entries) => entries::norm(entries.values),
        }
    }

    /// The body of a quantizer's frame and the step of a global scale (0 for others), for decoders
    /// elsewhere: [`crate::layout`] says what is where. `None` for sparse frames.
    pub fn quantized_body(&self) -> Option<(&'a [u8], f32)> {
        match &self.body {
            Body::Blocks(blocks) => Some((blocks.body, blocks.header_step)),
            Body::Entries(_) => None,
        }
    }

    /// What the coordinates were rotated with.
    pub fn rotation(&self) -> Option<Rotation> {
        self.rotation
    }

    /// The uncompressed values behind the coordinates.
    pub fn tail(&self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        self.tail.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }

    /// `acc += weight * C(x)`: coordinate m becomes `fl(acc_m + fl(fl(weight * step) * code_m))`, or
    /// `fl(acc_m + fl(weight * value_m))` for raw and sparse values, the same bits for any CPU and
    /// number of threads. A sparse frame touches the coordinates that it keeps and no other. A rotated
    /// one is `fl(acc_m + v_m)`, v the inverse rotation of the products.
    ///
    /// # Panics
    /// If `acc` has not [`Frame::coordinates`] elements.
    pub fn accumulate(&self, weight: f32, acc: &mut [f32]) {
        accumulate_many(&[(*self, weight)], acc);
    }

    /// `out = C(x)`.
    ///
    /// # Panics
    /// If `out` has not [`Frame::coordinates`] elements.
    pub fn decode(&self, out: &mut [f32]) {
        out.fill(0.0);
        self.accumulate(1.0, out);
    }
}

/// Adds every frame, times its weight, to `acc` in one pass: the accumulator crosses memory once
/// however many frames there are. Bit for bit the same as [`Frame::accumulate`] for one frame after
/// the other. The frames may have different widths and compressors.
///
/// Rotated frames are rotated back one by one; where all share their rotation,
/// [`accumulate_rotated`] costs less.
///
/// # Panics
/// If `acc` has not exactly the coordinates of every frame.
pub fn accumulate_many(frames: &[(Frame<'_>, f32)], acc: &mut [f32]) {
    accumulate_many_with(Kernels::best(), frames, acc);
}

/// [`accumulate_many`] of frames that share a rotation, without undoing it: once all are added up,
/// [`Rotation::invert`] brings the sum back. Frames that are not rotated belong to the sum before or
/// after that, not to this one.
///
/// # Panics
/// If `acc` has not exactly the coordinates of every frame, or a frame has not the rotation `shared`.
pub fn accumulate_rotated(shared: &Rotation, frames: &[(Frame<'_>, f32)], acc: &mut [f32]) {
    for (frame, _) in frames {
        assert_eq!(frame.rotation, Some(*shared), "a frame of another rotation");
    }
    let as_they_are: Vec<_> = frames
        .iter()
        .map(|(frame, weight)| {
            let rotation = None;
            (Frame { rotation, ..*frame }, *weight)
        })
        .collect();
    accumulate_many(&as_they_are, acc);
}

/// Coordinates of the accumulator that stay in the L1 cache while every frame is added to them: a
/// multiple of a block, and of every rotated bucket.
const TILE: usize = 8 * BLOCK;

pub(crate) fn accumulate_many_with(
    kernels: &'static Kernels,
    frames: &[(Frame<'_>, f32)],
    acc: &mut [f32],
) {
    for (frame, _) in frames {
        assert_eq!(
            acc.len(),
            frame.coordinates(),
            "the accumulator must have the frame's coordinates"
        );
    }
    if frames.is_empty() {
        return;
    }
    let indices: Vec<Vec<usize>> = frames
        .iter()
        .map(|(frame, _)| match &frame.body {
            Body::Blocks(_) => Vec::new(),
            Body::Entries(entries) => entries.indices(),
        })
        .collect();
    let is_sparse = |(frame, _): &(Frame<'_>, f32)| matches!(frame.body, Body::Entries(_));
    if frames.iter().all(is_sparse) {
        let mut sum = Sum::new(kernels, frames, &indices);
        return sum.add_tile(0, acc);
    }
    let tile = (frames.iter().filter_map(|(frame, _)| frame.rotation))
        .map(|rotation| rotation.block())
        .fold(TILE, usize::max);
    acc.par_chunks_mut(SEGMENT)
        .enumerate()
        .for_each(|(index, acc)| {
            let mut sum = Sum::new(kernels, frames, &indices);
            for (i, acc) in acc.chunks_mut(tile).enumerate() {
                sum.add_tile(index * SEGMENT + i * tile, acc);
            }
        });
}

/// Adds frames tile by tile.
struct Sum<'a> {
    kernels: &'static Kernels,
    frames: &'a [(Frame<'a>, f32)],
    /// Of the sparse frames.
    indices: &'a [Vec<usize>],
    /// Of the rotated frames.
    rotors: Vec<Option<Rotor>>,
    rotated: Vec<f32>,
}

impl<'a> Sum<'a> {
    fn new(
        kernels: &'static Kernels,
        frames: &'a [(Frame<'a>, f32)],
        indices: &'a [Vec<usize>],
    ) -> Self {
        let rotor = |rotation| Rotor::new(kernels, rotation);
        Self {
            kernels,
            frames,
            indices,
            rotors: frames
                .iter()
                .map(|(frame, _)| frame.rotation.map(rotor))
                .collect(),
            rotated: Vec::new(),
        }
    }

    /// Adds the coordinates from `start` on of every frame to `acc`. Frames of blocks need a tile inside
    /// one segment and from a block boundary, rotated ones from a boundary of their buckets.
    fn add_tile(&mut self, start: usize, acc: &mut [f32]) {
        let (kernels, tile) = (self.kernels, start..start + acc.len());
        for (i, (frame, weight)) in self.frames.iter().enumerate() {
            match (&frame.body, &mut self.rotors[i]) {
                (Body::Blocks(blocks), None) => {
                    blocks.accumulate_tile(kernels, *weight, tile.clone(), i == 0, acc);
                }
                (Body::Blocks(blocks), Some(rotor)) => {
                    self.rotated.clear();
                    self.rotated.resize(acc.len(), 0.0);
                    let values = &mut self.rotated;
                    blocks.accumulate_tile(kernels, *weight, tile.clone(), false, values);
                    rotor.add_inverse(start, values, acc, i == 0);
                }
                (Body::Entries(entries), _) => {
                    entries.accumulate(&self.indices[i], *weight, tile.clone(), acc);
                }
            }
        }
    }
}
