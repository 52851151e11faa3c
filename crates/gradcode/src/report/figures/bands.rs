//! Line figures of averages: a band of one standard error around each line, bounds as broken lines,
//! every line named at its end.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{self, Area, DrawError, INK, MUTED, Size, colour, fitted, style, svg};
use super::lines::{pieces, spread};
use super::plot::{Plot, pixels};
use super::scale::{Choice, Scale};
use super::strokes::{Point, Stroke, within};

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Written at the line's end; none for a line that the caption explains.
    pub label: Option<String>,
    /// Abscissae, not decreasing.
    pub x: Vec<f64>,
    /// Heights; NaN interrupts the line.
    pub y: Vec<f64>,
    /// Half the band's height at each point; empty for no band.
    pub half_band: Vec<f64>,
    /// Number of its colour; none for grey.
    pub colour: Option<usize>,
    /// Solid, dashed, ...
    pub stroke: Stroke,
    /// A bound: drawn thinner, without marks, and behind.
    pub bound: bool,
}

impl Line {
    fn ink(&self) -> RGBColor {
        self.colour.map_or(MUTED, colour)
    }

    /// Whether it ends above the axis.
    fn leaves(&self, y: &Scale) -> bool {
        let last = self.y.iter().rfind(|y| y.is_finite());
        last.is_some_and(|&last| last > y.most)
    }

    /// What is written at its end.
    fn name(&self, y: &Scale) -> Option<String> {
        let arrow = if self.leaves(y) { " \u{2191}" } else { "" };
        self.label.as_ref().map(|label| format!("{label}{arrow}"))
    }

    fn band(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let half = |i: usize| {
            self.half_band
                .get(i)
                .copied()
                .filter(|half| half.is_finite())
        };
        self.x
            .iter()
            .zip(&self.y)
            .enumerate()
            .map(move |(i, (&x, &y))| {
                let half = half(i).unwrap_or(0.0);
                (x, y - half, y + half)
            })
    }
}

/// One set of axes.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What sets it apart from the other panels; empty for a lone one.
    pub title: String,
    /// Drawn in this order, bounds first.
    pub lines: Vec<Line>,
}

/// What all panels of a figure share.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// Of the whole figure.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The x axis' name with its unit.
    pub x_label: String,
    /// The y axis' name with its unit.
    pub y_label: String,
    /// Kind of the x axis.
    pub x_choice: Choice,
    /// Kind of the y axis.
    pub y_choice: Choice,
    /// Lines that rise above `3 x ceiling` are cut at 1.2 times it, for a scheme that diverges would
    /// leave the others no height.
    pub ceiling: Option<f64>,
    /// One or more.
    pub panels: Vec<Panel>,
}

/// Marks are drawn on lines of up to this many points.
const MARKED: usize = 16;
/// From one name to the next, in pixels.
const NAME_HEIGHT: f64 = 17.0;
/// From the plot's right edge to the names.
const LEADER: i32 = 20;

const LEFT: i32 = 62;
const BOTTOM: i32 = 52;
const HEAD: i32 = 58;

/// Draws the figure: one panel large, several in two columns.
///
/// # Errors
/// None in practice: the drawing goes to memory.
pub fn draw(figure: &Figure) -> Result<String, DrawError> {
    let names = figure.panels.iter().map(|panel| {
        let named = panel.lines.iter().filter(|line| line.label.is_some());
        named.count()
    });
    let for_names = (names.max().unwrap_or(0) as f64 * NAME_HEIGHT) as u32;
    let columns = figure.panels.len().clamp(1, 2);
    let rows = figure.panels.len().div_ceil(columns).max(1);
    let (width, height) = match columns {
        1 => (760, 380),
        _ => (540 * columns as u32, 340),
    };
    let height = rows as u32 * height.max(for_names + 116);
    svg((width, height + HEAD as u32), |area| {
        let room = width as i32 - 28;
        for (text, y, size, ink) in [
            (&figure.title, 22, Size::Title, INK),
            (&figure.caption, 44, Size::Label, MUTED),
        ] {
            canvas::write(
                area,
                &fitted(text, size, room),
                (14, y),
                size,
                ink,
                HPos::Left,
            )?;
        }
        let (_, below) = area.split_vertically(HEAD);
        let scales = shared(figure);
        below
            .split_evenly((rows, columns))
            .iter()
            .zip(&figure.panels)
            .try_for_each(|(area, panel)| draw_panel(area, figure, panel, scales))
    })
}

fn abscissae(figure: &Figure, lines: &[Line]) -> Option<Scale> {
    let all = lines.iter().flat_map(|line| line.x.iter().copied());
    Scale::tight(all, figure.x_choice)
}

