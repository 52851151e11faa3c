//! Which figures are drawn, in how many files.

use run_log::smaller_is_better;
use run_log::study::Point;

use super::super::figures::bands::{Figure, Panel};
use super::super::figures::scale::Choice;
use super::super::figures::strokes::Stroke;
use super::lines::{DIVERGED, along, swept};
use super::quantity::{Abscissa, OFFERED, RECEIVED, metrics, scale_bits, series_title};
use super::source::Comparison;

/// Panels of one file, and files of one figure: more are left out, and said to be.
const PANELS: usize = 6;
const FILES: usize = 4;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `--x`; without it every axis that has data.
    pub x: Option<Abscissa>,
    /// `--y`; without it every metric against the axis and the first against the others.
    pub y: Option<String>,
    /// Kind of the x axis.
    pub x_choice: Choice,
    /// Kind of the y axis.
    pub y_choice: Choice,
}

/// Figures with their files' names, and how many panels were left out.
#[derive(Debug, Default)]
pub struct Drawn {
    /// Name without extension, and the figure.
    pub figures: Vec<(String, Figure)>,
    /// Panels beyond the limit.
    pub left_out: usize,
}

/// Every figure that is wanted and has data.
pub fn figures(comparison: &Comparison, wanted: &Wanted) -> Drawn {
    let all = metrics(comparison);
    let chosen = wanted.y.clone().or_else(|| all.first().cloned());
    let Some(first) = chosen else {
        return Drawn::default();
    };
    let mut pairs = vec![];
    match &wanted.x {
        Some(x) => pairs.push((x.clone(), first)),
        None => {
            pairs.push((Abscissa::Axis, first.clone()));
            pairs.extend([RECEIVED, OFFERED].map(|bits| (Abscissa::Bits(bits), first.clone())));
            // Elsewhere than in training the end of the axis is no result.
            let ends = |point: &Point| point.axis == "iteration" || point.at.len() == 1;
            if comparison.points.iter().all(|entry| ends(&entry.point)) {
                let keys = comparison.swept_keys().into_iter();
                pairs.extend(keys.map(|key| (Abscissa::Key(key), first.clone())));
            }
            if wanted.y.is_none() {
                let rest = all.into_iter().filter(|name| *name != first);
                pairs.extend(rest.map(|name| (Abscissa::Axis, name)));
            }
        }
    }
    let mut drawn = Drawn::default();
    for (x, y) in pairs {
        let panels = match &x {
            Abscissa::Key(key) => swept(comparison, key, &y),
            _ => along(comparison, &x, &y),
        };
        add(&mut drawn, comparison, wanted, &x, &y, panels);
    }
    drawn
}

fn add(
    drawn: &mut Drawn,
    comparison: &Comparison,
    wanted: &Wanted,
    x: &Abscissa,
    y: &str,
    mut panels: Vec<Panel>,
) {
    panels.retain(|panel| !panel.lines.is_empty());
    let prefix = match x {
        Abscissa::Bits(_) => {
            let lines = panels.iter_mut().flat_map(|panel| &mut panel.lines);
            scale_bits(lines.map(|line| &mut line.x))
        }
        _ => "",
    };
    if let [panel] = panels.as_mut_slice() {
        panel.title.clear();
    }
    let axis = comparison
        .points
        .first()
        .map_or("", |entry| entry.point.axis.as_str());
    let name = format!("{y}-{}", x.slug(axis)).replace(['/', ' '], "_");
    drawn.left_out += panels.len().saturating_sub(PANELS * FILES);
    let files: Vec<&[Panel]> = panels.chunks(PANELS).take(FILES).collect();
    for (number, panels) in files.iter().enumerate() {
        let name = match files.len() {
            1 => name.clone(),
            _ => format!("{name}-{}", number + 1),
        };
        let figure = Figure {
            title: if comparison.title.is_empty() {
                series_title(y)
            } else {
                comparison.title.clone()
            },
            caption: caption(comparison, panels),
            x_label: x.title(axis, prefix),
            y_label: y_label(x, y),
            x_choice: x_choice(wanted.x_choice, x, panels),
            y_choice: wanted.y_choice,
            ceiling: ceiling(panels, axis, x, y),
            panels: panels.to_vec(),
        };
        drawn.figures.push((name, figure));
    }
}

