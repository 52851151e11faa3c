//! The lines of a figure's panels.

use run_log::study::Point;

use super::super::figures::bands::{Line, Panel};
use super::super::figures::canvas::COLOURS;
use super::super::figures::strokes::Stroke;
use super::quantity::{Abscissa, abscissae, bound_title, metrics, sweep_text};
use super::source::{Comparison, Entry, Sweep, grouped, value_at};

/// Values of swept keys drawn as lines of one panel, where there is a single scheme.
const SWEPT_LINES: usize = 9;

/// Panels against the axis or bits: one per combination of swept values, or one for them all where a
/// single scheme is swept.
pub fn along(comparison: &Comparison, x: &Abscissa, y: &str) -> Vec<Panel> {
    let labels = comparison.labels();
    let combinations = comparison.combinations();
    let bounds = *x == Abscissa::Axis && metrics(comparison).first().is_some_and(|m| m == y);
    if labels.len() == 1 && (2..=SWEPT_LINES).contains(&combinations.len()) {
        let named: Vec<(String, usize, &Entry)> = combinations
            .iter()
            .enumerate()
            .filter_map(|(i, (sweep, entries))| Some((sweep_text(sweep), i, *entries.first()?)))
            .collect();
        return vec![panel(String::new(), &named, x, y, bounds)];
    }
    if labels.len() == 1 && combinations.len() > 1 {
        let first = |entry: &Entry| entry.point.sweep.first().cloned();
        return grouped(comparison.points.iter(), first)
            .into_iter()
            .map(|(key, entries)| {
                let named: Vec<(String, usize, &Entry)> = entries
                    .iter()
                    .enumerate()
                    .map(|(i, entry)| {
                        (
                            sweep_text(entry.point.sweep.get(1..).unwrap_or(&[])),
                            i,
                            *entry,
                        )
                    })
                    .collect();
                let title = sweep_text(&key.into_iter().collect::<Sweep>());
                panel(title, &named, x, y, bounds)
            })
            .collect();
    }
    combinations
        .iter()
        .map(|(sweep, entries)| {
            let named: Vec<(String, usize, &Entry)> = entries
                .iter()
                .map(|entry| (entry.point.label.clone(), place(&labels, entry), *entry))
                .collect();
            panel(sweep_text(sweep), &named, x, y, bounds)
        })
        .collect()
}

/// A label keeps its colour in all panels and figures.
fn place(labels: &[&str], entry: &Entry) -> usize {
    labels
        .iter()
        .position(|label| *label == entry.point.label)
        .unwrap_or(0)
}

/// Ends a label whose mean stops because runs diverged.
pub const DIVERGED: &str = "diverged";

fn label_of(name: &str, point: &Point) -> String {
    match point.diverged() {
        0 => name.to_owned(),
        count => format!("{name}: {count} of {} {DIVERGED}", point.done()),
    }
}

/// Lines differ by more than colour, unless broken lines are for the bounds.
fn stroke(colour: usize, bounds: bool) -> Stroke {
    if bounds {
        return Stroke::Solid;
    }
    let cycle = Stroke::CYCLE;
    cycle[(colour + colour / COLOURS) % cycle.len()]
}

fn panel(
    title: String,
    entries: &[(String, usize, &Entry)],
    x: &Abscissa,
    y: &str,
    with_bounds: bool,
) -> Panel {
    let mut lines = vec![];
    if with_bounds {
        lines.extend(bounds(entries));
    }
    let broken = !lines.is_empty();
    for (label, colour, entry) in entries {
        let point = &entry.point;
        let (Some(series), Some(at)) = (point.series.get(y), abscissae(point, x)) else {
            continue;
        };
        let errors = &series.standard_error;
        let points: Vec<(f64, f64, f64)> = at
            .iter()
            .zip(&series.mean)
            .zip(errors)
            .map(|((&x, &y), &error)| (x, y, error))
            .filter(|(x, _, _)| x.is_finite())
            .collect();
        if !points.iter().any(|(_, y, _)| y.is_finite()) {
            continue;
        }
        let banded = errors.iter().any(|&error| error > 0.0);
        lines.push(Line {
            label: Some(label_of(label, point)),
            x: points.iter().map(|p| p.0).collect(),
            y: points.iter().map(|p| p.1).collect(),
            half_band: if banded {
                points.iter().map(|p| p.2).collect()
            } else {
                vec![]
            },
            colour: Some(*colour),
            stroke: stroke(*colour, broken),
            bound: false,
        });
    }
    Panel { title, lines }
}

/// The theoretical curves: each in its scheme's colour, one that schemes share in grey. A curve that
/// is the only one of its kind is named at its end; the caption explains the others.
fn bounds(entries: &[(String, usize, &Entry)]) -> Vec<Line> {
    let mut found: Vec<(&str, &Point, &[f64], Vec<usize>)> = vec![];
    for (_, colour, entry) in entries {
        for (name, values) in &entry.point.bounds {
            let same = found.iter_mut().find(|(other, point, curve, _)| {
                other == name && point.at == entry.point.at && *curve == values.as_slice()
            });
            match same {
                Some((.., colours)) => colours.push(*colour),
                None => found.push((name, &entry.point, values, vec![*colour])),
            }
        }
    }
    let alone = |name: &str| found.iter().filter(|(other, ..)| *other == name).count() == 1;
    found
        .iter()
        .map(|(name, point, values, colours)| Line {
            label: alone(name).then(|| bound_title(name)),
            x: point.at.clone(),
            y: values.to_vec(),
            half_band: vec![],
            colour: (colours.len() == 1).then(|| colours[0]),
            stroke: match *name {
                name if name.contains("upper") => Stroke::Dashed,
                name if name.contains("lower") => Stroke::Dotted,
                name if name.contains("baseline") => Stroke::DashDot,
                _ => Stroke::LongDash,
            },
            bound: true,
        })
        .collect()
}

/// Panels against a swept key: one per combination of the other keys.
pub fn swept(comparison: &Comparison, key: &str, y: &str) -> Vec<Panel> {
    let labels = comparison.labels();
    let others = |entry: &Entry| {
        let rest = entry.point.sweep.iter().filter(|(name, _)| name != key);
        rest.cloned().collect::<Sweep>()
    };
    let panel = |(sweep, entries): (Sweep, Vec<&Entry>)| {
        let by_label = grouped(entries.into_iter(), |entry: &Entry| {
            entry.point.label.clone()
        });
        let lines = by_label.into_iter().filter_map(|(label, entries)| {
            let colour = place(&labels, entries.first()?);
            let mut points: Vec<(f64, f64, f64)> = entries
                .iter()
                .filter_map(|entry| {
                    let series = entry.point.series.get(y)?;
                    let x = value_at(&entry.point, key)?.as_f64()?;
                    Some((x, *series.mean.last()?, *series.standard_error.last()?))
                })
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let measured = points.iter().any(|(_, y, _)| y.is_finite());
            let banded = points.iter().any(|(_, _, error)| *error > 0.0);
            measured.then(|| Line {
                label: Some(label),
                x: points.iter().map(|p| p.0).collect(),
                y: points.iter().map(|p| p.1).collect(),
                half_band: if banded {
                    points.iter().map(|p| p.2).collect()
                } else {
                    vec![]
                },
                colour: Some(colour),
                stroke: stroke(colour, false),
                bound: false,
            })
        });
        Panel {
            lines: lines.collect(),
            title: sweep_text(&sweep),
        }
    };
    grouped(comparison.points.iter(), others)
        .into_iter()
        .map(panel)
        .collect()
}
