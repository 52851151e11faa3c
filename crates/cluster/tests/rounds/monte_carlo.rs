//! The error of the gradient decoded by the real codec, against the exact formula.
//!
//! For one set of partition gradients, rounds are drawn as they happen: who answers is drawn from
//! the delay model, every answer is a real frame, and the frames are folded with the plan's
//! weights. The mean squared error must match Song & Choi's exact expression (the step before
//! Lemma 1) within its standard error, and stay under n^2 C / S.

use crate::common::*;
use gradient_code::{Budget, Decoder, Plan, Scaling, SchemeConfig, Setting, error};
use gradient_codec::{BucketNorm, Expected, Frame, MessageId, Preset};
use learner::Learner;
use learner::convex::{ConvexConfig, ConvexProblem, Objective};

const DIMENSION: usize = 700; // two buckets, the second one partial
const ROUNDS: u64 = 20_000;

/// Partition gradients g_j of a real problem at a random point.
fn gradients() -> Vec<Vec<f32>> {
    let mut problem = ConvexProblem::new(&ConvexConfig {
        objective: Objective::LeastSquares,
        dimension: DIMENSION,
        samples: 60,
        partitions: WORKERS,
        batch: 0,
        noise: 1.0,
        l2: 0.0,
        seed: 11,
        ..ConvexConfig::default()
    })
    .expect("a valid problem");
    let at: Vec<f32> = (0..DIMENSION).map(|m| (m as f32 * 0.7).sin()).collect();
    (0..WORKERS)
        .map(|j| {
            let mut gradient = vec![0.0; DIMENSION];
            problem
                .coded_gradient(&at, 0, &[(j, 1.0)], &mut gradient)
                .expect("a gradient");
            gradient
        })
        .collect()
}

fn design(preset: &Preset, bits_per_worker: u64) -> Plan {
    let p = delays().straggle_probabilities(TAU);
    let phi = |bits: u8| preset.phi(bits, DIMENSION);
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: &p,
        phi: &phi,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let budget = Budget {
        total_bits: bits_per_worker * WORKERS as u64,
        min_bits: 2,
        max_bits: 16,
    };
    gradient_code::plan(&SchemeConfig::new("joint"), &setting, &budget, None).expect("a plan")
}

fn squared(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

#[test]
fn the_simulated_error_is_the_exact_one_and_stays_under_the_bound() {
    let gradients = gradients();
    let wide: Vec<Vec<f64>> = gradients
        .iter()
        .map(|g| g.iter().map(|&x| f64::from(x)).collect())
        .collect();
    let g: Vec<f64> = (0..DIMENSION)
        .map(|m| wide.iter().map(|g| g[m]).sum())
        .collect();
    let c = wide.iter().map(|g| squared(g)).fold(0.0, f64::max); // Assumption 1
    let bucketed = |norm| Preset::QsgdBucketed { norm, bucket: 512 };
    for (preset, bits) in [
        (Preset::Qsgd, 8),
        (bucketed(BucketNorm::Max), 4),
        (bucketed(BucketNorm::L2), 6),
    ] {
        let plan = design(&preset, bits);
        let Decoder::Fixed { weights, .. } = &plan.decoder else {
            panic!("the joint scheme has fixed weights");
        };
        let coded: Vec<Vec<f32>> = plan
            .workers
            .iter()
            .map(|worker| worker.encode(&wide).iter().map(|&x| x as f32).collect())
            .collect();
        let exact = error::exact(&plan.workers, weights, &wide, |i, f| {
            let compressor = preset
                .compressor(plan.workers[i].bits, DIMENSION)
                .expect("a width");
            compressor.distortion(&coded[i]) * squared(f)
        });

        let (mut sum, mut sum_of_squares) = (0.0, 0.0);
        let mut frame = Vec::new();
        for t in 0..ROUNDS {
            let mut ghat = vec![0.0f32; DIMENSION];
            for i in plan.active().filter(|&i| delays().delay(5, t, i) <= TAU) {
                let compressor = preset
                    .compressor(plan.workers[i].bits, DIMENSION)
                    .expect("a width");
                let id = MessageId {
                    seed: 5,
                    iteration: t,
                    worker: i as u32,
                };
                compressor
                    .encode(&id, &coded[i], &[], &mut frame)
                    .expect("a finite gradient");
                Frame::parse(&frame, &Expected::new(&id, compressor, 0))
                    .expect("our own frame")
                    .accumulate(weights[i] as f32, &mut ghat);
            }
            let error: f64 = g
                .iter()
                .zip(&ghat)
                .map(|(g, ghat)| (g - f64::from(*ghat)).powi(2))
                .sum();
            sum += error;
            sum_of_squares += error * error;
        }
        let mean = sum / ROUNDS as f64;
        let variance = sum_of_squares / ROUNDS as f64 - mean * mean;
        let standard_error = (variance / ROUNDS as f64).sqrt();
        let z = (mean - exact.total()) / standard_error;
        let bound = plan.prediction.error_bound * c;
        println!(
            "{preset} {bits} bits: simulated {mean:.4e} +- {standard_error:.1e}, exact {:.4e} \
             (straggling {:.3e}, quantization {:.3e}), z = {z:.2}, bound {bound:.4e}",
            exact.total(),
            exact.straggling,
            exact.quantization
        );
        assert!(z.abs() < 4.0, "{preset}: z = {z}");
        assert!(standard_error < 0.03 * mean, "{preset}: too few rounds");
        assert!(exact.quantization > 0.01 * exact.total(), "{preset}");
        assert!(mean < bound, "{preset}: {mean} {bound}");
    }
}
