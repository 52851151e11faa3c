//! Rows about what came out.

use super::super::Run;
use super::super::format::significant;
use super::Section;
use crate::headline;

/// Losses, metrics and the accuracy of gradients.
pub fn quality(runs: &[Run]) -> Section {
    let mut section = Section::new("quality");
    section.row("training loss, first", runs, |s| {
        significant(s.loss.first, 4)
    });
    section.row("training loss, last", runs, |s| significant(s.loss.last, 4));
    section.row("training loss, lowest (smoothed)", runs, |s| {
        significant(s.loss.minimum, 4)
    });
    let mut names: Vec<&String> = runs
        .iter()
        .flat_map(|run| run.summary.metrics.r#final.keys())
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        section.row(format!("held-out {name}, final"), runs, |s| {
            s.metrics
                .r#final
                .get(name)
                .map(|m| significant(m.value, 4))
                .unwrap_or_default()
        });
        if headline::is_detail(name) {
            continue;
        }
        section.row(format!("held-out {name}, best"), runs, |s| {
            let best = s.metrics.best.get(name);
            best.map(|m| format!("{} after {}", significant(m.value, 4), m.iteration))
                .unwrap_or_default()
        });
    }
    section.row_of_run("gradient's relative error, root mean square", runs, |run| {
        let accuracy = &run.explanation.accuracy;
        match accuracy.samples {
            0 => String::new(),
            samples => format!("{} ({samples} samples)", significant(accuracy.measured, 3)),
        }
    });
    section.row_of_run("  the plan's bound, partitions alike", runs, |run| {
        let accuracy = &run.explanation.accuracy;
        match accuracy.samples {
            0 => String::new(),
            _ => significant(accuracy.predicted, 3),
        }
    });
    section
}
