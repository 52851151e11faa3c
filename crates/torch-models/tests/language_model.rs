//! A small GPT-2 on a small text: it learns, equal runs give equal bits, and partitions add up.

mod common;

use std::path::{Path, PathBuf};

use common::gradients::{distance, gradient_at};
use learner::optimizer::{AdamConfig, DecayGroups};
use learner::{Learner, LearnerError, OptimizerConfig, Second};
use tokens::{PrepareConfig, Summary, TokenFile, Tokenizer, prepare};
use torch_models::TorchConfig;
use torch_models::language_model::{LanguageConfig, build};
use torch_models::models::gpt2::Gpt2Config;

const PARTITIONS: usize = 3;

/// Sentences that repeat: a model can learn them in seconds.
fn text() -> String {
    let animals = ["cat", "dog", "owl", "fox", "hen"];
    let places = ["mat", "log", "oak", "box", "den"];
    (0..400)
        .map(|i| {
            let (animal, place) = (animals[i % 5], places[i % 5]);
            format!(
                "The {animal} sat on the {place}, and there were {} of them.\n",
                i % 7
            )
        })
        .collect()
}

/// The tokens of the text and the directory that holds them.
fn tokens() -> (tempfile::TempDir, Summary) {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("text");
    std::fs::write(&source, text()).unwrap();
    let config = PrepareConfig {
        out: scratch.path().join("tokens"),
        validation_share: 0.2,
        overwrite: false,
    };
    let summary = prepare(&[source], &Tokenizer::Bytes, &config).unwrap();
    (scratch, summary)
}

fn config() -> LanguageConfig {
    LanguageConfig {
        model: Gpt2Config {
            layers: 2,
            heads: 2,
            width: 32,
            context: 32,
            vocabulary: 256,
        },
        length: 24,
        phases: true,
        torch: TorchConfig {
            partitions: PARTITIONS,
            batch: 6,
            ..TorchConfig::default()
        },
    }
}

fn learner(summary: &Summary, config: &LanguageConfig) -> Box<dyn Learner> {
    let open = |path: &PathBuf| TokenFile::open(path).unwrap();
    let validation = summary.validation.as_ref().map(open);
    build(config, open(&summary.train), validation).unwrap()
}

/// The losses of a run of AdamW, and the parameters that it ends with.
fn train(learner: &mut dyn Learner, iterations: u64) -> (Vec<f64>, Vec<f32>) {
    let everything: Vec<_> = (0..PARTITIONS).map(|j| (j, 1.0)).collect();
    let description = learner.describe();
    let groups = DecayGroups::matrices(description.parameters, &description.slots);
    let adam = AdamConfig {
        weight_decay: 0.1,
        ..AdamConfig::default()
    };
    let mut optimizer = OptimizerConfig::AdamW(adam).build_grouped(groups).unwrap();
    let mut parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; parameters.len()];
    let losses = (0..iterations)
        .map(|iteration| {
            let losses = learner
                .coded_gradient(&parameters, iteration, &everything, &mut gradient)
                .unwrap();
            let scale = 1.0 / PARTITIONS as f32;
            optimizer.step_scaled(&mut parameters, &gradient, scale, Second::Same, 5e-3);
            losses.iter().map(|l| l.loss).sum::<f64>() / PARTITIONS as f64
        })
        .collect();
    (losses, parameters)
}

#[test]
fn the_loss_falls_and_equal_runs_are_equal() {
    let (_keep, summary) = tokens();
    let run = || {
        let mut learner = learner(&summary, &config());
        let (losses, parameters) = train(&mut *learner, 80);
        let metrics = learner.evaluate(&parameters).unwrap();
        (losses, parameters, metrics)
    };
    let (losses, parameters, metrics) = run();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    println!("loss {first:.3} -> {last:.3}, {metrics:?}");
    assert!((first - 256f64.ln()).abs() < 0.2, "{first}");
    assert!(last < 0.5 * first, "{first} -> {last}");
    let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["perplexity", "bits_per_byte", "loss"]);
    let [perplexity, bits, loss] = [0, 1, 2].map(|i| metrics[i].value);
    assert!(loss < 0.5 * first, "held out: {loss}");
    assert!((perplexity.ln() - loss).abs() < 1e-9);
    // One byte more than there is text ends the document.
    assert!((bits / (loss / std::f64::consts::LN_2) - 1.0).abs() < 1e-3);
    let again = run();
    assert_eq!((losses, parameters), (again.0, again.1));
    assert_eq!(metrics, again.2);
}

