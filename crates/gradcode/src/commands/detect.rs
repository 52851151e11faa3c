//! `gradcode detect`: what trained detectors see in images, side by side.
//!
//! The picture of Song & Choi's Fig. 4: one image, one panel per scheme, boxes and scores.

mod picture;

use std::path::{Path, PathBuf};

use coco::{Dataset, Picture};
use serde_json::{Value, json};
use torch_models::{Found, ModelConfig, Predictor};

use crate::cli::DetectArgs;
use crate::config::{Config, from_text};
use crate::exit::{Causes, Failure, Outcome};
use crate::output;
use crate::run::{held_out, threads};
use picture::{Label, Panel};

/// Images shown when none are named.
const DEFAULT_IMAGES: usize = 3;

/// A trained model and where it came from.
struct Run {
    label: String,
    predictor: Predictor,
    dataset: std::sync::Arc<Dataset>,
}

/// An image to look at.
struct Subject {
    path: PathBuf,
    /// Its place in the data set, if it is one of its images.
    index: Option<usize>,
}

/// Finds objects in images, prints them and draws them.
///
/// # Errors
/// Exit code 2 for runs that are missing or no detectors, 30 for files that cannot be read or written.
pub fn run(args: &DetectArgs) -> Outcome {
    let runs: Vec<Run> = args
        .runs
        .iter()
        .map(|path| open(path, args))
        .collect::<Outcome<_>>()?;
    let first = &runs[0];
    let subjects = subjects(args, &first.dataset)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.runs[0].join("pictures"));
    std::fs::create_dir_all(&out)
        .map_err(|error| Failure::environment(format!("create {}", out.display()), &error))?;
    let mut images = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        let (panels, found) = look(subject, &runs, args.score)?;
        let stem = subject.path.file_stem().unwrap_or_default();
        let name = format!("{number:02}-{}.svg", stem.to_string_lossy());
        let file = out.join(name);
        let svg = picture::svg(&subject.path, &panels).map_err(|error| {
            Failure::environment(format!("read {}", subject.path.display()), &error)
        })?;
        std::fs::write(&file, svg)
            .map_err(|error| Failure::environment(format!("write {}", file.display()), &error))?;
        if !args.json {
            output::print(&text(subject, &file, &found))?;
        }
        images.push(json!({ "image": subject.path, "picture": file, "runs": found }));
    }
    if args.json {
        output::json(&json!({ "images": images }))?;
    }
    Ok(())
}

/// The panels of one image, and the same for programs.
fn look(subject: &Subject, runs: &[Run], score: f64) -> Outcome<(Vec<Panel>, Vec<Value>)> {
    let (mut panels, mut found) = (Vec::new(), Vec::new());
    if let Some(index) = subject.index {
        let dataset = &runs[0].dataset;
        let truth = dataset
            .ground_truth(index)
            .map_err(|error| Failure::environment("read the annotations", &error))?;
        let labels = truth.iter().map(|object| Label {
            bbox: object.bbox,
            class: object.label,
            text: category(dataset, object.label),
        });
        panels.push(Panel::new("annotated", labels.collect()));
    }
    for run in runs {
        let read = Picture::read(&subject.path, run.predictor.side())
            .map_err(|error| Failure::environment("read an image", &error))?;
        let all = run
            .predictor
            .detect(&read)
            .map_err(|error| Failure::environment("run the detector", &error))?;
        let kept: Vec<Found> = all.into_iter().filter(|one| one.score >= score).collect();
        let labels = kept.iter().map(|one| Label {
            bbox: one.bbox,
            class: one.label,
            text: format!("{} {:.2}", category(&run.dataset, one.label), one.score),
        });
        let mut panel = Panel::new(&run.label, labels.collect());
        panel.size = (read.width, read.height);
        panels.push(panel);
        let objects: Vec<Value> = kept
            .iter()
            .map(|one| {
                json!({ "category": category(&run.dataset, one.label), "label": one.label,
                        "score": one.score, "bbox": one.bbox })
            })
            .collect();
        found.push(json!({ "run": run.label, "detections": objects }));
    }
    // Every run reads the same file.
    if let Some(size) = panels.last().map(|panel| panel.size) {
        for panel in &mut panels {
            panel.size = size;
        }
    }
    Ok((panels, found))
}