fn ordinates(figure: &Figure, lines: &[Line]) -> Option<Scale> {
    let centre = lines.iter().flat_map(|line| line.y.iter().copied());
    let high = centre.filter(|y| y.is_finite()).reduce(f64::max)?;
    let cut = match figure.ceiling {
        Some(ceiling) if high > 3.0 * ceiling => 1.2 * ceiling,
        _ => f64::INFINITY,
    };
    let centres = || lines.iter().flat_map(|line| line.y.iter().copied());
    let positive = centres().all(|y| y.is_nan() || y > 0.0);
    let reach = lines.iter().flat_map(|line| {
        line.band()
            // A band that reaches below zero does not decide against a logarithmic axis.
            .flat_map(move |(_, low, high)| {
                let low = if positive && low <= 0.0 {
                    f64::NAN
                } else {
                    low
                };
                [low, high]
            })
    });
    let values = centres().chain(reach).map(|value| value.min(cut));
    Scale::roomy(values.filter(|value| value.is_finite()), figure.y_choice)
}

/// The axes of all panels together; none where that would press one of them flat.
fn shared(figure: &Figure) -> (Option<Scale>, Option<Scale>) {
    let lines: Vec<Line> = figure
        .panels
        .iter()
        .flat_map(|panel| panel.lines.iter().cloned())
        .collect();
    let fits = |of: fn(&Figure, &[Line]) -> Option<Scale>| {
        let whole = of(figure, &lines)?;
        let roomy = |own: Scale| {
            whole.logarithmic || (own.most - own.least) * 3.0 >= whole.most - whole.least
        };
        let mut panels = figure.panels.iter();
        panels
            .all(|panel| of(figure, &panel.lines).is_none_or(roomy))
            .then_some(whole)
    };
    (fits(abscissae), fits(ordinates))
}

fn draw_panel(
    area: &Area<'_>,
    figure: &Figure,
    panel: &Panel,
    shared: (Option<Scale>, Option<Scale>),
) -> Result<(), DrawError> {
    let (width, height) = (area.dim_in_pixel().0 as i32, area.dim_in_pixel().1 as i32);
    let mut top = 34;
    if !panel.title.is_empty() {
        let title = fitted(&panel.title, Size::Label, width - 20);
        let bold = style(Size::Label, INK, HPos::Left);
        let bold = TextStyle {
            font: bold.font.clone().style(FontStyle::Bold),
            ..bold
        };
        area.draw_text(&title, &bold, (14, 14))?;
        top += 24;
    }
    let x = shared.0.or_else(|| abscissae(figure, &panel.lines));
    let y = shared.1.or_else(|| ordinates(figure, &panel.lines));
    let (Some(x), Some(y)) = (x, y) else {
        let at = (LEFT, top + 20);
        return canvas::write(area, "nothing to draw", at, Size::Label, MUTED, HPos::Left);
    };
    let longest = panel
        .lines
        .iter()
        .filter_map(|line| line.name(&y))
        .map(|name| Size::Label.width(&name))
        .max();
    let names = longest.map_or(16, |longest| longest.clamp(30, width * 2 / 5) + LEADER + 6);
    let plot = Plot {
        left: f64::from(LEFT),
        right: f64::from(width - names),
        top: f64::from(top),
        bottom: f64::from(height - BOTTOM),
        x,
        y,
    };
    plot.draw_axes(area, &figure.x_label, &figure.y_label)?;
    let lines = || panel.lines.iter();
    for line in lines().filter(|line| !line.half_band.is_empty()) {
        draw_band(area, &plot, line)?;
    }
    for line in lines()
        .filter(|line| line.bound)
        .chain(lines().filter(|line| !line.bound))
    {
        draw_line(area, &plot, line)?;
    }
    write_names(area, &plot, &panel.lines, names - LEADER - 4)
}

fn draw_band(area: &Area<'_>, plot: &Plot, line: &Line) -> Result<(), DrawError> {
    let edges: Vec<(f64, f64, f64)> = line.band().filter(|(x, _, _)| plot.holds(*x)).collect();
    for piece in edges.split(|(_, low, _)| !low.is_finite()) {
        if piece.len() < 2 {
            for &(x, low, high) in piece {
                let ends = [(x, low), (x, high)].map(|end| plot.clamped(end));
                area.draw(&PathElement::new(
                    pixels(ends),
                    line.ink().mix(0.4).stroke_width(2),
                ))?;
            }
            continue;
        }
        let upper = piece.iter().map(|&(x, _, high)| plot.clamped((x, high)));
        let lower = piece
            .iter()
            .rev()
            .map(|&(x, low, _)| plot.clamped((x, low)));
        let outline = pixels(upper.chain(lower));
        area.draw(&Polygon::new(outline, line.ink().mix(0.16).filled()))?;
    }
    Ok(())
}

/// The parts of the line that lie in the plot, in pixels.
fn visible(plot: &Plot, line: &Line) -> Vec<Vec<Point>> {
    pieces(&line.x, &line.y)
        .into_iter()
        .flat_map(|piece| {
            let in_pixels: Vec<Point> = piece
                .into_iter()
                .filter(|(x, _)| plot.holds(*x))
                .map(|point| plot.at(point))
                .collect();
            within(&in_pixels, plot.top - 0.5, plot.bottom + 0.5)
        })
        .collect()
}

