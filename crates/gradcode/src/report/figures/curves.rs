//! Line figures: a bold smoothed line over the faint raw one, named at its end.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use run_log::quantile;

use super::canvas::{self, AXIS, Area, DrawError, GRID, INK, MUTED, Size, colour, style, svg, tick};

/// One run's line.
pub struct Curve {
    /// Its name.
    pub label: String,
    /// Abscissae, not decreasing.
    pub x: Vec<f64>,
    /// Faint line behind; may be empty.
    pub raw: Vec<f64>,
    /// Bold line; NaN interrupts it.
    pub smooth: Vec<f64>,
    /// Whether the points themselves are marked, where they are few.
    pub dots: bool,
}

/// One set of axes.
pub struct Panel {
    /// What is drawn, which is the y axis' label too.
    pub title: String,
    /// How to read it.
    pub subtitle: String,
    /// The x axis' label, with unit.
    pub x_label: String,
    /// One per run, coloured in this order.
    pub curves: Vec<Curve>,
}

/// Points of a drawn line; more are condensed, which no screen shows.
const POINTS: usize = 1600;

/// Space for a tick's number and for the title.
const LEFT: i32 = 64;
const TOP: i32 = 62;
const BOTTOM: i32 = 52;

/// Draws the panels in two columns.
///
/// # Errors
/// None in practice: the drawing goes to memory.
pub fn draw(panels: &[Panel], size: (u32, u32)) -> Result<String, DrawError> {
    svg(size, |area| {
        if let [panel] = panels {
            return draw_panel(area, panel);
        }
        let rows = panels.len().div_ceil(2);
        area.split_evenly((rows, 2)).iter().zip(panels).try_for_each(|(area, panel)| draw_panel(area, panel))
    })
}

fn draw_panel(area: &Area<'_>, panel: &Panel) -> Result<(), DrawError> {
    canvas::write(area, &panel.title, (14, 22), Size::Title, INK, HPos::Left)?;
    canvas::write(area, &panel.subtitle, (14, 44), Size::Label, MUTED, HPos::Left)?;
    let x_end = panel.curves.iter().flat_map(|curve| curve.x.last()).copied().fold(0.0, f64::max);
    let x = 0.0..(if x_end > 0.0 { x_end } else { 1.0 });
    let Some(y) = Extent::of(&panel.curves) else {
        return canvas::write(area, "no iterations yet", (LEFT, TOP + 20), Size::Label, MUTED, HPos::Left);
    };
    if y.logarithmic {
        draw_axes(area, panel, x, (y.least..y.most).log_scale(), &y)
    } else {
        draw_axes(area, panel, x, y.least..y.most, &y)
    }
}

/// The y axis.
struct Extent {
    least: f64,
    most: f64,
    logarithmic: bool,
}

impl Extent {
    /// Room for all smoothed values and most raw ones; logarithmic where the smoothed values span
    /// more than a factor of 30. None without any value.
    fn of(curves: &[Curve]) -> Option<Self> {
        let smooth = || curves.iter().flat_map(|curve| curve.smooth.iter().copied()).filter(|value| value.is_finite());
        let low = smooth().reduce(f64::min)?;
        let high = smooth().reduce(f64::max)?;
        let raw = |q| curves.iter().map(move |curve| quantile(curve.raw.iter().copied(), q)).filter(|value| value.is_finite());
        let logarithmic = low > 0.0 && high / low > 30.0;
        let mut least = raw(0.005).fold(low, f64::min);
        let mut most = raw(0.995).fold(high, f64::max);
        if logarithmic {
            least = if least > 0.0 { least.max(low / 10.0) } else { low };
            return Some(Self { least: least / 1.2, most: most * 1.2, logarithmic });
        }
        let room = 0.05 * (most - least).max(1e-3 * most.abs()).max(1e-9);
        // Zero belongs to the axis unless the values are far from it.
        least = if least >= 0.0 && least < 0.6 * most { 0.0 } else { least - room };
        most += room;
        Some(Self { least, most, logarithmic })
    }

    /// Where `value` is between the bottom (0) and the top (1).
    fn position(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.least).ln() / (self.most / self.least).ln()
        } else {
            (value - self.least) / (self.most - self.least)
        }
    }
}

