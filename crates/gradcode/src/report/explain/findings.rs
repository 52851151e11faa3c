//! What stands out in a run, in sentences.
//!
//! Here the run as a whole; [`time`], [`workers`] and [`gradients`] have their own.

mod gradients;
mod time;
mod workers;

use run_log::Summary;
use serde::Serialize;

use super::Explanation;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Something to act on.
    Warning,
    /// Something to know.
    Note,
    /// Something that went well.
    Good,
}

/// One sentence or two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How it is meant.
    pub tone: Tone,
    /// What it is about: `ending`, `time`, `deadline`, `stragglers`, `compression`, `accuracy`, `quantization`, `plan`,
    /// `refused`.
    pub about: &'static str,
    /// The words.
    pub text: String,
}

/// What stands out, warnings first and otherwise in the order of the questions.
pub fn of(run: &Explanation, summary: &Summary) -> Vec<Finding> {
    let mut list = Findings(vec![]);
    if summary.iterations == 0 {
        ending(&mut list, run, summary);
        list.add(
            Tone::Note,
            "ending",
            "no iteration has been logged yet".into(),
        );
        return list.0;
    }
    ending(&mut list, run, summary);
    time::time(&mut list, run);
    time::deadline(&mut list, run, summary);
    workers::stragglers(&mut list, run);
    gradients::compression(&mut list, run, summary);
    gradients::accuracy(&mut list, run);
    gradients::quantization(&mut list, run);
    plans(&mut list, run);
    list.0.sort_by_key(|finding| finding.tone != Tone::Warning);
    list.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, tone: Tone, about: &'static str, text: String) {
        self.0.push(Finding { tone, about, text });
    }
}

fn ending(list: &mut Findings, run: &Explanation, summary: &Summary) {
    let Some(status) = &run.events.status else {
        return;
    };
    let message = status.message.as_deref().unwrap_or("it does not say why");
    match status.outcome.as_str() {
        "failed" => list.add(
            Tone::Warning,
            "ending",
            format!("the run failed: {message}"),
        ),
        "stopped" => list.add(Tone::Note, "ending", format!("the run was {message}")),
        "running" => list.add(
            Tone::Note,
            "ending",
            format!(
                "the run goes on, or was killed without a word: {} of {} iterations are in the log",
                summary.iterations, status.iterations
            ),
        ),
        _ => {}
    }
    for lost in &status.lost_workers {
        let text = format!(
            "worker {} was lost at iteration {} ({}); the run went on without it",
            lost.worker, lost.iteration, lost.reason
        );
        list.add(Tone::Warning, "ending", text);
    }
}

fn plans(list: &mut Findings, run: &Explanation) {
    for plan in run.events.plans.iter().skip(1).take(4) {
        let why = if plan.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", plan.reason)
        };
        let text = format!(
            "a new plan came into force at iteration {}{why}",
            plan.iteration
        );
        list.add(Tone::Note, "plan", text);
    }
    let more = run.events.plans.len().saturating_sub(5);
    if more > 0 {
        list.add(Tone::Note, "plan", format!("{more} more plans followed"));
    }
    let restarts = run.events.segments.len().saturating_sub(1);
    if restarts > 0 {
        let times = if restarts == 1 {
            "once".into()
        } else {
            format!("{restarts} times")
        };
        list.add(Tone::Note, "ending", format!("the run was resumed {times}"));
    }
}
