//! Times one coded gradient of every model on a device.
//!
//! ```sh
//! cargo run --release -p torch-models --example device -- auto
//! ```
//! Arguments: the device (`auto`, `cpu`, `cuda:0`), libtorch's threads (1).

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use coco::Dataset;
use coco::synth::{SynthConfig, generate};
use learner::Learner;
use torch_models::{ImageConfig, ModelConfig, NormKind, TorchConfig, build, device, versions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let spec = arguments.next().unwrap_or_else(|| "auto".into());
    let threads: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let device = device(&spec, 0)?;
    println!("{:#?}", versions());
    println!("device {device:?}, {threads} thread(s); milliseconds, best of several\n");

    let scratch = tempfile::tempdir()?;
    let shapes = scratch.path().join("shapes");
    let summary = generate(
        &shapes,
        &SynthConfig {
            images: 128,
            validation: 32,
            ..SynthConfig::default()
        },
    )?;
    let train = Arc::new(Dataset::open(
        &summary.train_annotations,
        &summary.train_images,
    )?);
    let validation = Arc::new(Dataset::open(
        &summary.validation_annotations,
        &summary.validation_images,
    )?);

    println!("model                                     batch   gradient   evaluation/image");
    let ssdlite = |side, norm| ModelConfig::SsdLite { side, norm };
    let mut models = vec![
        (ModelConfig::QUICKSTART, vec![4, 8, 16]),
        (
            ModelConfig::TinySsd {
                width: 16,
                side: 128,
            },
            vec![4, 16],
        ),
        (ssdlite(160, NormKind::Group), vec![4, 8]),
        (ssdlite(160, NormKind::Batch), vec![4, 8]),
        (ssdlite(320, NormKind::Batch), vec![4]),
        (
            ModelConfig::Cnn {
                width: 16,
                side: 64,
            },
            vec![8, 32],
        ),
    ];
    if device.is_cuda() {
        models.push((ssdlite(320, NormKind::Batch), vec![24, 64]));
        models.push((ModelConfig::QUICKSTART, vec![64]));
    }
    for (model, batches) in models {
        for batch in batches {
            let config = ImageConfig {
                model,
                torch: TorchConfig {
                    batch,
                    device,
                    threads,
                    ..TorchConfig::default()
                },
                ..ImageConfig::default()
            };
            let mut learner = build(&config, train.clone(), Some(validation.clone()))?;
            report(&mut *learner, batch)?;
        }
    }
    Ok(())
}

fn report(learner: &mut dyn Learner, batch: usize) -> Result<(), Box<dyn Error>> {
    let parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; learner.dimension()];
    let (mut best, started) = (f64::INFINITY, Instant::now());
    let mut iteration = 0;
    while iteration < 5 || (started.elapsed().as_secs_f64() < 3.0 && iteration < 100) {
        let before = Instant::now();
        learner.coded_gradient(&parameters, iteration, &[(0, 1.0)], &mut gradient)?;
        best = best.min(before.elapsed().as_secs_f64());
        iteration += 1;
    }
    learner.evaluate(&parameters)?;
    let before = Instant::now();
    learner.evaluate(&parameters)?;
    let description = learner.describe();
    let evaluation = before.elapsed().as_secs_f64() / description.validation_samples as f64;
    println!(
        "{:42}{batch:>5}{:>11.1}{:>19.2}",
        description.model,
        best * 1e3,
        evaluation * 1e3
    );
    Ok(())
}
