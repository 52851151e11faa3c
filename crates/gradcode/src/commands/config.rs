//! `gradcode config`: the default configuration, checks, and the resolved form.

use serde_json::json;

use crate::cli::{ConfigCheckArgs, ConfigShowArgs};
use crate::config::{Config, DEFAULT, PointConfig, StudyConfig, lateness};
use crate::exit::Outcome;
use crate::output;

use super::load;

/// Prints the embedded defaults, which are the reference of all keys.
///
/// # Errors
/// When standard output cannot be written.
pub fn default() -> Outcome {
    output::print(DEFAULT)
}

/// Loads and checks an experiment; nothing of its data is touched except what the plan needs.
///
/// # Errors
/// What is wrong with it, exit code 2.
pub fn check(args: &ConfigCheckArgs) -> Outcome {
    if args.experiment.scheme.is_none()
        && let Some(study) = args.experiment.sources().load_study(false)?
    {
        return check_study(&study, args);
    }
    let resolved = load(&args.experiment.sources())?;
    let config = &resolved.config;
    config.names_its_files()?;
    // The straggle probabilities are part of the check, even where the model's size is not known yet.
    lateness::check(config)?;
    if args.json {
        return output::json(&json!({
            "valid": true,
            "title": config.title,
            "workers": config.workers,
            "partitions": config.partitions,
            "warnings": resolved.warnings,
        }));
    }
    output::print(&format!(
        "{}: valid. {}\n",
        args.experiment.experiment.display(),
        summary(config)
    ))
}

fn check_study(study: &StudyConfig, args: &ConfigCheckArgs) -> Outcome {
    for warning in &study.warnings {
        eprintln!("gradcode: warning: {warning}");
    }
    for point in &study.points {
        lateness::check(&point.config)?;
    }
    let names: Vec<String> = study.points.iter().map(PointConfig::name).collect();
    let settings = &study.settings;
    if args.json {
        return output::json(&json!({
            "valid": true,
            "title": study.title,
            "study": settings.kind,
            "runs": settings.runs,
            "points": names,
            "warnings": study.warnings,
        }));
    }
    output::print(&format!(
        "{}: valid. A {} study of {} points, {} runs each:\n  {}\n",
        args.experiment.experiment.display(),
        settings.kind,
        names.len(),
        settings.runs,
        names.join("\n  "),
    ))
}

fn summary(config: &Config) -> String {
    let bits = config.total_bits().map_or_else(
        || config.codec_text(),
        |bits| format!("{bits} bits per coordinate"),
    );
    format!(
        "{} with {} workers and {} partitions, scheme {}, {bits}, {} iterations",
        config.model.architecture.kind(),
        config.workers,
        config.partitions,
        config.scheme.kind,
        config.iterations,
    )
}

/// Prints the configuration with everything filled in.
///
/// # Errors
/// What is wrong with it, exit code 2.
pub fn show(args: &ConfigShowArgs) -> Outcome {
    let resolved = load(&args.experiment.sources())?;
    let config = &resolved.config;
    if args.json {
        return output::json(&json!(config));
    }
    output::print(&if args.origin {
        config.to_toml_with_origins()
    } else {
        config.to_toml()
    })
}
