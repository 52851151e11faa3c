//! The configuration in the terms of the other crates.

use cluster::{
    Distortion, ErrorFeedback, Fault, FaultKind, Faults, OnStraggling, Phase, RefreshRules,
};
use gradient_codec::{BucketNorm, Generator, OneBitScale, Preset, Sharing};
use learner::optimizer::{AdamConfig, DecayGroups, OptimizerError};
use learner::{Description, Optimizer, OptimizerConfig, ScheduleShape};

use super::settings::{Config, Deadline};
use super::values::{
    CodecDevice, CodecNorm, CodecPreset, CodecSharing, DeadlineSeconds, Decay, Estimator, Feedback,
    Inject, InjectedFault, InjectedPhase, Injection, OnDrift, OptimizerKind, Schedule,
};

/// Latest messages of a width that its measured phi is the mean of.
const PHI_WINDOW: usize = 32;

impl Config {
    /// The compressor family of all workers.
    pub fn preset(&self) -> Preset {
        let entries = Some(self.codec.entries).filter(|&entries| entries > 0);
        match self.codec.preset {
            CodecPreset::Qsgd => Preset::Qsgd,
            CodecPreset::QsgdBucketed => Preset::QsgdBucketed {
                norm: match self.codec.norm {
                    CodecNorm::Max => BucketNorm::Max,
                    CodecNorm::L2 => BucketNorm::L2,
                },
                bucket: self.codec.bucket,
            },
            CodecPreset::Rotated => Preset::Rotated {
                bucket: self.codec.bucket,
                sharing: self.sharing(),
            },
            CodecPreset::Eden => Preset::Eden {
                bucket: self.codec.bucket,
                sharing: self.sharing(),
            },
            CodecPreset::F32 => Preset::F32,
            CodecPreset::Sign => Preset::Sign {
                group: self.codec.group,
            },
            CodecPreset::OneBit => Preset::OneBit {
                scale: match self.codec.scale {
                    CodecNorm::Max => OneBitScale::Max,
                    CodecNorm::L2 => OneBitScale::L2,
                },
            },
            CodecPreset::TopK => Preset::TopK { entries },
            CodecPreset::RandK => Preset::RandK { entries },
        }
    }

    fn sharing(&self) -> Sharing {
        match self.codec.sharing {
            CodecSharing::Round => Sharing::Round,
            CodecSharing::Message => Sharing::Message,
        }
    }

    /// Whether gradients are encoded on the device that computes them.
    pub fn encodes_on_model(&self) -> bool {
        match self.codec.device {
            CodecDevice::Auto => self.compute.device.starts_with("cuda"),
            CodecDevice::Cpu => false,
            CodecDevice::Model => true,
        }
    }

    /// Where the random bits of rounding come from: the generator that is fast where messages are
    /// encoded. It follows from the configuration alone, so that master and workers agree.
    pub fn generator(&self) -> Generator {
        match self.encodes_on_model() {
            true => Generator::Philox,
            false => Generator::default(),
        }
    }

    /// Whether workers remember what was not delivered, and how.
    pub fn error_feedback(&self) -> Option<ErrorFeedback> {
        let on_straggling = match self.codec.error_feedback {
            Feedback::None => return None,
            Feedback::Keep => OnStraggling::Keep,
            Feedback::Lost => OnStraggling::Lost,
        };
        Some(ErrorFeedback { on_straggling })
    }

    /// What goes wrong on purpose, but for workers that are slow where delays are drawn: their draws are
    /// ([`Self::delay_model`]).
    pub fn faults(&self) -> Faults {
        let happens = |entry: &&Injection| {
            entry.fault != InjectedFault::Slow || self.straggler.inject == Inject::None
        };
        let fault = |entry: &Injection| Fault {
            kind: match entry.fault {
                InjectedFault::Delay => FaultKind::Delay,
                InjectedFault::Drop => FaultKind::Drop,
                InjectedFault::Kill => FaultKind::Kill,
                InjectedFault::Freeze => FaultKind::Freeze,
                InjectedFault::Corrupt => FaultKind::Corrupt,
                InjectedFault::Nan => FaultKind::Nan,
                InjectedFault::Panic => FaultKind::Panic,
                InjectedFault::Memory => FaultKind::Memory,
                InjectedFault::Slow => FaultKind::Slow,
            },
            phase: match entry.phase.unwrap_or(InjectedPhase::Compute) {
                InjectedPhase::Compute => Phase::Compute,
                InjectedPhase::Header => Phase::Header,
                InjectedPhase::Payload => Phase::Payload,
            },
            workers: entry
                .workers
                .as_ref()
                .map(|workers| workers.iter().map(|&worker| worker as u32).collect()),
            from: entry.iterations().0,
            to: entry.iterations().1,
            probability: entry.probability.unwrap_or(1.0),
            seconds: entry.seconds.unwrap_or(0.0),
            factor: entry.factor.unwrap_or(1.0),
        };
        let due = self.inject.iter().filter(happens).map(fault);
        Faults::new(self.seed, due.collect())
    }

