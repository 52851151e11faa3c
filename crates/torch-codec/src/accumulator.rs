//! From frames to sums on a device.

use crate::error::DeviceCodecError;
use crate::layout::{runs, segments_at_once};
use crate::levels::Body;
use crate::rotate;
use gradient_codec::layout::SEGMENT;
use gradient_codec::{Frame, Operator, Rotation};
use tch::{Device, Kind, TchError, Tensor};

/// Frames whose bodies are on the device together.
const FRAMES_AT_ONCE: usize = 16;

/// Weighted sums of checked frames in a device's memory, with the bits of
/// [`gradient_codec::accumulate_many`].
///
/// Packed bodies cross to the device in one copy each. Tile by tile of the sums, frame after frame is unpacked
/// and added, so that a tile can stay in the device's cache meanwhile. The sums come back in one copy into
/// page-locked memory, which is kept from round to round.
///
/// The device needs 4 bytes per coordinate and sum, the packed bodies of up to 16 frames, and at most about 40 bytes
/// for every coordinate of 64 segments (of two on the CPU), 160 MiB.
pub struct Accumulator {
    device: Device,
    /// f32 of shape `[count, length]`, once there are any.
    sums: Option<Tensor>,
    /// Of the same shape, in page-locked memory; `None` on the CPU, where sums are read where they are.
    landing: Option<Tensor>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Frames may be added.
    Open,
    /// The sums may be read.
    Finished,
    /// The sums have to be cleared: nothing was begun, or something failed.
    Unusable,
}

