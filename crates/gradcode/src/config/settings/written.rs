//! A configuration as it is written: every key of it, in one layer.

use std::path::Path;

use serde::{Serialize, Serializer};

use super::{Architecture, Budget, BudgetBits, Config, Data, Deadline, Model, Optimizer};
use crate::config::layer::{
    BudgetLayer, CheckpointLayer, CodecLayer, ComputeLayer, DataLayer, DeadlineLayer,
    DownlinkLayer, EvaluationLayer, Layer, ModelLayer, MpiLayer, OptimizerLayer, ReplanLayer,
    RoundLayer, SchemeLayer, StragglerLayer,
};

impl Config {
    /// Every key of this configuration as one layer.
    pub fn to_layer(&self) -> Layer {
        Layer {
            title: Some(self.title.clone()),
            seed: Some(self.seed),
            iterations: Some(self.iterations),
            workers: Some(self.workers),
            partitions: Some(self.partitions),
            out: Some(text(&self.out)),
            inject: (!self.inject.is_empty()).then(|| self.inject.clone()),
            model: self.model.to_layer(),
            data: self.data.to_layer(),
            scheme: SchemeLayer {
                kind: Some(self.scheme.kind),
                method: Some(self.scheme.options.method),
                allow_idle: Some(self.scheme.options.allow_idle),
                construction: Some(self.scheme.options.construction),
                load: Some(self.scheme.options.load),
                assignment: Some(self.scheme.options.assignment),
                decoding: Some(self.scheme.options.decoding),
                graph: Some(self.scheme.options.graph),
                design: Some(self.scheme.options.design),
                degree: Some(self.scheme.options.degree),
                blocks: Some(self.scheme.options.blocks),
                epsilon: Some(self.scheme.options.epsilon),
                code: Some(self.scheme.options.code),
                ridge: Some(self.scheme.options.ridge),
                normalise: Some(self.scheme.options.normalise),
            },
            budget: self.budget.to_layer(),
            codec: CodecLayer {
                preset: Some(self.codec.preset),
                norm: Some(self.codec.norm),
                bucket: Some(self.codec.bucket),
                sharing: Some(self.codec.sharing),
                group: Some(self.codec.group),
                scale: Some(self.codec.scale),
                entries: Some(self.codec.entries),
                error_feedback: Some(self.codec.error_feedback),
                shrink: Some(self.codec.shrink),
                phi: self.codec.phi.clone(),
                phi_every: Some(self.codec.phi_every),
                device: Some(self.codec.device),
                decode_device: Some(self.codec.decode_device),
            },
            optimizer: self.optimizer.to_layer(),
            downlink: DownlinkLayer {
                form: Some(self.downlink.form),
                bits: Some(self.downlink.bits),
            },
            checkpoint: CheckpointLayer {
                every: Some(self.checkpoint.every),
                keep: Some(self.checkpoint.keep),
            },
            evaluation: EvaluationLayer {
                every: Some(self.evaluation.every),
                at_end: Some(self.evaluation.at_end),
                images: Some(self.evaluation.images),
            },
            round: RoundLayer {
                empty_round: Some(self.round.empty_round),
                max_empty_rounds: Some(self.round.max_empty_rounds),
                min_workers: Some(self.round.min_workers),
                give_up_after: Some(self.round.give_up_after),
                give_up_seconds: Some(self.round.give_up_seconds),
                max_failures: Some(self.round.max_failures),
                max_failure_share: Some(self.round.max_failure_share),
                refuse_norm: Some(self.round.refuse_norm),
                clip_norm: Some(self.round.clip_norm),
                relative_error_every: Some(self.round.relative_error_every),
            },
            straggler: StragglerLayer {
                model: Some(self.straggler.model),
                shift: Some(self.straggler.shift.clone()),
                rate: Some(self.straggler.rate.clone()),
                trace: self.straggler.trace.as_deref().map(text),
                trace_order: Some(self.straggler.trace_order),
                bandwidth: self.straggler.bandwidth.clone(),
                deadline: Some(self.straggler.deadline),
                unit_seconds: Some(self.straggler.unit_seconds),
                inject: Some(self.straggler.inject),
                probabilities: self.straggler.probabilities.clone(),
            },
            deadline: {
                let mut layer = DeadlineLayer::default();
                match self.deadline {
                    Deadline::Seconds(seconds) => layer.seconds = Some(seconds),
                    Deadline::Quantile(quantile) => layer.quantile = Some(quantile),
                    Deadline::MedianPlusMad(rule) => layer.median_plus_mad = Some(rule),
                }
                layer
            },
            compute: ComputeLayer {
                device: Some(self.compute.device.clone()),
                threads: Some(self.compute.threads),
            },
            replan: ReplanLayer {
                on_drift: Some(self.replan.on_drift),
                false_alarms: Some(self.replan.false_alarms),
                tolerance: Some(self.replan.tolerance),
                window: Some(self.replan.window),
                pause: Some(self.replan.pause),
                estimator: Some(self.replan.estimator),
                on_phi: Some(self.replan.on_phi),
                phi_tolerance: Some(self.replan.phi_tolerance),
            },
            mpi: MpiLayer {
                grants: Some(self.mpi.grants),
                startup_timeout_seconds: Some(self.mpi.startup_timeout_seconds),
                silence_timeout_seconds: Some(self.mpi.silence_timeout_seconds),
                master_timeout_seconds: Some(self.mpi.master_timeout_seconds),
                goodbye_timeout_seconds: Some(self.mpi.goodbye_timeout_seconds),
            },
        }
    }
}

