//! From a frame to a sum in a tensor.

use crate::encoder::{check_tensor, pad};
use crate::error::DeviceCodecError;
use crate::layout::{FULL_LANES, Run, runs, segment_words};
use crate::nearest::{lookup, tables};
use crate::pack::unpack;
use crate::rotate;
use gradient_codec::layout::BLOCK;
use gradient_codec::{Coding, Frame, Operator, Quantizer, Rotation};
use tch::{Device, Kind, TchError, Tensor};

/// Segments that are worked on together, as in [`crate::Encoder`].
const SEGMENTS_AT_ONCE: usize = 64;

/// Adds checked frames to vectors on a device.
///
/// The packed body crosses to the device in one copy and is unpacked there. Beside it the device needs
/// at most about 40 bytes for every coordinate of 64 segments, 160 MiB.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    device: Device,
}

impl Decoder {
    /// A decoder for vectors on `device`.
    pub fn new(device: Device) -> Self {
        Self { device }
    }

    /// `acc += weight * C(x)`, bit for bit as [`Frame::accumulate`], for `acc`, f32 of shape `[n]` on this
    /// decoder's device.
    ///
    /// # Errors
    /// A sparse frame, another tensor, and what libtorch refuses; `acc` may then hold part of the sum.
    pub fn accumulate(
        &self,
        frame: &Frame<'_>,
        weight: f32,
        acc: &mut Tensor,
    ) -> Result<(), DeviceCodecError> {
        check_tensor(acc, self.device)?;
        if acc.numel() != frame.coordinates() {
            return Err(DeviceCodecError::Tensor {
                found: format!("{} elements long", acc.numel()),
                expected: format!("one of {} elements", frame.coordinates()),
            });
        }
        match (frame.compressor().operator(), frame.quantized_body()) {
            (Operator::Quantizer(quantizer), Some((body, step))) => {
                let sender = Sender {
                    quantizer,
                    rotation: frame.rotation(),
                    step,
                };
                Ok(tch::no_grad(|| self.add(&sender, body, weight, acc))?)
            }
            _ => Err(DeviceCodecError::Unsupported {
                what: "adding sparse frames",
            }),
        }
    }

    fn add(
        &self,
        sender: &Sender,
        body: &[u8],
        weight: f32,
        acc: &mut Tensor,
    ) -> Result<(), TchError> {
        let quantizer = &sender.quantizer;
        let upload = |kind| {
            let words = [(body.len() / 4) as i64];
            Tensor::f_from_data_size(body, &words, kind)?.f_to_device(self.device)
        };
        if quantizer.is_f32() {
            let values = upload(Kind::Float)?.f_mul_scalar_(f64::from(weight))?;
            let _ = acc.f_add_(&values)?;
            return Ok(());
        }
        let body = upload(Kind::Int)?;
        let words = segment_words(quantizer);
        for run in runs(quantizer, acc.numel(), SEGMENTS_AT_ONCE) {
            let part = body
                .f_narrow(
                    0,
                    (run.first * words) as i64,
                    run.count as i64 * run.words()[0],
                )?
                .f_view([run.count as i64, run.words()[0]])?;
            let mut values = values(sender, &run, &part, weight)?;
            if let Some(rotation) = &sender.rotation {
                // Added to zeros first: the sign of a zero is lost there.
                values = rotate::invert(rotation, run.start(), &values.f_add_scalar(0.0)?)?;
            }
            let mut acc = acc.f_narrow(0, run.start() as i64, run.coordinates() as i64)?;
            let _ = acc.f_add_(&values)?;
        }
        Ok(())
    }
}

/// How a frame was made.
struct Sender {
    quantizer: Quantizer,
    rotation: Option<Rotation>,
    /// The step of a global scale.
    step: f32,
}

/// What is added to a run's coordinates, `fl(fl(weight * step) * value of c)`.
fn values(sender: &Sender, run: &Run, part: &Tensor, weight: f32) -> Result<Tensor, TchError> {
    let quantizer = &sender.quantizer;
    let bits = i64::from(quantizer.bits());
    let [_, step_words, full_words, partial_words] = run.words();
    let unpacked = |from: i64, words: i64, blocks: i64, lanes: i64| {
        let words = part
            .f_narrow(1, from, words)?
            .f_to_kind(Kind::Int64)?
            .f_reshape([blocks, bits, lanes])?;
        unpack(&words, bits)?.f_reshape([-1i64])
    };
    let mut codes = Vec::new();
    let full = run.in_full_blocks();
    if full > 0 {
        codes.push(unpacked(
            step_words,
            full_words,
            (full / BLOCK) as i64,
            FULL_LANES,
        )?);
    }
    let (rest, _) = run.in_partial_block();
    if rest > 0 {
        let lanes = run.segment.partial_lanes as i64;
        let partial = unpacked(step_words + full_words, partial_words, 1, lanes)?;
        codes.push(partial.f_narrow(0, 0, rest as i64)?);
    }
    let codes = Tensor::f_cat(&codes, 0)?;
    let mut codes = match quantizer.coding() {
        Coding::LloydMax => lookup(quantizer, &tables(quantizer, &codes)?.0, &codes)?,
        _ => codes.f_to_kind(Kind::Float)?,
    };
    match quantizer.coding() {
        // 0 stands for +1 and -1, the code 1 of one bit, for -1.
        Coding::Sign | Coding::StochasticSign => {
            codes = codes.f_mul_scalar_(2.0)?.f_add_scalar_(1.0)?;
        }
        Coding::MidRise => codes = codes.f_add_scalar_(0.5)?,
        _ => {}
    }
    if quantizer.bucket().is_none() {
        return codes.f_mul_scalar_(f64::from(weight * sender.step));
    }
    let steps = part
        .f_narrow(1, 0, run.segment.steps as i64)?
        .f_contiguous()?
        .f_view_dtype(Kind::Float)?
        .f_reshape([-1, 1])?;
    let factors = steps.f_mul_scalar(f64::from(weight))?;
    pad(&codes, run.padded())?
        .f_view([-1, run.bucket as i64])?
        .f_mul(&factors)?
        .f_view([-1])?
        .f_narrow(0, 0, run.coordinates() as i64)
}
