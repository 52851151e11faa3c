//! How the model reaches the workers: as it is, in half the bits, or as quantized updates.
//!
//! Upwards a worker sends a few bits per coordinate; downwards 32 bits go to every worker that is
//! asked, which soon is the larger part of the traffic. Two ways to less:
//!
//! * [`Downlink::Bf16`] rounds each parameter to bfloat16 (to nearest even) for the workers. The
//!   master's own stay f32, so small steps are not lost; gradients are taken at the rounded point.
//! * [`Downlink::Delta`] keeps a copy `x` of the model that every worker has as well, and sends
//!   `Q(beta_t - x)`; both sides then add it to `x`. What quantization dropped stays in `beta_t - x`
//!   and is sent with the next update: error feedback at the master. Gradients are taken at `x`. This is
//!   the server side of bidirectional compression as in DORE (Liu et al., 2020) and EF21-BC (Fatkhullin
//!   et al., 2021), here with the unbiased quantizer of the uplink.
//!
//! Workers that are not asked miss updates. A rank that lags is sent those it missed as long as they
//! are shorter than the model itself, and else all of `x`. All arithmetic is that of
//! [`Frame::accumulate`], so every copy of `x` is the same to the bit.

use crate::buffer::Parameters;
use gradient_codec::{
    Compressor, EncodeError, Expected, Frame, FrameError, MessageId, Preset, QuantizerError,
};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use std::collections::VecDeque;
use std::sync::Arc;

/// In what form the model is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Downlink {
    /// f32, as the master has it.
    #[default]
    F32,
    /// bfloat16, 16 bits per coordinate.
    Bf16,
    /// Updates of so many bits per coordinate, quantized like gradients with a scale per 512
    /// coordinates.
    Delta {
        /// 2 to 16.
        bits: u8,
    },
}

/// Who an update is "of" in its frame's header and in its rounding: no worker has this number.
const MASTER: u32 = u32::MAX;

impl Downlink {
    /// What updates of a model of `dimension` coordinates are compressed with; `None` without
    /// updates.
    fn compressor(self, dimension: usize) -> Result<Option<Compressor>, QuantizerError> {
        match self {
            Self::F32 | Self::Bf16 => Ok(None),
            Self::Delta { bits } => Preset::default().compressor(bits, dimension).map(Some),
        }
    }
}

/// Half-precision parameters as they are sent.
#[derive(Debug, Default)]
pub(crate) struct Halves(Vec<bf16>);

impl AsRef<[u8]> for Halves {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The model of one round as every worker computes with it. Clones share everything.
#[derive(Clone, Debug)]
pub struct Model {
    /// Counts the models of this process, from 1.
    pub(crate) version: u64,
    /// What the gradients are taken at.
    pub(crate) values: Arc<Parameters>,
    pub(crate) halves: Option<Arc<Halves>>,
    /// The last updates, the newest of which leads to this version.
    updates: Vec<Update>,
}

/// One update as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// The iteration that its frame is of.
    pub iteration: u64,
    pub frame: Arc<Vec<u8>>,
}

/// What a rank has to be sent so that it has a model.
#[derive(Debug)]
pub(crate) enum Delivery<'a> {
    /// Nothing: it has it.
    Nothing,
    /// All of it.
    Whole,
    /// All of it in half precision.
    Halves(&'a Arc<Halves>),
    /// The updates that it missed, oldest first.
    Updates(&'a [Update]),
}

impl Model {
    /// A model that is sent as it is.
    pub fn plain(version: u64, values: Vec<f32>) -> Self {
        Self {
            version,
            values: Arc::new(Parameters(values)),
            halves: None,
            updates: Vec::new(),
        }
    }

    /// What a rank that has version `known` needs.
    pub(crate) fn delivery(&self, known: Option<u64>) -> Delivery<'_> {
        if known == Some(self.version) {
            return Delivery::Nothing;
        }
        if let Some(halves) = &self.halves {
            return Delivery::Halves(halves);
        }
        let missing = known.map(|known| (self.version - known) as usize);
        match missing.and_then(|missing| self.updates.len().checked_sub(missing)) {
            Some(at) => Delivery::Updates(&self.updates[at..]),
            None => Delivery::Whole,
        }
    }

    /// Bytes of a delivery.
    pub(crate) fn bytes(&self, delivery: &Delivery<'_>) -> usize {
        match delivery {
            Delivery::Nothing => 0,
            Delivery::Whole => (*self.values).as_ref().len(),
            Delivery::Halves(halves) => (***halves).as_ref().len(),
            Delivery::Updates(updates) => updates.iter().map(|update| update.frame.len()).sum(),
        }
    }
}

/// The master's side: makes the model of each round.
pub(crate) struct Publisher {
    compressor: Option<Compressor>,
    half: bool,
    seed: u64,
    version: u64,
    /// The iteration of the newest model.
    published: Option<u64>,
    /// What workers have, where that is built from updates; empty before the first model.
    shadow: Vec<f32>,
    delta: Vec<f32>,
    recent: VecDeque<Update>,
    /// Buffers that models are sent from; one is free once no send and no task holds it.
    values: Vec<Arc<Parameters>>,
    halves: Vec<Arc<Halves>>,
}