fn draw_line(area: &Area<'_>, plot: &Plot, line: &Line) -> Result<(), DrawError> {
    let ink = line.ink();
    let width = if line.bound { 1 } else { 2 };
    for part in visible(plot, line) {
        for dash in line.stroke.pieces(&part) {
            area.draw(&PathElement::new(pixels(dash), ink.stroke_width(width)))?;
        }
        if !line.bound && line.x.len() <= MARKED {
            for at in pixels(part) {
                area.draw(&Circle::new(at, 3, ink.filled()))?;
            }
        }
    }
    Ok(())
}

/// Names at the right, each joined to its line's end by a thin one where it is not right beside it.
fn write_names(area: &Area<'_>, plot: &Plot, lines: &[Line], room: i32) -> Result<(), DrawError> {
    let ends: Vec<(&Line, String, Point)> = lines
        .iter()
        .filter_map(|line| {
            let parts = visible(plot, line);
            Some((line, line.name(&plot.y)?, *parts.last()?.last()?))
        })
        .collect();
    let wanted: Vec<f64> = ends.iter().map(|(_, _, end)| end.1).collect();
    let heights = spread(&wanted, NAME_HEIGHT, plot.top..plot.bottom);
    for ((line, name, end), y) in ends.into_iter().zip(heights) {
        let ink = line.ink();
        let x = plot.right + f64::from(LEADER);
        let far = end.0 < plot.right - 3.0;
        if far || (y - end.1).abs() > 1.5 {
            let mut path = vec![end];
            if far {
                path.push((plot.right + 2.0, y));
            } else {
                path[0].0 += 3.0;
            }
            path.push((x - 3.0, y));
            area.draw(&PathElement::new(
                pixels(path),
                ink.mix(0.45).stroke_width(1),
            ))?;
        }
        if far {
            area.draw(&Circle::new(pixels([end])[0], 3, ink.filled()))?;
        }
        let name = fitted(&name, Size::Label, room);
        let at = pixels([(x, y)])[0];
        canvas::write(area, &name, at, Size::Label, ink, HPos::Left)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, y: Vec<f64>) -> Line {
        Line {
            label: Some(label.into()),
            x: (0..y.len()).map(|i| i as f64).collect(),
            half_band: y.iter().map(|y| 0.1 * y).collect(),
            y,
            colour: Some(0),
            stroke: Stroke::Solid,
            bound: false,
        }
    }

    fn figure(panels: Vec<Vec<Line>>) -> Figure {
        let panel = |lines| Panel {
            title: "k = 10".into(),
            lines,
        };
        Figure {
            title: "a < b".into(),
            ceiling: Some(1.0),
            panels: panels.into_iter().map(panel).collect(),
            ..Figure::default()
        }
    }

    #[test]
    fn figures_are_complete_whatever_the_values() {
        for panels in [
            vec![],
            vec![vec![]],
            vec![vec![line("nothing", vec![f64::NAN, f64::NAN])]],
            vec![vec![line("a point", vec![1.0])]],
            vec![
                vec![line("zero", vec![0.0, 0.0])],
                vec![line("negative", vec![-1.0, -2.0])],
            ],
            vec![vec![
                line("gap", vec![1.0, f64::NAN, 0.5]),
                line("out", vec![1.0, 1e300, f64::NAN]),
            ]],
        ] {
            for choice in [Choice::Auto, Choice::Linear, Choice::Log] {
                let mut figure = figure(panels.clone());
                (figure.x_choice, figure.y_choice) = (choice, choice);
                let svg = draw(&figure).unwrap();
                assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
                assert!(!svg.contains("NaN") && !svg.contains("a < b"));
            }
        }
    }

    #[test]
    fn a_line_that_diverges_leaves_the_others_their_height() {
        let calm = vec![line("calm", vec![1.0, 0.5])];
        let mut both = calm.clone();
        both.push(line("wild", vec![1.0, 1e9]));
        let (alone, cut) = (figure(vec![calm]), figure(vec![both]));
        let top = |figure: &Figure| ordinates(figure, &figure.panels[0].lines).unwrap().most;
        assert!(top(&cut) < 1.5 * top(&alone), "{}", top(&cut));
        let svg = draw(&cut).unwrap();
        assert!(svg.contains("wild \u{2191}") && !svg.contains("calm \u{2191}"));
    }

    #[test]
    fn panels_share_axes_unless_one_would_be_flat() {
        let like = figure(vec![
            vec![line("a", vec![1.0, 0.5])],
            vec![line("b", vec![0.9, 0.4])],
        ]);
        let (x, y) = shared(&like);
        assert!(x.is_some() && y.is_some());
        let unlike = figure(vec![
            vec![line("a", vec![1.0, 0.5])],
            vec![line("b", vec![9.0, 4.0])],
        ]);
        let (x, y) = shared(&unlike);
        assert!(x.is_some() && y.is_none());
    }
}
