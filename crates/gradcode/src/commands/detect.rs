//! `gradcode detect`: what trained detectors see in images, side by side.
//!
//! The picture of Song & Choi's Fig. 4: one image, one panel per scheme, boxes and scores, after a panel
//! with what is annotated.

mod picture;

use std::path::{Path, PathBuf};

use coco::{Dataset, Picture};
use image::RgbImage;
use serde_json::{Value, json};
use torch_models::{Found, ModelConfig, Predictor};

use crate::cli::{DetectArgs, PictureFormat};
use crate::exit::{BUG, Causes, Failure, Outcome};
use crate::output;
use crate::run::{Trained, Weights, held_out, threads};
use picture::{Label, Letters, Panel};

/// Images shown when none are named.
const DEFAULT_IMAGES: usize = 3;

/// A trained model and where it came from.
struct Run {
    label: String,
    directory: PathBuf,
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
    let paths: Vec<&PathBuf> = args.runs.iter().chain(&args.compare).collect();
    let mut runs: Vec<Run> = paths
        .iter()
        .map(|path| open(path, args))
        .collect::<Outcome<_>>()?;
    tell_apart(&mut runs, &paths);
    let letters = Letters::new()
        .map_err(|error| Failure::new(BUG, format!("the font cannot be read: {error}")))?;
    let first = &runs[0];
    let subjects = subjects(args, &first.dataset)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| first.directory.join("pictures"));
    std::fs::create_dir_all(&out)
        .map_err(|error| Failure::environment(format!("create {}", out.display()), &error))?;
    let mut images = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        let image = coco::read_image(&subject.path)
            .map_err(|error| Failure::environment("read an image", &error))?;
        let (panels, found) = look(subject, &image, &runs, args.score)?;
        let layout = picture::lay_out(image.dimensions(), &panels, &letters);
        let (bytes, extension) = match args.format {
            PictureFormat::Png => {
                let png = picture::png(&layout, &image, &letters)
                    .map_err(|error| Failure::environment("draw a picture", &error))?;
                (png, "png")
            }
            PictureFormat::Svg => {
                let file = std::fs::read(&subject.path).map_err(|error| {
                    Failure::environment(format!("read {}", subject.path.display()), &error)
                })?;
                (picture::svg(&layout, &file, &letters).into_bytes(), "svg")
            }
        };
        let stem = subject.path.file_stem().unwrap_or_default();
        let name = format!("{number:02}-{}.{extension}", stem.to_string_lossy());
        let file = out.join(name);
        std::fs::write(&file, bytes)
            .map_err(|error| Failure::environment(format!("write {}", file.display()), &error))?;
        if !args.json {
            output::print(&text(subject, &file, &found))?;
        }
        images.push(
            json!({ "image": subject.path, "width": image.width(), "height": image.height(),
                            "picture": file, "runs": found }),
        );
    }
    if args.json {
        output::json(&json!({ "images": images }))?;
    }
    Ok(())
}

/// The panels of one image, and the same for programs.
fn look(
    subject: &Subject,
    image: &RgbImage,
    runs: &[Run],
    score: f64,
) -> Outcome<(Vec<Panel>, Vec<Value>)> {
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
        panels.push(Panel {
            title: "annotated".to_owned(),
            labels: labels.collect(),
        });
    }
    for run in runs {
        let read = Picture::of(image, run.predictor.side())
            .map_err(|error| Failure::environment("resize an image", &error))?;
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
        panels.push(Panel {
            title: run.label.clone(),
            labels: labels.collect(),
        });
        let objects: Vec<Value> = kept
            .iter()
            .map(|one| {
                json!({ "category": category(&run.dataset, one.label), "label": one.label,
                        "score": one.score, "bbox": one.bbox })
            })
            .collect();
        found.push(json!({ "run": run.label, "detections": objects }));
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

/// Loads the model that `path` means.
fn open(path: &Path, args: &DetectArgs) -> Outcome<Run> {
    let trained = Trained::open(path)?;
    let config = trained.config;
    let Weights::File(weights) = &trained.weights else {
        return Err(
            Failure::usage(format!("{} has no model.safetensors", path.display())).hint(
                "a run leaves it at its end; `gradcode eval` evaluates checkpoints of one that goes on",
            ),
        );
    };
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
    let predictor = Predictor::load(&model, classes, weights, device, threads(&config, 1))
        .map_err(|error| Failure::usage(format!("failed to {}", Causes(&error))))?;
    Ok(Run {
        label: trained.label,
        directory: trained.directory,
        predictor,
        dataset,
    })
}

/// Runs go by their directories' names; where two are the same, by their paths.
fn tell_apart(runs: &mut [Run], paths: &[&PathBuf]) {
    let labels: Vec<String> = runs.iter().map(|run| run.label.clone()).collect();
    for (i, run) in runs.iter_mut().enumerate() {
        if labels.iter().filter(|label| **label == labels[i]).count() > 1 {
            run.label = paths[i].display().to_string();
        }
    }
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