/// Why an update cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It cannot be quantized.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It cannot be read back.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Publisher {
    pub fn new(downlink: Downlink, dimension: usize, seed: u64) -> Result<Self, QuantizerError> {
        Ok(Self {
            compressor: downlink.compressor(dimension)?,
            half: downlink == Downlink::Bf16,
            seed,
            version: 0,
            published: None,
            shadow: Vec::new(),
            delta: Vec::new(),
            recent: VecDeque::new(),
            values: Vec::new(),
            halves: Vec::new(),
        })
    }

    /// The workers' copy of the model, for a checkpoint; empty where it is a function of the model.
    pub fn shadow(&self) -> &[f32] {
        &self.shadow
    }

    /// The iteration whose update the shadow has, if there is one.
    pub fn published(&self) -> Option<u64> {
        self.published.filter(|_| !self.shadow.is_empty())
    }

    /// Goes on with a shadow from a checkpoint, which has the update of iteration `published`.
    pub fn restore(&mut self, shadow: Vec<f32>, published: Option<u64>) {
        self.shadow = shadow;
        self.published = published;
    }

    /// The model of `iteration`, for `parameters` at the master. Call it in the order of iterations;
    /// one that is begun again has no second update.
    pub fn publish(&mut self, parameters: &[f32], iteration: u64) -> Result<Model, PublishError> {
        let again = self.published() == Some(iteration);
        if again {
            self.version = self.version.max(1);
        } else {
            self.version += 1;
            if self.compressor.is_some() {
                if self.shadow.is_empty() {
                    self.shadow = parameters.to_vec();
                } else {
                    self.update(parameters, iteration)?;
                }
            }
            self.published = Some(iteration);
        }
        let values = self.buffer(parameters.len());
        let mut halves = None;
        if self.half {
            let (rounded, values) = (self.half_buffer(parameters.len()), values);
            self.values.push(fill(values, |values| {
                halves = Some(fill(rounded, |rounded| {
                    rounded.0.as_mut_slice().convert_from_f32_slice(parameters);
                    rounded.0.convert_to_f32_slice(&mut values.0);
                }));
            }));
            self.halves.extend(halves.clone());
        } else {
            let source = match self.compressor {
                Some(_) => &self.shadow,
                None => parameters,
            };
            self.values
                .push(fill(values, |values| values.0.copy_from_slice(source)));
        }
        Ok(Model {
            version: self.version,
            values: self.values[self.values.len() - 1].clone(),
            halves,
            updates: self.recent.iter().cloned().collect(),
        })
    }

    fn update(&mut self, parameters: &[f32], iteration: u64) -> Result<(), PublishError> {
        let Some(compressor) = self.compressor else {
            return Ok(());
        };
        self.delta.clear();
        let differences = parameters.iter().zip(&self.shadow).map(|(b, x)| b - x);
        self.delta.extend(differences);
        let id = MessageId {
            seed: self.seed,
            iteration,
            worker: MASTER,
        };
        let most = 4 * parameters.len() / compressor.frame_len(0).max(1);
        let mut spare = Vec::new();
        while self.recent.len() >= most.max(1) {
            if let Some(old) = self.recent.pop_front() {
                spare = Arc::try_unwrap(old.frame).unwrap_or_default();
            }
        }
        compressor.encode(&id, &self.delta, &[], &mut spare)?;
        apply(&spare, iteration, compressor, &mut self.shadow)?;
        self.recent.push_back(Update {
            iteration,
            frame: Arc::new(spare),
        });
        Ok(())
    }

    /// A buffer for values that nobody reads, taken out of the list.
    fn buffer(&mut self, length: usize) -> Arc<Parameters> {
        take_free(&mut self.values).unwrap_or_else(|| Arc::new(Parameters(vec![0.0; length])))
    }

    fn half_buffer(&mut self, length: usize) -> Arc<Halves> {
        take_free(&mut self.halves).unwrap_or_else(|| Arc::new(Halves(vec![bf16::ZERO; length])))
    }
}

fn take_free<T>(buffers: &mut Vec<Arc<T>>) -> Option<Arc<T>> {
    let free = buffers
        .iter_mut()
        .position(|buffer| Arc::get_mut(buffer).is_some())?;
    Some(buffers.swap_remove(free))
}

/// Writes a buffer that nobody else holds.
fn fill<T>(mut buffer: Arc<T>, write: impl FnOnce(&mut T)) -> Arc<T> {
    if let Some(content) = Arc::get_mut(&mut buffer) {
        write(content);
    }
    buffer
}

/// A worker rank's side: turns what arrives into the parameters to compute with.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    compressor: Option<Compressor>,
}

impl Receiver {
    /// The receiver of a model of `dimension` coordinates.
    ///
    /// # Errors
    /// If the updates' width does not exist.
    pub fn new(downlink: Downlink, dimension: usize) -> Result<Self, QuantizerError> {
        Ok(Self {
            compressor: downlink.compressor(dimension)?,
        })
    }

    /// `values += Q`, an update as the master sent it for `iteration`.
    pub(crate) fn apply(
        &self,
        frame: &[u8],
        iteration: u64,
        values: &mut [f32],
    ) -> Result<(), String> {
        let compressor = self
            .compressor
            .ok_or("an update where none was agreed on")?;
        if values.len() != compressor.coordinates() {
            return Err("an update of a model that was never sent".to_owned());
        }
        apply(frame, iteration, compressor, values).map_err(|error| error.to_string())
    }

    /// Parameters from half precision.
    pub(crate) fn expand(halves: &[u8], values: &mut [f32]) -> Result<(), String> {
        if halves.len() != 2 * values.len() {
            return Err("half as many parameters as expected".to_owned());
        }
        for (value, bytes) in values.iter_mut().zip(halves.as_chunks::<2>().0) {
            *value = bf16::from_le_bytes(*bytes).to_f32();
        }
        Ok(())
    }
}

fn apply(
    bytes: &[u8],
    iteration: u64,
    compressor: Compressor,
    values: &mut [f32],
) -> Result<(), FrameError> {
    let expected = Expected {
        iteration,
        worker: MASTER,
        compressor,
        tail: 0,
        rotation: 0, // updates are not rotated
    };
    Frame::parse(bytes, &expected)?.accumulate(1.0, values);
    Ok(())
}

#[cfg(test)]
mod tests;
