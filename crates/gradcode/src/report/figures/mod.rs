//! Figures as SVG files: loss against iterations, time and bits; held-out metrics; who was late when.
//!
//! [`curves`], [`bands`], [`arrivals`], [`ranges`] and [`rounds`] each draw one kind of figure; [`canvas`], [`scale`] and
//! [`plot`] hold what they share, [`lines`] and [`strokes`] prepare points. Text stays text in the
//! files, in the viewer's sans-serif font, so no font is needed to draw them.

mod arrivals;
pub mod bands;
pub mod canvas;
mod curves;
pub mod lines;
mod plot;
mod ranges;
pub mod rounds;
pub mod scale;
pub mod strokes;

use std::fs;
use std::path::{Path, PathBuf};

use run_log::{RunReader, smoothing_span};

use super::explain::columns::Columns;
use super::format::{si_prefix, significant};
use super::{Run, failure};
use crate::exit::{ENVIRONMENT, Failure, Outcome};
use crate::headline;
use curves::{Curve, Panel};

/// Workers with a row of their own in a figure.
pub const WORKERS: usize = 40;

/// Draws every figure that the runs have data for into `directory`, which is created if need be, and
/// returns the files' paths.
///
/// # Errors
/// Exit code 30 if a file cannot be written.
pub fn write(runs: &[Run], directory: &Path) -> Outcome<Vec<PathBuf>> {
    let mut figures = losses(runs, ALONE)?;
    figures.extend(arrival_maps(runs)?);
    figures.extend(evaluations(runs)?);
    for (number, run) in runs
        .iter()
        .enumerate()
        .filter(|(_, run)| !run.reader.is_empty())
    {
        let suffix = if runs.len() == 1 {
            String::new()
        } else {
            format!("-{}", number + 1)
        };
        if let Some(svg) = round_times(run)? {
            figures.push((format!("round-times{suffix}.svg"), svg));
        }
        figures.push((
            format!("arrival-times{suffix}.svg"),
            arrival_ranges(run, WORKERS)?,
        ));
    }
    save(figures, directory)
}

/// Writes each figure (name, SVG text) into `directory`, which is created if need be, and returns the
/// files' paths.
///
/// # Errors
/// Exit code 30 if a file cannot be written.
pub fn save(figures: Figures, directory: &Path) -> Outcome<Vec<PathBuf>> {
    let io = |path: &Path, error: std::io::Error| {
        Failure::new(
            ENVIRONMENT,
            format!("failed to write {}: {error}", path.display()),
        )
    };
    fs::create_dir_all(directory).map_err(|error| io(directory, error))?;
    let mut written = vec![];
    for (name, svg) in figures {
        let path = directory.join(name);
        fs::write(&path, svg).map_err(|error| io(&path, error))?;
        written.push(path);
    }
    Ok(written)
}

/// Says where the figures are.
pub fn announce(written: &[PathBuf]) {
    let names: Vec<String> = written
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    eprintln!("figures: {}", names.join(" "));
}

/// Files' names with their SVG text.
pub type Figures = Vec<(String, String)>;

/// A figure, or the bug that kept it from being drawn.
///
/// # Errors
/// Exit code 70: drawing into memory does not fail.
pub fn drawn(result: Result<String, canvas::DrawError>) -> Outcome<String> {
    result.map_err(|error| {
        Failure::new(
            crate::exit::BUG,
            format!("failed to draw a figure: {error}"),
        )
    })
}

/// Pixels of a figure that stands alone.
const ALONE: (u32, u32) = (900, 520);
/// Pixels of one that shares a page's width with another.
pub const HALF_PAGE: (u32, u32) = (560, 360);

