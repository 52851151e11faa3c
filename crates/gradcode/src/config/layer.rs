//! One layer of the configuration: what one file or one `--set` says, every key optional.
//!
//! The structs below are the schema. A section knows its keys, lays a later layer over itself and
//! remembers which layer set what; nothing here knows whether a value makes sense (`resolve` does).

use serde::{Deserialize, Serialize};

use super::origin::{Origins, Place};
use super::values::{
    Assignment, Augment, BlockDesign, CodeKind, CodecDevice, CodecNorm, CodecPreset, CodecSharing,
    Construction, DeadlineSeconds, Decay, Decoding, DelayKind, DownlinkForm, EmptyRound, Estimator,
    Every, Feedback, Gpt2Size, Graph, Inject, Injection, Labels, Loss, MedianPlusMad, Method,
    ModelKind, Norm, OnDrift, OneOrMany, OptimizerKind, PhiSource, PlannedDeadline, Precision,
    Quantile, Rates, Ridge, Scaling, Schedule, SchemeKind, Stem, StudyKind, StudyRates, TraceOrder,
    UnitSeconds,
};

/// A group of keys that stand under one TOML header.
pub trait Section: Sized {
    /// The header; empty for the keys before the first header.
    const HEADER: &'static str;
    /// The keys, in the order in which they are written.
    const KEYS: &'static [&'static str];

    /// Takes over every key that `upper` sets. A key of a group of alternatives drops the others of its group.
    fn overlay(&mut self, upper: Self, place: &Place, origins: &mut Origins);
    /// Nothing is set.
    fn is_empty(&self) -> bool;
}

/// `header.key`, or the key alone before the first header.
pub fn dotted(header: &str, key: &str) -> String {
    if header.is_empty() {
        key.to_owned()
    } else {
        format!("{header}.{key}")
    }
}

