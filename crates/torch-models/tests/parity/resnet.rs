//! ResNet-18 and ResNet-50: compared are names and shapes of all parameters, logits, both losses, all
//! gradients, and running statistics after a pass.

use serde::Deserialize;
use tch::{Device, Kind, Reduction, Tensor};
use torch_models::NormKind;
use torch_models::flat::Flat;
use torch_models::layers::Mode;
use torch_models::models::ClassificationModel;
use torch_models::models::resnet::{Depth, ResNet, Stem};
use torch_models::store::Store;

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
    layers: u32,
    side: i64,
    outputs: i64,
    labels: Vec<i64>,
    logits: Strided,
    evaluated: Strided,
    cross_entropy: f64,
    binary_cross_entropy: f64,
    parameters: Vec<ParameterDump>,
    running: Vec<RunningDump>,
}

fn check(depth: Depth) {
    tch::set_num_threads(1);
    let dump: Dump = serde_json::from_str(include_str!("../data/resnet.json")).unwrap();
    let case = dump.cases.iter().find(|c| c.layers == depth.layers());
    let case = case.unwrap();
    let mut report = Report::default();

    let store = Store::new(Device::Cpu);
    let root = store.root();
    let net = ResNet::new(&root, depth, Stem::Standard, NormKind::Batch, case.outputs).unwrap();
    let (parameters, mut buffers) = store.into_parts();
    let mut flat = Flat::new(parameters, Device::Cpu).unwrap();
    same_layout(&flat, &case.parameters);
    fill_parameters(&mut flat, |_, _, fan_in| (6.0 / fan_in).sqrt());
    reset_statistics(&mut buffers);

    let count = case.labels.len();
    let images = images(count, case.side, 1.5);
    let labels = Tensor::from_slice(&case.labels);
    let outputs = case.outputs as usize;
    let mut presence = vec![0f32; count * outputs];
    for (row, &label) in presence.chunks_mut(outputs).zip(&case.labels) {
        row[label as usize..]
            .iter_mut()
            .step_by(7)
            .for_each(|p| *p = 1.0);
    }
    let presence = Tensor::from_slice(&presence).view([-1, case.outputs]);

    let logits = tch::no_grad(|| net.forward(&images, Mode::Evaluate)).unwrap();
    report.compare("logits in evaluation", &host(&logits), &case.evaluated);

    let _ = tch::no_grad(|| net.forward(&images, Mode::Calibrate(0.1))).unwrap();
    assert_eq!(buffers.len(), case.running.len());
    for (buffer, expected) in buffers.iter().zip(&case.running) {
        assert_eq!(buffer.name, expected.name);
        report.compare(&expected.name, &host(&buffer.tensor), &expected.value);
    }

    let logits = net.forward(&images, Mode::Train).unwrap();
    report.compare("logits", &host(&logits), &case.logits);
    let binary = logits
        .binary_cross_entropy_with_logits::<Tensor>(&presence, None, None, Reduction::Sum)
        .double_value(&[])
        / count as f64;
    report.limit(
        "binary cross-entropy",
        relative(binary, case.binary_cross_entropy),
    );
    let loss = logits.log_softmax(-1, Kind::Float).nll_loss(&labels);
    report.limit(
        "cross-entropy",
        relative(loss.double_value(&[]), case.cross_entropy),
    );
    loss.backward();
    report.gradients(&mut flat, &case.parameters);
    report.print(&format!(
        "resnet{} {} px, {} outputs, {} parameters",
        case.layers,
        case.side,
        case.outputs,
        flat.dimension()
    ));
}

#[test]
fn resnet_50_equals_torchvision() {
    check(Depth::Fifty);
}

#[test]
fn resnet_18_equals_torchvision() {
    check(Depth::Eighteen);
}
