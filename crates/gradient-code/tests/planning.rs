//! What every plan must be, whatever it is planned for; and what is refused.

use gradient_code::{
    Assignment, BlockDesign, Budget, Construction, Decoder, Decoding, Graph, PerRound, Plan,
    PlanError, PlanFault, Scaling, SchemeConfig, SecondTrack, Setting, SettingError, error, plan,
    replan_without, schemes,
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

proptest! {
    #[test]
    fn plans_are_what_they_promise(
        p in any_probabilities(),
        more in 0usize..9,
        mean_bits in 2.0..14.0f64,
        lambda in prop_oneof![Just(None), (0.1..5.0f64).prop_map(Some)],
    ) {
        let partitions = p.len() + more;
        let setting = setting(&p, partitions);
        let budget = Budget::mean(mean_bits, p.len(), 2, 16);
        let alive = p.iter().filter(|&&p| p < 1.0).count();
        for scheme in every_scheme(p.len(), partitions) {
            let per_round = ["od", "ce-agc"].contains(&scheme.kind.as_str())
                || !matches!(scheme.decoding, Decoding::Default | Decoding::Plain);
            if per_round && lambda.is_some() {
                let refused = plan(&scheme, &setting, &budget, lambda);
                let why = matches!(refused, Err(PlanError::TwoTrackPerRound { .. }));
                prop_assert!(why);
                continue;
            }
            let plan = plan(&scheme, &setting, &budget, lambda).expect("a valid setting");
            prop_assert_eq!(plan.validate(), Ok(()));
            prop_assert_eq!(matches!(plan.decoder, Decoder::PerRound(_)), per_round);
            if !per_round {
                let (_, second) = fixed(&plan);
                prop_assert_eq!(second.is_some(), lambda.is_some());
                let coefficients = plan.expected_coefficients().expect("fixed weights");
                let off = coefficients.iter().map(|c| (c - 1.0).abs()).fold(0.0, f64::max);
                // (Others are by chance: two replicas with p = 1/2 count 1 together.)
                prop_assert!(plan.prediction.unbiased || !is_unbiased(&scheme));
                if plan.prediction.unbiased {
                    prop_assert!(off < 1e-10, "{} {off}", plan.scheme); // eq 12
                }
            }
            for (worker, &p) in plan.workers.iter().zip(&p) {
                prop_assert!(p < 1.0 || (worker.is_idle() && worker.bits == 0));
            }
            prop_assert!(scheme.kind == "bgc" || plan.unassigned().is_empty());
            let nnz: usize = plan.workers.iter().map(|w| w.load()).sum();
            let load = plan.prediction.computation_load;
            prop_assert_eq!(load, nnz as f64 / partitions as f64);
            if !is_redundant(&scheme) {
                prop_assert!(nnz < partitions + alive);
                prop_assert!(load <= 1.0 + (alive as f64 - 1.0) / partitions as f64 + 1e-12);
            } else if !["bgc", "ce-agc"].contains(&scheme.kind.as_str()) {
                prop_assert!(load <= scheme.load + 0.5 / partitions as f64);
                if alive == p.len() {
                    prop_assert!((load - scheme.load).abs() <= 0.5 / partitions as f64 + 1e-12);
                }
            }

            // Exactly the budget, or what those who hold something can use of it.
            if scheme.kind != "sgd" {
                let bits: u64 = plan.workers.iter().map(|w| u64::from(w.bits)).sum();
                let holders = if scheme.allow_idle { alive } else { plan.active().count() };
                // Shorter messages may have more of them per coordinate.
                let offered = plan.blocks() as u64 * budget.total_bits;
                prop_assert_eq!(bits, offered.min(16 * holders as u64));
            }

            let text = serde_json::to_string(&plan).expect("a plan is serializable");
            let back: Plan = serde_json::from_str(&text).expect("and can be read");
            prop_assert_eq!(&back, &plan);
        }
    }

    #[test]
    fn the_joint_design_is_optimally_structured(
        p in any_probabilities(),
        partitions in 1usize..20,
        mean_bits in 2.0..14.0f64,
        lambda in 0.1..5.0f64,
        balanced in 0.005..2.0f64,
    ) {
        let setting = Setting { scaling: Scaling::Balanced(balanced), ..setting(&p, partitions) };
        let budget = Budget::mean(mean_bits, p.len(), 2, 16);
        let plan = plan(&SchemeConfig::default(), &setting, &budget, Some(lambda)).expect("a valid setting");
        let n = partitions as f64;
        let s = plan.prediction.scaling_s;
        let (w, second) = fixed(&plan);
        for (worker, &c) in plan.workers.iter().zip(&plan.prediction.weights) {
            prop_assert!(worker.assignment.iter().all(|&(_, a)| a > 0.0));
            prop_assert!((worker.row_sum() - n / (c * s)).abs() < 1e-11); // eq 20
        }
        prop_assert!((plan.prediction.error_bound * s / (n * n) - 1.0).abs() < 1e-10); // eq 21
        // Two tracks are one track and a scalar.
        let kappa = lambda * s / (1.0 + lambda * s);
        prop_assert_eq!(second, Some(&SecondTrack::Scaled(kappa)));
        let v = gradient_code::two_track::second_weights(
            &plan.workers, partitions, &plan.prediction.weights, lambda,
        );
        for ((v, w), worker) in v.iter().zip(w).zip(&plan.workers) {
            // An edge that is moved onto an integer changes a row sum by up to 1e-12.
            let tolerance = 1e-12 * worker.row_sum().recip().max(1.0);
            prop_assert!(worker.is_idle() || (v / (kappa * w) - 1.0).abs() <= tolerance);
        }
    }

    /// Idle workers free their two bits: the bound can only fall.
    #[test]
    fn idling_is_never_worse(p in any_probabilities(), mean_bits in 2.0..8.0f64) {
        let setting = setting(&p, p.len());
        let budget = Budget::mean(mean_bits, p.len(), 2, 16);
        let busy = plan(&SchemeConfig::default(), &setting, &budget, None).expect("valid");
        let idle = SchemeConfig { allow_idle: true, ..SchemeConfig::default() };
        let idle = plan(&idle, &setting, &budget, None).expect("valid");
        prop_assert!(idle.prediction.error_bound <= busy.prediction.error_bound * (1.0 + 1e-12));
    }

    /// When everybody answers, least squares finds what the fixed weights would be without stragglers;
    /// for any set it is at least as good as they are.
    #[test]
    fn per_round_weights_are_at_least_as_good(
        p in prop::collection::vec(0.05..0.9f64, 1..8),
        set in any::<u8>(),
    ) {
        let n = p.len();
        let mut plan = plan(&SchemeConfig::default(), &setting(&p, n), &Budget::mean(6.0, n, 2, 16), None)
            .expect("valid");
        let residual = |plan: &Plan, responders: &[usize]| -> f64 {
            let weights = plan.decoder.round(responders, plan, 0).expect("valid responders").weights;
            let mut sums = vec![-1.0; n];
            for (&i, w) in responders.iter().zip(weights) {
                for &(j, a) in &plan.workers[i].assignment {
                    sums[j] += w * a;
                }
            }
            sums.iter().map(|s| s * s).sum()
        };
        let responders: Vec<usize> = plan.active().filter(|i| set >> i & 1 == 1).collect();
        let everybody: Vec<usize> = plan.active().collect();
        let fixed = residual(&plan, &responders);
        plan.decoder = Decoder::PerRound(PerRound::default());
        prop_assert!(residual(&plan, &responders) <= fixed + 1e-9);
        prop_assert!(residual(&plan, &everybody) < 1e-12);
    }
}

#[test]
fn the_dead_get_nothing_and_the_rest_share_the_budget() {
    let p = [0.3, 0.5, 0.7, 0.9];
    let budget = Budget::mean(12.0, 4, 2, 16);
    let both = |n| {
        every_scheme(4, n)
            .into_iter()
            .map(move |scheme| (n, scheme))
    };
    for (n, scheme) in both(4).chain(both(6)) {
        let all = plan(&scheme, &setting(&p, n), &budget, None).expect("valid");
        let without = replan_without(&[1, 3], &scheme, &setting(&p, n), &budget, None)
            .expect("two workers are left");
        assert_eq!(all.k(), without.k());
        assert!(scheme.kind == "bgc" || without.unassigned().is_empty());
        for dead in [1, 3] {
            assert!(without.workers[dead].is_idle());
            assert_eq!(without.workers[dead].straggle_probability, 1.0);
            assert_eq!(without.prediction.weights[dead], f64::INFINITY);
            if let Decoder::Fixed { weights, .. } = &without.decoder {
                assert_eq!(weights[dead], 0.0);
            }
            assert!(without.decoder.round(&[dead], &without, 0).is_err());
        }
        if scheme.kind != "sgd" {
            let widest = 32.0 / without.blocks() as f64;
            assert_eq!(without.prediction.bits_per_coordinate_offered, widest);
        }
        let again = replan_without(&[0, 1, 2, 3], &scheme, &setting(&p, n), &budget, None);
        assert_eq!(
            again,
            Err(SettingError::NobodyAlive { workers: 4 }.into()),
            "{}",
            scheme.kind
        );
    }
    assert_eq!(
        replan_without(
            &[4],
            &SchemeConfig::default(),
            &setting(&p, 6),
            &budget,
            None
        ),
        Err(PlanError::UnknownWorker {
            worker: 4,
            workers: 4
        })
    );
}

#[test]
fn blocks_are_contiguous_and_balanced() {
    let p = [0.5; 4];
    let budget = Budget::mean(4.0, 4, 2, 16);
    let assigned = |kind: &str, partitions: usize| -> Vec<Vec<usize>> {
        plan(
            &SchemeConfig::new(kind),
            &setting(&p, partitions),
            &budget,
            None,
        )
        .expect("valid")
        .workers
        .iter()
        .map(|w| {
            w.assignment
                .iter()
                .map(|&(j, a)| {
                    assert_eq!(a, 1.0);
                    j
                })
                .collect()
        })
        .collect()
    };
    for kind in ["is-sgd", "sgd"] {
        assert_eq!(assigned(kind, 4), [[0], [1], [2], [3]]);
        assert_eq!(assigned(kind, 8), [[0, 1], [2, 3], [4, 5], [6, 7]]);
        assert_eq!(
            assigned(kind, 6),
            [vec![0], vec![1, 2], vec![3], vec![4, 5]]
        );
        assert_eq!(assigned(kind, 2), [vec![], vec![0], vec![], vec![1]]);
    }
}

#[test]
fn sgd_is_exact() {
    let p = [0.9, 0.2, 1.0, 0.0];
    let budget = Budget::mean(2.0, 4, 2, 16);
    let plan = plan(
        &SchemeConfig::new("sgd"),
        &setting(&p, 5),
        &budget,
        Some(1.0),
    )
    .expect("valid");
    assert!(plan.no_straggling && plan.prediction.unbiased);
    assert_eq!(plan.prediction.error_bound, 0.0);
    assert_eq!(plan.prediction.error_bound_unscaled, 0.0);
    assert_eq!(plan.prediction.scaling_s, f64::INFINITY);
    assert_eq!(plan.prediction.bits_per_coordinate_expected, 96.0);
    assert_eq!(
        fixed(&plan),
        (&[1.0, 1.0, 0.0, 1.0][..], Some(&SecondTrack::Scaled(1.0)))
    );
}

#[test]
fn is_sgd_says_that_it_is_biased() {
    let p = [0.9, 0.5];
    let plan = plan(
        &SchemeConfig::new("is-sgd"),
        &setting(&p, 2),
        &Budget::mean(8.0, 2, 2, 16),
        Some(1.0),
    )
    .expect("valid");
    assert!(!plan.prediction.unbiased);
    let (weights, second) = fixed(&plan);
    assert_eq!(
        error::expected_coefficients(&plan.workers, 2, weights),
        [1.0 - 0.9, 0.5]
    );
    assert!(matches!(second, Some(SecondTrack::Weights(_))));
    assert!(plan.to_string().contains("biased"));
}

#[test]
fn a_table_for_people() {
    let p = [0.25, 0.5, 1.0];
    let budget = Budget::mean(4.0, 3, 2, 16);
    let joint = plan(
        &SchemeConfig::default(),
        &setting(&p, 3),
        &budget,
        Some(1.0),
    )
    .expect("valid");
    let text = joint.to_string();
    assert!(text.starts_with("scheme joint: 3 workers, 3 partitions"));
    assert!(text.contains("unbiased") && text.contains("second track") && text.contains("idle"));
    assert_eq!(text.lines().count(), 3 + 1 + 3);
    let many = vec![0.5; 1000];
    let budget = Budget::mean(4.0, 1000, 2, 16);
    let text = plan(
        &SchemeConfig::new("is-sgd"),
        &setting(&many, 1000),
        &budget,
        None,
    )
    .expect("valid")
    .to_string();
    assert!(text.contains("944 more workers") && text.contains("   999 "));
}

#[test]
fn unquantized_codecs_fit_the_same_planner() {
    let p = [0.2, 0.6, 0.8];
    let budget = Budget {
        total_bits: 96,
        min_bits: 32,
        max_bits: 32,
    };
    let unreachable = |_| -> f64 { panic!("phi of 32 bits is 0 and never asked") };
    for scaling in [Scaling::Factor(1.0), Scaling::Balanced(0.005)] {
        let setting = Setting {
            partitions: 3,
            straggle_probabilities: &p,
            phi: &unreachable,
            scaling,
            by_width: None,
            compressor_unbiased: true,
            seed: 0,
        };
        let joint = plan(&SchemeConfig::default(), &setting, &budget, None).expect("valid");
        let osgc = plan(&SchemeConfig::new("osgc"), &setting, &budget, None).expect("valid");
        // Without quantization the joint design is OSGC.
        assert_eq!(joint.workers, osgc.workers);
        assert_eq!(joint.prediction.error_bound, osgc.prediction.error_bound);
        let rest = replan_without(&[0], &SchemeConfig::default(), &setting, &budget, None)
            .expect("two workers are left");
        assert_eq!(rest.prediction.bits_per_coordinate_offered, 64.0);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let budget = Budget::mean(4.0, 2, 2, 16);
    let joint = SchemeConfig::default();
    let osgc = SchemeConfig::new("osgc");
    let failure = |scheme: &SchemeConfig, setting: &Setting, budget: &Budget, lambda| -> String {
        plan(scheme, setting, budget, lambda)
            .expect_err("this must be refused")
            .to_string()
    };
    let ok = setting(&[0.5, 0.25], 2);
    for (message, expected) in [
        (
            failure(&SchemeConfig::new("jiont"), &ok, &budget, None),
            "find scheme \"jiont\": known schemes are joint, osgc, is-sgd, sgd, bgc",
        ),
        (
            failure(&joint, &setting(&[0.5, 1.25], 2), &budget, None),
            "use straggle probability 1.25 of worker 1: it must lie in [0, 1]",
        ),
        (
            failure(&osgc, &setting(&[0.5, 0.0], 2), &budget, None),
            "plan scheme \"osgc\" with straggle probability 0 of worker 1",
        ),
        (
            failure(&joint, &setting(&[0.0, 0.5], 2), &budget, None),
            "plan scheme \"joint\" with straggle probability 0 of worker 0",
        ),
        (
            failure(&joint, &setting(&[0.5], 0), &budget, None),
            "plan for 1 workers and 0 partitions",
        ),
        (
            failure(
                &joint,
                &ok,
                &Budget {
                    total_bits: 3,
                    ..budget
                },
                None,
            ),
            "give 2 workers at least 2 bits each from a budget of 3 bits: at least 4 are needed",
        ),
        (
            failure(
                &joint,
                &ok,
                &Budget {
                    max_bits: 1,
                    ..budget
                },
                None,
            ),
            "use widths of 2 to 1 bits",
        ),
        (
            failure(&joint, &ok, &budget, Some(0.0)),
            "use Lambda = 0 for two-track decoding",
        ),
        (
            failure(
                &joint,
                &Setting {
                    scaling: Scaling::Factor(-1.0),
                    ..ok
                },
                &budget,
                None,
            ),
            "use scaling -1",
        ),
        (
            failure(
                &joint,
                &Setting {
                    phi: &|_| f64::NAN,
                    ..ok
                },
                &budget,
                None,
            ),
            "use variance constant phi(2) = NaN",
        ),
        (
            failure(
                &SchemeConfig::new("is-sgd"),
                &Setting {
                    phi: &|_| -1.0,
                    ..ok
                },
                &budget,
                None,
            ),
            "use variance constant phi(4) = -1",
        ),
        (
            failure(
                &SchemeConfig {
                    construction: Construction::SchemeOne,
                    ..osgc.clone()
                },
                &setting(&[0.5, 0.25], 1),
                &budget,
                None,
            ),
            "build OSGC scheme I for 2 workers and 1 partitions",
        ),
    ] {
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn damaged_plans_are_refused() {
    let p = [0.5, 0.25, 1.0];
    let good = plan(
        &SchemeConfig::default(),
        &setting(&p, 3),
        &Budget::mean(4.0, 3, 2, 16),
        None,
    )
    .expect("valid");
    let fault = |damage: fn(&mut Plan)| {
        let mut plan = good.clone();
        damage(&mut plan);
        plan.validate().expect_err("this must be refused")
    };
    use PlanFault as F;
    assert!(matches!(fault(|p| p.partitions = 0), F::Empty { .. }));
    assert!(matches!(
        fault(|p| p.workers.clear()),
        F::Empty { workers: 0, .. }
    ));
    assert!(matches!(
        fault(|p| p.partitions = 2),
        F::Assignment { partition: 2, .. }
    ));
    assert!(matches!(
        fault(|p| p.partitions = 4),
        F::Unassigned { partition: 3 }
    ));
    assert!(matches!(
        fault(|p| p.workers[0].straggle_probability = f64::NAN),
        F::StraggleProbability { worker: 0, .. }
    ));
    assert!(matches!(
        fault(|p| p.workers[1].straggle_probability = 1.0),
        F::StraggleProbability { worker: 1, .. }
    ));
    assert!(matches!(
        fault(|p| p.no_straggling = true),
        F::StraggleProbability { worker: 0, .. }
    ));
    assert!(matches!(
        fault(|p| p.workers[2].bits = 2),
        F::Bits { worker: 2, .. }
    ));
    assert!(matches!(
        fault(|p| p.workers[0].bits = 0),
        F::Bits { worker: 0, .. }
    ));
    assert!(matches!(fault(|p| p.workers[0].bits = 33), F::Bits { .. }));
    assert!(matches!(
        fault(|p| p.workers[1].assignment.reverse()),
        F::Assignment { worker: 1, .. }
    ));
    assert!(matches!(
        fault(|p| p.workers[1].assignment[0].1 = f64::INFINITY),
        F::Assignment { worker: 1, .. }
    ));
    let weights = |weights: Vec<f64>, second| Decoder::Fixed { weights, second };
    for (decoder, length) in [
        (weights(vec![1.0; 2], None), true),
        (weights(vec![1.0; 3], None), false),
        (weights(vec![f64::NAN, 1.0, 0.0], None), false),
        (
            weights(vec![1.0, 1.0, 0.0], Some(SecondTrack::Weights(vec![1.0]))),
            true,
        ),
    ] {
        let plan = Plan {
            decoder,
            ..good.clone()
        };
        match plan.validate() {
            Err(F::Length { .. }) => assert!(length),
            Err(F::Weight { .. }) => assert!(!length),
            other => panic!("{other:?}"),
        }
    }
    for decoder in [
        weights(
            vec![1.0, 1.0, 0.0],
            Some(SecondTrack::Scaled(f64::INFINITY)),
        ),
        Decoder::PerRound(PerRound::least_squares(-1.0)),
    ] {
        let plan = Plan {
            decoder,
            ..good.clone()
        };
        assert!(matches!(plan.validate(), Err(F::Parameter { .. })));
    }
    assert!(matches!(
        fault(|p| p.prediction.weights.clear()),
        F::Length { given: 0, .. }
    ));
}

#[test]
fn responders_are_checked() {
    let p = [0.5, 0.25, 1.0];
    let mut plan = plan(
        &SchemeConfig::default(),
        &setting(&p, 3),
        &Budget::mean(4.0, 3, 2, 16),
        None,
    )
    .expect("valid");
    for _ in 0..2 {
        let fails = |responders: &[usize]| {
            plan.decoder
                .round(responders, &plan, 0)
                .expect_err("this must be refused")
                .to_string()
        };
        assert!(fails(&[0, 2]).contains("worker 2: it is idle"));
        assert!(fails(&[3]).contains("worker 3"));
        assert!(fails(&[1, 0, 1]).contains("two messages of worker 1"));
        let nobody = plan.decoder.round(&[], &plan, 0).expect("it is allowed");
        assert_eq!((nobody.weights.len(), nobody.residual), (0, 3.0));
        plan.decoder = Decoder::PerRound(PerRound::default());
    }
}
