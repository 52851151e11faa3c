//! From a tensor to a frame.

use crate::error::DeviceCodecError;
use crate::layout::{FULL_LANES, Run, runs, segment_words, segments_at_once};
use crate::nearest::nearest;
use crate::pack::pack;
use crate::philox::random_bits;
use crate::rotate;
use crate::round::{codes, levels};
use crate::scale::{Steps, bucket_steps, row_scales};
use gradient_codec::layout::BLOCK;
use gradient_codec::{
    Coding, Compressor, EncodeError, Generator, MessageId, Operator, Quantizer, Rotation, Scale,
};
use tch::{Device, Kind, TchError, Tensor};

/// Encodes vectors on the device that holds them.
///
/// The body is made there, crosses to the host in one copy (into page-locked memory, which is kept from
/// message to message), and gets its header, checksums and tail on the CPU. Beside the body the device
/// needs at most about 64 bytes for every coordinate of 64 segments (of two on the CPU), 256 MiB, however
/// long the vector is.
pub struct Encoder {
    device: Device,
    segments_at_once: usize,
    /// The last message's body and what it was compressed with: padding is written once.
    body: Option<(Compressor, Tensor)>,
    /// Where it lands; `None` on the CPU, where nothing crosses.
    staging: Option<Tensor>,
}

