//! A TorchScript model with batch norm and dropout, made by tools/torchscript/make_example.py, as a
//! learner.

mod common;

use std::path::{Path, PathBuf};

use common::gradients::{gradient, norm};
use counter_rng::{Purpose, rng};
use learner::{Learner, OptimizerConfig, Second, optimizer::AdamConfig};
use rand::RngExt;
use tch::{Device, Kind, Tensor};
use torch_models::{TorchConfig, build_scripted, scripted_parameters};

const PARTITIONS: usize = 3;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spirals.pt")
}

/// The two arrays of a set of points on two spirals.
fn spirals(directory: &Path, samples: usize, seed: u64) -> PathBuf {
    let mut draws = rng(seed, Purpose::Synthesis, 0, 0);
    let (mut points, mut spirals) = (Vec::new(), Vec::new());
    for _ in 0..samples {
        let spiral = draws.random::<bool>();
        let turn = draws.random::<f64>().sqrt() * 3.0 * std::f64::consts::PI;
        let angle = turn + std::f64::consts::PI * f64::from(u8::from(spiral));
        points.push((turn * angle.cos() / 10.0) as f32);
        points.push((turn * angle.sin() / 10.0) as f32);
        spirals.push(i64::from(spiral));
    }
    let path = directory.join(format!("{seed}.safetensors"));
    let points = Tensor::from_slice(&points).view([-1, 2]);
    let spirals = Tensor::from_slice(&spirals);
    Tensor::write_safetensors(&[("points", &points), ("spiral", &spirals)], &path).unwrap();
    path
}

fn names() -> [String; 2] {
    ["points", "spiral"].map(str::to_owned)
}

fn learner(train: &Path, validation: Option<&Path>) -> Box<dyn Learner> {
    let config = TorchConfig {
        partitions: PARTITIONS,
        batch: 32,
        seed: 5,
        ..TorchConfig::default()
    };
    build_scripted(&config, &model(), train, validation, &names()).unwrap()
}

#[test]
fn partition_gradients_add_up_and_replicas_agree() {
    let scratch = tempfile::tempdir().unwrap();
    let train = spirals(scratch.path(), 300, 1);
    let (mut one, mut other) = (learner(&train, None), learner(&train, None));
    assert_eq!(one.dimension(), scripted_parameters(&model()).unwrap());
    // Whatever else a worker computed before, dropout included.
    let single = |l: &mut dyn Learner, j| gradient(l, 4, &[(j, 1.0)]);
    let parts: Vec<_> = (0..PARTITIONS).map(|j| single(&mut *one, j)).collect();
    for j in [2, 0, 1] {
        assert_eq!(single(&mut *other, j), parts[j], "partition {j}");
    }
    let code = [(0, 0.5), (1, -2.0), (2, 3.0)];
    let coded = gradient(&mut *other, 4, &code);
    let expected: Vec<f64> = (0..coded.len())
        .map(|k| code.iter().map(|&(j, a)| a * f64::from(parts[j][k])).sum())
        .collect();
    let error = norm(coded.iter().zip(&expected).map(|(a, b)| f64::from(*a) - b));
    assert!(error < 1e-6 * norm(expected.iter().copied()), "{error}");
    assert_ne!(gradient(&mut *one, 5, &[(0, 1.0)]), parts[0]);
}

#[test]
fn it_learns_and_is_evaluated_alike_wherever_it_was_trained() {
    let scratch = tempfile::tempdir().unwrap();
    let (train, held_out) = (
        spirals(scratch.path(), 600, 1),
        spirals(scratch.path(), 200, 2),
    );
    let mut trained = learner(&train, Some(&held_out));
    let mut parameters = trained.initial_parameters();
    let before = trained.evaluate(&parameters).unwrap();
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].name, "loss");
    let mut optimizer = OptimizerConfig::Adam(AdamConfig::default())
        .build(parameters.len())
        .unwrap();
    let mut gradient = vec![0.0; parameters.len()];
    let everything: Vec<_> = (0..PARTITIONS).map(|j| (j, 1.0)).collect();
    for iteration in 0..150 {
        trained
            .coded_gradient(&parameters, iteration, &everything, &mut gradient)
            .unwrap();
        let mean = 1.0 / PARTITIONS as f32;
        optimizer.step_scaled(&mut parameters, &gradient, mean, Second::Same, 0.02);
    }
    let after = trained.evaluate(&parameters).unwrap();
    assert!(
        after[0].value < 0.5 * before[0].value,
        "{before:?} {after:?}"
    );
    // A master's module saw no training pass.
    let mut master = learner(&train, Some(&held_out));
    assert_eq!(master.evaluate(&parameters).unwrap(), after);
}

#[test]
fn parameters_come_back_under_their_names() {
    let scratch = tempfile::tempdir().unwrap();
    let train = spirals(scratch.path(), 100, 1);
    let mut learner = learner(&train, None);
    let path = scratch.path().join("saved.safetensors");
    let parameters = learner.initial_parameters();
    learner.export(&parameters, &path).unwrap();
    let saved = Tensor::read_safetensors(&path).unwrap();
    let weight = saved.iter().find(|(name, _)| name == "network.4.weight");
    assert_eq!(weight.unwrap().1.size(), [32, 32]);
    // Given values, not drawn ones.
    assert!(parameters.iter().any(|&value| value != 0.0));
}

#[test]
fn what_cannot_be_trained_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let train = spirals(scratch.path(), 100, 1);
    let refused = |model: &Path, names: &[String]| {
        let config = TorchConfig::default();
        let built = build_scripted(&config, model, &train, None, names);
        let error = built.and_then(|mut learner| {
            let parameters = learner.initial_parameters();
            let mut gradient = vec![0.0; parameters.len()];
            learner.coded_gradient(&parameters, 0, &[(0, 1.0)], &mut gradient)
        });
        error.err().unwrap().to_string()
    };
    let missing = refused(Path::new("/nowhere/model.pt"), &names());
    assert!(missing.contains("/nowhere/model.pt"), "{missing}");
    let no_model = refused(&train, &names());
    assert!(no_model.contains("as TorchScript"), "{no_model}");
    let swapped = refused(&model(), &["spiral", "points"].map(str::to_owned));
    assert!(
        swapped.contains("forward(spiral Int64 [], points"),
        "{swapped}"
    );
    let other = scratch.path().join("other.safetensors");
    let zeros = Tensor::zeros([4, 3], (Kind::Float, Device::Cpu));
    let labels = Tensor::zeros([4], (Kind::Int64, Device::Cpu));
    Tensor::write_safetensors(&[("points", &zeros), ("spiral", &labels)], &other).unwrap();
    let config = TorchConfig::default();
    let unlike = build_scripted(&config, &model(), &train, Some(&other), &names());
    let unlike = unlike.err().unwrap().to_string();
    assert!(unlike.contains("points Float [3]"), "{unlike}");
}
