//! From a run's columns to its numbers.

use super::{LossSummary, MetricAt, Metrics, Seconds, Summary, Totals, WorkerSummary};
use crate::statistics::{exponential_average, mean, quantile, smaller_is_better, smoothing_span};
use crate::{LogError, PlanRecord, RunReader};

/// Condenses a run.
///
/// # Errors
/// [`LogError::Hdf5`] and [`LogError::NoSuchSeries`] for a damaged file.
pub fn summarise(run: &RunReader) -> Result<Summary, LogError> {
    let plans = run.plans()?;
    let plan = plans.last().map(|entry| &entry.plan);
    let totals = totals(run)?;
    let iterations = run.len();
    let loss = run.series("loss")?;
    let window = iterations.div_ceil(10).min(20);
    let smoothed = exponential_average(&loss, smoothing_span(iterations));
    let warm = (smoothing_span(iterations) as usize).min(iterations.saturating_sub(1));
    Ok(Summary {
        path: run.path().display().to_string(),
        title: run
            .attributes()
            .get("title")
            .map(ToString::to_string)
            .unwrap_or_default(),
        attributes: run.attributes().clone(),
        iterations: iterations as u64,
        workers: run.workers(),
        segments: run.segments()?.len(),
        scheme: plan.map(|plan| plan.scheme.clone()).unwrap_or_default(),
        plans: plans.len(),
        loss: LossSummary {
            first: mean(loss[..window].iter().copied()),
            last: mean(loss[iterations - window..].iter().copied()),
            ema: smoothed.last().copied().unwrap_or(f64::NAN),
            minimum: smoothed[warm..].iter().copied().fold(f64::NAN, f64::min),
        },
        metrics: metrics(run)?,
        responders_mean: if iterations == 0 {
            f64::NAN
        } else {
            totals.responders as f64 / iterations as f64
        },
        relative_error_median: quantile(run.series("relative_error")?, 0.5),
        per_worker: workers(run, plan)?,
        totals,
    })
}

fn metrics(run: &RunReader) -> Result<Metrics, LogError> {
    let evaluation = run.evaluation()?;
    let mut metrics = Metrics::default();
    for (name, values) in &evaluation.metrics {
        let measured = || {
            let all = values
                .iter()
                .zip(&evaluation.iteration)
                .map(|(&value, &iteration)| MetricAt { value, iteration });
            all.filter(|entry| !entry.value.is_nan())
        };
        let sign = if smaller_is_better(name) { -1.0 } else { 1.0 };
        // The first of equals.
        let better = |a: MetricAt, b: MetricAt| {
            if sign * b.value > sign * a.value {
                b
            } else {
                a
            }
        };
        if let (Some(last), Some(best)) = (measured().next_back(), measured().reduce(better)) {
            metrics.r#final.insert(name.clone(), last);
            metrics.best.insert(name.clone(), best);
        }
    }
    Ok(metrics)
}

fn totals(run: &RunReader) -> Result<Totals, LogError> {
    let sum = |name: &str| -> Result<f64, LogError> {
        Ok(run
            .series(name)?
            .into_iter()
            .filter(|v| v.is_finite())
            .sum())
    };
    // Counts are exact as reals up to 2^53, which is a petabyte.
    let count = |name: &str| -> Result<u64, LogError> { Ok(sum(name)? as u64) };
    let slowest = |name: &str| -> Result<f64, LogError> {
        let (seconds, arrival) = (run.per_worker(name)?, run.per_worker("arrival_time")?);
        let of_round = |t: usize| {
            let on_time = seconds
                .row(t)
                .into_iter()
                .zip(arrival.row(t))
                .filter(|(_, arrival)| arrival.is_finite());
            on_time
                .map(|(&seconds, _)| seconds)
                .filter(|seconds| seconds.is_finite())
                .fold(0.0, f64::max)
        };
        Ok((0..seconds.nrows()).map(of_round).sum())
    };
    let seconds = Seconds {
        round: sum("seconds_round")?,
        r#virtual: match sum("seconds_virtual") {
            Err(LogError::NoSuchSeries { .. }) => 0.0,
            other => other?,
        },
        wait: sum("seconds_wait")?,
        decode: sum("seconds_decode")?,
        step: sum("seconds_step")?,
        log: sum("seconds_log")?,
        other: 0.0,
        compute: slowest("seconds_compute")?,
        encode: slowest("seconds_encode")?,
    };
    let named = seconds.wait + seconds.decode + seconds.step + seconds.log;
    let seconds = Seconds {
        other: (seconds.round - named).max(0.0),
        ..seconds
    };

    let (bits_up, responders) = (count("bits_up")?, count("responders")?);
    let bits_up_f32 = run
        .count("dimension")
        .filter(|&l| l > 0)
        .map(|l| 32 * l * responders);
    let plain = bits_up_f32.filter(|&bits| bits > 0).map(|bits| bits as f64);
    let saved = plain.map_or(f64::NAN, |plain| plain - bits_up as f64);
    let late = run.per_worker("late_iterations")?;
    Ok(Totals {
        bits_up,
        bits_up_payload: count("bits_up_payload")?,
        bits_up_offered: count("bits_up_offered")?,
        bits_down: count("bits_down")?,
        bits_up_f32,
        compression_saved: plain.map_or(f64::NAN, |plain| saved / plain),
        compression_pays_below: saved / (seconds.encode + seconds.decode),
        responders,
        late: count("late")?,
        refused: count("refused")?,
        late_per_worker: late
            .columns()
            .into_iter()
            .map(|w| w.iter().filter(|&&late| late > 0.0).count() as u64)
            .collect(),
        seconds,
    })
}