/// All paths come from TOML or were checked, so they are UTF-8.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Model {
    fn to_layer(&self) -> ModelLayer {
        let mut layer = ModelLayer {
            kind: Some(self.architecture.kind()),
            classes: self.classes,
            labels: Some(self.labels),
            dimension: self.planned_dimension,
            precision: Some(self.precision),
            file: self.file.as_deref().map(text),
            weights: self.weights.as_deref().map(text),
            ignore_head: Some(self.ignore_head),
            partial_weights: Some(self.partial_weights),
            l2: Some(self.l2),
            ..ModelLayer::default()
        };
        match self.architecture {
            Architecture::TinySsd { width, side } | Architecture::Cnn { width, side } => {
                layer.width = Some(width);
                layer.side = Some(side);
            }
            Architecture::SsdLite { side, norm } => {
                layer.side = Some(side);
                layer.norm = Some(norm);
            }
            Architecture::ResNet18 { side, norm, stem }
            | Architecture::ResNet50 { side, norm, stem } => {
                layer.side = Some(side);
                layer.norm = Some(norm);
                layer.stem = Some(stem);
            }
            Architecture::LeastSquares { dimension }
            | Architecture::LogisticRegression { dimension } => {
                layer.dimension = Some(dimension);
            }
            Architecture::Mlp { hidden, loss } => {
                layer.hidden = Some(hidden);
                layer.loss = Some(loss);
            }
            Architecture::Gpt2(sizes) => {
                layer.layers = Some(sizes.layers);
                layer.heads = Some(sizes.heads);
                layer.width = Some(sizes.width);
                layer.context = Some(sizes.context);
                layer.vocab = sizes.vocab;
            }
            Architecture::TorchScript => {}
        }
        layer
    }
}

impl Data {
    fn to_layer(&self) -> DataLayer {
        DataLayer {
            train_annotations: self.train.as_ref().map(|paths| text(&paths.annotations)),
            train_images: self.train.as_ref().map(|paths| text(&paths.images)),
            validation_annotations: self
                .validation
                .as_ref()
                .map(|paths| text(&paths.annotations)),
            validation_images: self.validation.as_ref().map(|paths| text(&paths.images)),
            train_folder: self.train_folder.as_deref().map(text),
            validation_folder: self.validation_folder.as_deref().map(text),
            train_tokens: self.train_tokens.as_deref().map(text),
            validation_tokens: self.validation_tokens.as_deref().map(text),
            length: self.length,
            train_arrays: self.train_arrays.as_deref().map(text),
            validation_arrays: self.validation_arrays.as_deref().map(text),
            arrays: Some(self.arrays.clone()).filter(|names| !names.is_empty()),
            batch: Some(self.batch),
            augment: Some(self.augment),
            cache_mb: Some(self.cache_mb),
            loader_threads: Some(self.loader_threads),
            samples: Some(self.samples),
            noise: Some(self.noise),
            feature_sd: Some(self.feature_sd),
            initial_sd: Some(self.initial_sd),
        }
    }
}

impl Budget {
    fn to_layer(self) -> BudgetLayer {
        let mut layer = BudgetLayer {
            max_bits: Some(self.max_bits),
            scaling: Some(self.scaling),
            ..BudgetLayer::default()
        };
        match self.bits {
            Some(BudgetBits::Total(bits)) => layer.total_bits = Some(bits),
            Some(BudgetBits::Residual(bits)) => layer.residual_bits = Some(bits),
            Some(BudgetBits::Mean(bits)) => layer.mean_bits = Some(bits),
            None => {}
        }
        layer
    }
}

impl Optimizer {
    fn to_layer(self) -> OptimizerLayer {
        OptimizerLayer {
            kind: Some(self.kind),
            learning_rate: Some(self.learning_rate),
            momentum: Some(self.momentum),
            nesterov: Some(self.nesterov),
            weight_decay: Some(self.weight_decay),
            beta1: Some(self.beta1),
            beta2: Some(self.beta2),
            epsilon: Some(self.epsilon),
            two_track: Some(self.two_track),
            lambda: Some(self.lambda),
            decay: Some(self.decay),
            schedule: Some(self.schedule),
            warmup: Some(self.warmup),
            final_learning_rate: Some(self.final_learning_rate),
            clip_norm: Some(self.clip_norm),
        }
    }
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_layer().serialize(serializer)
    }
}
