//! Keys that were set but have no effect: said as a warning, so that nobody waits for one in vain.

use super::layer::Layer;
use super::origin::Origins;
use super::settings::Config;
use super::values::{
    CodecDevice, CodecPreset, DelayKind, Inject, ModelKind, OnDrift, OptimizerKind, Schedule,
};

/// The keys that only some schemes read, and what `Scheme::options` calls them.
const SCHEME_OPTIONS: &[(&str, &str)] = &[
    ("scheme.method", "method"),
    ("scheme.allow_idle", "allow_idle"),
    ("scheme.construction", "construction"),
    ("scheme.load", "load"),
    ("scheme.assignment", "assignment"),
    ("scheme.decoding", "decoding"),
    ("scheme.graph", "graph"),
    ("scheme.design", "design"),
    ("scheme.degree", "degree"),
    ("scheme.blocks", "blocks"),
    ("scheme.epsilon", "epsilon"),
    ("scheme.code", "code"),
    ("scheme.ridge", "ridge"),
    ("scheme.normalise", "normalise"),
];

/// The keys of `[replan]` that only watching for drift reads.
const DRIFT_KEYS: [&str; 5] = [
    "replan.false_alarms",
    "replan.tolerance",
    "replan.window",
    "replan.pause",
    "replan.estimator",
];

/// The keys that only language models read.
const LANGUAGE_KEYS: [&str; 8] = [
    "model.size",
    "model.layers",
    "model.heads",
    "model.context",
    "model.vocab",
    "data.train_tokens",
    "data.validation_tokens",
    "data.length",
];

/// The keys that only TorchScript models read.
const SCRIPT_KEYS: [&str; 4] = [
    "model.file",
    "data.train_arrays",
    "data.validation_arrays",
    "data.arrays",
];

