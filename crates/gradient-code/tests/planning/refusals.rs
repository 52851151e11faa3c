//! What is refused, and in which words.

use gradient_code::{
    Budget, Construction, Decoder, PerRound, Plan, PlanFault, Scaling, SchemeConfig, SecondTrack,
    Setting, plan,
};

use super::setting;

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
