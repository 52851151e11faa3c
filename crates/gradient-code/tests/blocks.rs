//! Plans whose messages mix blocks of the gradients.

use counter_rng::{Purpose, rng};
use gradient_code::{
    BlockCode, Budget, Decoder, PerRound, Plan, PlanFault, Rule, Scaling, SchemeConfig, Setting,
    plan,
};
use rand::RngExt;

const WORKERS: usize = 5;
const PARTITIONS: usize = 4;

/// Five workers with two or three partitions each, of which only the code matters.
fn planned(block_code: Option<BlockCode>, decoder: PerRound) -> Plan {
    let setting = Setting {
        partitions: PARTITIONS,
        straggle_probabilities: &[0.5; WORKERS],
        phi: &|_| 0.0,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let mut plan = plan(
        &SchemeConfig::new("is-sgd"),
        &setting,
        &Budget::mean(4.0, WORKERS, 2, 16),
        None,
    )
    .expect("valid");
    for (i, worker) in plan.workers.iter_mut().enumerate() {
        worker.bits = 4;
        worker.assignment = (0..PARTITIONS)
            .filter(|j| (i + j) % 3 != 0)
            .map(|j| (j, 1.0 + 0.25 * (i as f64 - j as f64)))
            .filter(|(_, a)| *a != 0.0)
            .collect();
    }
    plan.block_code = block_code;
    plan.decoder = Decoder::PerRound(decoder);
    plan.validate().expect("a plan that can be run");
    plan
}

fn diagonal(blocks: usize) -> BlockCode {
    BlockCode::RandomDiagonal {
        blocks,
        epsilon: 0.5,
        seed: 3,
    }
}

fn fixed(blocks: usize) -> BlockCode {
    let loads = planned(None, PerRound::default())
        .workers
        .iter()
        .map(|worker| worker.load())
        .collect::<Vec<_>>();
    let mut rng = rng(8, Purpose::Code, 0, 0);
    BlockCode::Fixed {
        blocks,
        coefficients: loads
            .iter()
            .map(|load| {
                (0..load * blocks)
                    .map(|_| rng.random::<f64>() - 0.5)
                    .collect()
            })
            .collect(),
    }
}

fn gradients(dimension: usize) -> Vec<Vec<f64>> {
    let mut rng = rng(5, Purpose::Synthesis, 0, 0);
    (0..PARTITIONS)
        .map(|_| (0..dimension).map(|_| rng.random::<f64>() - 0.5).collect())
        .collect()
}

/// What the master makes of the responders' messages: block u is sum_i R(i,u) f_i.
fn decode(plan: &Plan, responders: &[usize], iteration: u64, gradients: &[Vec<f64>]) -> Vec<f64> {
    let dimension = gradients[0].len();
    let (blocks, len) = (plan.blocks(), plan.message_len(dimension));
    let round = plan
        .decoder
        .round(responders, plan, iteration)
        .expect("it decodes");
    let mut estimate = vec![0.0; blocks * len];
    for (&worker, weights) in responders.iter().zip(round.weights.chunks(blocks)) {
        let message = plan.message(worker, iteration, gradients);
        assert_eq!(message.len(), len);
        for (u, weight) in weights.iter().enumerate() {
            for (sum, value) in estimate[u * len..].iter_mut().zip(&message) {
                *sum += weight * value;
            }
        }
    }
    assert!(estimate[dimension..].len() < blocks);
    estimate.truncate(dimension);
    estimate
}

#[test]
fn messages_decode_to_what_the_columns_say() {
    for code in [None, Some(diagonal(2)), Some(diagonal(3)), Some(fixed(2))] {
        let plan = planned(code, PerRound::default());
        let (n, blocks) = (plan.partitions, plan.blocks());
        for dimension in [6, 7, 11] {
            let g = gradients(dimension);
            let len = plan.message_len(dimension);
            for responders in [vec![0, 1, 2, 3, 4], vec![4, 1, 2], vec![3], vec![]] {
                let round = plan
                    .decoder
                    .round(&responders, &plan, 9)
                    .expect("it decodes");
                // Z B R by its columns: g_j[u] has coefficient (B R)(un + j, v) in block v.
                let mut product = vec![vec![0.0; blocks]; n * blocks];
                for (i, &worker) in responders.iter().enumerate() {
                    for (row, value) in plan.column(worker, 9) {
                        let weights = &round.weights[i * blocks..];
                        for (sum, weight) in product[row].iter_mut().zip(weights) {
                            *sum += value * weight;
                        }
                    }
                }
                let mut expected = vec![0.0; blocks * len];
                let mut residual = 0.0;
                for (row, coefficients) in product.iter().enumerate() {
                    for (v, coefficient) in coefficients.iter().enumerate() {
                        let wanted = if row / n == v { 1.0 } else { 0.0 };
                        residual += (coefficient - wanted) * (coefficient - wanted);
                        for t in 0..len {
                            if let Some(value) = g[row % n].get(row / n * len + t) {
                                expected[v * len + t] += coefficient * value;
                            }
                        }
                    }
                }
                let actual = decode(&plan, &responders, 9, &g);
                // The last block of the estimate may spill into the padding, which is cut.
                for (a, e) in actual.iter().zip(&expected) {
                    assert!((a - e).abs() < 1e-9, "{actual:?} {expected:?}");
                }
                assert!((round.residual - residual).abs() < 1e-9 * (1.0 + residual));
            }
        }
    }
}

#[test]
fn arrival_order_matters_only_to_rules_that_ask_for_it() {
    let plan = planned(Some(fixed(2)), PerRound::least_squares(0.1));
    let at = |responders: &[usize]| {
        let round = plan
            .decoder
            .round(responders, &plan, 0)
            .expect("it decodes");
        let mut rows: Vec<_> = responders.iter().zip(round.weights.chunks(2)).collect();
        rows.sort_by_key(|(worker, _)| **worker);
        rows.iter()
            .flat_map(|(_, row)| row.to_vec())
            .collect::<Vec<f64>>()
    };
    assert_eq!(at(&[0, 2, 3]), at(&[3, 0, 2]));

    let group = vec![0, 0, 1, 1, 1];
    let plan = planned(None, PerRound::rule(Rule::FirstOfGroup { group }));
    let weights = |responders: &[usize]| {
        let round = plan
            .decoder
            .round(responders, &plan, 0)
            .expect("it decodes");
        round.weights
    };
    assert_eq!(weights(&[1, 4, 0, 2]), [1.0, 1.0, 0.0, 0.0]);
    assert_eq!(weights(&[2, 4]), [1.0, 0.0]);
}

#[test]
fn one_step_weights_share_the_partitions() {
    let mut decoder = PerRound::rule(Rule::OneStep { load: 2.5 });
    let plan = planned(None, decoder.clone());
    let round = plan.decoder.round(&[3, 1], &plan, 0).expect("it decodes");
    assert_eq!(round.weights, [0.8, 0.8]);
    assert!((round.amplification - 1.28).abs() < 1e-12);
    decoder.rescale = 2.0;
    let plan = planned(None, decoder);
    assert_eq!(
        plan.decoder
            .round(&[3, 1], &plan, 0)
            .expect("it decodes")
            .weights,
        [1.6, 1.6]
    );
}

#[test]
fn noisy_messages_count_for_less() {
    // (B^T B + diag(rho + phi_i ||b_i||^2)) R = B^T F, entry by entry.
    let (rho, phi) = (0.05, [0.0, 0.5, 3.0, 0.1, 1.0]);
    for code in [None, Some(diagonal(2)), Some(fixed(3))] {
        let plan = planned(
            code,
            PerRound {
                ridge: rho,
                noise: Some(phi.to_vec()),
                ..PerRound::default()
            },
        );
        let (n, blocks) = (plan.partitions, plan.blocks());
        let responders = [4, 0, 2, 1];
        let round = plan
            .decoder
            .round(&responders, &plan, 6)
            .expect("it decodes");
        let dense: Vec<Vec<f64>> = responders
            .iter()
            .map(|&worker| {
                let mut column = vec![0.0; n * blocks];
                for (row, value) in plan.column(worker, 6) {
                    column[row] = value;
                }
                column
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        for (i, a) in dense.iter().enumerate() {
            for u in 0..blocks {
                let mut left: f64 =
                    (rho + phi[responders[i]] * dot(a, a)) * round.weights[i * blocks + u];
                for (j, b) in dense.iter().enumerate() {
                    left += dot(a, b) * round.weights[j * blocks + u];
                }
                let right: f64 = a[u * n..(u + 1) * n].iter().sum();
                assert!((left - right).abs() < 1e-10, "{left} {right}");
            }
        }
    }
}

#[test]
fn block_plans_survive_serialization_and_old_ones_can_be_read() {
    for code in [None, Some(diagonal(2)), Some(fixed(2))] {
        let plan = planned(
            code,
            PerRound {
                noise: Some(vec![0.1; WORKERS]),
                rescale: 1.0 / 0.7,
                ..PerRound::least_squares(1e-3)
            },
        );
        let text = serde_json::to_string(&plan).expect("plain data");
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("the same"), plan);
    }
    let plan = planned(None, PerRound::default());
    let mut value = serde_json::to_value(&plan).expect("plain data");
    value
        .as_object_mut()
        .expect("an object")
        .remove("block_code");
    value["decoder"] = serde_json::json!({"per_round": {"ridge": 0.0}});
    assert_eq!(
        serde_json::from_value::<Plan>(value).expect("an old plan"),
        plan
    );
}

#[test]
fn impossible_block_plans_are_refused() {
    let good = planned(Some(fixed(2)), PerRound::default());
    let fault = |change: &dyn Fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        plan.validate().expect_err("this must be refused")
    };
    let code = |code: BlockCode| fault(&move |plan| plan.block_code = Some(code.clone()));
    for blocks in [0, 2] {
        for epsilon in [-0.1, 1.0, f64::NAN] {
            let fault = code(BlockCode::RandomDiagonal {
                blocks,
                epsilon,
                seed: 0,
            });
            match fault {
                PlanFault::Blocks { blocks: 0, .. } => assert_eq!(blocks, 0),
                PlanFault::Parameter { .. } => assert_eq!(blocks, 2),
                other => panic!("{other:?}"),
            }
        }
    }
    let coefficients = |change: &dyn Fn(&mut Vec<Vec<f64>>)| {
        let BlockCode::Fixed {
            blocks,
            mut coefficients,
        } = fixed(2)
        else {
            unreachable!("it is fixed")
        };
        change(&mut coefficients);
        code(BlockCode::Fixed {
            blocks,
            coefficients,
        })
    };
    assert!(matches!(
        coefficients(&|rows| rows.truncate(3)),
        PlanFault::Length { given: 3, .. }
    ));
    assert!(matches!(
        coefficients(&|rows| rows[1].truncate(1)),
        PlanFault::BlockCoefficients {
            worker: 1,
            given: 1,
            ..
        }
    ));
    assert!(matches!(
        coefficients(&|rows| rows[1][0] = f64::INFINITY),
        PlanFault::Parameter { .. }
    ));
    let decoder = |decoder: Decoder| fault(&move |plan| plan.decoder = decoder.clone());
    for impossible in [
        Decoder::Fixed {
            weights: vec![1.0; WORKERS],
            second: None,
        },
        Decoder::PerRound(PerRound::rule(Rule::OneStep { load: 2.0 })),
    ] {
        assert!(good.clone().validate().is_ok());
        let mut plan = good.clone();
        plan.decoder = impossible.clone();
        assert!(impossible.round(&[0], &plan, 0).is_err());
        assert!(matches!(
            decoder(impossible),
            PlanFault::Blocks { blocks: 2, .. }
        ));
    }
    for per_round in [
        PerRound::least_squares(f64::NAN),
        PerRound {
            rescale: 0.0,
            ..PerRound::default()
        },
        PerRound {
            noise: Some(vec![-1.0; WORKERS]),
            ..PerRound::default()
        },
        PerRound::rule(Rule::OneStep { load: 0.0 }),
    ] {
        assert!(matches!(
            decoder(Decoder::PerRound(per_round)),
            PlanFault::Parameter { .. }
        ));
    }
    for per_round in [
        PerRound {
            noise: Some(vec![1.0]),
            ..PerRound::default()
        },
        PerRound::rule(Rule::FirstOfGroup { group: vec![0] }),
    ] {
        assert!(matches!(
            decoder(Decoder::PerRound(per_round)),
            PlanFault::Length { given: 1, .. }
        ));
    }
}
