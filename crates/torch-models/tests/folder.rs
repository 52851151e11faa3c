//! Classifiers on image folders: the gradients of partitions add up, and something is learned.

mod common;

use std::sync::Arc;

use coco::ImageFolder;
use coco::synth::{SynthConfig, generate_folders};
use common::gradients::{distance, gradient};
use common::models::{image_config, resnet};
use learner::optimizer::AdamConfig;
use learner::{Learner, Metric, OptimizerConfig, Second};
use torch_models::augment::Recipe;
use torch_models::{ImageConfig, ModelConfig, NormKind, single_label};

struct Folders {
    train: Arc<ImageFolder>,
    validation: Arc<ImageFolder>,
    _directory: tempfile::TempDir,
}

fn folders(images: u32, side: u32) -> Folders {
    let directory = tempfile::tempdir().unwrap();
    let config = SynthConfig {
        images,
        validation: (images / 4).max(5),
        side,
        threads: 1,
        ..SynthConfig::default()
    };
    let made = generate_folders(&directory.path().join("shapes"), &config).unwrap();
    let open = |path| Arc::new(ImageFolder::open(path).unwrap());
    Folders {
        train: open(&made.train_folder),
        validation: open(&made.validation_folder),
        _directory: directory,
    }
}

fn config(model: ModelConfig, partitions: usize, batch: usize) -> ImageConfig {
    ImageConfig {
        augment: Recipe::FlipAndTone,
        ..image_config(model, partitions, batch)
    }
}

fn learner(data: &Folders, config: &ImageConfig) -> Box<dyn Learner> {
    single_label::build(config, data.train.clone(), Some(data.validation.clone())).unwrap()
}

#[test]
fn partition_gradients_add_up_and_equal_arguments_give_equal_bits() {
    let data = folders(24, 32);
    for model in [
        ModelConfig::Cnn { width: 8, side: 32 },
        resnet(NormKind::Group),
        resnet(NormKind::Batch),
    ] {
        let config = config(model, 3, 3);
        let mut learner = learner(&data, &config);
        let assignment = [(0, -0.5), (2, 2.0)];
        let coded = gradient(&mut *learner, 4, &assignment);
        let parameters = learner.initial_parameters();
        let distance = distance(&mut *learner, &parameters, &assignment);
        println!("{model:?}: {distance:.1e}");
        assert!(distance < 1e-5, "{model:?}: {distance:e}");

        let mut fresh = self::learner(&data, &config);
        assert_eq!(coded, gradient(&mut *fresh, 4, &assignment), "{model:?}");
        assert_ne!(coded, gradient(&mut *fresh, 5, &assignment), "{model:?}");
    }
}

#[test]
fn a_classifier_learns_shapes() {
    let data = folders(100, 48);
    let mut config = config(
        ModelConfig::Cnn {
            width: 16,
            side: 48,
        },
        2,
        20,
    );
    config.augment = Recipe::None;
    let mut learner = learner(&data, &config);
    let mut optimizer = OptimizerConfig::AdamW(AdamConfig::default())
        .build(learner.dimension())
        .unwrap();
    let mut parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; parameters.len()];
    let mut losses = vec![];
    for iteration in 0..100 {
        let parts = learner
            .coded_gradient(&parameters, iteration, &[(0, 1.0), (1, 1.0)], &mut gradient)
            .unwrap();
        losses.push(parts.iter().map(|p| p.loss).sum::<f64>() / 2.0);
        optimizer.step_scaled(&mut parameters, &gradient, 0.5, Second::Same, 5e-3);
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[90..]));
    println!("loss {first} -> {last}");
    assert!((first - 5f64.ln()).abs() < 0.3, "five classes: {first}");
    assert!(last < 0.7 * first, "loss {first} -> {last}");
    let metrics = learner.evaluate(&parameters).unwrap();
    let value = |name: &str| -> f64 {
        let found = metrics.iter().find(|m: &&Metric| m.name == name);
        found.unwrap().value
    };
    assert_eq!(value("top5"), 1.0, "of five classes");
    assert!((0.0..=1.0).contains(&value("top1")) && value("loss").is_finite());
}

#[test]
fn what_does_not_fit_is_refused() {
    let data = folders(10, 32);
    let refused = |config: &ImageConfig, validation: &Arc<ImageFolder>| {
        single_label::build(config, data.train.clone(), Some(validation.clone()))
            .err()
            .unwrap()
            .to_string()
    };
    let cnn = ModelConfig::Cnn { width: 8, side: 32 };
    let detector = ModelConfig::TinySsd { width: 8, side: 32 };
    let message = refused(&config(detector, 1, 2), &data.validation);
    assert!(message.contains("data.train_folder"), "{message}");
    let few = ImageConfig {
        classes: Some(3),
        ..config(cnn, 1, 2)
    };
    let message = refused(&few, &data.validation);
    assert!(
        message.contains("model.classes = 3") && message.contains("at least 5"),
        "{message}"
    );
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("disk")).unwrap();
    std::fs::write(other.path().join("disk/1.jpg"), "").unwrap();
    let other = Arc::new(ImageFolder::open(other.path()).unwrap());
    let message = refused(&config(cnn, 1, 2), &other);
    assert!(
        message.contains("data.validation_folder") && message.contains("cross"),
        "{message}"
    );
    let message = refused(&config(resnet(NormKind::Batch), 1, 1), &data.validation);
    assert!(
        message.contains("at least 2 images per partition"),
        "{message}"
    );
    let message = refused(&config(resnet(NormKind::Frozen), 1, 2), &data.validation);
    assert!(message.contains("without a weights file"), "{message}");
}
