//! What `train` and `simulate` say before and after a run, on standard error.

use gradient_code::Plan;
use learner::Description;

use crate::config::Config;
use crate::config::planning::{left_out, shortfall};
use crate::headline;
use crate::run::{Ended, RunDirectory};

/// The settings as a table, and the plan.
pub fn before_run(config: &Config, plan: &Plan, model: &Description, place: &str) {
    let rows = [
        ("run", config.title.clone()),
        (
            "model",
            format!("{}, {} parameters", model.model, model.parameters),
        ),
        (
            "data",
            format!(
                "{} training and {} held-out samples, {} per partition and iteration",
                model.training_samples, model.validation_samples, model.batch
            ),
        ),
        ("device", model.device.clone()),
        ("workers", format!("{} ({place})", config.workers)),
        ("codec", config.preset().to_string()),
        ("iterations", config.iterations.to_string()),
        ("seed", config.seed.to_string()),
        ("directory", config.out.display().to_string()),
    ];
    let start = model.start.iter().map(|start| ("start", start.clone()));
    for (name, value) in rows.into_iter().chain(start) {
        eprintln!("{name:>12}  {value}");
    }
    eprintln!("{plan}");
    for warning in [left_out(plan), shortfall(config, plan)]
        .into_iter()
        .flatten()
    {
        eprintln!("gradcode: warning: {warning}");
    }
}

/// That the run has nothing left to do.
pub fn done_before(config: &Config) {
    eprintln!("{} is done already", config.out.display());
}

/// Where everything is.
pub fn after_run(ended: &Ended, directory: &RunDirectory) {
    eprintln!(
        "done: {} iterations  {}",
        ended.iterations,
        headline::line(&ended.metrics)
    );
    if !ended.lost.is_empty() {
        let lost: Vec<String> = ended
            .lost
            .iter()
            .map(|lost| lost.worker.to_string())
            .collect();
        eprintln!("lost workers: {}", lost.join(", "));
    }
    eprintln!("log:   {}", directory.log().display());
    eprintln!("model: {}", directory.model().display());
    eprintln!(
        "next:  gradcode report {0} --svg {0}/figures",
        directory.path().display()
    );
}
