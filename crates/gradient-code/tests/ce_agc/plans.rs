//! The codes as plans: rounds, bits, predictions, survivors, and what is refused.

use counter_rng::{Purpose, rng};
use gradient_code::ce_agc::{CeAgc, StudyError, decoding_error_study};
use gradient_code::{
    BlockDesign, Budget, CodeKind, Decoder, PerRound, Plan, PlanError, Ridge, Scaling,
    SchemeConfig, Setting, plan, replan_without,
};
use rand::RngExt;

use super::{SIGNS, code, config, fano, planned};

#[test]
fn a_ridge_trades_residual_for_amplification() {
    let mut config = config(BlockDesign::Coset, CodeKind::RandomDiagonal);
    (config.degree, config.epsilon, config.normalise) = (5, 0.1, false);
    let mut plan = planned(&config, 54, 27, 0.25);
    let everybody: Vec<usize> = (0..54).collect();
    let (mut residual, mut amplification) = (-1.0, f64::INFINITY);
    for ridge in [0.0, 1e-6, 1e-4, 1e-2, 1.0, 100.0] {
        plan.decoder = Decoder::PerRound(PerRound::least_squares(ridge));
        let round = plan
            .decoder
            .round(&everybody, &plan, 0)
            .expect("it decodes");
        assert!(round.residual > residual && round.amplification < amplification);
        (residual, amplification) = (round.residual, round.amplification);
    }
    assert!(amplification < 0.5);
    // The noise-aware decoder has less error than the plain one on noisy messages.
    config.ridge = Ridge::Noise;
    let bayes = planned(&config, 54, 27, 0.25);
    config.ridge = Ridge::Value(0.0);
    let plain = planned(&config, 54, 27, 0.25);
    let risk = |decoder: &Plan| {
        let round = decoder
            .decoder
            .round(&everybody, decoder, 0)
            .expect("it decodes");
        let noise = |i: usize| {
            let square: f64 = decoder.column(i, 0).iter().map(|(_, b)| b * b).sum();
            let row = &round.weights[2 * i..2 * i + 2];
            let phi = 64.0 / (4.0 * (f64::from(decoder.workers[i].bits - 1).exp2() - 1.0).powi(2));
            phi * square * row.iter().map(|r| r * r).sum::<f64>()
        };
        round.residual + everybody.iter().map(|&i| noise(i)).sum::<f64>()
    };
    assert!(
        risk(&bayes) < 0.5 * risk(&plain),
        "{} {}",
        risk(&bayes),
        risk(&plain)
    );
    assert!(bayes.prediction.error_bound < plain.prediction.error_bound);
}