    /// The optimizer at the master.
    pub fn optimizer_config(&self) -> OptimizerConfig {
        let optimizer = &self.optimizer;
        let adam = AdamConfig {
            beta1: optimizer.beta1,
            beta2: optimizer.beta2,
            epsilon: optimizer.epsilon as f32,
            weight_decay: optimizer.weight_decay as f32,
        };
        match optimizer.kind {
            OptimizerKind::Sgd => OptimizerConfig::Sgd {
                momentum: optimizer.momentum as f32,
                nesterov: optimizer.nesterov,
                weight_decay: optimizer.weight_decay as f32,
            },
            OptimizerKind::Adam => OptimizerConfig::Adam(adam),
            OptimizerKind::AdamW => OptimizerConfig::AdamW(adam),
        }
    }

    /// The optimizer at the master for the model that `description` is of.
    ///
    /// # Errors
    /// [`OptimizerError`] for a setting out of range.
    pub fn build_optimizer(
        &self,
        description: &Description,
    ) -> Result<Box<dyn Optimizer>, OptimizerError> {
        let dimension = description.parameters;
        self.optimizer_config()
            .build_grouped(match self.optimizer.decay {
                Decay::All => DecayGroups::all(dimension),
                Decay::Matrices => DecayGroups::matrices(dimension, &description.slots),
            })
    }

    /// The learning rate by iteration.
    pub fn learning_rate_schedule(&self) -> learner::Schedule {
        learner::Schedule {
            base: self.optimizer.learning_rate,
            shape: match self.optimizer.schedule {
                Schedule::Constant => ScheduleShape::Constant,
                Schedule::Cosine => ScheduleShape::Cosine,
                Schedule::InverseTime => ScheduleShape::InverseTime,
                Schedule::InverseSqrt => ScheduleShape::InverseSqrt,
            },
            warmup: self.optimizer.warmup,
            end: self.optimizer.final_learning_rate,
        }
    }

    /// How arrivals are held against the plan; `None` where it is made anew for lost workers alone.
    /// `real` says that nothing makes stragglers but the machines.
    pub fn replan_rules(&self, real: bool) -> Option<straggler::Rules> {
        let replan = &self.replan;
        let watches = match replan.on_drift {
            OnDrift::Auto => real,
            OnDrift::Always => true,
            OnDrift::Never => false,
        };
        watches.then_some(straggler::Rules {
            false_alarms: replan.false_alarms,
            tolerance: replan.tolerance,
            window: replan.window,
            pause: replan.pause,
            estimator: match replan.estimator {
                Estimator::Frequency => straggler::Estimator::Frequency,
                Estimator::ShiftedExponential => straggler::Estimator::ShiftedExponential,
            },
        })
    }

    /// When workers measure their quantization error, and whether plans follow it.
    pub fn distortion(&self) -> Distortion {
        Distortion {
            every: match self.quantizes() {
                true => self.codec.phi_every,
                false => 0,
            },
            refresh: self.replan.on_phi.then_some(RefreshRules {
                tolerance: self.replan.phi_tolerance,
                window: PHI_WINDOW,
                pause: self.replan.pause,
            }),
        }
    }

    /// Whether real stragglers are held against a deadline of `[deadline]`, and not the planned one.
    pub fn has_real_deadline(&self) -> bool {
        self.straggler.inject == Inject::None
            && self.deadline != Deadline::Seconds(DeadlineSeconds::Planned)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::three_workers as config;
    use super::*;

    #[test]
    fn codec_and_optimizer_are_translated() {
        let config = config(
            "codec.norm = 'l2'\ncodec.bucket = 1024\noptimizer.kind = 'adamw'\noptimizer.beta1 = 0.8",
        );
        assert_eq!(
            config.preset(),
            Preset::QsgdBucketed {
                norm: BucketNorm::L2,
                bucket: 1024
            }
        );
        assert!(
            matches!(config.optimizer_config(), OptimizerConfig::AdamW(adam) if adam.beta1 == 0.8)
        );
    }
}
