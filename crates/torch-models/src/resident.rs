//! Gradients that are encoded on the device that computed them.

use gradient_codec::{Compressor, MessageId, Operator, Quantizer};
use learner::{LearnerError, PartitionLoss, ResidentError, ResidentGradient};
use tch::Device;
use torch_codec::{DeviceCodecError, Encoder};

use crate::device;
use crate::engine::{Task, TorchLearner};

/// The encoder of a learner's gradients, and what it was tried with.
pub(crate) struct Resident {
    encoder: Encoder,
    tried: Vec<(Quantizer, Result<(), String>)>,
}

impl Resident {
    /// Of a learner on `device`.
    pub fn new(device: Device) -> Self {
        Self {
            encoder: Encoder::new(device),
            tried: Vec::new(),
        }
    }

    /// Whether the device gives the CPU's bytes with this quantizer; tried once.
    fn agrees(&mut self, quantizer: Quantizer) -> Result<(), String> {
        if let Some((_, result)) = self.tried.iter().find(|(q, _)| *q == quantizer) {
            return result.clone();
        }
        let on = device::name(self.encoder.device());
        let result = match self.encoder.agrees_with_the_cpu(&quantizer) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{on} does not compute the CPU's bits")),
            Err(error) => Err(format!("{on} cannot: {error}")),
        };
        self.tried.push((quantizer, result.clone()));
        result
    }
}

impl<T: Task> ResidentGradient for TorchLearner<T> {
    fn encodes(&mut self, compressor: &Compressor) -> Result<(), String> {
        match compressor.operator() {
            Operator::Quantizer(quantizer) if Encoder::supports(compressor) => {
                self.resident.agrees(quantizer)
            }
            _ => Err("only the CPU has this compressor".to_owned()),
        }
    }

    fn compute(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        self.compute(parameters, iteration, assignment)
    }

    fn encode(
        &mut self,
        compressor: &Compressor,
        id: &MessageId,
        tail: &[f32],
        frame: &mut Vec<u8>,
    ) -> Result<(), ResidentError> {
        let gradient = self.flat.gradients();
        let encoder = &mut self.resident.encoder;
        encoder
            .encode(compressor, id, gradient, tail, frame)
            .map_err(|error| match error {
                DeviceCodecError::Encode(error) => ResidentError::Encode(error),
                other => ResidentError::Learner(LearnerError::Backend(other.to_string())),
            })
    }
}