/// `alpha = 1 - E[Err]/(m n)` is the coefficient of everything in the mean estimate, with Monte Carlo
/// noise as the only difference; and numbers for it from another program.
#[test]
fn the_mean_estimate_is_alpha_times_the_gradient() {
    for (design, epsilon, degree, m, workers, partitions, q, expected) in [
        (BlockDesign::Bibd, 0.0, 3, 2, 7, 7, 0.25, 0.679),
        (BlockDesign::Bibd, 0.3, 3, 2, 7, 7, 0.25, f64::NAN),
        (BlockDesign::Bibd, 0.0, 3, 3, 7, 7, 0.25, 0.530),
        (BlockDesign::Paley, 0.0, 14, 2, 29, 29, 0.25, 0.937),
        (BlockDesign::Coset, 0.1, 5, 2, 54, 27, 0.25, 0.991),
        (BlockDesign::Coset, 0.1, 2, 2, 10, 5, 0.5, f64::NAN),
    ] {
        let mut config = config(design, CodeKind::RandomDiagonal);
        (config.epsilon, config.degree, config.blocks) = (epsilon, degree, m);
        let plan = planned(&config, workers, partitions, q);
        assert!(plan.prediction.unbiased);
        let Decoder::PerRound(decoder) = &plan.decoder else {
            panic!("the weights depend on the round");
        };
        let alpha = decoder.rescale.recip();
        if expected.is_finite() {
            assert!((alpha - expected).abs() < 0.01, "{alpha} {expected}");
        }
        // E[B R] elementwise, for the plan's own weights, which are divided by alpha.
        let rounds = if workers > 20 { 400 } else { 4000 };
        let rows = m * partitions;
        let (mut sums, mut squares) = (vec![0.0; rows * m], vec![0.0; rows * m]);
        for iteration in 0..rounds {
            let mut late = rng(3, Purpose::Delay, iteration, 0);
            let set: Vec<usize> = (0..workers).filter(|_| late.random::<f64>() >= q).collect();
            let round = plan
                .decoder
                .round(&set, &plan, iteration)
                .expect("it decodes");
            let mut product = vec![0.0; rows * m];
            for (&worker, weights) in set.iter().zip(round.weights.chunks(m)) {
                for (row, value) in plan.column(worker, iteration) {
                    for (v, weight) in weights.iter().enumerate() {
                        product[row * m + v] += value * weight;
                    }
                }
            }
            for ((sum, square), value) in sums.iter_mut().zip(&mut squares).zip(product) {
                *sum += value;
                *square += value * value;
            }
        }
        let count = rounds as f64;
        let mut z_scores = 0.0;
        for at in 0..rows * m {
            let (mean, wanted) = (
                sums[at] / count,
                f64::from(u8::from(at / m / partitions == at % m)),
            );
            let noise = ((squares[at] / count - mean * mean) / count).sqrt();
            // Five standard deviations, and the error of the plan's alpha.
            assert!(
                (mean - wanted).abs() < 5.0 * noise + 0.01,
                "{mean} {wanted} {noise}"
            );
            z_scores += ((mean - wanted) / noise.max(1e-3)).powi(2);
        }
        let typical = (z_scores / (rows * m) as f64).sqrt();
        assert!(typical < 2.0, "{typical}");
    }
}

/// From partition gradients to the estimate, as workers and master do it.
#[test]
fn rounds_from_end_to_end() {
    let estimate = |plan: &Plan, set: &[usize], iteration: u64, gradients: &[Vec<f64>]| {
        let (m, len) = (plan.blocks(), plan.message_len(gradients[0].len()));
        let round = plan
            .decoder
            .round(set, plan, iteration)
            .expect("it decodes");
        let mut blocks = vec![0.0; m * len];
        for (&worker, weights) in set.iter().zip(round.weights.chunks(m)) {
            let message = plan.message(worker, iteration, gradients);
            for (u, weight) in weights.iter().enumerate() {
                for (sum, value) in blocks[u * len..].iter_mut().zip(&message) {
                    *sum += weight * value;
                }
            }
        }
        (blocks, round)
    };
    let mut hadamard = config(BlockDesign::BiRegular, CodeKind::Hadamard);
    hadamard.degree = 3;
    let mut circulant = config(BlockDesign::Coset, CodeKind::RandomDiagonal);
    (circulant.epsilon, circulant.normalise) = (0.2, false);
    for (config, workers, partitions) in [(hadamard, 20, 10), (circulant, 18, 9)] {
        let plan = planned(&config, workers, partitions, 0.2);
        let dimension = 31; // an odd number, so the last block is padded
        let mut random = rng(1, Purpose::Synthesis, 0, 0);
        let gradients: Vec<Vec<f64>> = (0..partitions)
            .map(|_| {
                (0..dimension)
                    .map(|_| random.random::<f64>() - 0.5)
                    .collect()
            })
            .collect();
        let full: Vec<f64> = (0..dimension)
            .map(|t| gradients.iter().map(|g| g[t]).sum())
            .collect();
        let everybody: Vec<usize> = (0..workers).collect();
        let (exact, _) = estimate(&plan, &everybody, 4, &gradients);
        for (actual, expected) in exact.iter().zip(&full) {
            assert!((actual - expected).abs() < 1e-8, "{actual} {expected}");
        }
        // With stragglers the error is below ||Z||_F^2 Err.
        let some = &everybody[3..];
        let (near, round) = estimate(&plan, some, 4, &gradients);
        let error: f64 = near.iter().zip(&full).map(|(a, e)| (a - e).powi(2)).sum();
        let size: f64 = gradients.iter().flatten().map(|x| x * x).sum();
        assert!(
            error > 0.0 && error <= size * round.residual,
            "{error} {round:?}"
        );
    }
}

