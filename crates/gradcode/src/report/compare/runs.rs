//! Single runs as points of a comparison.

use std::path::Path;

use run_log::study::{Outcome as RunOutcome, Point};
use run_log::{RunReader, smoothing_span, summarise};

use super::super::failure;
use super::super::figures::lines::centred_average;
use super::source::Entry;
use crate::exit::Outcome;

/// Runs of equal key differ in seed and place alone, so that they are averaged.
///
/// # Errors
/// Exit code 2 for a damaged log.
pub fn replicate_key(run: &RunReader) -> Outcome<String> {
    let text = run.config().map_err(failure)?;
    let Ok(mut table) = text.parse::<toml::Table>() else {
        return Ok(run.path().display().to_string());
    };
    if table.is_empty() {
        return Ok(run.path().display().to_string());
    }
    table.remove("seed");
    table.remove("out");
    let evaluated = run.evaluation().map_err(failure)?.iteration;
    Ok(format!("{table} {evaluated:?} {}", run.len()))
}

/// Runs of equal key as one point, at their evaluations.
///
/// # Errors
/// Exit code 2 for a damaged log.
pub fn point_of_runs(path: &Path, runs: &[RunReader]) -> Outcome<Entry> {
    let summary = summarise(&runs[0]).map_err(failure)?;
    let evaluated = runs[0].evaluation().map_err(failure)?.iteration;
    // Without evaluations the training loss is all there is, at every iteration.
    let completed: Vec<u64> = if evaluated.len() > 1 {
        evaluated
    } else {
        (1..=runs[0].len() as u64).collect()
    };
    let at = completed
        .iter()
        .map(|&iteration| iteration as f64)
        .collect();
    let name = match summary.title.as_str() {
        "" => path.display().to_string(),
        title => title.to_owned(),
    };
    let mut point = Point::new(&name, &summary.scheme, "iteration", at, runs.len());
    for (number, run) in runs.iter().enumerate() {
        let mut series = vec![];
        let loss = run.series("loss").map_err(failure)?;
        let smooth = centred_average(&loss, smoothing_span(loss.len()));
        series.push((
            "training_loss".to_owned(),
            sampled(&completed, &smooth, f64::NAN),
        ));
        for name in ["bits_up", "bits_up_payload", "bits_up_offered"] {
            let mut sum = 0.0;
            let bits = run.series(name).map_err(failure)?;
            let sums: Vec<f64> = bits
                .into_iter()
                .map(|bits| {
                    sum += if bits.is_finite() { bits } else { 0.0 };
                    sum
                })
                .collect();
            series.push((name.to_owned(), sampled(&completed, &sums, 0.0)));
        }
        let evaluation = run.evaluation().map_err(failure)?;
        if evaluation.iteration == completed {
            series.extend(evaluation.metrics);
        }
        let values: Vec<(&str, &[f64])> = series
            .iter()
            .map(|(name, values)| (name.as_str(), values.as_slice()))
            .collect();
        point
            .record(number, RunOutcome::Finished, &values)
            .map_err(failure)?;
    }
    if let Some(plan) = runs[0].plans().map_err(failure)?.last() {
        for (name, value) in [
            ("computation_load", plan.plan.computation_load),
            ("error_bound", plan.plan.error_bound),
        ] {
            point.attributes.insert(name.into(), value.into());
        }
    }
    Ok(Entry {
        path: path.display().to_string(),
        title: summary.title,
        point,
    })
}

/// Values after so many iterations completed each; `start` before the first.
fn sampled(completed: &[u64], values: &[f64], start: f64) -> Vec<f64> {
    let after = |&count: &u64| match count {
        0 => start,
        count => values.get(count as usize - 1).copied().unwrap_or(f64::NAN),
    };
    completed.iter().map(after).collect()
}

#[cfg(test)]
mod tests {
    use super::super::source::Comparison;
    use crate::report::testing;

    #[test]
    fn runs_are_points_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        testing::written(dir.path(), "a run", 50);
        let comparison = Comparison::open(&[dir.path().to_owned()]).ok().unwrap();
        let point = &comparison.points[0].point;
        assert_eq!(
            (point.label.as_str(), point.axis.as_str()),
            ("a run", "iteration")
        );
        assert_eq!(point.at.len(), 50);
        assert_eq!((point.at[0], point.at[49]), (1.0, 50.0));
        assert!(point.series["training_loss"].mean[49] < 0.2);
        assert_eq!(
            point.series["bits_up"].mean[..3],
            [7000.0, 11_500.0, 18_500.0]
        );
    }

    #[test]
    fn runs_that_differ_in_the_seed_alone_are_averaged() {
        let dir = tempfile::tempdir().unwrap();
        let run = |name: &str, seed: u64, budget: u64, loss: f64| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let info = run_log::RunInfo {
                title: format!("budget {budget}"),
                config_toml: format!("seed = {seed}\nout = {name:?}\nbudget = {budget}\n"),
                workers: 1,
                ..run_log::RunInfo::default()
            };
            let mut log = run_log::RunLog::create(path.join("run.h5"), &info).unwrap();
            log.push_evaluation(0, &[("loss".into(), 4.0)]);
            for iteration in 0..10 {
                let mut row = run_log::IterationRow::new(iteration, 1);
                row.bits_up_payload = 100;
                log.push(row).unwrap();
            }
            log.push_evaluation(10, &[("loss".into(), loss)]);
            log.finish().unwrap();
            path
        };
        let paths = [
            run("a", 1, 5, 1.0),
            run("b", 2, 5, 2.0),
            run("c", 1, 6, 3.0),
        ];
        let comparison = Comparison::open(&paths).ok().unwrap();
        assert_eq!(comparison.labels(), ["budget 5", "budget 6"]);
        let point = &comparison.points[0].point;
        assert_eq!(point.at, [0.0, 10.0]);
        assert_eq!(point.series["loss"].mean, [4.0, 1.5]);
        assert_eq!(point.series["loss"].standard_error, [0.0, 0.5]);
        assert_eq!(point.series["bits_up_payload"].mean, [0.0, 1000.0]);
    }
}
