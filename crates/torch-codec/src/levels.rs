//! From a packed body on a device to what its codes stand for.

use crate::layout::{FULL_LANES, Run, segment_words};
use crate::nearest::{lookup, tables};
use crate::pack::unpack;
use gradient_codec::layout::BLOCK;
use gradient_codec::{Coding, Quantizer};
use std::marker::PhantomData;
use tch::{Device, Kind, TchError, Tensor};

/// The body of a frame as 32-bit words on a device.
pub(crate) struct Body<'a> {
    quantizer: Quantizer,
    /// int32, or the values themselves of raw f32 frames.
    words: Tensor,
    /// On the CPU the words may be the frame's own.
    bytes: PhantomData<&'a [u8]>,
    /// The step of a global scale.
    step: f32,
    /// The levels of a Lloyd-Max quantizer by code.
    table: Option<Tensor>,
}

impl<'a> Body<'a> {
    /// Sends the body of a frame, of whole words, to `device`: one copy, straight from where it was received.
    pub fn new(
        quantizer: Quantizer,
        bytes: &'a [u8],
        step: f32,
        device: Device,
    ) -> Result<Self, TchError> {
        let kind = match quantizer.is_f32() {
            true => Kind::Float,
            false => Kind::Int,
        };
        let size = [(bytes.len() / 4) as i64];
        let aligned = bytes.as_ptr().cast::<u32>().is_aligned();
        let here = if aligned && !bytes.is_empty() {
            // SAFETY: `size` aligned words of `bytes`, any of which is a valid i32 or f32; they outlive the tensor and are
            // not written meanwhile, since `Self` borrows them and does neither lend the tensor nor change it.
            unsafe { Tensor::f_from_blob(bytes.as_ptr(), &size, &[], kind, Device::Cpu)? }
        } else {
            Tensor::f_from_data_size(bytes, &size, kind)?
        };
        let words = here.f_to_device(device)?;
        let table = match quantizer.coding() {
            Coding::LloydMax => Some(tables(&quantizer, &words)?.0),
            _ => None,
        };
        Ok(Self {
            quantizer,
            words,
            bytes: PhantomData,
            step,
            table,
        })
    }

    /// What it was compressed with.
    pub fn quantizer(&self) -> Quantizer {
        self.quantizer
    }

    /// What the codes of a run stand for, without weights.
    pub fn levels(&self, run: &Run) -> Result<Levels, TchError> {
        let quantizer = &self.quantizer;
        let n = run.coordinates() as i64;
        if quantizer.is_f32() {
            return Ok(Levels {
                values: self.words.f_narrow(0, run.start() as i64, n)?,
                steps: Steps::One(1.0),
                n,
            });
        }
        let [length, _, _, _] = run.words();
        let first = (run.first * segment_words(quantizer)) as i64;
        let segments = run.count as i64;
        let part = self.words.f_narrow(0, first, segments * length)?;
        let part = part.f_view([segments, length])?;
        let codes = codes(quantizer, run, &part)?;
        let mut values = match &self.table {
            Some(table) => lookup(quantizer, table, &codes)?,
            None => codes.f_to_kind(Kind::Float)?,
        };
        match quantizer.coding() {
            // 0 stands for +1 and -1, the code 1 of one bit, for -1.
            Coding::Sign | Coding::StochasticSign => {
                values = values.f_mul_scalar_(2.0)?.f_add_scalar_(1.0)?;
            }
            Coding::MidRise => values = values.f_add_scalar_(0.5)?,
            _ => {}
        }
        let steps = match quantizer.bucket() {
            None => Steps::One(self.step),
            Some(bucket) => {
                values = crate::encoder::pad(&values, run.padded())?.f_view([-1, bucket.into()])?;
                let steps = part.f_narrow(1, 0, run.segment.steps as i64)?;
                let steps = steps.f_contiguous()?.f_view_dtype(Kind::Float)?;
                Steps::Each(steps.f_view([-1, 1])?)
            }
        };
        Ok(Levels { values, steps, n })
    }
}

/// The codes of a run, int32 in two's complement.
fn codes(quantizer: &Quantizer, run: &Run, part: &Tensor) -> Result<Tensor, TchError> {
    let bits = i64::from(quantizer.bits());
    let [_, steps, full_words, partial_words] = run.words();
    let unpacked = |from: i64, words: i64, blocks: i64, lanes: i64| {
        let words = part.f_narrow(1, from, words)?;
        let words = words.f_reshape([blocks, bits, lanes])?;
        unpack(&words, bits)?.f_view([-1])
    };
    let full = run.in_full_blocks();
    let (rest, _) = run.in_partial_block();
    let mut parts = Vec::new();
    if full > 0 {
        parts.push(unpacked(
            steps,
            full_words,
            (full / BLOCK) as i64,
            FULL_LANES,
        )?);
    }
    if rest > 0 {
        let lanes = run.segment.partial_lanes as i64;
        let partial = unpacked(steps + full_words, partial_words, 1, lanes)?;
        parts.push(partial.f_narrow(0, 0, rest as i64)?);
    }
    match parts.as_slice() {
        [one] => Ok(one.shallow_clone()),
        _ => Tensor::f_cat(&parts, 0),
    }
}

/// What codes stand for, in units of their steps.
pub(crate) struct Levels {
    /// A row per step, the last one padded; or all in one.
    values: Tensor,
    steps: Steps,
    /// Coordinates.
    n: i64,
}

enum Steps {
    /// For all.
    One(f32),
    /// f32, a column.
    Each(Tensor),
}

impl Levels {
    /// `fl(fl(weight * step) * level)` of every coordinate.
    pub fn times(&self, weight: f32) -> Result<Tensor, TchError> {
        match &self.steps {
            Steps::One(step) => self.values.f_mul_scalar(f64::from(weight * step)),
            Steps::Each(steps) => {
                let factors = steps.f_mul_scalar(f64::from(weight))?;
                let values = self.values.f_mul(&factors)?;
                values.f_view([-1])?.f_narrow(0, 0, self.n)
            }
        }
    }
}
