//! The models learn: losses fall by a clear factor within seconds, and held-out metrics rise.

mod common;

use common::shapes::{Shapes, shapes};
use learner::optimizer::AdamConfig;
use learner::{Metric, OptimizerConfig, Second};
use torch_models::{ImageConfig, ModelConfig, NormKind, Precision, TorchConfig, build};

/// Trains with AdamW on all partitions; returns the mean loss of the first and of the last tenth
/// of the steps, and the metrics.
fn train(data: &Shapes, config: &ImageConfig, steps: u64, rate: f32) -> (f64, f64, Vec<Metric>) {
    let mut learner = build(config, data.train.clone(), Some(data.validation.clone())).unwrap();
    let assignment: Vec<_> = (0..config.torch.partitions).map(|j| (j, 1.0)).collect();
    let mut optimizer = OptimizerConfig::AdamW(AdamConfig::default())
        .build(learner.dimension())
        .unwrap();
    let mut parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; parameters.len()];
    let mut losses = Vec::new();
    for iteration in 0..steps {
        let parts = learner
            .coded_gradient(&parameters, iteration, &assignment, &mut gradient)
            .unwrap();
        losses.push(parts.iter().map(|p| p.loss).sum::<f64>() / parts.len() as f64);
        let mean = 1.0 / config.torch.partitions as f32;
        optimizer.step_scaled(&mut parameters, &gradient, mean, Second::Same, rate);
    }
    let tenth = losses.len() / 10;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let metrics = learner.evaluate(&parameters).unwrap();
    let (first, last) = (
        mean(&losses[..tenth]),
        mean(&losses[losses.len() - tenth..]),
    );
    println!(
        "{:?}: loss {first:.2} -> {last:.2}, {metrics:?}",
        config.model
    );
    (first, last, metrics)
}

fn value(metrics: &[Metric], name: &str) -> f64 {
    metrics.iter().find(|m| m.name == name).unwrap().value
}

#[test]
fn tiny_ssd_learns_shapes() {
    let data = shapes(60, 96);
    let config = ImageConfig {
        model: ModelConfig::TinySsd {
            width: 16,
            side: 96,
        },
        torch: TorchConfig {
            partitions: 2,
            batch: 8,
            ..TorchConfig::default()
        },
        ..ImageConfig::default()
    };
    let (first, last, metrics) = train(&data, &config, 80, 2e-3);
    assert!(last < 0.6 * first, "loss {first} -> {last}");
    let names: Vec<_> = metrics.iter().map(|m| m.name.as_str()).collect();
    let coco = [
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
        "loss",
    ];
    assert_eq!(names, coco);
    assert!(value(&metrics, "AP50") >= value(&metrics, "AP"));
}

#[test]
fn cnn_learns_which_shapes_there_are() {
    let data = shapes(60, 64);
    let config = ImageConfig {
        model: ModelConfig::Cnn {
            width: 16,
            side: 64,
        },
        torch: TorchConfig {
            partitions: 2,
            batch: 15,
            ..TorchConfig::default()
        },
        ..ImageConfig::default()
    };
    let (first, last, metrics) = train(&data, &config, 100, 5e-3);
    assert!(last < 0.6 * first, "loss {first} -> {last}");
    assert!((0.0..=1.0).contains(&value(&metrics, "accuracy")));
}

/// Statistics are estimated before an evaluation, so batch norm predicts as it was trained: the
/// same images have nearly the same loss in training and in evaluation.
#[test]
fn ssdlite_with_batch_norm_is_evaluated_as_it_is_trained() {
    let data = shapes(16, 64);
    let config = ImageConfig {
        model: ModelConfig::SsdLite {
            side: 64,
            norm: NormKind::Batch,
        },
        torch: TorchConfig {
            partitions: 1,
            batch: 16,
            ..TorchConfig::default()
        },
        ..ImageConfig::default()
    };
    let mut learner = build(&config, data.train.clone(), None).unwrap();
    let mut parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; parameters.len()];
    let mut optimizer = OptimizerConfig::AdamW(AdamConfig::default())
        .build(parameters.len())
        .unwrap();
    let mut loss = 0.0;
    for iteration in 0..15 {
        let parts = learner
            .coded_gradient(&parameters, iteration, &[(0, 1.0)], &mut gradient)
            .unwrap();
        loss = parts[0].loss;
        if iteration < 14 {
            optimizer.step_scaled(&mut parameters, &gradient, 1.0, Second::Same, 1e-3);
        }
    }
    let metrics = learner.evaluate(&parameters).unwrap();
    let evaluated = value(&metrics, "loss");
    assert!(
        (evaluated / loss - 1.0).abs() < 0.1,
        "trained at {loss}, evaluated at {evaluated}"
    );
}

/// Products of bfloat16 operands have 8 significant bits: where nothing is chosen by comparing
/// (a detector's hard negatives are), gradients agree to a few percent, and the model learns.
#[test]
fn mixed_precision_computes_nearly_the_same_gradient_and_learns() {
    let data = shapes(60, 64);
    let config = |precision| ImageConfig {
        model: ModelConfig::Cnn { width: 8, side: 64 },
        torch: TorchConfig {
            partitions: 2,
            batch: 8,
            precision,
            ..TorchConfig::default()
        },
        ..ImageConfig::default()
    };
    let gradient = |precision| {
        let mut learner = build(&config(precision), data.train.clone(), None).unwrap();
        let parameters = learner.initial_parameters();
        let mut gradient = vec![0.0; parameters.len()];
        learner
            .coded_gradient(&parameters, 0, &[(0, 1.0), (1, -0.5)], &mut gradient)
            .unwrap();
        gradient
    };
    let (exact, mixed) = (gradient(Precision::F32), gradient(Precision::Bf16));
    let norm =
        |v: &mut dyn Iterator<Item = f32>| v.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let error = norm(&mut exact.iter().zip(&mixed).map(|(a, b)| a - b));
    let relative = error / norm(&mut exact.iter().copied());
    assert!((1e-6..0.05).contains(&relative), "{relative}");
    let (first, last, _) = train(&data, &config(Precision::Bf16), 120, 5e-3);
    assert!(last < 0.8 * first, "loss {first} -> {last}");
}
