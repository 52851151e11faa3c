//! Decoders whose weights depend on who answered, and messages that mix blocks.

use crate::common::*;
use cluster::{Engine, InProcess, Settings, Straggling, Unit};
use gradient_code::{
    BlockCode, Budget, Decoder, PerRound, Plan, Rule, Scaling, SchemeConfig, Setting, WorkerPlan,
};
use gradient_codec::Preset;
use learner::convex::{ConvexConfig, ConvexProblem};
use learner::{Learner, OptimizerConfig};

/// An odd dimension, so that the last of two blocks is padded.
const DIMENSION: usize = 21;

fn odd_problem(partitions: usize) -> ConvexProblem {
    ConvexProblem::new(&ConvexConfig {
        dimension: DIMENSION,
        samples: 120,
        partitions,
        noise: 0.1,
        seed: 7,
        ..ConvexConfig::default()
    })
    .expect("a valid problem")
}

/// A plan of scheme `sgd`: unquantized, nobody late, every partition at one worker.
fn uncoded(partitions: usize) -> Plan {
    let p = delays().straggle_probabilities(TAU);
    let setting = Setting {
        partitions,
        straggle_probabilities: &p,
        phi: &|_| 0.0,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 1,
    };
    let budget = Budget {
        total_bits: 60,
        min_bits: 2,
        max_bits: 16,
    };
    gradient_code::plan(&SchemeConfig::new("sgd"), &setting, &budget, None).expect("a plan")
}

/// Unquantized messages of workers that hold these, decoded by `rule`; workers may be late.
fn plan_of(rule: Rule, partitions: usize, assignments: Vec<Vec<(usize, f64)>>) -> Plan {
    let mut plan = uncoded(partitions);
    for (worker, assignment) in plan.workers.iter_mut().zip(assignments) {
        *worker = WorkerPlan {
            straggle_probability: 0.5,
            bits: 32,
            assignment,
        };
    }
    plan.no_straggling = false;
    plan.decoder = Decoder::PerRound(PerRound::rule(rule));
    plan.validate().expect("a plan that can be run");
    plan
}

/// Three groups of two workers and two partitions; the second worker of a group codes with -3.
fn replicated() -> Vec<Vec<(usize, f64)>> {
    (0..WORKERS)
        .map(|i| {
            let a = if i % 2 == 0 { 1.0 } else { -3.0 };
            vec![(i / 2 * 2, a), (i / 2 * 2 + 1, a)]
        })
        .collect()
}

fn unquantized(straggling: Straggling, iterations: u64) -> Settings {
    Settings {
        preset: Preset::F32,
        relative_error_every: 1,
        distortion: Default::default(),
        ..settings(straggling, iterations)
    }
}

fn train(settings: &Settings, plan: &Plan) -> Run {
    let engine = Engine::new(
        Box::new(odd_problem(plan.partitions)),
        settings.preset,
        settings.seed,
    );
    run_on(
        &mut odd_problem(plan.partitions),
        settings,
        &mut InProcess::new(engine),
        plan.clone(),
        OptimizerConfig::default(),
    )
    .expect("a master")
}