/// The loss of the training minibatches against three axes.
pub fn losses(runs: &[Run], size: (u32, u32)) -> Outcome<Figures> {
    let mut curves = [vec![], vec![], vec![]];
    let [mut seconds_most, mut bits_most] = [0.0, 0.0];
    for run in runs {
        let loss = run.reader.series("loss").map_err(failure)?;
        let smooth = lines::centred_average(&loss, smoothing_span(loss.len()));
        let completed = run
            .reader
            .series("iteration")
            .map_err(failure)?
            .iter()
            .map(|i| i + 1.0)
            .collect();
        let seconds = elapsed(&run.reader)?;
        let bits = accumulated(&run.reader.series("bits_up").map_err(failure)?);
        seconds_most = seconds.last().copied().unwrap_or(0.0).max(seconds_most);
        bits_most = bits.last().copied().unwrap_or(0.0).max(bits_most);
        for (list, x) in curves.iter_mut().zip([completed, seconds, bits]) {
            list.push(Curve {
                label: run.label.clone(),
                x,
                raw: loss.clone(),
                smooth: smooth.clone(),
                dots: false,
            });
        }
    }
    let (second_factor, second_unit) = time_unit(seconds_most);
    let (bit_factor, bit_prefix) = si_prefix(bits_most);
    let [by_iteration, by_time, by_bits] = curves;
    let smoothing = "bold: smoothed; faint: single iterations";
    let figure = |x_label: String, factor: f64, mut curves: Vec<Curve>| {
        for curve in &mut curves {
            curve.x.iter_mut().for_each(|x| *x /= factor);
        }
        let title = match runs {
            [run] => format!("Training loss: {}", run.label),
            _ => "Training loss".into(),
        };
        let panel = Panel {
            title,
            subtitle: smoothing.into(),
            x_label,
            curves,
            linear: false,
        };
        drawn(curves::draw(&[panel], size))
    };
    Ok(vec![
        (
            "loss-iteration.svg".into(),
            figure("iterations".into(), 1.0, by_iteration)?,
        ),
        (
            "loss-time.svg".into(),
            figure(format!("time, {second_unit}"), second_factor, by_time)?,
        ),
        (
            "loss-bits.svg".into(),
            figure(
                format!("sent by the workers, {bit_prefix}bit"),
                bit_factor,
                by_bits,
            )?,
        ),
    ])
}

fn accumulated(values: &[f64]) -> Vec<f64> {
    let add = |sum: &mut f64, &value: &f64| {
        if value.is_finite() {
            *sum += value;
        }
        Some(*sum)
    };
    values.iter().scan(0.0, add).collect()
}

/// Seconds computed by the end of each iteration; pauses between a stop and a resume do not count.
fn elapsed(run: &RunReader) -> Outcome<Vec<f64>> {
    Ok(accumulated(&run.series("seconds_round").map_err(failure)?))
}

/// The unit for a time axis up to `seconds`, and its seconds.
fn time_unit(seconds: f64) -> (f64, &'static str) {
    match seconds {
        s if s < 300.0 => (1.0, "s"),
        s if s < 3.0 * 3600.0 => (60.0, "min"),
        _ => (3600.0, "h"),
    }
}

/// One file per run.
fn arrival_maps(runs: &[Run]) -> Outcome<Figures> {
    let mut figures = vec![];
    for (number, run) in runs.iter().enumerate() {
        let Some(map) = arrival_map(run)? else {
            continue;
        };
        let name = if runs.len() == 1 {
            "arrivals.svg".into()
        } else {
            format!("arrivals-{}.svg", number + 1)
        };
        figures.push((name, map));
    }
    Ok(figures)
}

/// Who was late when; none without iterations.
pub fn arrival_map(run: &Run) -> Outcome<Option<String>> {
    let lateness = run.reader.per_worker("late_iterations").map_err(failure)?;
    let arrival = run.reader.per_worker("arrival_time").map_err(failure)?;
    if lateness.is_empty() {
        return Ok(None);
    }
    let changes = run.explanation.events.plans.iter().skip(1);
    let plans: Vec<u64> = changes.map(|plan| plan.iteration).collect();
    let map = arrivals::Map {
        lateness: &lateness,
        arrival: &arrival,
        plans: &plans,
    };
    drawn(arrivals::draw(&run.label, &map)).map(Some)
}

/// What the rounds' time went into; none without iterations.
pub fn round_times(run: &Run) -> Outcome<Option<String>> {
    let columns = Columns::read(&run.reader).map_err(failure)?;
    let Some(&first) = columns.iteration.first() else {
        return Ok(None);
    };
    let split = |t| super::explain::time::round(&columns, &run.explanation.circumstances, t);
    let rounds: Vec<_> = (0..columns.len()).map(split).collect();
    drawn(rounds::draw(&run.label, first, &rounds)).map(Some)
}

/// When each worker's gradients arrived; of more than `most` workers those late most often.
pub fn arrival_ranges(run: &Run, most: usize) -> Outcome<String> {
    let (order, _) = super::story::shown(&run.explanation.workers, most);
    let rows: Vec<ranges::Range> = order
        .into_iter()
        .map(|i| &run.explanation.workers[i])
        .map(|worker| ranges::Range {
            worker: worker.worker,
            arrival: worker.arrival,
            late: worker.late_share,
        })
        .collect();
    // Workers have virtual arrivals where they are drawn, and real ones before a deadline.
    let deadline = match run.explanation.circumstances.drawn {
        true => f64::NAN,
        false => run.explanation.deadline.seconds[1],
    };
    drawn(ranges::draw(&run.label, &rows, deadline))
}