impl Encoder {
    /// An encoder of vectors on `device`.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            segments_at_once: segments_at_once(device),
            body: None,
            staging: None,
        }
    }

    /// Where this encoder's vectors lie.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether frames of this compressor can be made here: all quantizers, rotated or not, if their
    /// random bits are from Philox; not f32, not shrunk, and no sparsifiers.
    pub fn supports(compressor: &Compressor) -> bool {
        Self::quantizer(compressor).is_ok()
    }

    fn quantizer(compressor: &Compressor) -> Result<Quantizer, DeviceCodecError> {
        let unsupported = |what| Err(DeviceCodecError::Unsupported { what });
        match compressor.operator() {
            _ if compressor.is_shrunk() => unsupported("shrinking"),
            Operator::Quantizer(quantizer) if quantizer.is_f32() => unsupported("raw f32"),
            Operator::Quantizer(quantizer)
                if quantizer.draws() && quantizer.generator() != Generator::Philox =>
            {
                unsupported("rounding with a generator that is not Philox")
            }
            Operator::Quantizer(quantizer) => Ok(quantizer),
            Operator::TopK { .. } | Operator::RandK { .. } => unsupported("sparsifying"),
        }
    }

    /// As [`Compressor::encode`], byte for byte, for `x`, f32 of shape `[n]` on this encoder's device.
    ///
    /// # Errors
    /// Those of [`Compressor::encode`], with the same index; a compressor that is not
    /// [supported](Encoder::supports), another tensor, and what libtorch refuses. `frame` is then empty.
    pub fn encode(
        &mut self,
        compressor: &Compressor,
        id: &MessageId,
        x: &Tensor,
        tail: &[f32],
        frame: &mut Vec<u8>,
    ) -> Result<(), DeviceCodecError> {
        frame.clear();
        let quantizer = Self::quantizer(compressor)?;
        check_tensor(x, self.device)?;
        if x.numel() != compressor.coordinates() {
            return Err(DeviceCodecError::Encode(EncodeError::Coordinates {
                found: x.numel(),
                expected: compressor.coordinates(),
            }));
        }
        let x = x.f_detach()?;
        let mut refused = false;
        compressor.assemble(id, tail, frame, |body| {
            let step = tch::no_grad(|| self.write(compressor, &quantizer, id, &x, body))?;
            refused = step.is_none();
            Ok::<_, DeviceCodecError>(step.unwrap_or(0.0))
        })?;
        if refused {
            // The CPU says what is wrong, and where.
            let values: Vec<f32> = Vec::try_from(&x.f_to_device(Device::Cpu)?)?;
            compressor.encode(id, &values, tail, frame)?;
        }
        Ok(())
    }

    /// Writes the body; returns the step of a global scale, 0 for others, or `None` for a vector that
    /// cannot be encoded.
    fn write(
        &mut self,
        compressor: &Compressor,
        quantizer: &Quantizer,
        id: &MessageId,
        x: &Tensor,
        bytes: &mut [u8],
    ) -> Result<Option<f32>, TchError> {
        let step = if quantizer.scale().is_global() {
            match self.global_step(quantizer, x)? {
                Some(step) => step,
                None => return Ok(None),
            }
        } else {
            0.0
        };
        if quantizer.scale().is_global() && step == 0.0 {
            bytes.fill(0);
            return Ok(Some(0.0));
        }
        let body = match self.body.take() {
            Some((before, body)) if before == *compressor => body,
            _ => Tensor::f_zeros([(bytes.len() / 4) as i64], (Kind::Int, self.device))?,
        };
        let draws = Draws {
            key: id.rounding_key(),
            rotation: compressor.rotation(id),
        };
        let mut sound: Option<Tensor> = None;
        let words = segment_words(quantizer);
        for run in runs(quantizer, x.numel(), self.segments_at_once) {
            let part = body
                .f_narrow(
                    0,
                    (run.first * words) as i64,
                    run.count as i64 * run.words()[0],
                )?
                .f_view([run.count as i64, run.words()[0]])?;
            let x = x.f_narrow(0, run.start() as i64, run.coordinates() as i64)?;
            if let Some(now) = self.write_run(quantizer, &draws, &run, &x, step, &part)? {
                sound = Some(match sound {
                    Some(mut before) => before.f_logical_and_(&now)?,
                    None => now,
                });
            }
        }
        self.fetch(&body, bytes)?;
        self.body = Some((*compressor, body));
        match sound {
            Some(sound) if sound.f_int64_value(&[])? == 0 => Ok(None),
            _ => Ok(Some(step)),
        }
    }

    /// The step that serves the whole vector; `None` for one that cannot be encoded. One f64 per segment
    /// crosses to the host, where they are added in order.
    fn global_step(&self, quantizer: &Quantizer, x: &Tensor) -> Result<Option<f32>, TchError> {
        let mut parts: Vec<f64> = Vec::new();
        for run in runs(quantizer, x.numel(), self.segments_at_once) {
            let x = x.f_narrow(0, run.start() as i64, run.coordinates() as i64)?;
            let rows = pad(&x, run.padded())?.f_view([run.count as i64, -1])?;
            let scales = row_scales(quantizer.scale(), &rows)?.f_to_device(Device::Cpu)?;
            parts.extend(Vec::<f64>::try_from(&scales)?);
        }
        if !parts.iter().all(|part| part.is_finite()) {
            return Ok(None);
        }
        let sum = || parts.iter().fold(0.0, |sum, part| sum + part);
        let scale = match quantizer.scale() {
            Scale::GlobalMax => parts.iter().copied().fold(0.0, f64::max),
            Scale::GlobalMean => sum() / x.numel().max(1) as f64,
            _ => sum().sqrt(),
        };
        let step = quantizer.step(scale);
        Ok(step.is_finite().then_some(step))
    }

    /// Writes a run of segments to `part`, int32 of shape `[segments, words]`; returns whether its
    /// buckets can be encoded.
    fn write_run(
        &self,
        quantizer: &Quantizer,
        draws: &Draws,
        run: &Run,
        x: &Tensor,
        step: f32,
        part: &Tensor,
    ) -> Result<Option<Tensor>, TchError> {
        let bits = i64::from(quantizer.bits());
        let count = run.count as i64;
        let [_, step_words, full_words, partial_words] = run.words();
        let rotated = match &draws.rotation {
            Some(rotation) => &rotate::apply(rotation, run.start(), x)?,
            None => x,
        };
        let x = pad(rotated, run.padded())?.f_view([-1, run.bucket as i64])?;
        let last = (run.coordinates() - (run.padded() - run.bucket)) as i64;
        let mut nearest_codes = None;
        let (steps, sound) = if quantizer.bucket().is_some() {
            let Steps { steps, sound } = if quantizer.coding() == Coding::LloydMax {
                let (codes, steps) = nearest(quantizer, &x, last)?;
                nearest_codes = Some(codes);
                steps
            } else {
                bucket_steps(quantizer, &x, last)?
            };
            let per_segment = run.segment.steps as i64;
            part.f_narrow(1, 0, per_segment)?.f_copy_(
                &steps
                    .f_view_dtype(Kind::Int)?
                    .f_view([count, per_segment])?,
            )?;
            (steps.f_view([-1, 1])?, Some(sound))
        } else {
            let step = Tensor::f_full([1], f64::from(step), (Kind::Float, self.device))?;
            (step, None)
        };
        let levels = match nearest_codes {
            Some(codes) => codes.f_view([-1])?,
            None => levels(quantizer, &x, &steps)?.f_view([-1])?,
        };
        let random = |first: u64, blocks: i64, lanes: i64| {
            quantizer
                .draws()
                .then(|| random_bits(draws.key, first, blocks, lanes, self.device))
                .transpose()
        };

        let full = run.in_full_blocks();
        if full > 0 {
            let blocks = (full / BLOCK) as i64;
            let levels = levels
                .f_narrow(0, 0, full as i64)?
                .f_view([blocks, 32, FULL_LANES])?;
            let random = random(run.first_block(), blocks, FULL_LANES)?;
            let codes = codes(quantizer, &levels, random)?;
            let words = pack(&codes, bits)?.f_view([count, full_words])?;
            part.f_narrow(1, step_words, full_words)?.f_copy_(&words)?;
        }
        let (rest, places) = run.in_partial_block();
        if rest > 0 {
            let lanes = run.segment.partial_lanes as i64;
            let levels = levels
                .f_narrow(0, full as i64, places as i64)?
                .f_view([1, 32, lanes])?;
            let random = random(run.first_block() + (full / BLOCK) as u64, 1, lanes)?;
            let codes = codes(quantizer, &levels, random)?;
            // Codes behind the last coordinate are 0.
            let _ = codes
                .f_view([-1])?
                .f_narrow(0, rest as i64, (places - rest) as i64)?
                .f_zero_()?;
            let words = pack(&codes, bits)?.f_view([1, partial_words])?;
            part.f_narrow(1, step_words + full_words, partial_words)?
                .f_copy_(&words)?;
        }
        Ok(sound)
    }

    /// Copies the body to the host.
    fn fetch(&mut self, body: &Tensor, bytes: &mut [u8]) -> Result<(), TchError> {
        if body.numel() == 0 {
            return Ok(());
        }
        if self.device == Device::Cpu {
            return body.f_copy_data_u8(bytes, body.numel());
        }
        let long_enough = |staging: &Tensor| staging.numel() >= body.numel();
        let staging = match self.staging.take().filter(long_enough) {
            Some(staging) => staging,
            None => {
                let pageable = Tensor::f_empty(body.size(), (Kind::Int, Device::Cpu))?;
                // Page-locked memory only makes the copy faster; do without if there is none.
                pageable.f_pin_memory(self.device).unwrap_or(pageable)
            }
        };
        let mut part = staging.f_narrow(0, 0, body.numel() as i64)?;
        part.f_copy_(body)?;
        part.f_copy_data_u8(bytes, part.numel())?;
        self.staging = Some(staging);
        Ok(())
    }
}

/// What is random in a message.
struct Draws {
    /// Of its rounding.
    key: [u32; 4],
    rotation: Option<Rotation>,
}

/// `x` with zeros behind it, `length` elements in all.
pub(crate) fn pad(x: &Tensor, length: usize) -> Result<Tensor, TchError> {
    match length - x.numel() {
        0 => Ok(x.shallow_clone()),
        missing => x.f_constant_pad_nd([0, missing as i64]),
    }
}

/// Refuses a tensor that is not a contiguous vector of f32 on `device`.
pub(crate) fn check_tensor(x: &Tensor, device: Device) -> Result<(), DeviceCodecError> {
    if x.dim() == 1 && x.kind() == Kind::Float && x.device() == device && x.is_contiguous() {
        return Ok(());
    }
    Err(DeviceCodecError::Tensor {
        found: format!("{:?} of shape {:?} on {:?}", x.kind(), x.size(), x.device()),
        expected: format!("contiguous Float of one dimension on {device:?}"),
    })
}
