//! Every implementation against the reference, golden bytes, statistics, hostile frames.

mod equivalence;
mod golden;
mod hostile;
mod statistics;

use crate::{Expected, Generator, MessageId, Quantizer, Scale};
use rand::RngExt;
use rand_distr::StandardNormal;

/// The message of most tests.
const ID: MessageId = MessageId {
    seed: 11,
    iteration: 5,
    worker: 3,
};

/// What the plan says of [`ID`]'s frame.
fn expected(quantizer: Quantizer, n: usize, tail: usize) -> Expected {
    Expected {
        iteration: ID.iteration,
        worker: ID.worker,
        n,
        quantizer,
        tail,
    }
}

/// Every scale with every width, smallest and largest buckets.
fn quantizers(generator: Generator) -> Vec<Quantizer> {
    let mut all = vec![Quantizer::f32()];
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
    all
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