/// Schemes of very different cost need a logarithmic axis of bits even where each has points near
/// zero; iterations and stragglers are linear, as in the papers.
fn x_choice(wanted: Choice, x: &Abscissa, panels: &[Panel]) -> Choice {
    if wanted != Choice::Auto {
        return wanted;
    }
    let wide = |panel: &Panel| {
        let ends = || panel.lines.iter().filter_map(|line| line.x.last().copied());
        ends().fold(0.0, f64::max) > 12.0 * ends().fold(f64::MAX, f64::min)
    };
    match x {
        Abscissa::Axis => Choice::Linear,
        Abscissa::Bits(_) if panels.iter().any(wide) => Choice::Log,
        Abscissa::Bits(_) => Choice::Linear,
        Abscissa::Key(_) => Choice::Auto,
    }
}

/// The worst start: a line far above it diverges.
fn ceiling(panels: &[Panel], axis: &str, x: &Abscissa, y: &str) -> Option<f64> {
    let falls = axis == "iteration" && !matches!(x, Abscissa::Key(_)) && smaller_is_better(y);
    let starts = || {
        let lines = panels.iter().flat_map(|panel| &panel.lines);
        lines.filter_map(|line| line.y.iter().copied().find(|y| y.is_finite()))
    };
    let highest = starts().reduce(f64::max).filter(|start| *start > 0.0);
    highest.filter(|_| falls)
}

fn y_label(x: &Abscissa, y: &str) -> String {
    match x {
        Abscissa::Key(_) => format!("{} at the end", series_title(y)),
        _ => series_title(y),
    }
}

