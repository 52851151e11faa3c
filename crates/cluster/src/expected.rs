//! The frames that a plan calls for.

use gradient_code::Plan;
use gradient_codec::{
    Compressor, Expected, Frame, FrameError, MessageId, QuantizerError, Rotation,
};

use crate::buffer::Buffer;
use crate::settings::Settings;
use crate::worker::tail_len;

/// The per-message quantities of a plan that the master needs again and again.
pub(crate) struct Messages {
    seed: u64,
    /// Of each worker: its compressor and the length of its frame's tail; `None` for an idle one.
    kinds: Vec<Option<(Compressor, usize)>>,
    payload_bits: Vec<u64>,
    frame_bytes: Vec<usize>,
}

impl Messages {
    /// The frames that `plan` calls for, for a model of `dimension` coordinates.
    pub fn new(plan: &Plan, settings: &Settings, dimension: usize) -> Result<Self, QuantizerError> {
        let mut messages = Self {
            seed: settings.seed,
            kinds: Vec::new(),
            payload_bits: Vec::new(),
            frame_bytes: Vec::new(),
        };
        let length = plan.message_len(dimension);
        for worker in &plan.workers {
            if worker.is_idle() {
                messages.kinds.push(None);
                messages.payload_bits.push(0);
                messages.frame_bytes.push(0);
                continue;
            }
            let compressor = settings
                .preset
                .compressor(worker.bits, length)?
                .with_generator(settings.generator)
                .with_shrink(settings.shrink);
            let tail = tail_len(worker.assignment.len());
            messages.kinds.push(Some((compressor, tail)));
            messages.payload_bits.push(compressor.payload_bits());
            messages.frame_bytes.push(compressor.frame_len(tail));
        }
        Ok(messages)
    }

    /// What the frames are compressed with, worker by worker.
    pub fn compressors(&self) -> impl Iterator<Item = &Compressor> {
        let busy = self.kinds.iter().flatten();
        busy.map(|(compressor, _)| compressor)
    }

    /// Length of worker i's frame in bytes; 0 for an idle worker.
    pub fn frame_bytes(&self, worker: usize) -> usize {
        self.frame_bytes[worker]
    }

    /// Payload bits of worker i's frame.
    pub fn payload_bits(&self, worker: usize) -> u64 {
        self.payload_bits[worker]
    }

    /// Payload bits of every worker's frame.
    pub fn all_payload_bits(&self) -> &[u64] {
        &self.payload_bits
    }

    /// Bits that all workers would send in one round had nobody been late.
    pub fn offered_bits(&self) -> u64 {
        self.payload_bits.iter().sum()
    }

    /// Checks a frame against what the plan calls for.
    pub fn parse<'a>(
        &self,
        worker: usize,
        iteration: u64,
        frame: &'a Buffer,
    ) -> Result<Frame<'a>, FrameError> {
        Frame::parse(frame.bytes(), &self.expected(worker, iteration))
    }

    /// A frame that has been checked before.
    pub fn reopen<'a>(
        &self,
        worker: usize,
        iteration: u64,
        frame: &'a Buffer,
    ) -> Result<Frame<'a>, FrameError> {
        Frame::reopen(frame.bytes(), &self.expected(worker, iteration))
    }

    fn expected(&self, worker: usize, iteration: u64) -> Expected {
        let (compressor, tail) = self.kinds[worker].expect("idle workers are never asked");
        let id = MessageId {
            seed: self.seed,
            iteration,
            worker: worker as u32,
        };
        Expected::new(&id, compressor, tail)
    }

    /// The rotation that all frames of an iteration share, so that their sum is rotated back once;
    /// `None` where they are added up as they are.
    pub fn shared_rotation(&self, iteration: u64) -> Option<Rotation> {
        let id = |worker: usize| MessageId {
            seed: self.seed,
            iteration,
            worker: worker as u32,
        };
        let mut rotations = self
            .kinds
            .iter()
            .enumerate()
            .filter_map(|(i, kind)| Some(kind.as_ref()?.0.shared_rotation(&id(i))));
        let first = rotations.next()?;
        rotations
            .all(|rotation| rotation == first)
            .then_some(first)?
    }
}
