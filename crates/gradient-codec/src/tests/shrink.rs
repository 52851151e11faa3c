//! Shrunk messages are contractions, whatever the width.

use super::{ID, compressors, error_of, normal, squared_norm, vector};
use crate::kernels::Kernels;
use crate::reference::{code_and_step, fixed_point_level, steps};
use crate::{
    Coding, Compressor, Generator, MessageId, Operator, Preset, Quantizer, Scale, reference,
};
use proptest::prelude::*;

/// `E||C(x) - x||^2` of a shrunk message, exactly: the distribution of the codes is that of the
/// message that is not shrunk, the steps are those on the wire.
fn expected_squared_error(compressor: &Compressor, x: &[f32]) -> f64 {
    let n = x.len();
    let bytes = reference::encode(compressor, &ID, x, &[]).unwrap();
    let quantizer = match compressor.operator() {
        Operator::Quantizer(quantizer) => quantizer,
        // Kept coordinates are exact, the others lost with probability 1 - K/n.
        Operator::TopK { entries } | Operator::RandK { entries } => {
            let values = reference::decode(compressor, &bytes);
            assert!(values.iter().zip(x).all(|(v, x)| *v == 0.0 || v == x));
            return (1.0 - f64::from(entries) / n as f64) * squared_norm(x);
        }
    };
    let steps = steps(&quantizer, x).unwrap();
    (0..n)
        .map(|i| {
            let step = steps[quantizer.bucket().map_or(0, |b| i / b as usize)];
            let sent = f64::from(code_and_step(&quantizer, n, &bytes, i).1);
            let levels = quantizer.fixed_point(step);
            let unit = f64::from(levels.limit) / f64::from(quantizer.outermost());
            let level = f64::from(fixed_point_level(&quantizer, step, x[i])) / unit;
            let variance = match quantizer.coding() {
                _ if step == 0.0 => 0.0,
                Coding::StochasticSign => 1.0 - level * level,
                _ => (level - level.floor()) * (1.0 - level + level.floor()),
            };
            sent * sent * variance + (sent * level - f64::from(x[i])).powi(2)
        })
        .sum()
}

/// The same over messages that were really sent.
#[test]
fn the_mean_squared_error_is_w_over_1_plus_w() {
    let x = vector(900, 41);
    for compressor in compressors(Generator::default(), 900) {
        if !compressor.is_shrunk() {
            continue;
        }
        let energy: Vec<f64> = (0..2000)
            .map(|iteration| {
                let error = error_of(&compressor, MessageId { iteration, ..ID }, &x);
                error.iter().map(|e| e * e).sum::<f64>() / squared_norm(&x)
            })
            .collect();
        let mean = energy.iter().sum::<f64>() / 2000.0;
        let variance = energy.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 2000.0;
        let standard_error = (variance / 2000.0).sqrt();
        let w = compressor.with_shrink(false).distortion(&x);
        assert!((compressor.distortion(&x) - w / (1.0 + w)).abs() < 1e-12);
        // A message's w is that of its own rotation, if it has one.
        let of_message = |iteration| {
            let id = MessageId { iteration, ..ID };
            let rotation = match compressor.operator() {
                Operator::Quantizer(quantizer) => {
                    let sharing = quantizer.sharing();
                    sharing.and_then(|sharing| quantizer.rotation(id.rotation_key(sharing)))
                }
                _ => None,
            };
            1.0 - f64::from(compressor.shrinkage(Kernels::best(), &x, rotation))
        };
        let distortion = (0..2000).map(of_message).sum::<f64>() / 2000.0;
        assert!(
            (mean - distortion).abs() < 5.0 * standard_error + 1e-6,
            "{compressor:?}: {mean} +- {standard_error}, exact {distortion}"
        );
    }
}

/// The global norm at two bits has w = 34: in a memory it explodes, shrunk it does not.
#[test]
fn a_memory_stays_bounded() {
    let n = 2000;
    let x = normal(n, 42);
    let quantizer = Quantizer::new(Scale::GlobalL2, 0, 2, Generator::default()).unwrap();
    let memory = |shrink| {
        let compressor = quantizer.compressor(n).with_shrink(shrink);
        let mut rest = vec![0f32; n];
        for iteration in 0..60 {
            let sent: Vec<f32> = rest.iter().zip(&x).map(|(e, x)| e + x).collect();
            let id = MessageId { iteration, ..ID };
            let error = error_of(&compressor, id, &sent);
            rest = error.iter().map(|e| -e as f32).collect();
            if squared_norm(&rest) > 1e12 * squared_norm(&x) {
                return f64::INFINITY;
            }
        }
        squared_norm(&rest) / squared_norm(&x)
    };
    assert_eq!(memory(false), f64::INFINITY);
    let bounded = memory(true);
    // ||e|| <= sqrt(d) (||e|| + ||x||) with d = w/(1+w).
    let w = quantizer.compressor(n).distortion(&x);
    assert!(bounded.sqrt() < 3.0 * w, "{bounded} {w}");
}

proptest! {
    #[test]
    fn every_shrunk_message_is_a_contraction(
        bits in 2u8..=16,
        x in proptest::collection::vec(-4i32..=4, 1..1200),
        power in 0u32..4,
        entries in any::<proptest::sample::Index>(),
    ) {
        let x: Vec<f32> = x.iter().map(|v| (*v as f32).powi(power as i32 * 2 + 1)).collect();
        let n = x.len();
        let norm = squared_norm(&x);
        let mut all = Vec::new();
        for text in ["qsgd", "qsgd-bucketed:max:512", "qsgd-bucketed:l2:512", "rand-k"] {
            all.push(text.parse::<Preset>().unwrap().compressor(bits, n).unwrap());
        }
        for text in ["one-bit:max", "one-bit:l2"] {
            all.push(text.parse::<Preset>().unwrap().compressor(1, n).unwrap());
        }
        all.push(Compressor::rand_k(entries.index(n) as u64 + 1, n).unwrap());
        for compressor in all {
            let w = compressor.distortion(&x);
            let shrunk = compressor.with_shrink(true);
            let error = expected_squared_error(&shrunk, &x);
            prop_assert!(error <= w / (1.0 + w) * norm * (1.0 + 1e-6) + 3e-7 * norm,
                "{:?} {} {}", shrunk, error / norm, w / (1.0 + w));
            prop_assert!(norm == 0.0 || error < norm);
        }
    }
}