/// `w(responders in arrival order)` per worker, held against the whole run: the gradient's norm and
/// the decoded loss at the first parameters, and the norm of the weights.
fn check(straggling: Straggling, plan: &Plan, weights: impl Fn(&[usize]) -> Vec<f64>) {
    let model = delays();
    let mut settings = unquantized(straggling, 60);
    settings.learning_rate.base = 0.0; // beta stays where it is
    let (outcome, record, at) = train(&settings, plan);
    outcome.expect("a complete run");
    let mut learner = odd_problem(WORKERS);
    let mut gradient = |assignment: &[(usize, f64)]| {
        let mut gradient = vec![0.0; DIMENSION];
        let losses = learner
            .coded_gradient(&at, 0, assignment, &mut gradient)
            .expect("a gradient");
        let loss: f64 = losses
            .iter()
            .zip(assignment)
            .map(|(l, (_, a))| a * l.loss)
            .sum();
        (gradient, loss)
    };
    let mut answered = 0;
    for row in &record.rows {
        let delay = |i: usize| model.delay(settings.seed, row.iteration, i);
        let mut responders: Vec<usize> = (0..WORKERS)
            .filter(|&i| row.per_worker.late_iterations[i] == 0)
            .collect();
        responders.sort_by(|&a, &b| delay(a).total_cmp(&delay(b)));
        let weights = weights(&responders);
        let (mut sum, mut loss) = (vec![0.0; DIMENSION], 0.0);
        for (&i, w) in responders.iter().zip(&weights) {
            let (f, coded) = gradient(&plan.workers[i].assignment);
            loss += w * coded / WORKERS as f64;
            for (sum, f) in sum.iter_mut().zip(f) {
                *sum += w * f64::from(f) / WORKERS as f64;
            }
        }
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(
            (row.gradient_norm - norm(&sum)).abs() <= 1e-5 * (1.0 + norm(&sum)),
            "iteration {}: {} {}",
            row.iteration,
            row.gradient_norm,
            norm(&sum)
        );
        assert!((row.decoder_norm - norm(&weights)).abs() < 1e-12);
        if !responders.is_empty() {
            assert!((row.loss_decoded - loss).abs() < 1e-5 * (1.0 + loss.abs()));
            answered += 1;
        }
    }
    assert!(answered > 20);
}

/// Who comes first in a group is the draw's, drawn or slept.
#[test]
fn the_first_of_each_group_counts_in_arrival_order() {
    let group: Vec<usize> = (0..WORKERS).map(|i| i / 2).collect();
    let plan = plan_of(
        Rule::FirstOfGroup {
            group: group.clone(),
        },
        WORKERS,
        replicated(),
    );
    let slept = Straggling::Delay {
        model: delays(),
        deadline: TAU,
        bandwidth: None,
        unit: Unit::Seconds(1.0),
    };
    for straggling in [erase(), slept] {
        check(straggling, &plan, |responders| {
            let first = |k: usize| {
                !responders[..k]
                    .iter()
                    .any(|&i| group[i] == group[responders[k]])
            };
            (0..responders.len())
                .map(|k| f64::from(u8::from(first(k))))
                .collect()
        });
    }
}

#[test]
fn one_step_decoding_scales_by_who_answered() {
    let plan = plan_of(Rule::OneStep { load: 2.0 }, WORKERS, replicated());
    check(erase(), &plan, |responders| {
        vec![WORKERS as f64 / (responders.len() as f64 * 2.0); responders.len()]
    });
}

/// Least squares over groups: a group's answers share it, a lone one is scaled to 1.
#[test]
fn least_squares_decodes_every_group_that_answered() {
    let plan = plan_of(Rule::LeastSquares, WORKERS, replicated());
    let a = |i: usize| plan.workers[i].assignment[0].1;
    check(erase(), &plan, |responders| {
        let weight = |&i: &usize| {
            let group = responders.iter().filter(|&&j| j / 2 == i / 2);
            a(i) / group.map(|&j| a(j) * a(j)).sum::<f64>()
        };
        responders.iter().map(weight).collect()
    });
    let settings = unquantized(everybody_in_time(), 20);
    for row in train(&settings, &plan).1.rows {
        assert!(row.relative_error < 1e-6, "{}", row.relative_error);
    }
}

