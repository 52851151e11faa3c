//! SSDLite against torchvision 0.26, forward and backward.
//!
//! `tests/data/torchvision.json` is what `tools/parity/dump_torchvision.py` computed; both sides
//! fill weights and images by the same integer hash. Compared: names and shapes of all parameters,
//! default boxes, matches, outputs, losses, all gradients, running statistics after a pass, and
//! detections. With the same libtorch on one thread the two agree to the last bit or nearly so;
//! the tolerance leaves room for another CPU's convolution kernels.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
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

/// Relative, in the l2 norm.
const TOLERANCE: f64 = 1e-5;
/// The same for one tensor's gradient: batch norm over the four pixels of the last maps amplifies
/// rounding, differently on each kind of CPU.
const TENSOR_TOLERANCE: f64 = 1e-3;

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

/// The norm of a tensor, and every `(len / count)`-th value of it.
#[derive(Deserialize)]
struct Strided {
    norm: f64,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct ParameterDump {
    name: String,
    shape: Vec<i64>,
    gradient: Strided,
}

#[derive(Deserialize)]
struct RunningDump {
    name: String,
    #[serde(flatten)]
    value: Strided,
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

/// Multiples of 2^-23 in [-1, 1): the hash of the Python side.
fn uniform(stream: u32, index: u32) -> f32 {
    let mut x = index
        .wrapping_mul(0x9E37_79B1)
        .wrapping_add(stream.wrapping_mul(0x85EB_CA77).wrapping_add(0x1656_67B1));
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^= x >> 16;
    (x >> 8) as f32 * 2f32.powi(-23) - 1.0
}

fn filled(stream: u32, len: usize, centre: f64, scale: f64) -> Vec<f32> {
    (0..len as u32)
        .map(|index| centre as f32 + scale as f32 * uniform(stream, index))
        .collect()
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
    // Of one-dimensional weights only those of norms exist; everything else is a bias.
    let mut flat = Flat::new(parameters, Device::Cpu).unwrap();
    let mut values = Vec::with_capacity(flat.dimension());
    for (stream, slot) in (0u32..).zip(flat.slots()) {
        let (centre, scale) = match slot.shape.as_slice() {
            [outputs, .., kernel] => {
                let fan_in = (slot.len as i64 / outputs) as f64;
                let output = slot.name.contains("module_list")
                    && slot.name.ends_with(".1.weight")
                    && *kernel == 1;
                (0.0, (if output { 0.75 } else { 6.0 } / fan_in).sqrt())
            }
            _ if slot.name.ends_with(".weight") => (1.0, 0.1),
            _ => (0.0, 0.1),
        };
        values.extend(filled(stream, slot.len, centre, scale));
    }
    flat.set_parameters(&values).unwrap();
    let mut model = Model { net, flat, buffers };
    model.reset_statistics();
    model
}

impl Model {
    fn reset_statistics(&mut self) {
        for (stream, buffer) in (1000u32..).zip(&mut self.buffers) {
            let variance = buffer.name.ends_with("var");
            let (centre, scale) = if variance { (1.0, 0.5) } else { (0.0, 0.1) };
            let values = filled(stream, buffer.tensor.numel(), centre, scale);
            buffer.tensor.copy_(&Tensor::from_slice(&values));
        }
    }
}

/// Collects the largest differences for the printout.
#[derive(Default)]
struct Report(Vec<(String, f64)>);

impl Report {
    /// Relative l2 difference of the samples and of the norms.
    fn compare(&mut self, what: &str, found: &[f32], expected: &Strided) {
        let (samples, norms) = differences(found, expected);
        self.limit(what, samples / expected.norm);
        self.limit(&format!("norm of {what}"), norms / expected.norm);
    }

    fn limit(&mut self, what: &str, difference: f64) {
        self.limit_to(TOLERANCE, what, difference);
    }

    fn limit_to(&mut self, tolerance: f64, what: &str, difference: f64) {
        assert!(
            difference <= tolerance,
            "{what}: relative difference {difference:e}"
        );
        self.0.push((what.to_owned(), difference));
    }

    fn print(mut self, title: &str) {
        self.0.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (name, worst) = &self.0[0];
        let exact = self.0.iter().filter(|entry| entry.1 == 0.0).count();
        println!(
            "{title}: {} comparisons, {exact} equal to the last digit, \
             largest relative difference {worst:.1e} ({name})",
            self.0.len()
        );
    }
}

/// The l2 difference of a tensor to what was expected, estimated from the samples, and the
/// difference of the norms.
fn differences(found: &[f32], expected: &Strided) -> (f64, f64) {
    let count = expected.values.len();
    let step = (found.len() / count).max(1);
    let squares = found
        .iter()
        .step_by(step)
        .zip(&expected.values)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum::<f64>();
    let samples = (squares * found.len() as f64 / count as f64).sqrt();
    (samples, (norm(found) - expected.norm).abs())
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn host(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().reshape([-1])).unwrap()
}

fn check(case: &Case) {
    tch::set_num_threads(1);
    let mut report = Report::default();
    let mut model = model(case.classes);
    let side = i64::from(case.side);
    let names: Vec<_> = model
        .flat
        .slots()
        .iter()
        .map(|slot| (slot.name.as_str(), slot.shape.as_slice()))
        .collect();
    let expected: Vec<_> = case
        .parameters
        .iter()
        .map(|p| (p.name.as_str(), p.shape.as_slice()))
        .collect();
    assert_eq!(names, expected, "state_dict names, order and shapes");

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
    let images = filled(5000, count * 3 * (side * side) as usize, 0.0, 1.0);
    let images = Tensor::from_slice(&images).view([count as i64, 3, side, side]);

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
    let relative = |found: f64, expected: f64| (found - expected).abs() / expected;
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
    model.flat.check().unwrap();
    let mut gradient = vec![0f32; model.flat.dimension()];
    model.flat.read_gradients(&mut gradient).unwrap();
    // Of the whole gradient, and of every tensor of it. Some are zero but for rounding, such as
    // that of a shift which a following batch norm removes: hence the floor.
    let whole = norm(&gradient);
    let mut squares = 0.0;
    for (slot, expected) in model.flat.slots().iter().zip(&case.parameters) {
        let values = &gradient[slot.offset..slot.offset + slot.len];
        let (samples, norms) = differences(values, &expected.gradient);
        squares += samples.powi(2);
        let size = expected.gradient.norm.max(1e-3 * whole);
        let name = format!("gradient of {}", slot.name);
        report.limit_to(TENSOR_TOLERANCE, &name, samples.max(norms) / size);
    }
    report.limit("whole gradient", squares.sqrt() / whole);
    report.print(&format!(
        "ssdlite {} px, {} classes, {} parameters",
        case.side,
        case.classes,
        model.flat.dimension()
    ));
}

fn cases() -> Vec<Case> {
    let dump: Dump = serde_json::from_str(include_str!("data/torchvision.json")).unwrap();
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