macro_rules! section {
    (
        $(#[$meta:meta])*
        $name:ident at $header:literal
        $(one of ($($alternative:ident),+))?
        { $($field:ident: $type:ty,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                #[doc = concat!("`", $header, ".", stringify!($field), "`")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
        }

        impl Section for $name {
            const HEADER: &'static str = $header;
            const KEYS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn overlay(&mut self, upper: Self, place: &Place, origins: &mut Origins) {
                $(if [$(upper.$alternative.is_some()),+].contains(&true) {
                    $(self.$alternative = None;)+
                })?
                $(if upper.$field.is_some() {
                    self.$field = upper.$field;
                    origins.set(dotted($header, stringify!($field)), place);
                })+
            }

            fn is_empty(&self) -> bool {
                $(self.$field.is_none())&&+
            }
        }
    };
}

section! {
    /// `[model]`: what is trained.
    ModelLayer at "model" {
        kind: ModelKind, width: u32, side: u32, norm: Norm, stem: Stem, precision: Precision, weights: String, ignore_head: bool, partial_weights: bool, classes: u32, labels: Labels, dimension: usize, l2: f64,
        hidden: usize, loss: Loss,
        size: Gpt2Size, layers: u32, heads: u32, context: u32, vocab: u32,
        file: String,
    }
}
section! {
    /// `[data]`: on what.
    DataLayer at "data" {
        train_annotations: String, train_images: String,
        validation_annotations: String, validation_images: String,
        train_folder: String, validation_folder: String,
        train_tokens: String, validation_tokens: String, length: u32,
        train_arrays: String, validation_arrays: String, arrays: Vec<String>,
        batch: u32, augment: Augment, cache_mb: u64, loader_threads: usize, samples: u32, noise: f64,
        feature_sd: f64, initial_sd: f64,
    }
}
section! {
    /// `[scheme]`: the gradient code.
    SchemeLayer at "scheme" {
        kind: SchemeKind, method: Method, allow_idle: bool, construction: Construction,
        load: f64, assignment: Assignment, decoding: Decoding, graph: Graph,
        design: BlockDesign, degree: usize, blocks: usize, epsilon: f64, code: CodeKind, ridge: Ridge, normalise: bool,
    }
}
section! {
    /// `[budget]`: bits per coordinate.
    BudgetLayer at "budget" one of (total_bits, residual_bits, mean_bits) {
        total_bits: u64, residual_bits: u64, mean_bits: f64, max_bits: u8, scaling: Scaling,
    }
}
section! {
    /// `[codec]`: the compressor.
    CodecLayer at "codec" {
        preset: CodecPreset, norm: CodecNorm, bucket: u32, sharing: CodecSharing, group: u32, scale: CodecNorm, entries: u64,
        error_feedback: Feedback, shrink: bool, phi: PhiSource, phi_every: u64, device: CodecDevice, decode_device: CodecDevice,
    }
}
section! {
    /// `[optimizer]`: what the master does with a decoded gradient.
    OptimizerLayer at "optimizer" {
        kind: OptimizerKind, learning_rate: f64, momentum: f64, nesterov: bool, weight_decay: f64,
        beta1: f64, beta2: f64, epsilon: f64, two_track: bool, lambda: f64,
        decay: Decay, schedule: Schedule, warmup: u64, final_learning_rate: f64, clip_norm: f64,
    }
}
section! {
    /// `[evaluation]`: when the model is measured on held-out data.
    EvaluationLayer at "evaluation" {
        every: Every, at_end: bool, images: usize,
    }
}
section! {
    /// `[downlink]`: in what form the model reaches the workers.
    DownlinkLayer at "downlink" {
        form: DownlinkForm, bits: u8,
    }
}
section! {
    /// `[checkpoint]`: when a run is saved so that it can be resumed.
    CheckpointLayer at "checkpoint" {
        every: Every, keep: usize,
    }
}
section! {
    /// `[round]`: the master's patience.
    RoundLayer at "round" {
        empty_round: EmptyRound, max_empty_rounds: u64, min_workers: usize,
        give_up_after: u64, give_up_seconds: f64, max_failures: u64, max_failure_share: f64,
        refuse_norm: f64, clip_norm: f64, relative_error_every: u64,
    }
}
section! {
    /// `[straggler]`: the delay model and what is done with it.
    StragglerLayer at "straggler" {
        model: DelayKind, shift: OneOrMany, rate: Rates, trace: String, trace_order: TraceOrder, bandwidth: OneOrMany,
        deadline: PlannedDeadline, unit_seconds: UnitSeconds, inject: Inject, probabilities: OneOrMany,
    }
}
section! {
    /// `[deadline]`: how long a round waits for real stragglers.
    DeadlineLayer at "deadline" one of (seconds, quantile, median_plus_mad) {
        seconds: DeadlineSeconds, quantile: Quantile, median_plus_mad: MedianPlusMad,
    }
}
section! {
    /// `[replan]`: when a plan is made anew because workers have changed.
    ReplanLayer at "replan" {
        on_drift: OnDrift, false_alarms: f64, tolerance: f64, window: usize, pause: u64, estimator: Estimator,
        on_phi: bool, phi_tolerance: f64,
    }
}
section! {
    /// `[compute]`: device and threads of a rank.
    ComputeLayer at "compute" {
        device: String, threads: usize,
    }
}
section! {
    /// `[mpi]`: message sizes and time limits.
    MpiLayer at "mpi" {
        grants: usize, startup_timeout_seconds: f64, silence_timeout_seconds: f64, master_timeout_seconds: f64,
        goodbye_timeout_seconds: f64,
    }
}

section! {
    /// `[study]`: many runs of many settings. Not part of a [`Layer`]: only experiment files have it.
    StudyLayer at "study" {
        kind: StudyKind, runs: usize, jobs: usize, rates: StudyRates, probe: u64,
        stragglers: Vec<usize>, sets: usize, residual_bits: Vec<u64>,
    }
}

/// The keys before the first header, then the sections.
macro_rules! layer {
    (keys { $($field:ident: $type:ty,)+ } sections { $($section:ident: $section_type:ty,)+ }) => {
        /// What one layer says. See `default.toml` for the meaning of every key.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Layer {
            $(
                #[doc = concat!("`", stringify!($field), "`")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
            $(
                #[doc = concat!("`[", stringify!($section), "]`")]
                #[serde(skip_serializing_if = "Section::is_empty")]
                pub $section: $section_type,
            )+
        }

        impl Layer {
            /// Every header with its keys, in the order in which they are written.
            pub const SCHEMA: &'static [(&'static str, &'static [&'static str])] = &[
                ("", &[$(stringify!($field)),+]),
                $((<$section_type>::HEADER, <$section_type>::KEYS),)+
            ];

            /// Lays `upper`, which came from `place`, over this layer.
            pub fn overlay(&mut self, upper: Layer, place: &Place, origins: &mut Origins) {
                $(if upper.$field.is_some() {
                    self.$field = upper.$field;
                    origins.set(stringify!($field).to_owned(), place);
                })+
                $(self.$section.overlay(upper.$section, place, origins);)+
            }
        }
    };
}

