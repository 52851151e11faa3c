//! Rows about what was run.

use run_log::{AttributeValue, Summary, WorkerSummary};

use super::super::Run;
use super::super::format::significant;
use super::Section;

/// An attribute of the log's root; empty if it has none of this name.
pub fn attribute(summary: &Summary, name: &str) -> String {
    match summary.attributes.get(name) {
        Some(AttributeValue::Real(number)) => significant(*number, 4),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// What was run, where and with whom.
pub fn facts(runs: &[Run]) -> Section {
    let mut section = Section::new("run");
    section.row("log", runs, |s| s.path.clone());
    section.row("started", runs, |s| {
        let restarts = s.segments.saturating_sub(1);
        let date = attribute(s, "date_created");
        match restarts {
            0 => date,
            1 => format!("{date}, resumed once"),
            _ => format!("{date}, resumed {restarts} times"),
        }
    });
    section.row("by", runs, |s| {
        let commit: String = attribute(s, "git_commit").chars().take(10).collect();
        let dirty = if attribute(s, "git_dirty") == "1" {
            " with local changes"
        } else {
            ""
        };
        let commit = if commit.is_empty() {
            String::new()
        } else {
            format!(", commit {commit}{dirty}")
        };
        format!("{}{commit}", attribute(s, "source"))
    });
    section.row("seed", runs, |s| attribute(s, "seed"));
    section.row("iterations", runs, |s| s.iterations.to_string());
    section.row("workers", runs, |s| {
        match attribute(s, "mpi_ranks").parse() {
            Ok(0 | 1u64) | Err(_) => s.workers.to_string(),
            Ok(ranks) => format!("{} on {ranks} ranks", s.workers),
        }
    });
    section.row("hosts", runs, |s| attribute(s, "hosts"));
    section.row("device", runs, |s| attribute(s, "device"));
    section.row("parameters", runs, |s| {
        match attribute(s, "dimension").as_str() {
            "0" => String::new(),
            text => text.to_owned(),
        }
    });
    section.row("scheme", runs, |s| match s.plans {
        0 | 1 => s.scheme.clone(),
        plans => format!("{}, planned {plans} times", s.scheme),
    });
    section.row("bits per coordinate", runs, |s| {
        bits_per_coordinate(&s.per_worker)
    });
    section
}

/// `6 6 7 7`, or the range and mean of more than 12 workers.
fn bits_per_coordinate(workers: &[WorkerSummary]) -> String {
    let bits: Vec<i64> = workers
        .iter()
        .filter_map(|worker| worker.bits_per_coordinate)
        .collect();
    let (Some(least), Some(most)) = (bits.iter().min(), bits.iter().max()) else {
        return String::new();
    };
    let sum: i64 = bits.iter().sum();
    if bits.len() <= 12 {
        let list: Vec<String> = bits.iter().map(ToString::to_string).collect();
        format!("{} (sum {sum})", list.join(" "))
    } else {
        format!(
            "{least} to {most}, mean {} (sum {sum})",
            significant(sum as f64 / bits.len() as f64, 3)
        )
    }
}