impl Accumulator {
    /// Sums on `device`; [`Accumulator::clear`] makes them.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            sums: None,
            landing: None,
            state: State::Unusable,
        }
    }

    /// Where the sums are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Begins `count` sums of `length` zeros. Memory is allocated here alone, and kept while the numbers stay the
    /// same.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn clear(&mut self, count: usize, length: usize) -> Result<(), DeviceCodecError> {
        self.state = State::Unusable;
        let shape = [count as i64, length as i64];
        if let Some(sums) = self.sums.as_mut().filter(|sums| sums.size() == shape) {
            let _ = sums.f_zero_()?;
        } else {
            // What was there makes room first.
            (self.sums, self.landing) = (None, None);
            self.sums = Some(Tensor::f_zeros(shape, (Kind::Float, self.device))?);
            if self.device != Device::Cpu {
                let pageable = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?;
                // Page-locked memory only makes the copy faster; do without if there is none.
                let landing = pageable.f_pin_memory(self.device).unwrap_or(pageable);
                self.landing = Some(landing);
            }
        }
        self.state = State::Open;
        Ok(())
    }

    /// `sum_r += weight_r * C(x)` for every frame in the order given, bit for bit as
    /// [`gradient_codec::accumulate_many`] does for each r; of frames that share the rotation `shared` as
    /// [`gradient_codec::accumulate_rotated`] does.
    ///
    /// # Errors
    /// A frame of another length, number of weights or rotation, a sparse one, and what libtorch refuses.
    /// The sums have to be cleared then.
    pub fn add(
        &mut self,
        shared: Option<&Rotation>,
        frames: &[(Frame<'_>, Vec<f32>)],
    ) -> Result<(), DeviceCodecError> {
        let sums = self.begin()?;
        let (count, length) = sums.size2()?;
        for (frame, weights) in frames {
            let same = |what, found: usize, expected: i64| {
                if found as i64 == expected {
                    return Ok(());
                }
                let (found, expected) = (found.to_string(), expected.to_string());
                Err(DeviceCodecError::Frame {
                    what,
                    found,
                    expected,
                })
            };
            same("number of coordinates", frame.coordinates(), length)?;
            same("number of weights", weights.len(), count)?;
            if shared.is_some() && frame.rotation().as_ref() != shared {
                return Err(DeviceCodecError::Frame {
                    what: "rotation",
                    found: format!("{:?}", frame.rotation()),
                    expected: format!("{shared:?}"),
                });
            }
        }
        tch::no_grad(|| {
            for frames in frames.chunks(FRAMES_AT_ONCE) {
                let sent: Result<Vec<_>, _> = frames
                    .iter()
                    .map(|(frame, weights)| Sent::new(frame, weights, shared, self.device))
                    .collect();
                add_tiles(&sums, &sent?)?;
            }
            Ok::<_, DeviceCodecError>(())
        })?;
        self.state = State::Open;
        Ok(())
    }

    /// Undoes the rotation that all frames shared, and brings the sums to the host: they can be read from
    /// now on, and have to be cleared before more is added.
    ///
    /// # Errors
    /// What libtorch refuses. The sums have to be cleared then.
    pub fn finish(&mut self, shared: Option<&Rotation>) -> Result<(), DeviceCodecError> {
        let sums = self.begin()?;
        tch::no_grad(|| {
            if let Some(rotation) = shared {
                invert(&sums, rotation)?;
            }
            match &mut self.landing {
                Some(landing) => landing.f_copy_(&sums),
                None => Ok(()),
            }
        })?;
        self.state = State::Finished;
        Ok(())
    }

    /// The sums one after the other; empty unless they are finished.
    pub fn values(&self) -> &[f32] {
        let Some(values) = (self.landing.as_ref().or(self.sums.as_ref()))
            .filter(|values| self.state == State::Finished && values.numel() > 0)
        else {
            return &[];
        };
        debug_assert_eq!(
            (values.device(), values.kind(), values.is_contiguous()),
            (Device::Cpu, Kind::Float, true)
        );
        // SAFETY: a contiguous f32 tensor in host memory that `clear` allocated, owned by `self`; it is
        // written by methods that borrow `self` mutably alone, and all copies to it have completed.
        unsafe { std::slice::from_raw_parts(values.data_ptr().cast(), values.numel()) }
    }

    /// The sums, to be changed: they are of no use until that has gone well.
    fn begin(&mut self) -> Result<Tensor, DeviceCodecError> {
        match (
            std::mem::replace(&mut self.state, State::Unusable),
            &self.sums,
        ) {
            (State::Open, Some(sums)) => Ok(sums.shallow_clone()),
            _ => Err(DeviceCodecError::NotCleared),
        }
    }
}

/// Adds frames whose bodies are on the device, tile by tile of the sums.
fn add_tiles(sums: &Tensor, frames: &[Sent<'_>]) -> Result<(), TchError> {
    let (count, length) = sums.size2()?;
    let at_once = segments_at_once(sums.device());
    let tiles = |sent: &Sent<'_>| runs(&sent.body.quantizer(), length as usize, at_once);
    let tiles: Vec<_> = frames.iter().map(tiles).collect();
    for tile in 0..tiles.first().map_or(0, Vec::len) {
        for (sent, runs) in frames.iter().zip(&tiles) {
            let run = &runs[tile];
            let (start, n) = (run.start() as i64, run.coordinates() as i64);
            let levels = sent.body.levels(run)?;
            for (r, weight) in (0..count).zip(sent.weights) {
                let mut values = levels.times(*weight)?;
                if let Some(rotation) = &sent.rotation {
                    // Added to zeros first: the sign of a zero is lost there.
                    values = rotate::invert(rotation, run.start(), &values.f_add_scalar(0.0)?)?;
                }
                let mut sum = sums.f_select(0, r)?.f_narrow(0, start, n)?;
                let _ = sum.f_add_(&values)?;
            }
        }
    }
    Ok(())
}

/// Undoes the rotation of every sum.
fn invert(sums: &Tensor, rotation: &Rotation) -> Result<(), TchError> {
    let (count, length) = sums.size2()?;
    let at_once = segments_at_once(sums.device()) * SEGMENT;
    for r in 0..count {
        for start in (0..length).step_by(at_once) {
            let n = (length - start).min(at_once as i64);
            let mut sum = sums.f_select(0, r)?.f_narrow(0, start, n)?;
            let inverse = rotate::invert(rotation, start as usize, &sum)?;
            sum.f_copy_(&inverse)?;
        }
    }
    Ok(())
}

/// A frame whose body is on the device.
struct Sent<'a> {
    body: Body<'a>,
    /// To be undone before it is added.
    rotation: Option<Rotation>,
    weights: &'a [f32],
}

impl<'a> Sent<'a> {
    fn new(
        frame: &Frame<'a>,
        weights: &'a [f32],
        shared: Option<&Rotation>,
        device: Device,
    ) -> Result<Self, DeviceCodecError> {
        let (Operator::Quantizer(quantizer), Some((bytes, step))) =
            (frame.compressor().operator(), frame.quantized_body())
        else {
            return Err(DeviceCodecError::Unsupported {
                what: "adding sparse frames",
            });
        };
        Ok(Self {
            body: Body::new(quantizer, bytes, step, device)?,
            rotation: frame.rotation().filter(|_| shared.is_none()),
            weights,
        })
    }
}
