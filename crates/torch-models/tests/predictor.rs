//! A saved detector, loaded without its training set, finds what the learner found.

mod common;

use coco::{Picture, average_precision};
use common::shapes::shapes;
use learner::optimizer::AdamConfig;
use learner::{OptimizerConfig, Second};
use tch::Device;
use torch_models::{ImageConfig, ModelConfig, Predictor, build};

const MODEL: ModelConfig = ModelConfig::TinySsd {
    width: 16,
    side: 96,
};

#[test]
fn a_saved_detector_has_the_precision_it_was_evaluated_at() {
    let data = shapes(60, 96);
    let config = ImageConfig {
        model: MODEL,
        ..ImageConfig::default()
    };
    let mut learner = build(&config, data.train.clone(), Some(data.validation.clone())).unwrap();
    let mut optimizer = OptimizerConfig::AdamW(AdamConfig::default())
        .build(learner.dimension())
        .unwrap();
    let mut parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; parameters.len()];
    for iteration in 0..80 {
        learner
            .coded_gradient(&parameters, iteration, &[(0, 1.0)], &mut gradient)
            .unwrap();
        optimizer.step_scaled(&mut parameters, &gradient, 1.0, Second::Same, 2e-3);
    }
    let evaluated = learner.evaluate(&parameters).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let weights = scratch.path().join("model.safetensors");
    learner.export(&parameters, &weights).unwrap();

    let classes = data.validation.classes();
    let predictor = Predictor::load(&MODEL, classes, &weights, Device::Cpu, 1).unwrap();
    let (mut truth, mut found) = (Vec::new(), Vec::new());
    for index in 0..data.validation.len() {
        let path = data.validation.image_path(index).unwrap();
        let picture = Picture::read(&path, predictor.side()).unwrap();
        truth.extend(data.validation.ground_truth(index).unwrap());
        found.extend(predictor.detect(&picture).unwrap().into_iter().map(|one| {
            average_precision::Detection {
                image: data.validation.images[index].id,
                label: one.label,
                bbox: one.bbox,
                score: one.score,
            }
        }));
    }
    let all = average_precision::average_precision(&truth, &found);
    for (name, value) in [("AP", all.ap), ("AP50", all.ap50)] {
        let metric = evaluated.iter().find(|metric| metric.name == name).unwrap();
        // Batches of another size sum in another order.
        assert!(
            (metric.value - value).abs() < 1e-3,
            "{name}: {} {value}",
            metric.value
        );
    }
    assert!(all.ap50 > 0.05, "it has learned something: {}", all.ap50);

    // A file that fits only in part is refused, and so is a network that finds no objects.
    let refused = |model: &ModelConfig, classes| {
        Predictor::load(model, classes, &weights, Device::Cpu, 1)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refused(&MODEL, classes + 1).contains("classification_head.0.weight has shape"));
    let wider = ModelConfig::TinySsd {
        width: 24,
        side: 96,
    };
    assert!(refused(&wider, classes).contains("has shape"));
    let classifier = ModelConfig::Cnn {
        width: 16,
        side: 32,
    };
    assert!(refused(&classifier, classes).contains("a detector"));
}
