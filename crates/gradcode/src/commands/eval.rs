//! `gradcode eval`: trained models, or detections in COCO's format, on held-out data.

mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use coco::{evaluate_results, write_results};
use learner::{Evaluation, Metric};
use serde_json::{Map, Value, json};

use crate::cli::EvalArgs;
use crate::config::settings::CocoPaths;
use crate::exit::{Causes, Failure, Outcome, USAGE};
use crate::output;
use crate::run::{Trained, Weights, build_learner, threads};

/// What one model, or one file, is worth.
pub struct Evaluated {
    /// What tells it from others.
    pub label: String,
    /// As named on the command line.
    pub path: PathBuf,
    /// The numbers.
    pub evaluation: Evaluation,
    /// How long that took, with reading the data.
    pub seconds: f64,
}

/// Evaluates and prints.
///
/// # Errors
/// Exit code 2 for paths that hold no model or results that do not fit the annotations, 30 for data
/// that cannot be read and files that cannot be written.
pub fn run(args: &EvalArgs) -> Outcome {
    if args.results.is_none() && args.annotations.is_some() != args.images.is_some() {
        return Err(Failure::usage(
            "a model needs --annotations and --images together, to see the images",
        ));
    }
    if args.detections.is_some() && args.models.len() > 1 {
        return Err(Failure::usage("--detections takes one MODEL, not several"));
    }
    let evaluated: Vec<Evaluated> = match &args.results {
        Some(results) => vec![of_results(results, args)?],
        None => args
            .models
            .iter()
            .map(|path| of_model(path, args))
            .collect::<Outcome<_>>()?,
    };
    if args.json {
        let all: Vec<Value> = evaluated.iter().map(object).collect();
        return output::json(&json!({ "evaluations": all }));
    }
    let mut text = table::overall(&evaluated);
    if args.per_class {
        for one in &evaluated {
            text.push('\n');
            text.push_str(&table::per_category(one));
        }
    }
    output::print(&text)
}

/// A model by its own learner, so that the numbers are those of the evaluations during training.
fn of_model(path: &Path, args: &EvalArgs) -> Outcome<Evaluated> {
    let started = Instant::now();
    let mut trained = Trained::open(path)?;
    let config = &mut trained.config;
    if let Some(device) = &args.device {
        config.compute.device = device.clone();
    }
    if args.all_images {
        config.evaluation.images = 0;
    }
    if let (Some(annotations), Some(images)) = (&args.annotations, &args.images) {
        config.data.validation = Some(CocoPaths {
            annotations: annotations.clone(),
            images: images.clone(),
        });
    }
    // Statistics of frozen norms come with the weights, and the run's own file has all of them.
    if let (Weights::File(file), Some(_)) = (&trained.weights, trained.config.torch_model()) {
        let model = &mut trained.config.model;
        model.weights = Some(file.clone());
        (model.ignore_head, model.partial_weights) = (false, false);
    }
    let config = &trained.config;
    let mut learner = build_learner(config, 0, threads(config, 1))?;
    let parameters = trained.parameters(&*learner)?;
    let evaluation = learner
        .evaluate_in_detail(&parameters)
        .map_err(|error| Failure::environment(format!("evaluate {}", path.display()), &error))?;
    if let Some(file) = &args.detections {
        let found = evaluation.found.as_ref().ok_or_else(|| {
            Failure::usage(format!("{} finds no objects to write", path.display()))
                .hint("--detections is for detectors")
        })?;
        write_results(file, found)
            .map_err(|error| Failure::environment("write the detections", &error))?;
    }
    Ok(Evaluated {
        label: trained.label,
        path: path.to_owned(),
        evaluation,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn of_results(results: &Path, args: &EvalArgs) -> Outcome<Evaluated> {
    let started = Instant::now();
    let annotations = args.annotations.as_ref().ok_or_else(|| {
        Failure::new(
            USAGE,
            "--results needs --annotations, what should have been found",
        )
    })?;
    let found = evaluate_results(results, annotations).map_err(|error| match error {
        coco::CocoError::Io { .. } => Failure::environment("evaluate results", &error),
        _ => Failure::usage(format!("failed to evaluate results: {}", Causes(&error))),
    })?;
    if found.of_unknown_categories > 0 {
        eprintln!(
            "gradcode: warning: {} of {} detections are of categories that {} does not have: they \
             count neither way",
            found.of_unknown_categories,
            found.detections,
            annotations.display()
        );
    }
    // Results name categories by their ids.
    let categories = found.evaluation.table(&found.categories, |category| {
        i64::try_from(category.id).ok()
    });
    let stem = results.file_stem().unwrap_or(results.as_os_str());
    Ok(Evaluated {
        label: stem.to_string_lossy().into_owned(),
        path: results.to_owned(),
        evaluation: Evaluation {
            metrics: found.evaluation.overall.metrics(),
            categories,
            found: None,
        },
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn object(one: &Evaluated) -> Value {
    let categories: Vec<Value> = one
        .evaluation
        .categories
        .iter()
        .map(|category| {
            json!({ "id": category.id, "name": category.name, "objects": category.objects,
                    "metrics": named(&category.metrics) })
        })
        .collect();
    json!({ "label": one.label, "path": one.path, "metrics": named(&one.evaluation.metrics),
            "categories": categories, "seconds": one.seconds })
}

/// By name; undefined numbers are null.
fn named(metrics: &[Metric]) -> Map<String, Value> {
    let pairs = metrics.iter().map(|m| (m.name.clone(), json!(m.value)));
    pairs.collect()
}
