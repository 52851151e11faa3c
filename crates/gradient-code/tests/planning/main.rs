//! What every plan must be, whatever it is planned for; and what is refused.

mod by_scheme;
mod promises;
mod refusals;

use gradient_code::{
    Assignment, BlockDesign, Construction, Decoder, Decoding, Graph, Plan, Scaling, SchemeConfig,
    SecondTrack, Setting, schemes,
};
use proptest::prelude::*;

fn phi(bits: u8) -> f64 {
    512.0 / (4.0 * (f64::from(bits - 1).exp2() - 1.0).powi(2))
}

fn setting(p: &[f64], partitions: usize) -> Setting<'_> {
    Setting {
        partitions,
        straggle_probabilities: p,
        phi: &phi,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    }
}

fn fixed(plan: &Plan) -> (&[f64], Option<&SecondTrack>) {
    match &plan.decoder {
        Decoder::Fixed { weights, second } => (weights, second.as_ref()),
        Decoder::PerRound(_) => panic!("these schemes decode with fixed weights"),
    }
}

/// Every scheme that can be planned for `workers` workers and `partitions` partitions, with options that
/// fit.
fn every_scheme(workers: usize, partitions: usize) -> Vec<SchemeConfig> {
    let mut all: Vec<SchemeConfig> = schemes::names().map(SchemeConfig::new).collect();
    all.push(SchemeConfig {
        allow_idle: true,
        ..SchemeConfig::default()
    });
    for construction in [Construction::SchemeOne, Construction::SchemeTwo] {
        all.push(SchemeConfig {
            construction,
            ..SchemeConfig::new("osgc")
        });
    }
    for decoding in [Decoding::FirstArrival, Decoding::Optimal] {
        all.push(SchemeConfig {
            decoding,
            ..SchemeConfig::new("ehd")
        });
    }
    for decoding in [Decoding::OneStep, Decoding::Optimal] {
        all.push(SchemeConfig {
            decoding,
            ..SchemeConfig::new("bgc")
        });
    }
    for assignment in [Assignment::Random, Assignment::Cyclic] {
        all.push(SchemeConfig {
            assignment,
            load: 1.0 + 0.25 * (workers - 1) as f64,
            ..SchemeConfig::new("sgc")
        });
    }
    for graph in [Graph::Edges, Graph::Adjacency] {
        all.push(SchemeConfig {
            graph,
            ..SchemeConfig::new("od")
        });
    }
    all.retain(|scheme| scheme.kind != "od" || (partitions == workers && workers > 2));
    for scheme in &mut all {
        // Random graphs exist for all sizes.
        scheme.design = BlockDesign::BiRegular;
        let divides = scheme.kind != "ehd" || workers.is_multiple_of(2);
        scheme.load = scheme.load.min(if divides { workers as f64 } else { 1.0 });
    }
    all
}

fn is_unbiased(scheme: &SchemeConfig) -> bool {
    [
        "joint",
        "osgc",
        "sgd",
        "sgc",
        "one-bit-sgc",
        "coco",
        "coco-ef",
    ]
    .contains(&scheme.kind.as_str())
}

fn is_redundant(scheme: &SchemeConfig) -> bool {
    !["joint", "osgc", "sgd", "is-sgd"].contains(&scheme.kind.as_str())
}

/// Probabilities with repetitions, near-certain stragglers and dead workers among them; the first
/// worker lives.
fn any_probabilities() -> impl Strategy<Value = Vec<f64>> {
    let alive = || {
        prop_oneof![
            4 => 0.01..0.99f64,
            1 => Just(0.5),
            1 => 0.9999..0.9999999f64,
        ]
    };
    (
        alive(),
        prop::collection::vec(prop_oneof![5 => alive(), 1 => Just(1.0)], 0..12),
    )
        .prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            rest
        })
}
