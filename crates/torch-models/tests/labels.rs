//! Raw labels, the category ids themselves: networks have the outputs for them, and what they
//! find is compared with the annotations under the same ids.

mod common;

use std::sync::Arc;

use coco::{Annotations, Dataset, Labels, SampleCache};
use common::models::{TINY_SSD, image_config};
use torch_models::data::TrainingData;
use torch_models::detection::postprocess::Detection;
use torch_models::detector::Detector;
use torch_models::engine::Task;
use torch_models::images::ImageInput;
use torch_models::models::tiny_ssd::TinySsd;
use torch_models::store::Store;
use torch_models::{ImageConfig, ModelConfig, build};

const SIDE: u32 = 64;

/// The shapes with category ids 7, 14, 21, ...
fn gapped(directory: &std::path::Path) -> Dataset {
    let synth = coco::synth::SynthConfig {
        images: 12,
        validation: 1,
        side: SIDE,
        threads: 1,
        ..coco::synth::SynthConfig::default()
    };
    let made = coco::synth::generate(&directory.join("shapes"), &synth).unwrap();
    let path = std::path::Path::new(&made.train_annotations);
    let mut lists = Annotations::read(path).unwrap();
    lists.categories.iter_mut().for_each(|c| c.id *= 7);
    lists
        .annotations
        .iter_mut()
        .for_each(|a| a.category_id *= 7);
    Dataset::new(lists, path, made.train_images.as_ref()).unwrap()
}

fn config(model: ModelConfig, classes: Option<usize>) -> ImageConfig {
    ImageConfig {
        classes,
        ..image_config(model, 1, 4)
    }
}

#[test]
fn detections_count_under_their_category_ids() {
    let scratch = tempfile::tempdir().unwrap();
    let dense = gapped(scratch.path());
    for labels in [Labels::Dense, Labels::Raw] {
        let dataset = Arc::new(dense.clone().with_labels(labels).unwrap());
        let source = Arc::new(SampleCache::new(dataset.clone(), Some(SIDE), 0));
        let data = TrainingData::new(source.clone(), 1, 4, 1, 1).unwrap();
        let input = ImageInput::new(&config(TINY_SSD, None));
        let store = Store::new(tch::Device::Cpu);
        let net = TinySsd::new(&store.root(), 8, dataset.classes() as i64).unwrap();
        let detector = Detector::new(Box::new(net), input, &data).unwrap();
        // Everything found exactly, under the labels that the network is trained with.
        let perfect = |shift: i64| {
            let found = (0..dataset.len()).map(|image| {
                let targets = dataset.targets(image, SIDE).unwrap();
                let boxes = targets.boxes.into_iter().zip(targets.labels);
                let found = boxes.map(|(corners, label)| Detection {
                    corners,
                    label: label + shift,
                    score: 0.9,
                });
                (image, found.collect())
            });
            let metrics = detector.metrics(found.collect(), &source).unwrap();
            (metrics[1].name.clone(), metrics[1].value)
        };
        let (name, value) = perfect(0);
        assert!(name == "AP50" && (value - 1.0).abs() < 1e-9, "{value}");
        assert!(perfect(1).1 < 0.5, "{labels:?}");
    }
}

#[test]
fn classes_are_what_the_labels_need_or_more() {
    let scratch = tempfile::tempdir().unwrap();
    let dense = Arc::new(gapped(scratch.path()));
    let raw = Arc::new((*dense).clone().with_labels(Labels::Raw).unwrap());
    let (few, many) = (dense.classes(), raw.classes());
    assert_eq!(many, 7 * (few - 1) + 1);
    for model in [
        TINY_SSD,
        ModelConfig::SsdLite {
            side: SIDE,
            norm: torch_models::NormKind::Group,
        },
        ModelConfig::Cnn {
            width: 8,
            side: SIDE,
        },
    ] {
        let learner =
            |data: &Arc<Dataset>, classes| build(&config(model, classes), data.clone(), None);
        let dimension = |data, classes| learner(data, classes).unwrap().dimension();
        assert_eq!(dimension(&raw, None), dimension(&dense, Some(many)));
        assert_eq!(dimension(&dense, None), dimension(&dense, Some(few)));
        assert!(dimension(&raw, Some(many + 1)) > dimension(&raw, None));
        for (data, classes) in [(&dense, few - 1), (&raw, few), (&raw, many - 1)] {
            let error = learner(data, Some(classes)).err().unwrap().to_string();
            let wanted = format!("model.classes = {classes} is not usable: at least");
            assert!(error.starts_with(&wanted), "{error}");
        }
        // The highest label is the last output: it takes part in the loss.
        let mut learner = learner(&raw, None).unwrap();
        let parameters = learner.initial_parameters();
        let mut gradient = vec![0.0; learner.dimension()];
        let losses = learner
            .coded_gradient(&parameters, 0, &[(0, 1.0)], &mut gradient)
            .unwrap();
        assert!(losses[0].loss > 0.0);
        assert!(learner.evaluate(&parameters).unwrap()[0].value.is_finite());
    }
}

#[test]
fn both_sets_must_have_the_same_labels() {
    let scratch = tempfile::tempdir().unwrap();
    let dense = Arc::new(gapped(scratch.path()));
    let raw = Arc::new((*dense).clone().with_labels(Labels::Raw).unwrap());
    let config = config(TINY_SSD, None);
    let error = build(&config, dense, Some(raw)).err().unwrap().to_string();
    assert!(error.contains("data.validation_annotations"), "{error}");
}
