//! What a gradient code needs of a learner: a partition's gradient is a function of (parameters,
//! partition, iteration) alone, and a coded gradient is the stated linear combination.

mod common;

use std::path::PathBuf;

use common::gradients::{distance, gradient, gradient_at, norm};
use common::models::{TINY_SSD, image_config, resnet};
use common::shapes::{Shapes, shapes};
use learner::optimizer::AdamConfig;
use learner::{Learner, LearnerError, OptimizerConfig, Second};
use torch_models::augment::Recipe;
use torch_models::flat::Flat;
use torch_models::models::ssdlite::SsdLite;
use torch_models::store::Store;
use torch_models::{ImageConfig, ModelConfig, NormKind, build, weights};

const SIDE: u32 = 64;
const PARTITIONS: usize = 3;

fn config(model: ModelConfig, weights: Option<PathBuf>) -> ImageConfig {
    let mut config = image_config(model, PARTITIONS, 2);
    config.augment = Recipe::FlipAndTone;
    config.torch.weights = weights;
    config
}

/// Weights and statistics of a network whose frozen statistics mean something: those that its
/// activations have on the training images.
fn statistics(data: &Shapes) -> (tempfile::TempDir, PathBuf) {
    use torch_models::augment::Augmentation;
    use torch_models::images::assemble;
    use torch_models::layers::Mode;
    use torch_models::models::DetectionModel;

    let device = tch::Device::Cpu;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frozen.safetensors");
    let store = Store::new(device);
    let classes = data.train.classes() as i64;
    let net = SsdLite::new(&store.root(), classes, NormKind::Batch).unwrap();
    let (parameters, buffers) = store.into_parts();
    let mut flat = Flat::new(parameters, device).unwrap();
    let values = flat.initial_parameters(3);
    flat.set_parameters(&values).unwrap();
    let samples: Vec<_> = (0..6).map(|i| data.train.load(i, SIDE).unwrap()).collect();
    let samples = samples.iter().map(|sample| (sample, Augmentation::NONE));
    let batch = assemble(samples, SIDE, device).unwrap();
    let _ = tch::no_grad(|| net.forward(&batch.images, Mode::Calibrate(1.0))).unwrap();
    weights::save(&path, flat.slots(), &values, &buffers).unwrap();
    (directory, path)
}

fn learner(data: &Shapes, config: &ImageConfig) -> Box<dyn Learner> {
    build(config, data.train.clone(), Some(data.validation.clone())).unwrap()
}

/// The coded gradient at the initial parameters as one fresh vector.
/// Parameters after a few steps of training.
fn trained(learner: &mut dyn Learner) -> Vec<f32> {
    let everything: Vec<_> = (0..PARTITIONS)
        .map(|j| (j, 1.0 / PARTITIONS as f64))
        .collect();
    let mut parameters = learner.initial_parameters();
    let mut optimizer = OptimizerConfig::AdamW(AdamConfig::default())
        .build(parameters.len())
        .unwrap();
    for iteration in 0..8 {
        let gradient = gradient_at(learner, &parameters, iteration, &everything);
        optimizer.step_scaled(&mut parameters, &gradient, 1.0, Second::Same, 1e-3);
    }
    parameters
}

/// The models whose layers are all per sample, and batch norm's.
fn models(frozen: &std::path::Path) -> Vec<(ModelConfig, Option<PathBuf>)> {
    let ssdlite = |norm| ModelConfig::SsdLite { side: SIDE, norm };
    vec![
        (
            ModelConfig::TinySsd {
                width: 16,
                side: SIDE,
            },
            None,
        ),
        (
            ModelConfig::Cnn {
                width: 8,
                side: SIDE,
            },
            None,
        ),
        (ssdlite(NormKind::Group), None),
        (ssdlite(NormKind::Frozen), Some(frozen.to_owned())),
        (ssdlite(NormKind::Batch), None),
        (resnet(NormKind::Group), None),
        (resnet(NormKind::Batch), None),
    ]
}

/// Where layers are per sample the two sides differ by the order in which f32 weight gradients
/// are summed over images and pixels.
#[test]
fn partition_gradients_add_up() {
    let data = shapes(24, SIDE);
    let (_keep, frozen) = statistics(&data);
    for (model, weights) in models(&frozen) {
        let mut learner = learner(&data, &config(model, weights));
        let parameters = trained(&mut *learner);
        for (assignment, tolerance) in [
            (vec![(0, 1.0), (2, 1.0)], 1e-6),
            (vec![(0, 1.0), (1, 1.0), (2, 1.0)], 1e-6),
            (vec![(0, -0.5), (1, 2.0)], 1e-6),
            // Coefficients that round give every term of the backward pass another rounding.
            (vec![(0, -0.75), (1, 2.5)], 1e-5),
        ] {
            let distance = distance(&mut *learner, &parameters, &assignment);
            println!("{model:?} {assignment:?}: {distance:.1e}");
            assert!(
                distance < tolerance,
                "{model:?} {assignment:?}: {distance:e}"
            );
        }
    }
}