fn caption(comparison: &Comparison, panels: &[Panel]) -> String {
    let counts = comparison.points.iter().map(|entry| entry.point.done());
    let counts: Vec<usize> = counts.filter(|&runs| runs > 0).collect();
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    let mut parts = match (least.unwrap_or(0), most.unwrap_or(0)) {
        (_, 0 | 1) => vec![],
        (least, most) if least == most => vec![format!("mean of {most} runs")],
        (least, most) => vec![format!("mean of {least} to {most} runs")],
    };
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    if lines().any(|line| line.half_band.iter().any(|&half| half > 0.0)) {
        parts.push("band: \u{b1} 1 standard error".into());
    }
    for (stroke, text) in [
        (Stroke::Dashed, "dashed: upper bound"),
        (Stroke::Dotted, "dotted: lower bound"),
        (Stroke::DashDot, "dash-dotted: baseline"),
    ] {
        if lines().any(|line| line.bound && line.label.is_none() && line.stroke == stroke) {
            parts.push(text.into());
        }
    }
    if lines().any(|line| line.label.as_deref().is_some_and(|l| l.ends_with(DIVERGED))) {
        parts.push("a line ends where the first run diverges".into());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{compared, decoding, swept, trained};
    use super::*;
    use run_log::study::{Outcome, Study};
    use serde_json::json;

    fn names(drawn: &Drawn) -> Vec<&str> {
        drawn
            .figures
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    #[test]
    fn a_swept_study_has_a_panel_per_value_and_a_figure_against_it() {
        let comparison = compared(&swept());
        let drawn = figures(&comparison, &Wanted::default());
        assert_eq!(
            names(&drawn),
            [
                "loss-iteration",
                "loss-bits",
                "loss-bits-offered",
                "loss-by-residual_bits"
            ]
        );
        let by_iteration = &drawn.figures[0].1;
        let titles: Vec<&str> = by_iteration
            .panels
            .iter()
            .map(|p| p.title.as_str())
            .collect();
        assert_eq!(titles, ["residual_bits = 10.5", "residual_bits = 50"]);
        assert_eq!(
            by_iteration.caption,
            "mean of 2 runs; band: \u{b1} 1 standard error"
        );
        // 500 bits an iteration, 30 of them.
        let by_bits = &drawn.figures[1].1;
        assert!(by_bits.x_label.ends_with("(kbit)"), "{}", by_bits.x_label);
        assert_eq!(by_bits.panels[1].lines[0].x[3], 15.0);
        let by_key = &drawn.figures[3].1;
        assert_eq!(by_key.panels.len(), 1);
        let line = &by_key.panels[0].lines[1];
        assert_eq!(
            (line.label.as_deref(), &line.x),
            (Some("SGC"), &vec![10.5, 50.0])
        );
        assert!((line.y[1] - 4.02).abs() < 1e-12);
        assert!((line.half_band[1] - 0.1).abs() < 1e-12);
    }

    #[test]
    fn one_figure_is_drawn_if_one_is_asked_for() {
        let comparison = compared(&swept());
        for (text, name) in [
            ("bits", "loss-bits"),
            ("iteration", "loss-iteration"),
            ("residual_bits", "loss-by-residual_bits"),
        ] {
            let wanted = Wanted {
                x: Abscissa::parse(text, &comparison).ok(),
                ..Wanted::default()
            };
            assert_eq!(names(&figures(&comparison, &wanted)), [name]);
        }
        let error = Abscissa::parse("budgets", &comparison).err().unwrap();
        let hint = error.hint.unwrap();
        assert!(
            hint.contains("budget.residual_bits") && hint.contains("bits-offered"),
            "{hint}"
        );
    }

    #[test]
    fn bounds_are_named_where_they_are_alone_and_shared_ones_are_grey() {
        let comparison = compared(&decoding());
        let drawn = figures(&comparison, &Wanted::default());
        assert_eq!(names(&drawn), ["error-stragglers"]);
        let lines = &drawn.figures[0].1.panels[0].lines;
        let of = |label: &str| {
            lines
                .iter()
                .find(|line| line.label.as_deref() == Some(label))
                .unwrap()
        };
        let (upper, baseline) = (of("upper bound"), of("baseline"));
        assert_eq!((upper.stroke, upper.colour), (Stroke::Dashed, Some(0)));
        assert_eq!((baseline.stroke, baseline.colour), (Stroke::DashDot, None));
        assert_eq!(of("lower bound").stroke, Stroke::Dotted);
        assert!(!of("stacked").bound && of("stacked").stroke == Stroke::Solid);

        let mut both = decoding();
        both.points[1].bounds.insert("upper".into(), vec![9.0; 3]);
        let drawn = figures(&compared(&both), &Wanted::default());
        let figure = &drawn.figures[0].1;
        assert!(
            figure.caption.contains("dashed: upper bound"),
            "{}",
            figure.caption
        );
        assert_eq!(
            figure.panels[0]
                .lines
                .iter()
                .filter(|line| line.label.is_none())
                .count(),
            2
        );
    }

    #[test]
    fn a_lone_scheme_is_drawn_with_a_line_per_value() {
        let mut study = Study::new("training", "loads", "", "test");
        for load in [1, 5, 10] {
            let mut point = trained("COCO-EF", 1.0 / f64::from(load), 1.0);
            point.sweep = vec![("scheme.load".into(), json!(load))];
            study.points.push(point);
        }
        let drawn = figures(&compared(&study), &Wanted::default());
        let panels = &drawn.figures[0].1.panels;
        assert_eq!(panels.len(), 1);
        let labels: Vec<&str> = panels[0]
            .lines
            .iter()
            .filter_map(|l| l.label.as_deref())
            .collect();
        assert_eq!(labels, ["load = 1", "load = 5", "load = 10"]);
    }

    #[test]
    fn divergence_is_said_and_files_are_bounded() {
        let mut study = Study::new("training", "many", "", "test");
        for k in 0..30 {
            for label in ["a", "b"] {
                let mut point = trained(label, 1.0, 1.0);
                point.sweep = vec![("workers".into(), json!(k))];
                study.points.push(point);
            }
        }
        let (loss, bits) = ([8.0, 9.0, 10.0, 11.0], [0.0, 1.0, 2.0, 3.0]);
        study.points[1]
            .record(
                1,
                Outcome::Diverged { from: 2 },
                &[("loss", &loss), ("bits_up_payload", &bits)],
            )
            .unwrap();
        let wanted = Wanted {
            x: Some(Abscissa::Axis),
            ..Wanted::default()
        };
        let drawn = figures(&compared(&study), &wanted);
        assert_eq!((drawn.figures.len(), drawn.left_out), (4, 6));
        let figure = &drawn.figures[0].1;
        let line = &figure.panels[0].lines[1];
        assert_eq!(line.label.as_deref(), Some("b: 1 of 2 diverged"));
        assert!(figure.caption.contains("first run diverges"));
    }
}
