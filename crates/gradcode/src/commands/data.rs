//! `gradcode data`: make and check data sets in COCO format.

use std::fmt::Write;

use coco::check::Finding;
use coco::synth::{SynthConfig, generate, generate_folders};
use coco::{CheckReport, CocoError};
use serde_json::json;

use crate::cli::{CheckArgs, SynthArgs};
use crate::exit::{Causes, ENVIRONMENT, Failure, Outcome};
use crate::output;

/// Writes a data set of textured shapes.
///
/// # Errors
/// Exit code 2 for sizes that make no sense or a directory in use, 30 when it cannot be written.
pub fn synth(args: &SynthArgs) -> Outcome {
    let config = SynthConfig {
        images: args.images,
        validation: args.validation,
        side: args.side,
        seed: args.seed,
        threads: args.threads,
    };
    if args.folders {
        return synth_folders(args, &config);
    }
    let summary = generate(&args.out, &config).map_err(not_made)?;
    if args.json {
        return output::json(&json!(summary));
    }
    output::print(&format!(
        "{}: {} training images with {} objects, {} held-out images with {} objects, {:.1} MB\n\
         Use it with\n\
         [data]\n\
         train_annotations = {:?}\n\
         train_images = {:?}\n\
         validation_annotations = {:?}\n\
         validation_images = {:?}\n",
        args.out.display(),
        args.images,
        summary.train_objects,
        args.validation,
        summary.validation_objects,
        summary.bytes as f64 / 1e6,
        summary.train_annotations,
        summary.train_images,
        summary.validation_annotations,
        summary.validation_images,
    ))
}

fn not_made(error: CocoError) -> Failure {
    match error {
        CocoError::Exists { .. } => Failure::usage(format!("failed to make a data set: {error}"))
            .hint("delete it, or choose another --out"),
        CocoError::Setting { .. } => Failure::usage(format!("failed to make a data set: {error}")),
        _ => Failure::environment("make a data set", &error),
    }
}

fn synth_folders(args: &SynthArgs, config: &SynthConfig) -> Outcome {
    let summary = generate_folders(&args.out, config).map_err(not_made)?;
    if args.json {
        return output::json(&json!(summary));
    }
    output::print(&format!(
        "{}: {} training images and {} held-out images of 5 shapes, {:.1} MB\n\
         Use it with\n\
         [data]\n\
         train_folder = {:?}\n\
         validation_folder = {:?}\n",
        args.out.display(),
        args.images,
        args.validation,
        summary.bytes as f64 / 1e6,
        summary.train_folder,
        summary.validation_folder,
    ))
}

/// Reads a data set completely.
///
/// # Errors
/// Exit code 30 when it cannot be used for training; the report is printed all the same.
pub fn check(args: &CheckArgs) -> Outcome {
    let report = coco::check(&args.annotations, &args.images, args.threads).map_err(|error| {
        Failure::new(
            ENVIRONMENT,
            format!("failed to check a data set: {}", Causes(&error)),
        )
        .hint("paths are relative to the working directory")
    })?;
    if args.json {
        let mut object = json!(report);
        object["usable"] = report.is_usable().into();
        output::json(&object)?;
    } else {
        output::print(&table(&report))?;
    }
    if report.is_usable() {
        return Ok(());
    }
    Err(Failure::new(
        ENVIRONMENT,
        format!(
            "{} with {} cannot be used for training",
            args.annotations.display(),
            args.images.display()
        ),
    ))
}

fn table(report: &CheckReport) -> String {
    let mut text = format!(
        "{} images from {}x{} to {}x{}, {} of them trainable\n{} annotations, {} of them crowds\n",
        report.images,
        report.smallest[0],
        report.smallest[1],
        report.largest[0],
        report.largest[1],
        report.trainable_images,
        report.annotations,
        report.crowds,
    );
    for category in &report.categories {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:>4}  {:<20} {:>8} boxes in {:>8} images",
            category.id, category.name, category.annotations, category.images
        );
    }
    let findings: [(&str, &Finding, bool); 7] = [
        ("inconsistencies", &report.inconsistencies, true),
        ("missing files", &report.missing_files, true),
        ("unreadable files", &report.unreadable_files, true),
        (
            "files of another size than listed",
            &report.wrong_sizes,
            true,
        ),
        (
            "boxes without area (dropped)",
            &report.degenerate_boxes,
            false,
        ),
        (
            "boxes outside their image (clipped)",
            &report.boxes_outside,
            false,
        ),
        ("annotations with id 0", &report.zero_ids, false),
    ];
    for (name, finding, fatal) in findings {
        if finding.count > 0 {
            let _ = writeln!(
                text,
                "{}: {} {name}",
                if fatal { "error" } else { "warning" },
                finding.count
            );
            for example in &finding.examples {
                let _ = writeln!(text, "  {example}");
            }
        }
    }
    text.push_str(if report.is_usable() {
        "usable\n"
    } else {
        "NOT usable\n"
    });
    text
}
