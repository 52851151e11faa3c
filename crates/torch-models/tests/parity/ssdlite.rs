//! SSDLite: compared are names and shapes of all parameters, default boxes, matches, outputs, losses,
//! all gradients, running statistics after a pass, and detections.

use serde::Deserialize;
use tch::{Device, Kind};
use torch_models::NormKind;
use torch_models::detection::Corners;
use torch_models::detection::loss::{Targets, weighted_sum};
use torch_models::detection::matcher::match_anchors;
use torch_models::detection::postprocess::PostProcess;
use torch_models::flat::Flat;
use torch_models::layers::Mode;
use torch_models::models::DetectionModel;
use torch_models::models::ssdlite::SsdLite;
use torch_models::store::{Buffer, Store};

use crate::reference::{
    ParameterDump, Report, RunningDump, Strided, fill_parameters, host, images, relative,
    reset_statistics, same_layout,
};

#[derive(Deserialize)]
struct Dump {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    side: u32,
    classes: i64,
    boxes: Vec<Vec<f32>>,
    labels: Vec<Vec<i64>>,
    anchors: Strided,
    positive_anchors: Vec<usize>,
    positive_matches: Vec<u32>,
    logits: Strided,
    codes: Strided,
    localization_loss: f64,
    classification_loss: f64,
    parameters: Vec<ParameterDump>,
    running: Vec<RunningDump>,
    evaluated: Evaluated,
}

#[derive(Deserialize)]
struct Evaluated {
    logits: Strided,
    codes: Strided,
    detections: Vec<DetectionsDump>,
}

#[derive(Deserialize)]
struct DetectionsDump {
    count: usize,
    boxes: Vec<f32>,
    labels: Vec<i64>,
    scores: Vec<f32>,
}

/// The network with hash-filled weights.
struct Model {
    net: SsdLite,
    flat: Flat,
    buffers: Vec<Buffer>,
}

fn model(classes: i64) -> Model {
    let store = Store::new(Device::Cpu);
    let net = SsdLite::new(&store.root(), classes, NormKind::Batch).unwrap();
    let (parameters, buffers) = store.into_parts();
    let mut flat = Flat::new(parameters, Device::Cpu).unwrap();
    fill_parameters(&mut flat, |name, shape, fan_in| {
        // The last convolution of each head.
        let output =
            name.contains("module_list") && name.ends_with(".1.weight") && shape.last() == Some(&1);
        (if output { 0.75 } else { 6.0 } / fan_in).sqrt()
    });
    let mut model = Model { net, flat, buffers };
    reset_statistics(&mut model.buffers);
    model
}

fn check(case: &Case) {
    tch::set_num_threads(1);
    let mut report = Report::default();
    let mut model = model(case.classes);
    let side = i64::from(case.side);
    same_layout(&model.flat, &case.parameters);

    let anchors = model
        .net
        .default_boxes()
        .boxes(&model.net.map_sides(case.side), case.side);
    report.compare("default boxes", anchors.as_flattened(), &case.anchors);

    let truths: Vec<Vec<Corners>> = case
        .boxes
        .iter()
        .map(|boxes| boxes.as_chunks::<4>().0.to_vec())
        .collect();
    let matches: Vec<_> = truths
        .iter()
        .flat_map(|boxes| match_anchors(boxes, &anchors))
        .enumerate()
        .filter_map(|(anchor, matched)| Some((anchor, matched?)))
        .collect();
    let expected: Vec<_> = case
        .positive_anchors
        .iter()
        .copied()
        .zip(case.positive_matches.iter().copied())
        .collect();
    assert_eq!(matches, expected, "matches");

    let count = truths.len();
    let images = images(count, side, 1.0);

    // predictions with the given running statistics
    let outputs = tch::no_grad(|| model.net.forward(&images, Mode::Evaluate)).unwrap();
    report.compare(
        "logits in evaluation",
        &host(&outputs.logits),
        &case.evaluated.logits,
    );
    report.compare(
        "codes in evaluation",
        &host(&outputs.codes),
        &case.evaluated.codes,
    );
    let scores = host(&outputs.logits.softmax(-1, Kind::Float));
    let codes = host(&outputs.codes);
    for (image, expected) in case.evaluated.detections.iter().enumerate() {
        let per_image = anchors.len() * case.classes as usize;
        let found = PostProcess::default().detections(
            &scores[image * per_image..(image + 1) * per_image],
            &codes[image * anchors.len() * 4..(image + 1) * anchors.len() * 4],
            &anchors,
            case.side,
        );
        assert_eq!(found.len(), expected.count, "detections in image {image}");
        for (rank, found) in found.iter().take(expected.labels.len()).enumerate() {
            assert_eq!(
                found.label, expected.labels[rank],
                "image {image}, rank {rank}"
            );
            let score = f64::from((found.score - expected.scores[rank]).abs());
            report.limit("detection scores", score);
            let corners = &expected.boxes[4 * rank..4 * rank + 4];
            for (a, b) in found.corners.iter().zip(corners) {
                report.limit(
                    "detection boxes",
                    f64::from((a - b).abs()) / f64::from(case.side),
                );
            }
        }
    }

    // running statistics after one pass with torchvision's momentum
    tch::no_grad(|| model.net.forward(&images, Mode::Calibrate(0.03))).unwrap();
    for expected in &case.running {
        let buffer = model
            .buffers
            .iter()
            .find(|b| b.name == expected.name)
            .unwrap();
        report.compare(&expected.name, &host(&buffer.tensor), &expected.value);
    }

    // losses and gradients; torchvision divides by the batch's positives
    let mut targets = Targets::default();
    for (boxes, labels) in truths.iter().zip(&case.labels) {
        targets.push(&anchors, boxes, labels);
    }
    let positives = case.positive_anchors.len() as f64;
    let outputs = model.net.forward(&images, Mode::Train).unwrap();
    report.compare("logits", &host(&outputs.logits), &case.logits);
    report.compare("codes", &host(&outputs.codes), &case.codes);
    let weights = vec![1.0 / positives; count];
    let (total, losses) = weighted_sum(&outputs, &targets, &weights).unwrap();
    let sum = |part: fn(&torch_models::detection::loss::ImageLoss) -> f64| {
        losses.iter().map(part).sum::<f64>() / positives
    };
    let (localization, classification) = (sum(|l| l.localization), sum(|l| l.classification));
    report.limit(
        "localization loss",
        relative(localization, case.localization_loss),
    );
    report.limit(
        "classification loss",
        relative(classification, case.classification_loss),
    );
    let both = case.localization_loss + case.classification_loss;
    report.limit("total loss", relative(total.double_value(&[]), both));

    total.backward();
    report.gradients(&mut model.flat, &case.parameters);
    report.print(&format!(
        "ssdlite {} px, {} classes, {} parameters",
        case.side,
        case.classes,
        model.flat.dimension()
    ));
}

fn cases() -> Vec<Case> {
    let dump: Dump = serde_json::from_str(include_str!("../data/torchvision.json")).unwrap();
    dump.cases
}

#[test]
fn ssdlite_320_with_91_classes_equals_torchvision() {
    check(&cases()[0]);
}

#[test]
fn ssdlite_160_with_6_classes_equals_torchvision() {
    check(&cases()[1]);
}
