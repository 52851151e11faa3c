//! Where the decoded gradient is summed: in this process's memory, or on a device.

use crate::expected::Messages;
use gradient_codec::{Compressor, Frame, Rotation, accumulate_many, accumulate_rotated};
use learner::{LearnerError, Sums};

/// The sums of a run, on a device for as long as it can make all of them.
pub(crate) struct Summing {
    sums: Box<dyn Sums>,
    /// Whether the sums are not the CPU's.
    on_device: bool,
}

impl Summing {
    /// On `device`, if there is one.
    pub fn new(device: Option<Box<dyn Sums>>) -> Self {
        Self {
            on_device: device.is_some(),
            sums: device.unwrap_or_else(|| Box::new(HostSums::default())),
        }
    }

    /// Prepares for a plan's messages, which are decoded into `count` sums of `length` coordinates. If the
    /// device cannot add one of them, all are added by the CPU from now on; says why.
    pub fn prepare(&mut self, messages: &Messages, count: usize, length: usize) -> Option<String> {
        if !self.on_device {
            return None;
        }
        let able = messages
            .compressors()
            .try_for_each(|compressor| self.sums.adds(compressor))
            .and_then(|()| {
                let cleared = self.sums.clear(count, length);
                cleared.map_err(|error| error.to_string())
            });
        let reason = able.err()?;
        let device = self.sums.device();
        *self = Self::new(None);
        Some(format!(
            "gradients are decoded by the CPU's loops and not on {device}, because {reason}"
        ))
    }

    /// Where the sums are made.
    pub fn device(&self) -> String {
        self.sums.device()
    }

    /// Whether the sums have to be brought here at the end of a round.
    pub fn on_device(&self) -> bool {
        self.on_device
    }

    /// The sums.
    pub fn get(&mut self) -> &mut dyn Sums {
        &mut *self.sums
    }

    /// [`Sums::values`].
    pub fn values(&self) -> &[f32] {
        self.sums.values()
    }
}

/// Sums in this process's memory, made by the CPU's loops.
#[derive(Default)]
struct HostSums {
    values: Vec<f32>,
    length: usize,
}

impl HostSums {
    fn each(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.length.max(1))
    }
}

impl Sums for HostSums {
    fn device(&self) -> String {
        "cpu".to_owned()
    }

    fn adds(&mut self, _compressor: &Compressor) -> Result<(), String> {
        Ok(())
    }

    fn clear(&mut self, count: usize, length: usize) -> Result<(), LearnerError> {
        self.length = length;
        self.values.resize(count * length, 0.0);
        self.values.fill(0.0);
        Ok(())
    }

    fn add(
        &mut self,
        shared: Option<&Rotation>,
        frames: &[(Frame<'_>, Vec<f32>)],
    ) -> Result<(), LearnerError> {
        for (r, sum) in self.each().enumerate() {
            let weighted = frames.iter().map(|(frame, weights)| (*frame, weights[r]));
            let weighted: Vec<_> = weighted.collect();
            match shared {
                Some(shared) => accumulate_rotated(shared, &weighted, sum),
                None => accumulate_many(&weighted, sum),
            }
        }
        Ok(())
    }

    fn finish(&mut self, shared: Option<&Rotation>) -> Result<(), LearnerError> {
        if let Some(rotation) = shared {
            self.each().for_each(|sum| rotation.invert(sum));
        }
        Ok(())
    }

    fn values(&self) -> &[f32] {
        &self.values
    }
}