#[test]
fn bits_on_the_wire_are_those_of_full_messages() {
    let plan = planned(
        &config(BlockDesign::Bibd, CodeKind::RandomDiagonal),
        7,
        7,
        0.5,
    );
    assert!(plan.workers.iter().all(|worker| worker.bits == 8));
    let text = plan.to_string();
    assert!(
        text.contains("28 offered, 14.000 expected; messages of 1/2 of the model"),
        "{text}"
    );
    assert!(text.contains("unbiased, weights chosen per round"));
    assert_eq!(plan.prediction.bits_per_coordinate_offered, 28.0);
    assert_eq!(plan.prediction.bits_per_coordinate_expected, 14.0);
    let mut four = config(BlockDesign::Bibd, CodeKind::RandomDiagonal);
    four.blocks = 5;
    let plan = planned(&four, 7, 7, 0.5);
    assert!(plan.workers.iter().all(|worker| worker.bits == 16));
}

/// The predicted bound holds for aligned and for orthogonal gradients, and is not absurdly loose.
#[test]
fn the_prediction_bounds_the_error() {
    for normalise in [true, false] {
        let mut config = config(BlockDesign::Bibd, CodeKind::RandomDiagonal);
        config.normalise = normalise;
        let plan = planned(&config, 7, 7, 0.25);
        let phi = 64.0 / (4.0 * (f64::from(plan.workers[0].bits - 1).exp2() - 1.0).powi(2));
        for gradients in [
            vec![vec![0.5f64.sqrt(); 2]; 7],
            (0..7)
                .map(|j| (0..14).map(|t| f64::from(u8::from(t == j))).collect())
                .collect(),
        ] {
            let len = plan.message_len(gradients[0].len());
            let full: Vec<f64> = (0..2 * len)
                .map(|t| gradients.iter().map(|g: &Vec<f64>| g[t]).sum())
                .collect();
            let mut total = 0.0;
            for iteration in 0..2000 {
                let mut late = rng(5, Purpose::Delay, iteration, 0);
                let set: Vec<usize> = (0..7).filter(|_| late.random::<f64>() >= 0.25).collect();
                let round = plan
                    .decoder
                    .round(&set, &plan, iteration)
                    .expect("it decodes");
                let mut missing = full.clone();
                for (&worker, weights) in set.iter().zip(round.weights.chunks(2)) {
                    let message = plan.message(worker, iteration, &gradients);
                    let square: f64 = message.iter().map(|x| x * x).sum();
                    for (u, weight) in weights.iter().enumerate() {
                        total += weight * weight * phi * square;
                        for (sum, value) in missing[u * len..].iter_mut().zip(&message) {
                            *sum -= weight * value;
                        }
                    }
                }
                total += missing.iter().map(|x| x * x).sum::<f64>();
            }
            let (error, bound) = (total / 2000.0, plan.prediction.error_bound);
            assert!(error < bound && bound < 60.0 * error, "{error} {bound}");
        }
    }
}