layer! {
    keys {
        title: String, seed: u64, iterations: u64, workers: usize, partitions: usize, out: String,
        inject: Vec<Injection>,
    }
    sections {
        model: ModelLayer, data: DataLayer, scheme: SchemeLayer, budget: BudgetLayer,
        codec: CodecLayer, optimizer: OptimizerLayer, evaluation: EvaluationLayer,
        downlink: DownlinkLayer, checkpoint: CheckpointLayer, round: RoundLayer, straggler: StragglerLayer, deadline: DeadlineLayer, replan: ReplanLayer,
        compute: ComputeLayer, mpi: MpiLayer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT;

    /// The default file with the keys that have no default switched on: `#key = ...` -> `key = ...`.
    fn with_every_key() -> String {
        let is_key = |line: &str| {
            line.strip_prefix('#').is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ")
            })
        };
        DEFAULT
            .lines()
            .map(|line| if is_key(line) { &line[1..] } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_default_file_has_every_key_and_no_other() {
        let text = with_every_key();
        let layer: Layer = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let table = toml::Table::try_from(&layer).unwrap();
        for (header, keys) in Layer::SCHEMA {
            let section = if header.is_empty() {
                Some(&table)
            } else {
                table.get(*header).and_then(|v| v.as_table())
            };
            for key in *keys {
                assert!(
                    section.is_some_and(|s| s.contains_key(*key)),
                    "default.toml lacks {header}.{key}"
                );
            }
        }
        assert!(toml::from_str::<Layer>(&text.replace("seed = 1", "sede = 1")).is_err());
    }

    #[test]
    fn the_default_file_explains_every_key_of_a_study() {
        for key in StudyLayer::KEYS {
            assert!(
                DEFAULT.contains(&format!("\n#   {key} = ")),
                "default.toml lacks study.{key}"
            );
        }
    }

    /// The keys that only some schemes read are those that the schemes name.
    #[test]
    fn scheme_keys_are_options_of_schemes() {
        for key in SchemeLayer::KEYS.iter().filter(|key| **key != "kind") {
            assert!(
                gradient_code::schemes::all().any(|scheme| scheme.options().contains(key)),
                "no scheme reads scheme.{key}"
            );
        }
        for option in gradient_code::schemes::all().flat_map(|scheme| scheme.options()) {
            assert!(
                SchemeLayer::KEYS.contains(option),
                "scheme.{option} is missing"
            );
        }
    }

    #[test]
    fn a_later_layer_wins_and_a_budget_replaces_a_budget() {
        let mut origins = Origins::default();
        let mut merged = Layer::default();
        let lower: Layer =
            toml::from_str("seed = 1\n[budget]\ntotal_bits = 20\nmax_bits = 8").unwrap();
        let upper: Layer = toml::from_str("seed = 2\n[budget]\nmean_bits = 4").unwrap();
        merged.overlay(lower, &Place::default_file(), &mut origins);
        merged.overlay(
            upper,
            &Place::argument("--set", "budget.mean_bits=4"),
            &mut origins,
        );
        assert_eq!(merged.seed, Some(2));
        assert_eq!(merged.budget.total_bits, None);
        assert_eq!(merged.budget.mean_bits, Some(4.0));
        assert_eq!(merged.budget.max_bits, Some(8));
        assert_eq!(origins.of("budget.max_bits").to_string(), "default");
        assert_eq!(
            origins.of("budget.mean_bits").to_string(),
            "--set budget.mean_bits=4"
        );
    }

    #[test]
    fn quantile_defaults_are_those_of_the_file() {
        let layer: Layer = toml::from_str(DEFAULT).unwrap();
        assert_eq!(layer.deadline.quantile, Some(Quantile::default()));
    }
}
