//! Against torch.optim's trajectories and by hand.

use super::*;
use proptest::prelude::*;

/// Made by `tools/optimizers/dump_torch.py`.
const TORCH: &str = include_str!("torch.json");

#[derive(Deserialize)]
struct Fixture {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: OptimizerConfig,
    learning_rate: f32,
    kappa: Option<f32>,
    path: Vec<Vec<f64>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(TORCH).unwrap()
}

#[test]
fn follows_torch() {
    let Fixture {
        start,
        gradients,
        cases,
    } = fixture();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let mut optimizer = case.config.build(start.len()).unwrap();
        let second = case.kappa.map_or(Second::Same, Second::Scaled);
        let mut x = start.clone();
        for (t, (gradient, expected)) in gradients.iter().zip(&case.path).enumerate() {
            optimizer.step(&mut x, gradient, second, case.learning_rate);
            for (ours, theirs) in x.iter().zip(expected) {
                assert!(
                    (f64::from(*ours) - theirs).abs() < 1e-6,
                    "{} step {t}: {ours} against {theirs}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn a_track_of_kappa_times_the_gradient_is_the_scaled_track() {
    let Fixture {
        start, gradients, ..
    } = fixture();
    // a power of two, so that kappa * (scale * g) and scale * (kappa * g) round alike
    let kappa = 0.5;
    for config in [
        OptimizerConfig::Adam(AdamConfig::default()),
        OptimizerConfig::AdamW(AdamConfig {
            weight_decay: 0.1,
            ..AdamConfig::default()
        }),
    ] {
        let mut scaled = config.build(start.len()).unwrap();
        let mut tracked = config.build(start.len()).unwrap();
        let (mut x, mut y) = (start.clone(), start.clone());
        for gradient in &gradients {
            let track: Vec<f32> = gradient.iter().map(|g| kappa * g).collect();
            scaled.step_scaled(&mut x, gradient, 0.3, Second::Scaled(kappa), 0.01);
            tracked.step_scaled(&mut y, gradient, 0.3, Second::Track(&track), 0.01);
            assert_eq!(x, y);
        }
    }
}

/// With the penalty off, `nu` scales by kappa^2, so all of Adam's steps scale by 1/kappa (epsilon
/// aside): the closed form of the two-track step for an optimally structured code.
#[test]
fn a_smaller_second_track_lengthens_the_step() {
    let config = OptimizerConfig::Adam(AdamConfig {
        epsilon: 1e-30,
        ..AdamConfig::default()
    });
    let (mut plain, mut two_track) = (config.build(1).unwrap(), config.build(1).unwrap());
    let (mut x, mut y) = ([0.0], [0.0]);
    for g in [1.0, -0.5, 0.25] {
        plain.step(&mut x, &[g], Second::Same, 0.1);
        two_track.step(&mut y, &[g], Second::Scaled(0.25), 0.1);
        assert!((y[0] - 4.0 * x[0]).abs() < 1e-5, "{} {}", x[0], y[0]);
    }
}

#[test]
fn the_first_adam_step_has_the_length_of_the_rate() {
    let mut adam = OptimizerConfig::Adam(AdamConfig::default())
        .build(2)
        .unwrap();
    let mut x = [1.0, 1.0];
    adam.step(&mut x, &[7.0, -0.01], Second::Same, 0.1);
    assert!(
        (x[0] - 0.9).abs() < 1e-6 && (x[1] - 1.1).abs() < 1e-5,
        "{x:?}"
    );
}

#[test]
fn clipping_bounds_the_norm() {
    let gradient: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
    let norm = gradient_norm(&gradient);
    let naive: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
    assert!((norm - naive.sqrt()).abs() < 1e-10);
    let factor = clip_scale(norm, 1.0) as f32;
    let clipped: Vec<f32> = gradient.iter().map(|g| factor * g).collect();
    assert!((gradient_norm(&clipped) - 1.0).abs() < 1e-5);
}

#[test]
fn schedules_have_their_shapes() {
    let rate = |shape, warmup, t| {
        let schedule = Schedule {
            base: 2.0,
            shape,
            warmup,
            end: 0.0,
        };
        f64::from(learning_rate(&schedule, t, 110))
    };
    for shape in [
        ScheduleShape::Constant,
        ScheduleShape::Cosine,
        ScheduleShape::InverseTime,
        ScheduleShape::InverseSqrt,
    ] {
        assert!((rate(shape, 10, 0) - 0.2).abs() < 1e-7);
        assert!((rate(shape, 10, 9) - 2.0).abs() < 1e-7);
        assert!((rate(shape, 10, 10) - 2.0).abs() < 1e-7);
        assert!((rate(shape, 0, 0) - 2.0).abs() < 1e-7);
    }
    assert_eq!(rate(ScheduleShape::Constant, 10, 10_000), 2.0);
    assert!((rate(ScheduleShape::Cosine, 10, 60) - 1.0).abs() < 1e-6);
    assert!(rate(ScheduleShape::Cosine, 10, 110).abs() < 1e-7);
    assert!(rate(ScheduleShape::Cosine, 10, 500).abs() < 1e-7);
    assert_eq!(rate(ScheduleShape::InverseTime, 0, 3), 0.5);
    assert_eq!(rate(ScheduleShape::InverseSqrt, 0, 3), 1.0);
}

#[test]
fn a_cosine_can_end_above_zero() {
    let schedule = Schedule {
        base: 2.0,
        shape: ScheduleShape::Cosine,
        warmup: 10,
        end: 0.5,
    };
    for (t, expected) in [(9, 2.0), (10, 2.0), (60, 1.25), (110, 0.5), (500, 0.5)] {
        assert!(
            (learning_rate(&schedule, t, 110) - expected).abs() < 1e-6,
            "{t}"
        );
    }
}

/// Coordinates without decay move as with an optimizer that has none, the others as with one that
/// has it everywhere.
#[test]
fn weight_decay_acts_on_its_groups_alone() {
    let Fixture {
        start, gradients, ..
    } = fixture();
    let len = start.len();
    let groups = DecayGroups::only(len, &[0..2, 3..len - 1]);
    let decayed = |i: usize| i < 2 || (3..len - 1).contains(&i);
    let adam = |weight_decay| AdamConfig {
        weight_decay,
        ..AdamConfig::default()
    };
    let sgd = |weight_decay, momentum, nesterov| OptimizerConfig::Sgd {
        momentum,
        nesterov,
        weight_decay,
    };
    for [with, without] in [
        [0.3, 0.0].map(|decay| OptimizerConfig::AdamW(adam(decay))),
        [0.3, 0.0].map(|decay| OptimizerConfig::Adam(adam(decay))),
        [0.3, 0.0].map(|decay| sgd(decay, 0.0, false)),
        [0.3, 0.0].map(|decay| sgd(decay, 0.9, false)),
        [0.3, 0.0].map(|decay| sgd(decay, 0.9, true)),
    ] {
        let path = |mut optimizer: Box<dyn Optimizer>| {
            let mut x = start.clone();
            for gradient in &gradients {
                optimizer.step(&mut x, gradient, Second::Scaled(0.5), 0.01);
            }
            x
        };
        let all = path(with.build(len).unwrap());
        let none = path(without.build(len).unwrap());
        let some = path(with.build_grouped(groups.clone()).unwrap());
        for i in 0..len {
            let expected = if decayed(i) { all[i] } else { none[i] };
            assert_eq!(some[i].to_bits(), expected.to_bits(), "{with:?} {i}");
        }
        assert_ne!(all, none);
    }
}

#[test]
fn hyper_parameters_out_of_range_are_refused() {
    let sgd = |momentum, nesterov, weight_decay| {
        OptimizerConfig::Sgd {
            momentum,
            nesterov,
            weight_decay,
        }
        .build(1)
        .map(|_| ())
        .unwrap_err()
        .to_string()
    };
    assert_eq!(
        sgd(1.0, false, 0.0),
        "optimizer momentum = 1 is out of range: 0 <= momentum < 1"
    );
    assert!(sgd(f32::NAN, false, 0.0).contains("momentum"));
    assert!(sgd(0.0, true, 0.0).contains("nesterov"));
    assert!(sgd(0.0, false, -1.0).contains("weight_decay"));
    let adam = AdamConfig {
        beta2: 1.0,
        ..AdamConfig::default()
    };
    assert!(OptimizerConfig::Adam(adam).build(1).is_err());
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let adam = AdamConfig::default();
    let mut adamw = OptimizerConfig::AdamW(adam).build(2).unwrap();
    let before = adamw.state();
    let foreign = OptimizerConfig::Adam(adam).build(2).unwrap().state();
    assert!(matches!(
        adamw.restore(foreign),
        Err(OptimizerError::ForeignState { .. })
    ));
    let longer = OptimizerConfig::AdamW(adam).build(3).unwrap().state();
    assert!(matches!(
        adamw.restore(longer),
        Err(OptimizerError::StateLength {
            expected: 2,
            found: 3,
            ..
        })
    ));
    assert_eq!(adamw.state(), before);
}

fn configs() -> impl Strategy<Value = OptimizerConfig> {
    let adam = AdamConfig {
        weight_decay: 0.01,
        ..AdamConfig::default()
    };
    let sgd = |momentum, nesterov| OptimizerConfig::Sgd {
        momentum,
        nesterov,
        weight_decay: 0.01,
    };
    prop::sample::select(vec![
        sgd(0.0, false),
        sgd(0.9, false),
        sgd(0.9, true),
        OptimizerConfig::Adam(adam),
        OptimizerConfig::AdamW(adam),
    ])
}

proptest! {
    /// Export, restore into a fresh optimizer, continue: bit-identical to never having stopped.
    #[test]
    fn a_restored_optimizer_continues_exactly(
        config in configs(),
        gradients in prop::collection::vec(prop::collection::vec(-10f32..10.0, 37), 2..8),
        stop in any::<prop::sample::Index>(),
    ) {
        let stop = stop.index(gradients.len());
        let mut whole = config.build(37).unwrap();
        let mut x = vec![0.5f32; 37];
        let mut resumed = (config.build(37).unwrap(), x.clone());
        for (t, gradient) in gradients.iter().enumerate() {
            whole.step_scaled(&mut x, gradient, 0.1, Second::Scaled(0.7), 0.01);
            if t == stop {
                let json = serde_json::to_string(&whole.state()).unwrap();
                let mut other = config.build(37).unwrap();
                other.restore(serde_json::from_str(&json).unwrap()).unwrap();
                resumed = (other, x.clone());
            } else if t > stop {
                resumed.0.step_scaled(&mut resumed.1, gradient, 0.1, Second::Scaled(0.7), 0.01);
            }
        }
        prop_assert_eq!(&x, &resumed.1);
        prop_assert_eq!(whole.state(), resumed.0.state());
    }

    /// Elements do not interact, so cutting the vector in two changes no bit.
    #[test]
    fn elements_are_independent(
        config in configs(),
        gradient in prop::collection::vec(-10f32..10.0, 2..100),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(gradient.len());
        let mut whole = config.build(gradient.len()).unwrap();
        let mut parts = [config.build(cut).unwrap(), config.build(gradient.len() - cut).unwrap()];
        let mut x = vec![1.0f32; gradient.len()];
        let mut y = x.clone();
        for _ in 0..3 {
            whole.step(&mut x, &gradient, Second::Same, 0.1);
            let (low, high) = y.split_at_mut(cut);
            parts[0].step(low, &gradient[..cut], Second::Same, 0.1);
            parts[1].step(high, &gradient[cut..], Second::Same, 0.1);
        }
        prop_assert_eq!(x, y);
    }
}