#[test]
fn survivors_go_on_with_what_is_left() {
    for (design, kind, workers, partitions) in [
        (BlockDesign::Bibd, CodeKind::RandomDiagonal, 7, 7),
        (BlockDesign::Bibd, CodeKind::Stacked, 7, 7),
        (BlockDesign::BiRegular, CodeKind::Hadamard, 8, 4),
    ] {
        let setting = Setting {
            partitions,
            straggle_probabilities: &vec![0.2; workers],
            phi: &|_| 0.1,
            scaling: Scaling::Factor(1.0),
            by_width: None,
            compressor_unbiased: true,
            seed: 4,
        };
        let budget = Budget::mean(4.0, workers, 2, 16);
        let config = config(design, kind);
        // All but two: some partitions have lost every holder.
        let dead: Vec<usize> = (2..workers).collect();
        let plan = replan_without(&dead, &config, &setting, &budget, None).expect("two are left");
        assert!(plan.unassigned().is_empty());
        assert_eq!(plan.active().collect::<Vec<_>>(), [0, 1]);
        assert!(!plan.prediction.unbiased);
        assert!(
            plan.decoder
                .round(&[0, 1], &plan, 0)
                .expect("it decodes")
                .residual
                .is_finite()
        );
    }
}

#[test]
fn impossible_settings_are_explained() {
    let setting = Setting {
        partitions: 10,
        straggle_probabilities: &[0.2; 10],
        phi: &|_| 0.1,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 4,
    };
    let budget = Budget::mean(4.0, 10, 2, 16);
    let message = |change: &dyn Fn(&mut SchemeConfig)| {
        let mut config = SchemeConfig::new("ce-agc");
        change(&mut config);
        let error = plan(&config, &setting, &budget, None).expect_err("this must be refused");
        error.to_string()
    };
    assert!(message(&|_| ()).contains("11 workers with 5"));
    assert!(message(&|c| c.design = BlockDesign::Paley).contains("9 workers with 4"));
    assert!(message(&|c| c.blocks = 0).contains("nearest"));
    let error = CeAgc::from_config(&SchemeConfig::new("ce-agc"), 7, 14, 0).expect_err("n != k");
    assert!(error.to_string().contains("as many partitions as workers"));
    let regular = |change: &dyn Fn(&mut SchemeConfig)| {
        message(&|c| {
            c.design = BlockDesign::BiRegular;
            change(c);
        })
    };
    assert!(regular(&|c| c.blocks = 0).contains("number of blocks"));
    assert!(regular(&|c| c.blocks = 3_000_000_000).contains("within 1 and 1024"));
    assert!(regular(&|c| c.epsilon = 1.0).contains("lie in [0, 1)"));
    assert!(regular(&|c| c.degree = 11).contains("10 partitions"));
    assert!(regular(&|c| c.ridge = Ridge::Value(-1.0)).contains("ridge"));
    assert!(regular(&|c| c.code = CodeKind::Hadamard).contains("20 workers for 10 partitions"));
    let two_tracks = plan(
        &SchemeConfig {
            design: BlockDesign::BiRegular,
            ..SchemeConfig::new("ce-agc")
        },
        &setting,
        &budget,
        Some(1.0),
    );
    assert!(matches!(
        two_tracks,
        Err(PlanError::TwoTrackPerRound { .. })
    ));
    assert_eq!(
        decoding_error_study(&code(fano(), 2, SIGNS), &[8], 1, 1, 0),
        Err(StudyError::Stragglers {
            stragglers: 8,
            workers: 7
        })
    );
    assert!(decoding_error_study(&code(fano(), 2, SIGNS), &[0], 0, 1, 0).is_err());
}

#[test]
fn options_are_written_as_words_and_numbers() {
    let read = |text: &str| serde_json::from_str::<SchemeConfig>(text).expect("valid");
    let config = read(
        r#"{"kind":"ce-agc","design":"bi-regular","code":"hadamard","ridge":"noise","degree":3}"#,
    );
    assert_eq!(config.ridge, Ridge::Noise);
    assert_eq!(config.design, BlockDesign::BiRegular);
    assert_eq!(read(r#"{"ridge":0.25}"#).ridge, Ridge::Value(0.25));
    assert!(serde_json::from_str::<SchemeConfig>(r#"{"ridge":"much"}"#).is_err());
}