fn text(subject: &Subject, file: &Path, found: &[Value]) -> String {
    let mut text = format!("{} -> {}\n", subject.path.display(), file.display());
    for run in found {
        let objects = run["detections"].as_array().map_or(&[][..], Vec::as_slice);
        let words: Vec<String> = objects
            .iter()
            .map(|one| {
                let category = one["category"].as_str().unwrap_or_default();
                format!("{category} {:.2}", one["score"].as_f64().unwrap_or(0.0))
            })
            .collect();
        let words = if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join(", ")
        };
        text.push_str(&format!(
            "  {}: {words}\n",
            run["run"].as_str().unwrap_or_default()
        ));
    }
    text
}

fn category(dataset: &Dataset, label: i64) -> String {
    dataset
        .category(label)
        .map_or_else(|| format!("class {label}"), |found| found.name.clone())
}

/// Loads the model of a run directory.
fn open(path: &Path, args: &DetectArgs) -> Outcome<Run> {
    let (configuration, weights) = (path.join("config.toml"), path.join("model.safetensors"));
    for file in [&configuration, &weights] {
        if !file.exists() {
            return Err(
                Failure::usage(format!("{} does not exist", file.display())).hint(
                    "name a run directory: train and simulate leave config.toml and \
                     model.safetensors there when they end",
                ),
            );
        }
    }
    let toml = std::fs::read_to_string(&configuration).map_err(|error| {
        Failure::environment(format!("read {}", configuration.display()), &error)
    })?;
    let config = from_text(&toml, &configuration)?.config;
    let model = config
        .torch_model()
        .filter(|model| !matches!(model, ModelConfig::Cnn { .. }))
        .ok_or_else(|| {
            let kind = config.model.architecture.kind();
            Failure::usage(format!(
                "{} trained {kind}, which finds no objects: use a run of tiny-ssd or ssdlite",
                path.display()
            ))
        })?;
    let dataset = held_out(&config)?;
    let classes = config
        .model
        .classes
        .map_or_else(|| dataset.classes(), |classes| classes as usize);
    let device = torch_models::device(args.device.as_deref().unwrap_or(&config.compute.device), 0)
        .map_err(|error| Failure::environment("choose a device", &error))?;
    let predictor = Predictor::load(&model, classes, &weights, device, threads(&config, 1))
        .map_err(|error| Failure::usage(format!("failed to {}", Causes(&error))))?;
    Ok(Run {
        label: label(path, &config),
        predictor,
        dataset,
    })
}

/// A run goes by its directory, which tells runs of one experiment apart.
fn label(path: &Path, config: &Config) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.file_name().map_or_else(
        || config.title.clone(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The images asked for: files, places in the held-out set, or its first few.
fn subjects(args: &DetectArgs, dataset: &Dataset) -> Outcome<Vec<Subject>> {
    let place = |index: usize| {
        let path = dataset
            .image_path(index)
            .map_err(|error| Failure::usage(format!("failed to {error}")))?;
        Ok(Subject {
            path,
            index: Some(index),
        })
    };
    let mut subjects: Vec<Subject> = args
        .images
        .iter()
        .map(|&index| place(index))
        .collect::<Outcome<_>>()?;
    subjects.extend(args.files.iter().map(|path| Subject {
        path: path.clone(),
        index: None,
    }));
    if subjects.is_empty() {
        for index in 0..DEFAULT_IMAGES.min(dataset.len()) {
            subjects.push(place(index)?);
        }
    }
    Ok(subjects)
}
