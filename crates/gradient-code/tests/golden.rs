//! Numbers that were computed independently of this code.

use gradient_code::{
    Budget, Construction, Decoder, Method, Plan, Scaling, SchemeConfig, SecondTrack, Setting, plan,
    two_track,
};

const DIMENSION: f64 = 3_440_000.0;

fn phi(bits: u8) -> f64 {
    DIMENSION / (4.0 * (f64::from(bits - 1).exp2() - 1.0).powi(2))
}

/// The default regime of Song & Choi 2026: ten workers with rates `psi` from 0.1 to 2 and the deadline
/// at 1.1, so `p = exp(-0.1 psi)`.
fn paper_probabilities() -> Vec<f64> {
    (0..10)
        .map(|i| (-0.1 * (0.1 + 1.9 * f64::from(i) / 9.0)).exp())
        .collect()
}

fn paper(scheme: &SchemeConfig, residual_bits: u64, two_track: Option<f64>) -> Plan {
    let setting = Setting {
        partitions: 10,
        straggle_probabilities: &paper_probabilities(),
        phi: &phi,
        scaling: Scaling::Balanced(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let budget = Budget::residual(residual_bits, 10, 2, 16);
    plan(scheme, &setting, &budget, two_track).expect("the paper's setting is valid")
}

fn assert_close(actual: f64, expected: f64, tolerance: f64) {
    assert!(
        (actual - expected).abs() <= tolerance,
        "{actual} is not {expected}"
    );
}

fn bits(plan: &Plan) -> Vec<u8> {
    plan.workers.iter().map(|worker| worker.bits).collect()
}

#[test]
fn ten_residual_bits() {
    for method in [Method::Exact, Method::Dp, Method::Algorithm1] {
        let scheme = SchemeConfig {
            method,
            ..SchemeConfig::default()
        };
        let plan = paper(&scheme, 10, None);
        assert_eq!(bits(&plan), [2, 2, 2, 2, 2, 4, 4, 4, 4, 4]);
        let prediction = &plan.prediction;
        assert_close(prediction.eta * DIMENSION / 4.0, 8.117825, 1e-6);
        assert_close(prediction.scaling_s, 0.745010063, 1e-9);
        assert_close(prediction.error_bound, 134.226375, 1e-6);
        assert_close(100.0 / prediction.scaling_s, prediction.error_bound, 1e-9);
    }
}

#[test]
fn fifty_residual_bits() {
    for method in [Method::Exact, Method::Dp, Method::Algorithm1] {
        let scheme = SchemeConfig {
            method,
            ..SchemeConfig::default()
        };
        let plan = paper(&scheme, 50, None);
        assert_eq!(bits(&plan), [2, 2, 2, 9, 9, 9, 9, 9, 9, 10]);
        let prediction = &plan.prediction;
        assert_close(prediction.eta * DIMENSION / 4.0, 3579.961015, 1e-6);
        assert_close(prediction.scaling_s, 0.980473978, 1e-9);
        assert_close(prediction.error_bound, 101.991488, 1e-6);
        let y = [
            0.000028, 0.000087, 0.000145, 0.732640, 0.952568, 1.176648, 1.404947, 1.637533,
            1.874474, 2.220929,
        ];
        for (worker, y) in plan.workers.iter().zip(y) {
            assert_close(worker.row_sum(), y, 6e-7);
        }
        assert_eq!(plan.workers.iter().map(|w| w.load()).sum::<usize>(), 19);
        assert_close(prediction.computation_load, 1.9, 1e-15);
        assert_eq!(prediction.bits_per_coordinate_offered, 70.0);
        let expected: f64 = paper_probabilities()
            .iter()
            .zip(bits(&plan))
            .map(|(p, z)| (1.0 - p) * f64::from(z))
            .sum();
        assert_close(prediction.bits_per_coordinate_expected, expected, 1e-12);
    }
}

#[test]
fn equal_and_greedy_bits_are_worse() {
    for (method, residual, s) in [
        (Method::Equal, 10, 0.553035514),
        (Method::Equal, 50, 0.553035514),
        (Method::Greedy, 10, 0.745010063),
        (Method::Greedy, 50, 0.856347647),
    ] {
        let scheme = SchemeConfig {
            method,
            ..SchemeConfig::default()
        };
        let plan = paper(&scheme, residual, None);
        assert_close(plan.prediction.scaling_s, s, 1e-9);
    }
}

#[test]
fn two_tracks_of_osgc() {
    let plan = paper(&SchemeConfig::new("osgc"), 50, Some(1.0));
    assert_close(plan.prediction.scaling_s, 1.1275368, 5e-8);
    let Decoder::Fixed {
        second: Some(SecondTrack::Scaled(kappa)),
        ..
    } = plan.decoder
    else {
        panic!("one scalar is enough for two tracks: {:?}", plan.decoder);
    };
    assert_close(kappa, 0.5299729, 5e-8);
    assert_eq!(bits(&plan), [7; 10]);
}

/// Eq 36 against the scalar identity, worker by worker, slivers of 3e-5 included.
#[test]
fn two_tracks_of_the_joint_design() {
    for residual_bits in [10, 50] {
        let lambda = 0.7;
        let plan = paper(&SchemeConfig::default(), residual_bits, Some(lambda));
        let s = plan.prediction.scaling_s;
        let v = two_track::second_weights(&plan.workers, 10, &plan.prediction.weights, lambda);
        let Decoder::Fixed { weights, second } = &plan.decoder else {
            panic!("the joint design decodes with fixed weights");
        };
        let kappa = lambda * s / (1.0 + lambda * s);
        for (v, w) in v.iter().zip(weights) {
            assert_close(v / (kappa * w), 1.0, 1e-12);
        }
        assert_eq!(second, &Some(SecondTrack::Scaled(kappa)));
    }
}

/// OSGC's own layouts have coefficients of both signs, with which the error can be several times the
/// bound that the overlap construction keeps.
#[test]
fn osgc_layouts_exceed_the_bound() {
    let even = paper_probabilities();
    // Ten rates drawn from U(0.1, 2), deadline 1.1.
    let drawn: Vec<f64> = [
        1.7493599205930705,
        1.0055868590297967,
        1.3797726501166927,
        1.5796844430137305,
        1.3196697567226583,
        1.4255004088034584,
        0.6871483069374033,
        0.245172582572586,
        0.5756165266541973,
        1.8970246517962606,
    ]
    .iter()
    .map(|psi: &f64| (-0.1 * psi).exp())
    .collect();
    for (p, overlap, scheme_one, scheme_two) in [
        (&even, 88.688900659154, 240.935924454177, 878.817920390133),
        (&drawn, 78.467680781778, 145.862138855224, 327.001361248930),
    ] {
        for (construction, expected) in [
            (Construction::Overlap, overlap),
            (Construction::SchemeOne, scheme_one),
            (Construction::SchemeTwo, scheme_two),
        ] {
            let setting = Setting {
                partitions: 10,
                straggle_probabilities: p,
                phi: &phi,
                scaling: Scaling::default(),
                by_width: None,
                compressor_unbiased: true,
                seed: 0,
            };
            let scheme = SchemeConfig {
                construction,
                ..SchemeConfig::new("osgc")
            };
            let plan = plan(&scheme, &setting, &Budget::mean(7.0, 10, 2, 16), None)
                .expect("the setting is valid");
            assert!(plan.prediction.unbiased);
            assert_close(plan.prediction.computation_load, 1.9, 1e-15);
            assert_close(100.0 / plan.prediction.scaling_s, overlap, 1e-9);
            assert_close(plan.prediction.error_bound, expected, 1e-9);
            // Not only bounded by it: partition gradients that follow the signs reach it.
            let reached = worst_signs(&plan);
            assert_close(reached, expected, 1e-9);
        }
    }
}

/// The exact error without quantization, at its largest over partition gradients of +1 and -1.
fn worst_signs(plan: &Plan) -> f64 {
    let Decoder::Fixed { weights, .. } = &plan.decoder else {
        panic!("OSGC decodes with fixed weights");
    };
    (0..1u32 << plan.partitions)
        .map(|signs| {
            let gradients: Vec<[f64; 1]> = (0..plan.partitions)
                .map(|j| [if signs >> j & 1 == 1 { -1.0 } else { 1.0 }])
                .collect();
            gradient_code::error::exact(&plan.workers, weights, &gradients, |_, _| 0.0).total()
        })
        .fold(0.0, f64::max)
}