/// Bits that the workers sent, over the iterations, beside what they would have sent.
pub fn bits_sent(run: &Run) -> Outcome<String> {
    let series = |name| run.reader.series(name).map_err(failure);
    let dimension = run.reader.count("dimension").unwrap_or(0) as f64;
    let plain: Vec<f64> = series("responders")?
        .iter()
        .map(|responders| 32.0 * dimension * responders)
        .collect();
    let curves = [
        ("sent", series("bits_up")?),
        ("had nobody been late", series("bits_up_offered")?),
        ("what was sent, as f32", plain),
    ]
    .map(|(label, bits)| (label, accumulated(&bits)));
    let most = curves.iter().filter_map(|(_, bits)| bits.last().copied());
    let (factor, prefix) = si_prefix(most.fold(0.0, f64::max));
    let x: Vec<f64> = series("iteration")?.iter().map(|i| i + 1.0).collect();
    let curve = |(label, bits): (&str, Vec<f64>)| Curve {
        label: label.into(),
        x: x.clone(),
        raw: vec![],
        smooth: bits.iter().map(|bits| bits / factor).collect(),
        dots: false,
    };
    let panel = Panel {
        title: format!("Sent by the workers, {prefix}bit: {}", run.label),
        subtitle: "from the start on; headers included".into(),
        x_label: "iterations".into(),
        curves: curves.into_iter().map(curve).collect(),
        linear: true,
    };
    drawn(curves::draw(&[panel], HALF_PAGE))
}

/// One panel per metric that leads.
pub fn evaluations(runs: &[Run]) -> Outcome<Figures> {
    let mut panels: Vec<Panel> = vec![];
    for run in runs {
        let evaluation = run.reader.evaluation().map_err(failure)?;
        let completed: Vec<f64> = evaluation.iteration.iter().map(|&i| i as f64).collect();
        for (name, values) in evaluation.metrics {
            if headline::is_detail(&name) {
                continue;
            }
            let (x, smooth): (Vec<f64>, Vec<f64>) = completed
                .iter()
                .zip(&values)
                .filter(|(_, value)| value.is_finite())
                .unzip();
            if x.is_empty() {
                continue;
            }
            let curve = Curve {
                label: run.label.clone(),
                x,
                raw: vec![],
                smooth,
                dots: true,
            };
            let title = format!("{name} on held-out data");
            let subtitle = match (
                runs,
                run.summary.metrics.r#final.get(&name),
                run.summary.metrics.best.get(&name),
            ) {
                ([_], Some(last), Some(best)) => {
                    format!(
                        "{} at the end, {} at best",
                        significant(last.value, 3),
                        significant(best.value, 3)
                    )
                }
                _ => String::new(),
            };
            match panels.iter_mut().find(|panel| panel.title == title) {
                Some(panel) => panel.curves.push(curve),
                None => {
                    panels.push(Panel {
                        title,
                        subtitle,
                        x_label: "iterations".into(),
                        curves: vec![curve],
                        linear: false,
                    });
                }
            }
        }
    }
    if panels.is_empty() {
        return Ok(vec![]);
    }
    panels.sort_by(|a, b| a.title.cmp(&b.title));
    let rows = panels.len().div_ceil(2) as u32;
    let size = if panels.len() == 1 {
        (900, 520)
    } else {
        (1100, 360 * rows)
    };
    Ok(vec![(
        "evaluation.svg".into(),
        drawn(curves::draw(&panels, size))?,
    )])
}

#[cfg(test)]
mod tests {
    use super::super::testing::opened;
    use super::*;

    #[test]
    fn every_figure_of_a_run_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let figures = dir.path().join("new/figures");
        let run = opened(dir.path(), "a < b", 50);
        let written = write(&[run], &figures).ok().unwrap();
        let names: Vec<_> = written
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "loss-iteration.svg",
                "loss-time.svg",
                "loss-bits.svg",
                "arrivals.svg",
                "evaluation.svg",
                "round-times.svg",
                "arrival-times.svg"
            ]
        );
        for path in written {
            let svg = fs::read_to_string(&path).unwrap();
            assert!(
                svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
                "{}",
                path.display()
            );
            assert!(
                !svg.contains("NaN") && !svg.contains("a < b"),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn runs_without_iterations_or_evaluations_do_not_stop_the_others() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runs = [opened(a.path(), "empty", 0), opened(b.path(), "one", 1)];
        let written = write(&runs, a.path()).ok().unwrap();
        assert!(written.iter().any(|path| path.ends_with("arrivals-2.svg")));
        assert!(!written.iter().any(|path| path.ends_with("arrivals-1.svg")));
        write(&runs[..1], b.path()).ok().unwrap();
    }

    #[test]
    fn pauses_do_not_count_as_time_and_gaps_do_not_break_sums() {
        assert_eq!(accumulated(&[1.0, f64::NAN, 2.0]), [1.0, 1.0, 3.0]);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            elapsed(&opened(dir.path(), "t", 3).reader).ok().unwrap(),
            [0.5, 1.0, 1.5]
        );
    }
}