fn draw_axes<Y>(
    area: &Area<'_>,
    panel: &Panel,
    x: std::ops::Range<f64>,
    y: impl AsRangedCoord<Value = f64, CoordDescType = Y>,
    extent: &Extent,
) -> Result<(), DrawError>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let (width, height) = (area.dim_in_pixel().0 as i32, area.dim_in_pixel().1 as i32);
    // A lone run needs no name at its line: the title of its report has it.
    let named = panel.curves.len() > 1;
    let longest = panel.curves.iter().map(|curve| Size::Label.width(&curve.label)).max().unwrap_or(0);
    let right = if named { longest.clamp(30, width / 3) + 22 } else { 30 };

    let mut chart = ChartBuilder::on(area)
        .margin_top(TOP)
        .margin_right(right)
        .margin_left(8)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(LEFT - 8)
        .build_cartesian_2d(x.clone(), y)?;
    let label = style(Size::Label, MUTED, HPos::Center);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(AXIS)
        .x_labels((width as usize / 130).max(3))
        .y_labels((height as usize / 70).max(3))
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .label_style((FontFamily::SansSerif, Size::Label.points()).into_font().color(&MUTED))
        .set_tick_mark_size(LabelAreaPosition::Left, 0)
        .set_tick_mark_size(LabelAreaPosition::Bottom, 4)
        .draw()?;
    let plot = (LEFT + (width - LEFT - right) / 2, height - 16);
    area.draw_text(&panel.x_label, &label, plot)?;

    for (i, curve) in panel.curves.iter().enumerate() {
        let faint = colour(i).mix(if panel.curves.len() > 1 { 0.18 } else { 0.28 });
        for piece in pieces(&curve.x, &curve.raw) {
            // Outliers beyond the axis are drawn on its edge.
            let inside = piece.into_iter().map(|(x, y)| (x, y.clamp(extent.least, extent.most)));
            chart.draw_series(LineSeries::new(inside, faint.stroke_width(1)))?;
        }
    }
    for (i, curve) in panel.curves.iter().enumerate() {
        let few = curve.dots && curve.x.len() <= 40;
        for piece in pieces(&curve.x, &curve.smooth) {
            if few {
                chart.draw_series(piece.iter().map(|&point| Circle::new(point, 3, colour(i).filled())))?;
            }
            chart.draw_series(LineSeries::new(piece, colour(i).stroke_width(2)))?;
        }
    }
    if named {
        let plot_height = f64::from(height - TOP - BOTTOM);
        let ends: Vec<f64> = panel.curves.iter().map(|curve| last_finite(&curve.smooth).map_or(0.0, |end| extent.position(end))).collect();
        let heights = spread(&ends.iter().map(|end| f64::from(TOP) + plot_height * (1.0 - end)).collect::<Vec<_>>(), 17.0);
        for (i, (curve, y)) in panel.curves.iter().zip(heights).enumerate() {
            let text = fitted(&curve.label, right - 16);
            canvas::write(area, &text, (width - right + 8, y.round() as i32), Size::Label, colour(i), HPos::Left)?;
        }
    }
    Ok(())
}

fn last_finite(values: &[f64]) -> Option<f64> {
    values.iter().rev().copied().find(|value| value.is_finite())
}

/// The line without its gaps, condensed to the extremes of neighbours where it has too many points.
fn pieces(x: &[f64], y: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    let stride = 2 * points.len().div_ceil(POINTS);
    points
        .split(|(_, y)| !y.is_finite())
        .filter(|piece| !piece.is_empty())
        .map(|piece| if points.len() <= POINTS { piece.to_vec() } else { condensed(piece, stride) })
        .collect()
}

/// Of every `stride` points the lowest and the highest, in their order, and the last one of all.
fn condensed(points: &[(f64, f64)], stride: usize) -> Vec<(f64, f64)> {
    let mut kept = vec![];
    for group in points.chunks(stride.max(1)) {
        let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(&low), Some(&high)) = (group.iter().min_by(by_y), group.iter().max_by(by_y)) else { continue };
        match low.0.total_cmp(&high.0) {
            std::cmp::Ordering::Less => kept.extend([low, high]),
            std::cmp::Ordering::Greater => kept.extend([high, low]),
            std::cmp::Ordering::Equal => kept.push(low),
        }
    }
    kept.extend(points.last().filter(|last| kept.last() != Some(last)));
    kept
}