#[test]
fn partition_gradients_add_up() {
    let (_keep, summary) = tokens();
    let mut learner = learner(&summary, &config());
    let (_, parameters) = train(&mut *learner, 8);
    for (assignment, tolerance) in [
        (vec![(0, 1.0), (2, 1.0)], 1e-6),
        (vec![(0, 1.0), (1, 1.0), (2, 1.0)], 1e-6),
        (vec![(0, -0.5), (1, 2.0)], 1e-6),
        (vec![(0, -0.75), (1, 2.5)], 1e-5),
    ] {
        let distance = distance(&mut *learner, &parameters, &assignment);
        println!("{assignment:?}: {distance:.1e}");
        assert!(distance < tolerance, "{assignment:?}: {distance:e}");
    }
}

#[test]
fn equal_arguments_give_equal_bits_whatever_came_before() {
    let (_keep, summary) = tokens();
    let mut walked = learner(&summary, &config());
    let parameters = walked.initial_parameters();
    let assignment = [(0, 0.5), (2, 1.5)];
    let first = gradient_at(&mut *walked, &parameters, 4, &assignment);
    for iteration in 0..3 {
        gradient_at(&mut *walked, &parameters, iteration, &[(1, 1.0)]);
    }
    walked.evaluate(&parameters).unwrap();
    let mut fresh = learner(&summary, &config());
    assert_eq!(parameters, fresh.initial_parameters());
    for learner in [&mut *walked, &mut *fresh] {
        assert_eq!(first, gradient_at(learner, &parameters, 4, &assignment));
        assert_ne!(first, gradient_at(learner, &parameters, 5, &assignment));
    }
}

#[test]
fn a_saved_model_has_transformers_names() {
    let (keep, summary) = tokens();
    let mut learner = learner(&summary, &config());
    let parameters = learner.initial_parameters();
    let path = keep.path().join("model.safetensors");
    learner.export(&parameters, &path).unwrap();
    let tensors = tch::Tensor::read_safetensors(&path).unwrap();
    let shape = |name: &str| {
        let found = tensors.iter().find(|(theirs, _)| theirs == name);
        found.map(|(_, tensor)| tensor.size())
    };
    assert_eq!(tensors.len(), 2 + 2 * 12 + 2);
    assert_eq!(
        shape("transformer.h.1.attn.c_attn.weight"),
        Some(vec![32, 96])
    );
    assert_eq!(shape("lm_head.weight"), None, "it is wte");
    let mut config = config();
    config.torch.weights = Some(path);
    config.torch.seed = 99;
    let mut again = self::learner(&summary, &config);
    assert_eq!(again.initial_parameters(), parameters);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (keep, summary) = tokens();
    let refused = |change: &dyn Fn(&mut LanguageConfig), validation: Option<&Path>| {
        let mut config = config();
        change(&mut config);
        let validation = validation.map(|path| TokenFile::open(path).unwrap());
        let train = TokenFile::open(&summary.train).unwrap();
        match build(&config, train, validation) {
            Err(error @ LearnerError::Setting { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    for (message, expected) in [
        (
            refused(&|c| c.model.vocabulary = 255, None),
            "model.vocab = 255",
        ),
        (refused(&|c| c.model.heads = 5, None), "5 heads"),
        (refused(&|c| c.length = 33, None), "data.length = 33"),
        (
            refused(&|c| (c.model.context, c.length) = (100_000, 100_000), None),
            "data.train_tokens",
        ),
        (
            refused(&|c| c.torch.partitions = 100_000, None),
            "partitions",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    let other = keep.path().join("other.bin");
    std::fs::write(&other, vec![0; 200]).unwrap();
    let sidecar = r#"{"vocabulary":9,"tokens":100,"tokenizer":"bpe","tokenizer_sha256":"ab"}"#;
    std::fs::write(other.with_extension("json"), sidecar).unwrap();
    let message = refused(&|_| (), Some(&other));
    assert!(message.contains("data.validation_tokens"), "{message}");

    let wild = keep.path().join("wild.bin");
    std::fs::write(&wild, vec![255; 4000]).unwrap();
    let mut learner = build(&config(), TokenFile::open(&wild).unwrap(), None).unwrap();
    let parameters = learner.initial_parameters();
    let mut gradient = vec![0.0; parameters.len()];
    let error = learner.coded_gradient(&parameters, 0, &[(0, 1.0)], &mut gradient);
    assert!(
        matches!(&error, Err(LearnerError::Data { path, what }) if *path == wild && what.contains("token 65535")),
        "{error:?}"
    );
}