/// Two blocks and as many workers as there are blocks of gradients, or of groups of them: with nobody
/// late everything is recovered, so training is plain SGD to rounding, though messages are half as
/// long.
#[test]
fn blocks_of_a_full_round_make_a_step_of_plain_sgd() {
    // One backward pass: each pair of workers mixes the blocks of its two partitions its own way.
    let pairs = replicated();
    let diagonal = BlockCode::RandomDiagonal {
        blocks: 2,
        epsilon: 0.5,
        seed: 3,
    };
    // A pass per partition: 3 partitions of 2 blocks, mixed by a 6 x 6 matrix.
    let entry = |at: usize, i: usize| (((at * 6 + i) * 37 + 11).pow(2) % 101) as f64 / 50.0 - 1.0;
    let everything = vec![(0..3).map(|j| (j, 1.0)).collect(); WORKERS];
    let per_partition = BlockCode::Fixed {
        blocks: 2,
        coefficients: (0..WORKERS)
            .map(|i| (0..6).map(|at| entry(at, i)).collect())
            .collect(),
    };
    for (partitions, assignments, code) in
        [(WORKERS, pairs, diagonal), (3, everything, per_partition)]
    {
        let settings = unquantized(everybody_in_time(), 40);
        let (outcome, plain, reference) = train(&settings, &uncoded(partitions));
        outcome.expect("a complete run");
        let mut plan = plan_of(Rule::LeastSquares, partitions, assignments);
        plan.block_code = Some(code);
        plan.validate().expect("a plan that can be run");
        let (outcome, record, parameters) = train(&settings, &plan);
        outcome.expect("a complete run");
        for (row, plain) in record.rows.iter().zip(&plain.rows) {
            // 11 coordinates of 32 bits from each worker.
            assert_eq!(row.bits_up_offered, WORKERS as u64 * 32 * 11);
            assert_eq!(row.bits_up_payload, row.bits_up_offered);
            assert!(row.decoder_norm > 0.0);
            let rounding = 3e-7 * (10.0 + row.decoder_norm);
            assert!(row.relative_error < rounding, "{}", row.relative_error);
            for loss in [row.loss, row.loss_decoded] {
                assert!(
                    (loss / plain.loss - 1.0).abs() < 1e-4,
                    "{loss} {}",
                    plain.loss
                );
            }
        }
        let difference = parameters.iter().zip(&reference);
        let squares: f64 = difference.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        assert!(squares.sqrt() < 1e-5, "{}", squares.sqrt());
    }
}

/// With workers missing, what is decoded is what the weights make of the messages, block by block.
#[test]
fn blocks_are_decoded_each_with_its_own_weights() {
    let mut plan = plan_of(Rule::LeastSquares, WORKERS, replicated());
    plan.block_code = Some(BlockCode::RandomDiagonal {
        blocks: 4, // 6 coordinates each, the last three of them padding
        epsilon: 0.1,
        seed: 5,
    });
    let mut settings = unquantized(erase(), 40);
    settings.learning_rate.base = 0.0;
    let (outcome, record, at) = train(&settings, &plan);
    outcome.expect("a complete run");
    let mut learner = odd_problem(WORKERS);
    let gradients: Vec<Vec<f64>> = (0..WORKERS)
        .map(|j| {
            let mut gradient = vec![0.0; DIMENSION];
            learner
                .coded_gradient(&at, 0, &[(j, 1.0)], &mut gradient)
                .expect("a gradient");
            gradient.into_iter().map(f64::from).collect()
        })
        .collect();
    let exact: Vec<f64> = (0..DIMENSION)
        .map(|m| gradients.iter().map(|g| g[m]).sum::<f64>())
        .collect();
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    for row in &record.rows {
        let late = &row.per_worker.late_iterations;
        let responders: Vec<usize> = (0..WORKERS).filter(|&i| late[i] == 0).collect();
        let round = plan.decoder.round(&responders, &plan, row.iteration);
        let round = round.expect("weights");
        let mut decoded = [0.0; 24];
        for (&i, weights) in responders.iter().zip(round.weights.chunks(4)) {
            let message = plan.message(i, row.iteration, &gradients);
            for (block, w) in decoded.chunks_mut(6).zip(weights) {
                for (sum, value) in block.iter_mut().zip(&message) {
                    *sum += w * value;
                }
            }
        }
        let wrong: Vec<f64> = decoded.iter().zip(&exact).map(|(a, b)| a - b).collect();
        let expected = norm(&wrong) / norm(&exact);
        assert!((row.relative_error - expected).abs() < 1e-5, "{expected}");
        assert!((row.decoder_norm - round.amplification.sqrt()).abs() < 1e-9);
    }
}