/// What the user set although this configuration does not look at it.
pub fn without_effect(config: &Config, layer: &Layer, origins: &Origins) -> Vec<String> {
    let kind = config.model.architecture.kind();
    let convex = config.convex_problem().is_some();
    let mnist = kind == ModelKind::Mlp && config.data.train.is_some();
    let read_from_files = match mnist {
        true => "data.train_images".to_owned(),
        false => format!("model.kind = \"{kind}\""),
    };
    let quantizes = config.quantizes();
    let spends_bits = config.spends_bits();
    let no_choice = match quantizes {
        true if config.codec.entries > 0 => "codec.entries, which says what is sent".to_owned(),
        true => format!(
            "codec.preset = \"{}\", which has one width",
            config.codec.preset
        ),
        false => "nothing to quantize".to_owned(),
    };
    let scheme = config.scheme.kind;
    let preset = config.codec.preset;
    let rotates = matches!(preset, CodecPreset::Rotated | CodecPreset::Eden);
    let inject = config.straggler.inject;
    let mut because = vec![
        (
            "model.width",
            !matches!(
                kind,
                ModelKind::TinySsd | ModelKind::Cnn | ModelKind::Gpt2
            ),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.side",
            !config.model.architecture.sees_images(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.norm",
            !matches!(
                kind,
                ModelKind::SsdLite | ModelKind::ResNet18 | ModelKind::ResNet50
            ),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.stem",
            !matches!(kind, ModelKind::ResNet18 | ModelKind::ResNet50),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "data.train_folder",
            !config.model.architecture.classifies_images(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "data.validation_folder",
            !config.model.architecture.classifies_images(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.weights",
            !config.model.architecture.needs_files(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.precision",
            !config.model.architecture.needs_files(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.ignore_head",
            config.model.weights.is_none(),
            "no model.weights".to_owned(),
        ),
        (
            "model.partial_weights",
            config.model.weights.is_none(),
            "no model.weights".to_owned(),
        ),
        (
            "model.classes",
            !config.model.architecture.sees_images(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.hidden",
            kind != ModelKind::Mlp,
            format!("model.kind = \"{kind}\""),
        ),
        (
            "model.loss",
            kind != ModelKind::Mlp,
            format!("model.kind = \"{kind}\""),
        ),
        ("model.l2", !convex, format!("model.kind = \"{kind}\"")),
        (
            "model.labels",
            !config.model.architecture.sees_images(),
            format!("model.kind = \"{kind}\""),
        ),
        (
            "data.train_images",
            !config.model.architecture.sees_images() && kind != ModelKind::Mlp,
            format!("model.kind = \"{kind}\""),
        ),
        (
            "data.samples",
            config.model.architecture.needs_files() || mnist,
            read_from_files.clone(),
        ),
        (
            "data.noise",
            config.model.architecture.needs_files() || mnist,
            read_from_files,
        ),
        (
            "data.feature_sd",
            !convex,
            format!("model.kind = \"{kind}\""),
        ),
        (
            "data.initial_sd",
            !convex,
            format!("model.kind = \"{kind}\""),
        ),
        ("budget.total_bits", !spends_bits, no_choice.clone()),
        ("budget.residual_bits", !spends_bits, no_choice.clone()),
        ("budget.mean_bits", !spends_bits, no_choice),
        (
            "codec.norm",
            preset != CodecPreset::QsgdBucketed,
            format!("codec.preset = \"{preset}\""),
        ),
        (
            "codec.bucket",
            !(preset == CodecPreset::QsgdBucketed || rotates),
            format!("codec.preset = \"{preset}\""),
        ),
        (
            "codec.sharing",
            !rotates,
            format!("codec.preset = \"{preset}\""),
        ),
        (
            "codec.group",
            preset != CodecPreset::Sign,
            format!("codec.preset = \"{preset}\""),
        ),
        (
            "codec.scale",
            preset != CodecPreset::OneBit,
            format!("codec.preset = \"{preset}\""),
        ),
        (
            "codec.entries",
            !matches!(preset, CodecPreset::TopK | CodecPreset::RandK),
            format!("codec.preset = \"{preset}\""),
        ),
        (
            "codec.shrink",
            !config.preset().unbiased(),
            format!("codec.preset = \"{preset}\", which never grows"),
        ),
        (
            "codec.device",
            config.codec.device == CodecDevice::Model
                && (convex || kind == ModelKind::Mlp || !quantizes),
            match quantizes {
                true => format!("model.kind = \"{kind}\", which is on the CPU"),
                false => "nothing to quantize".into(),
            },
        ),
        (
            "codec.decode_device",
            config.codec.decode_device == CodecDevice::Model && (convex || kind == ModelKind::Mlp),
            format!("model.kind = \"{kind}\", which is on the CPU"),
        ),
        (
            "codec.error_feedback",
            !quantizes,
            "nothing to quantize".into(),
        ),
        ("codec.phi", !quantizes, "nothing to quantize".into()),
        (
            "codec.phi_every",
            !quantizes,
            "nothing to quantize".into(),
        ),
        (
            "replan.on_phi",
            !quantizes,
            "nothing to quantize".into(),
        ),
        (
            "replan.phi_tolerance",
            !config.replan.on_phi,
            "replan.on_phi = false".into(),
        ),
        (
            "optimizer.momentum",
            config.optimizer.kind != OptimizerKind::Sgd,
            format!("optimizer.kind = \"{}\"", config.optimizer.kind),
        ),
        (
            "optimizer.final_learning_rate",
            config.optimizer.schedule != Schedule::Cosine,
            format!("optimizer.schedule = \"{}\"", config.optimizer.schedule),
        ),
        (
            "optimizer.decay",
            config.optimizer.weight_decay == 0.0,
            "optimizer.weight_decay = 0".to_owned(),
        ),
        (
            "straggler.trace",
            config.straggler.model != DelayKind::Trace,
            format!("straggler.model = \"{}\"", config.straggler.model),
        ),
        (
            "deadline.seconds",
            inject != Inject::None,
            format!("straggler.inject = \"{inject}\""),
        ),
        (
            "deadline.quantile",
            inject != Inject::None,
            format!("straggler.inject = \"{inject}\""),
        ),
        (
            "straggler.deadline",
            config.straggler.deadline.units().is_none() && config.has_real_deadline(),
            "a [deadline] that real stragglers are held against: deadline.seconds = \"planned\" holds \
             them against the one chosen here"
                .to_owned(),
        ),
        (
            "deadline.median_plus_mad",
            inject != Inject::None,
            format!("straggler.inject = \"{inject}\""),
        ),
    ];
    because.extend(LANGUAGE_KEYS.map(|key| {
        let reason = format!("model.kind = \"{kind}\"");
        (key, kind != ModelKind::Gpt2, reason)
    }));
    because.extend(SCRIPT_KEYS.map(|key| {
        let reason = format!("model.kind = \"{kind}\"");
        (key, kind != ModelKind::TorchScript, reason)
    }));
    because.extend(DRIFT_KEYS.map(|key| {
        let unwatched = "replan.on_drift = \"never\"".to_owned();
        let pauses = key == "replan.pause" && config.replan.on_phi;
        let unread = config.replan.on_drift == OnDrift::Never && !pauses;
        (key, unread, unwatched)
    }));
    let options = scheme.scheme().options();
    because.extend(SCHEME_OPTIONS.iter().map(|(key, option)| {
        let idle = !options.contains(option);
        (*key, idle, format!("scheme.kind = \"{scheme}\""))
    }));
    let written = toml::Table::try_from(layer).unwrap_or_default();
    let is_set = |key: &str| {
        let origin = origins.of(key);
        let (header, name) = key.split_once('.').unwrap_or(("", key));
        !origin.is_default()
            && written
                .get(header)
                .and_then(|section| section.get(name))
                .is_some()
    };
    because
        .into_iter()
        .filter(|(key, idle, _)| *idle && is_set(key))
        .map(|(key, _, reason)| {
            format!("`{key}` ({}) has no effect with {reason}", origins.of(key))
        })
        .chain(config.unstable_feedback())
        .collect()
}