/// Positions as near to the given ones as can be, but at least `gap` apart.
fn spread(wanted: &[f64], gap: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    // Groups of labels that touch, each centred on what its members want: (sum wanted, members).
    let mut groups: Vec<(f64, Vec<usize>)> = vec![];
    for i in order {
        groups.push((wanted[i], vec![i]));
        while let [.., a, b] = &groups[..] {
            let end = |(sum, members): &(f64, Vec<usize>), side: f64| {
                sum / members.len() as f64 + side * gap * members.len() as f64 / 2.0
            };
            if end(a, 1.0) <= end(b, -1.0) {
                break;
            }
            let Some((sum, members)) = groups.pop() else { break };
            if let Some(last) = groups.last_mut() {
                last.0 += sum;
                last.1.extend(members);
            }
        }
    }
    let mut placed = vec![0.0; wanted.len()];
    for (sum, members) in groups {
        let middle = sum / members.len() as f64;
        for (k, &i) in members.iter().enumerate() {
            placed[i] = middle + gap * (k as f64 - (members.len() - 1) as f64 / 2.0);
        }
    }
    placed
}

/// `text`, cut to the width.
fn fitted(text: &str, width: i32) -> String {
    if Size::Label.width(text) <= width {
        return text.to_owned();
    }
    let mut cut: String = text.to_owned();
    while !cut.is_empty() && Size::Label.width(&cut) + 8 > width {
        cut.pop();
    }
    cut.push('\u{2026}');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(raw: Vec<f64>, smooth: Vec<f64>) -> Curve {
        Curve { label: "run".into(), x: (0..smooth.len()).map(|i| i as f64).collect(), raw, smooth, dots: false }
    }

    #[test]
    fn labels_are_spread_and_keep_their_order() {
        assert_eq!(spread(&[10.0, 100.0], 17.0), [10.0, 100.0]);
        let placed = spread(&[100.0, 101.0, 99.0, 10.0], 20.0);
        assert_eq!(placed, [100.0, 120.0, 80.0, 10.0]);
    }

    #[test]
    fn condensing_keeps_extremes_and_the_end() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), (f64::from(i) * 0.01).sin())).collect();
        points[5000].1 = 7.0;
        points[7001].1 = -3.0;
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        let kept = pieces(&x, &y);
        assert_eq!(kept.len(), 1);
        assert!(kept[0].len() <= POINTS + 2, "{}", kept[0].len());
        assert!(kept[0].contains(&(5000.0, 7.0)) && kept[0].contains(&(7001.0, -3.0)));
        assert_eq!(kept[0].last(), points.last());
        assert!(kept[0].windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn gaps_interrupt_the_line() {
        let kept = pieces(&[0.0, 1.0, 2.0, 3.0], &[1.0, f64::NAN, 2.0, 3.0]);
        assert_eq!(kept, [vec![(0.0, 1.0)], vec![(2.0, 2.0), (3.0, 3.0)]]);
    }

    #[test]
    fn the_axis_starts_at_zero_and_is_logarithmic_for_wide_ranges_only() {
        let linear = Extent::of(&[curve(vec![], vec![4.0, 1.0])]).unwrap();
        assert!(!linear.logarithmic && linear.least == 0.0 && linear.most > 4.0);
        let far = Extent::of(&[curve(vec![], vec![100.0, 99.0])]).unwrap();
        assert!(far.least > 90.0);
        let wide = Extent::of(&[curve(vec![], vec![1e3, 1e-3])]).unwrap();
        assert!(wide.logarithmic && wide.least > 0.0);
        let negative = Extent::of(&[curve(vec![], vec![-5.0, 5.0])]).unwrap();
        assert!(!negative.logarithmic && negative.least < -5.0);
        let constant = Extent::of(&[curve(vec![], vec![0.0, 0.0])]).unwrap();
        assert!(constant.most > constant.least);
        assert!(Extent::of(&[curve(vec![], vec![f64::NAN])]).is_none());
    }
}