#[test]
fn equal_arguments_give_equal_bits_whatever_came_before() {
    let data = shapes(24, SIDE);
    let (_keep, frozen) = statistics(&data);
    for (model, weights) in models(&frozen) {
        let config = config(model, weights);
        let mut walked = learner(&data, &config);
        let assignment = [(0, 0.5), (2, 1.5)];
        let first = gradient(&mut *walked, 4, &assignment);
        for iteration in 0..3 {
            gradient(&mut *walked, iteration, &[(1, 1.0)]);
        }
        let parameters = walked.initial_parameters();
        let metrics = walked.evaluate(&parameters).unwrap();
        assert_eq!(first, gradient(&mut *walked, 4, &assignment), "{model:?}");
        let mut fresh = learner(&data, &config);
        assert_eq!(first, gradient(&mut *fresh, 4, &assignment), "{model:?}");
        assert_ne!(first, gradient(&mut *fresh, 5, &assignment), "{model:?}");
        let again = fresh.evaluate(&parameters).unwrap();
        // NaN is a value here: without a detection of some size there is no precision.
        assert_eq!(format!("{metrics:?}"), format!("{again:?}"), "{model:?}");
    }
}

/// Two workers that share a partition, on images larger than the network's input, so that crops are cut
/// from the images themselves: what is drawn belongs to the sample, not to whoever holds it.
#[test]
fn replicas_see_a_partition_changed_alike() {
    let data = shapes(24, 2 * SIDE);
    let model = TINY_SSD;
    let plain = learner(&data, &config(model, None)).initial_parameters();
    let mut seen: Vec<Vec<f32>> = vec![];
    for augment in [Recipe::None, Recipe::Flip, Recipe::Ssd, Recipe::SsdLite] {
        let config = ImageConfig {
            augment,
            ..config(model, None)
        };
        // one holds partitions 0 and 1 and caches nothing, the other 1 and 2
        let forgetful = ImageConfig {
            cache_bytes: 0,
            ..config.clone()
        };
        let mut first = learner(&data, &forgetful);
        let mut second = learner(&data, &config);
        for iteration in 0..3 {
            gradient(&mut *first, iteration, &[(0, 1.0), (1, 1.0)]);
            gradient(&mut *second, iteration, &[(1, 1.0), (2, 1.0)]);
        }
        // one iteration alone may by chance leave both samples as they are
        let mut shared = vec![];
        for iteration in 3..9 {
            let mine = gradient(&mut *first, iteration, &[(1, 1.0)]);
            let theirs = gradient(&mut *second, iteration, &[(1, 1.0)]);
            assert_eq!(mine, theirs, "{augment:?}");
            shared.extend(mine);
        }
        let apart = distance(&mut *second, &plain, &[(0, 1.0), (1, 1.0)]);
        assert!(apart < 1e-6, "{augment:?}: {apart:e}");
        assert!(!seen.contains(&shared), "{augment:?} changes nothing");
        seen.push(shared);
    }
}

#[test]
fn losses_are_reported_per_partition_without_the_coefficient() {
    let data = shapes(24, SIDE);
    let config = config(TINY_SSD, None);
    let mut learner = learner(&data, &config);
    let parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; learner.dimension()];
    let mut losses = |assignment: &[(usize, f64)]| {
        learner
            .coded_gradient(&parameters, 0, assignment, &mut gradient)
            .unwrap()
    };
    let both = losses(&[(0, 0.1), (2, -3.0)]);
    let alone = losses(&[(2, 1.0)]);
    assert_eq!(
        both.iter()
            .map(|l| (l.partition, l.samples))
            .collect::<Vec<_>>(),
        [(0, 2.0), (2, 2.0)]
    );
    assert!((both[1].loss / alone[0].loss - 1.0).abs() < 1e-6);
    assert!(losses(&[]).is_empty());
}

