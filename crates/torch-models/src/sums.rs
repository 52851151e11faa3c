//! A round's frames, added up on a device.

use gradient_codec::{Compressor, Frame, Operator, Quantizer, Rotation};
use learner::{LearnerError, Sums};
use tch::Device;
use torch_codec::{Accumulator, DeviceCodecError};

use crate::device;

/// [`learner::Sums`] in a device's memory.
pub struct DeviceSums {
    accumulator: Accumulator,
    /// What the device was tried with.
    tried: Vec<(Quantizer, Result<(), String>)>,
    threads: i32,
}

impl DeviceSums {
    /// Sums on `device`, which if it is the CPU computes with `threads` threads.
    pub fn new(device: Device, threads: usize) -> Self {
        Self {
            accumulator: Accumulator::new(device),
            tried: Vec::new(),
            threads: threads.max(1) as i32,
        }
    }

    /// The accumulator, where libtorch has this thread's number of threads: whoever folds may have been
    /// started for it.
    fn ready(&mut self) -> &mut Accumulator {
        if tch::get_num_threads() != self.threads {
            tch::set_num_threads(self.threads);
        }
        &mut self.accumulator
    }

    /// Whether the device gives the CPU's bits with this quantizer; tried once.
    fn agrees(&mut self, quantizer: Quantizer) -> Result<(), String> {
        if let Some((_, result)) = self.tried.iter().find(|(q, _)| *q == quantizer) {
            return result.clone();
        }
        let on = self.device();
        let result = match self.ready().agrees_with_the_cpu(&quantizer) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{on} does not compute the CPU's bits")),
            Err(error) => Err(format!("{on} cannot: {error}")),
        };
        self.tried.push((quantizer, result.clone()));
        result
    }
}

impl Sums for DeviceSums {
    fn device(&self) -> String {
        device::name(self.accumulator.device())
    }

    fn adds(&mut self, compressor: &Compressor) -> Result<(), String> {
        match compressor.operator() {
            Operator::Quantizer(quantizer) => self.agrees(quantizer),
            _ => Err("they are sparse".to_owned()),
        }
    }

    fn clear(&mut self, count: usize, length: usize) -> Result<(), LearnerError> {
        self.ready().clear(count, length).map_err(failed)
    }

    fn add(
        &mut self,
        shared: Option<&Rotation>,
        frames: &[(Frame<'_>, Vec<f32>)],
    ) -> Result<(), LearnerError> {
        self.ready().add(shared, frames).map_err(failed)
    }

    fn finish(&mut self, shared: Option<&Rotation>) -> Result<(), LearnerError> {
        self.ready().finish(shared).map_err(failed)
    }

    fn values(&self) -> &[f32] {
        self.accumulator.values()
    }
}

fn failed(error: DeviceCodecError) -> LearnerError {
    LearnerError::Backend(error.to_string())
}
