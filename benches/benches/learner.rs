//! What the master does with a decoded gradient, and what a worker does for one, each beside its
//! floor in the same run: optimizer steps and the gradient's norm beside memcpy; a coded gradient
//! of the quickstart's detector beside a bare forward and backward pass of the same network.
//!
//! ```text
//! cargo bench -p benches --bench learner                  # everything
//! cargo bench -p benches --bench learner -- optimizer     # without libtorch
//! ```
//! Throughput is bytes read and written: memcpy moves 8 bytes per coordinate, SGD with momentum 20
//! (reads x, g, m; writes x, m), AdamW 28 (reads x, g, m, v; writes x, m, v), the norm 4. Everything
//! runs on one thread.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use coco::Dataset;
use coco::synth::{SynthConfig, generate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use learner::optimizer::{AdamConfig, gradient_norm};
use learner::{OptimizerConfig, Second};
use tch::{Device, Kind, Tensor};
use torch_models::augment::Recipe;
use torch_models::layers::Mode;
use torch_models::models::{DetectionModel, tiny_ssd::TinySsd};
use torch_models::store::Store;
use torch_models::{ImageConfig, ModelConfig, TorchConfig, build};

/// SSDLite-MobileNetV3 and ResNet-50.
const SIZES: [usize; 2] = [3_400_000, 25_600_000];
/// Two partitions of four images, as a worker of the quickstart has them.
const PARTITIONS: usize = 2;
const BATCH: usize = 4;

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

fn optimizer(c: &mut Criterion) {
    let momentum = OptimizerConfig::Sgd {
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1e-4,
    };
    let adam = AdamConfig {
        weight_decay: 1e-4,
        ..AdamConfig::default()
    };
    for n in SIZES {
        let gradient: Vec<f32> = (0..n).map(|i| (i % 1009) as f32 * 1e-5 - 5e-3).collect();
        let mut parameters = gradient.clone();
        let mut group = c.benchmark_group(format!("optimizer/{n}"));
        let bytes = |per_coordinate: u64| Throughput::Bytes(per_coordinate * n as u64);
        group.throughput(bytes(8));
        group.bench_function("memcpy", |b| {
            b.iter(|| parameters.copy_from_slice(black_box(&gradient)));
        });
        for (name, per_coordinate, config) in [
            ("sgd-momentum", 20, momentum),
            ("adamw", 28, OptimizerConfig::AdamW(adam)),
        ] {
            let mut optimizer = match config.build(n) {
                Ok(optimizer) => optimizer,
                Err(error) => {
                    eprintln!("{name}: {error}");
                    return;
                }
            };
            group.throughput(bytes(per_coordinate));
            group.bench_function(name, |b| {
                b.iter(|| {
                    let gradient = black_box(&gradient);
                    optimizer.step_scaled(&mut parameters, gradient, 0.25, Second::Same, 1e-3);
                });
            });
        }
        group.throughput(bytes(4));
        group.bench_function("gradient-norm", |b| {
            b.iter(|| gradient_norm(black_box(&gradient)));
        });
        group.throughput(bytes(8));
        group.bench_function("memcpy-again", |b| {
            b.iter(|| parameters.copy_from_slice(black_box(&gradient)));
        });
        group.finish();
    }
}

/// The network alone: images that are there already, a loss that costs nothing, gradients that
/// stay in libtorch's tensors.
fn bare_pass() -> Fallible<impl FnMut() -> Fallible> {
    let ModelConfig::TinySsd { width, side } = ModelConfig::QUICKSTART else {
        return Err("the quickstart's model is no TinySSD".into());
    };
    let classes = 6; // five shapes and the background
    let store = Store::new(Device::Cpu);
    let net = TinySsd::new(&store.root(), i64::from(width), classes)?;
    let (parameters, _) = store.into_parts();
    tch::manual_seed(1);
    tch::no_grad(|| -> Result<(), tch::TchError> {
        for parameter in &parameters {
            let _ = parameter.tensor.shallow_clone().f_normal_(0.0, 0.05)?;
        }
        Ok(())
    })?;
    let size = [
        (PARTITIONS * BATCH) as i64,
        3,
        i64::from(side),
        i64::from(side),
    ];
    let images = Tensor::f_rand(size, (Kind::Float, Device::Cpu))?;
    Ok(move || {
        for parameter in &parameters {
            parameter.tensor.shallow_clone().zero_grad();
        }
        let outputs = net.forward(&images, Mode::Train)?;
        let loss = outputs.logits.f_mean(Kind::Float)? + outputs.codes.f_mean(Kind::Float)?;
        loss.f_backward()?;
        Ok(())
    })
}

fn coded_gradient(c: &mut Criterion) -> Fallible {
    tch::set_num_threads(1);
    let scratch = tempfile::tempdir()?;
    let synth = SynthConfig {
        images: 64,
        validation: 1,
        ..SynthConfig::default()
    };
    let made = generate(&scratch.path().join("shapes"), &synth)?;
    let train = Dataset::open(&made.train_annotations, &made.train_images)?;
    let config = ImageConfig {
        augment: Recipe::FlipAndTone,
        torch: TorchConfig {
            partitions: PARTITIONS,
            batch: BATCH,
            ..TorchConfig::default()
        },
        ..ImageConfig::default()
    };
    let mut learner = build(&config, Arc::new(train), None)?;
    let parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; learner.dimension()];
    let mut iteration = 0;
    let mut coded = move || -> Fallible {
        learner.coded_gradient(
            black_box(&parameters),
            iteration,
            &[(0, 1.5), (1, 0.5)],
            &mut gradient,
        )?;
        iteration += 1;
        Ok(())
    };
    let mut bare = bare_pass()?;
    // Once each before timing: failures surface here, and all images are decoded.
    for _ in 0..64 / BATCH {
        coded()?;
    }
    bare()?;

    let mut group = c.benchmark_group("tiny-ssd-w24/batch-8");
    group.measurement_time(Duration::from_secs(5));
    group.sample_size(20);
    let mut failed = None;
    group.bench_function("bare-pass", |b| {
        b.iter(|| bare().unwrap_or_else(|error| failed = Some(error)));
    });
    group.bench_function("coded-gradient", |b| {
        b.iter(|| coded().unwrap_or_else(|error| failed = Some(error)));
    });
    group.bench_function("bare-pass-again", |b| {
        b.iter(|| bare().unwrap_or_else(|error| failed = Some(error)));
    });
    group.finish();
    failed.map_or(Ok(()), Err)
}

fn worker(c: &mut Criterion) {
    if let Err(error) = coded_gradient(c) {
        eprintln!("coded gradient: {error}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = optimizer, worker
}
criterion_main!(benches);