/// Central differences of the reported loss along random directions equal the gradient's.
#[test]
fn the_gradient_is_that_of_the_reported_loss() {
    let data = shapes(12, SIDE);
    for model in [
        TINY_SSD,
        ModelConfig::Cnn {
            width: 8,
            side: SIDE,
        },
    ] {
        let mut learner = learner(&data, &config(model, None));
        let parameters = learner.initial_parameters();
        let mut gradient = vec![0.0; learner.dimension()];
        let mut loss_at = |parameters: &[f32], gradient: &mut [f32]| {
            learner
                .coded_gradient(parameters, 0, &[(1, 1.0)], gradient)
                .unwrap()[0]
                .loss
        };
        loss_at(&parameters, &mut gradient);
        let norm = norm(gradient.iter().map(|&g| f64::from(g)));
        // Along the gradient itself, where the change is largest against rounding. The choice of
        // hard negatives makes the detection loss only piecewise smooth: hence a small step.
        let step = 2e-3 / norm;
        let moved = |sign: f64| -> Vec<f32> {
            parameters
                .iter()
                .zip(&gradient)
                .map(|(&p, &g)| (f64::from(p) + sign * step * f64::from(g)) as f32)
                .collect()
        };
        let mut scratch = vec![0.0; gradient.len()];
        let slope = (loss_at(&moved(1.0), &mut scratch) - loss_at(&moved(-1.0), &mut scratch))
            / (2.0 * step);
        let relative = (slope / norm.powi(2) - 1.0).abs();
        assert!(
            relative < 2e-2,
            "{model:?}: {slope} against {}",
            norm.powi(2)
        );
    }
}

#[test]
fn impossible_requests_are_refused() {
    type Change = fn(&mut ImageConfig);
    let data = shapes(8, SIDE);
    let refuse = |change: Change| {
        let mut config = config(TINY_SSD, None);
        change(&mut config);
        match build(&config, data.train.clone(), None) {
            Ok(_) => panic!("{config:?} was accepted"),
            Err(error) => error.to_string(),
        }
    };
    let ssdlite = |norm| ModelConfig::SsdLite { side: SIDE, norm };
    let cases: [(Change, &str); 6] = [
        (
            |c| {
                c.model = ModelConfig::TinySsd {
                    width: 8,
                    side: 100,
                }
            },
            "multiple of 32",
        ),
        (
            |c| c.model = ModelConfig::TinySsd { width: 7, side: 64 },
            "even number",
        ),
        (
            |c| c.model = ModelConfig::Cnn { width: 0, side: 64 },
            "at least 1",
        ),
        (|c| c.torch.partitions = 9, "between 1 and 8"),
        (
            |c| c.torch.weights = Some("/nowhere.safetensors".into()),
            "/nowhere.safetensors",
        ),
        (|c| c.torch.partitions = 0, "partitions = 0"),
    ];
    for (change, expected) in cases {
        let message = refuse(change);
        assert!(message.contains(expected), "{message}");
    }
    let mut small = config(ssdlite(NormKind::Batch), None);
    small.torch.batch = 1;
    let message = build(&small, data.train.clone(), None)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("at least 2 images per partition"),
        "{message}"
    );
    let frozen = config(ssdlite(NormKind::Frozen), None);
    let message = build(&frozen, data.train.clone(), None)
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("without a weights file"), "{message}");

    let mut learner = learner(&data, &config(TINY_SSD, None));
    let parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; learner.dimension()];
    assert!(matches!(
        learner.coded_gradient(&parameters, 0, &[(3, 1.0)], &mut gradient),
        Err(LearnerError::UnknownPartition {
            partition: 3,
            partitions: 3
        })
    ));
    assert!(matches!(
        learner.coded_gradient(&parameters[1..], 0, &[(0, 1.0)], &mut gradient),
        Err(LearnerError::Length { .. })
    ));
    let not_finite = vec![f32::NAN; parameters.len()];
    let error = learner.coded_gradient(&not_finite, 0, &[(1, 1.0)], &mut gradient);
    assert!(
        matches!(&error, Err(LearnerError::NotFinite { what }) if what.contains("partition 1"))
    );
    assert!(
        learner
            .coded_gradient(&parameters, 0, &[(1, 1.0)], &mut gradient)
            .is_ok()
    );
}

#[test]
fn a_missing_image_is_named() {
    let data = shapes(8, SIDE);
    std::fs::remove_file(data.train.image_path(0).unwrap()).unwrap();
    let mut config = config(
        ModelConfig::Cnn {
            width: 8,
            side: SIDE,
        },
        None,
    );
    config.torch.partitions = 1;
    config.torch.batch = 0;
    let mut learner = learner(&data, &config);
    let parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; learner.dimension()];
    let error = learner.coded_gradient(&parameters, 0, &[(0, 1.0)], &mut gradient);
    assert!(
        matches!(&error, Err(LearnerError::Data { path, .. }) if *path == data.train.image_path(0).unwrap()),
        "{error:?}"
    );
}
