//! Every implementation against the reference, golden bytes, statistics, hostile frames.

mod equivalence;
mod golden;
mod hostile;
mod kernels;
mod operators;
mod rotations;
mod shrink;
mod statistics;

use crate::{
    Compressor, Expected, Frame, Generator, MessageId, OneBitScale, Quantizer, Scale, Sharing,
};
use rand::RngExt;
use rand_distr::StandardNormal;

/// The message of most tests.
const ID: MessageId = MessageId {
    seed: 11,
    iteration: 5,
    worker: 3,
};

/// What the plan says of [`ID`]'s frame.
fn expected(compressor: Compressor, tail: usize) -> Expected {
    Expected::new(&ID, compressor, tail)
}

/// Every scale with every width, smallest and largest buckets.
fn quantizers(generator: Generator) -> Vec<Quantizer> {
    let mut all = vec![Quantizer::f32()];
    for group in [0, 512, 65536] {
        all.push(Quantizer::sign(group).unwrap());
    }
    for scale in [OneBitScale::Max, OneBitScale::L2] {
        all.push(Quantizer::one_bit(scale, generator));
    }
    for bits in 2..=16 {
        for (scale, bucket) in [
            (Scale::GlobalL2, 0),
            (Scale::BucketMax, 512),
            (Scale::BucketMax, 4096),
            (Scale::BucketL2, 512),
            (Scale::BucketL2, 8192),
        ] {
            all.push(Quantizer::new(scale, bucket, bits, generator).unwrap());
        }
    }
    for bits in 1..=16 {
        let sharing = [Sharing::Round, Sharing::Message][usize::from(bits) % 2];
        let mid_rise = |bucket| Quantizer::mid_rise(bucket, bits, generator).unwrap();
        all.push(mid_rise(512));
        all.push(mid_rise(4096).rotated(sharing).unwrap());
        all.push(Quantizer::eden(8192, bits, sharing).unwrap());
    }
    for (bucket, sharing) in [(512, Sharing::Message), (8192, Sharing::Round)] {
        let uniform = Quantizer::new(Scale::BucketMax, bucket, 3, generator).unwrap();
        all.push(uniform.rotated(sharing).unwrap());
        all.push(Quantizer::eden(512, 2, sharing).unwrap());
    }
    all
}

/// How many [`compressors`] there are.
const COMPRESSORS: usize = 81 + 48 + 4 + 8 + 7;

/// Every quantizer, sparsifiers that keep little, much and everything, and some of them shrunk.
fn compressors(generator: Generator, n: usize) -> Vec<Compressor> {
    let mut all: Vec<Compressor> = quantizers(generator)
        .into_iter()
        .map(|quantizer| quantizer.compressor(n))
        .collect();
    for entries in [1, n / 50 + 1, n / 2 + 1, n] {
        let entries = entries.min(n) as u64;
        all.push(Compressor::top_k(entries, n).unwrap());
        all.push(Compressor::rand_k(entries, n).unwrap());
    }
    let bucketed = Quantizer::new(Scale::BucketMax, 512, 2, generator).unwrap();
    let global = Quantizer::new(Scale::GlobalL2, 0, 3, generator).unwrap();
    for quantizer in [
        bucketed,
        global,
        Quantizer::one_bit(OneBitScale::Max, generator),
        Quantizer::one_bit(OneBitScale::L2, generator),
        Quantizer::mid_rise(512, 1, generator)
            .and_then(|mid_rise| mid_rise.rotated(Sharing::Message))
            .unwrap(),
        Quantizer::eden(512, 1, Sharing::Round).unwrap(),
    ] {
        all.push(quantizer.compressor(n).with_shrink(true));
    }
    let entries = (n / 7 + 1).min(n) as u64;
    let rand = Compressor::rand_k(entries, n).unwrap();
    all.push(rand.with_shrink(true));
    assert_eq!(all.len(), COMPRESSORS);
    all
}

/// `C(x) - x` of one message.
fn error_of(compressor: &Compressor, id: MessageId, x: &[f32]) -> Vec<f64> {
    let mut bytes = Vec::new();
    compressor.encode(&id, x, &[], &mut bytes).unwrap();
    let plan = Expected::new(&id, *compressor, 0);
    let mut q = vec![0.0; x.len()];
    Frame::parse(&bytes, &plan).unwrap().decode(&mut q);
    q.iter()
        .zip(x)
        .map(|(q, x)| f64::from(*q) - f64::from(*x))
        .collect()
}

/// `||x||^2`.
fn squared_norm(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum()
}

/// A normal vector and nothing else.
fn normal(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = counter_rng::rng(seed, counter_rng::Purpose::Synthesis, 0, 0);
    (0..n).map(|_| rng.sample(StandardNormal)).collect()
}

/// A normal vector with zeros, a heavy tail and a few extreme magnitudes.
fn vector(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = counter_rng::rng(seed, counter_rng::Purpose::Synthesis, 0, 0);
    (0..n)
        .map(|i| {
            let v: f32 = rng.sample(StandardNormal);
            match i % 97 {
                5 => 0.0,
                11 => v * 100.0,
                23 => v * 1e-20,
                31 if i % 5 == 0 => -0.0,
                _ => v,
            }
        })
        .collect()
}