fn workers(run: &RunReader, plan: Option<&PlanRecord>) -> Result<Vec<WorkerSummary>, LogError> {
    let late = run.per_worker("late_iterations")?;
    let arrival = run.per_worker("arrival_time")?;
    let bits = run.per_worker("bits")?;
    let compute = run.per_worker("seconds_compute")?;
    let encode = run.per_worker("seconds_encode")?;
    let of = |i: usize| WorkerSummary {
        asked: late.column(i).iter().filter(|&&late| late >= 0.0).count() as u64,
        late: late.column(i).iter().filter(|&&late| late > 0.0).count() as u64,
        straggle_probability: plan
            .and_then(|plan| plan.straggle_probability.get(i).copied())
            .unwrap_or(f64::NAN),
        bits_per_coordinate: plan.and_then(|plan| plan.bits.get(i).copied()),
        load: plan.and_then(|plan| plan.load.get(i).copied()),
        bits: bits.column(i).sum() as u64,
        arrival_median: quantile(arrival.column(i).iter().copied(), 0.5),
        arrival_p90: quantile(arrival.column(i).iter().copied(), 0.9),
        seconds_compute: mean(compute.column(i).iter().copied()),
        seconds_encode: mean(encode.column(i).iter().copied()),
    };
    Ok((0..run.workers()).map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IterationRow, RunInfo, RunLog};

    fn logged(rows: u64) -> Summary {
        let dir = tempfile::tempdir().unwrap();
        let info = RunInfo {
            title: "t".into(),
            workers: 2,
            dimension: 100,
            ..RunInfo::default()
        };
        let mut log = RunLog::create(dir.path().join("run.h5"), &info).unwrap();
        let plan = PlanRecord {
            scheme: "joint".into(),
            straggle_probability: vec![0.1, 0.4],
            bits: vec![6, 2],
            load: vec![1, 1],
            ..PlanRecord::default()
        };
        log.push_plan(0, &plan).unwrap();
        for iteration in 0..rows {
            let late = iteration % 4 == 0;
            let mut row = IterationRow::new(iteration, 2);
            row.loss = (rows - iteration) as f64;
            (
                row.bits_up,
                row.bits_up_payload,
                row.bits_up_offered,
                row.bits_down,
            ) = (800, 600, 900, 6400);
            (row.responders, row.late) = if late { (1, 1) } else { (2, 0) };
            (
                row.seconds_round,
                row.seconds_wait,
                row.seconds_decode,
                row.seconds_step,
            ) = (1.0, 0.5, 0.125, 0.125);
            row.seconds_log = 0.0625;
            row.per_worker.late_iterations = vec![0, i64::from(late)];
            row.per_worker.arrival_time = vec![0.25, if late { f64::NAN } else { 0.5 }];
            row.per_worker.seconds_encode = vec![0.125, 0.25];
            row.per_worker.bits = vec![500, 300];
            log.push(row).unwrap();
        }
        log.push_evaluation(0, &[("AP50".into(), 0.0), ("loss".into(), 9.0)]);
        log.push_evaluation(4, &[("AP50".into(), 0.75), ("loss".into(), 2.0)]);
        log.push_evaluation(8, &[("AP50".into(), 0.5)]);
        log.finish().unwrap();
        summarise(&RunReader::open(dir.path()).unwrap()).unwrap()
    }

    #[test]
    fn totals_add_up() {
        let summary = logged(8);
        let totals = &summary.totals;
        assert_eq!(
            (
                totals.bits_up,
                totals.bits_up_payload,
                totals.bits_up_offered,
                totals.bits_down
            ),
            (6400, 4800, 7200, 51_200)
        );
        assert_eq!((totals.responders, totals.late), (14, 2));
        assert_eq!(totals.late_per_worker, [0, 2]);
        assert_eq!(totals.bits_up_f32, Some(14 * 3200));
        assert!((totals.compression_saved - 6.0 / 7.0).abs() < 1e-12);
        // The late worker's encoding is not on the critical path: 2 rounds of 1/8 s and 6 of 1/4 s.
        assert_eq!(totals.seconds.encode, 1.75);
        assert_eq!(
            totals.compression_pays_below,
            (44_800.0 - 6400.0) / (1.75 + 1.0)
        );
        assert_eq!((totals.seconds.round, totals.seconds.other), (8.0, 1.5));
        assert_eq!(summary.responders_mean, 1.75);
        assert_eq!((summary.loss.first, summary.loss.last), (8.0, 1.0));
        assert_eq!(
            (summary.per_worker[1].asked, summary.per_worker[1].late),
            (8, 2)
        );
        assert_eq!(
            (
                summary.per_worker[1].arrival_median,
                summary.per_worker[1].bits
            ),
            (0.5, 2400)
        );
        assert_eq!(summary.per_worker[0].bits_per_coordinate, Some(6));
    }

    #[test]
    fn the_best_metric_depends_on_its_kind_and_the_last_one_on_when_it_was_measured() {
        let metrics = logged(8).metrics;
        assert_eq!(
            metrics.best["AP50"],
            MetricAt {
                value: 0.75,
                iteration: 4
            }
        );
        assert_eq!(
            metrics.best["loss"],
            MetricAt {
                value: 2.0,
                iteration: 4
            }
        );
        assert_eq!(
            metrics.r#final["AP50"],
            MetricAt {
                value: 0.5,
                iteration: 8
            }
        );
        assert_eq!(
            metrics.r#final["loss"],
            MetricAt {
                value: 2.0,
                iteration: 4
            }
        );
    }

    #[test]
    fn a_run_without_iterations_has_a_summary() {
        let summary = logged(0);
        assert!(
            summary.loss.last.is_nan()
                && summary.loss.minimum.is_nan()
                && summary.responders_mean.is_nan()
        );
        assert_eq!(summary.totals.bits_up, 0);
    }
}
