//! What single schemes make of workers that are dead, sure, or unquantized.

use gradient_code::{
    Budget, Decoder, PlanError, Scaling, SchemeConfig, SecondTrack, Setting, SettingError, error,
    plan, replan_without,
};

use super::{every_scheme, fixed, setting};

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
