//! Line figures: a bold smoothed line over the faint raw one, named at its end.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use run_log::quantile;

use super::canvas::{
    self, AXIS, Area, DrawError, GRID, INK, MUTED, Size, colour, fitted, style, svg, tick,
};
use super::lines::{pieces, spread};

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

impl Curve {
    /// The last point of the bold line.
    fn end(&self) -> Option<(f64, f64)> {
        self.x
            .iter()
            .copied()
            .zip(self.smooth.iter().copied())
            .rfind(|(_, y)| y.is_finite())
    }

    /// The bold line's height at the first point from `x` on.
    fn at(&self, x: f64) -> Option<f64> {
        self.x
            .iter()
            .zip(&self.smooth)
            .find(|(at, y)| **at >= x && y.is_finite())
            .map(|(_, y)| *y)
    }
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
    /// Whether the y axis is linear also where values span a wide range.
    pub linear: bool,
}

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
        area.split_evenly((rows, 2))
            .iter()
            .zip(panels)
            .try_for_each(|(area, panel)| draw_panel(area, panel))
    })
}

fn draw_panel(area: &Area<'_>, panel: &Panel) -> Result<(), DrawError> {
    canvas::write(area, &panel.title, (14, 22), Size::Title, INK, HPos::Left)?;
    canvas::write(
        area,
        &panel.subtitle,
        (14, 44),
        Size::Label,
        MUTED,
        HPos::Left,
    )?;
    let x_end = panel
        .curves
        .iter()
        .flat_map(|curve| curve.x.last())
        .copied()
        .fold(0.0, f64::max);
    let x = 0.0..(if x_end > 0.0 { x_end } else { 1.0 });
    let Some(y) = Extent::of(&panel.curves, panel.linear) else {
        return canvas::write(
            area,
            "no iterations yet",
            (LEFT, TOP + 20),
            Size::Label,
            MUTED,
            HPos::Left,
        );
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
    /// more than a factor of 30, unless it has to be linear. None without any value.
    fn of(curves: &[Curve], linear: bool) -> Option<Self> {
        let smooth = || {
            curves
                .iter()
                .flat_map(|curve| curve.smooth.iter().copied())
                .filter(|value| value.is_finite())
        };
        let low = smooth().reduce(f64::min)?;
        let high = smooth().reduce(f64::max)?;
        let raw = |q| {
            curves
                .iter()
                .map(move |curve| quantile(curve.raw.iter().copied(), q))
                .filter(|value| value.is_finite())
        };
        let logarithmic = !linear && low > 0.0 && high / low > 30.0;
        let mut least = raw(0.005).fold(low, f64::min);
        let mut most = raw(0.995).fold(high, f64::max);
        if logarithmic {
            least = if least > 0.0 {
                least.max(low / 10.0)
            } else {
                low
            };
            return Some(Self {
                least: least / 1.2,
                most: most * 1.2,
                logarithmic,
            });
        }
        let room = 0.05 * (most - least).max(1e-3 * most.abs()).max(1e-9);
        // Zero belongs to the axis unless the values are far from it.
        least = if least >= 0.0 && least < 0.6 * most {
            0.0
        } else {
            least - room
        };
        most += room;
        Some(Self {
            least,
            most,
            logarithmic,
        })
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
    let longest = panel
        .curves
        .iter()
        .map(|curve| Size::Label.width(&curve.label))
        .max()
        .unwrap_or(0);
    let right = if named {
        longest.clamp(30, width / 3) + 22
    } else {
        30
    };

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
        .label_style(
            (FontFamily::SansSerif, Size::Label.points())
                .into_font()
                .color(&MUTED),
        )
        .set_tick_mark_size(LabelAreaPosition::Left, 5)
        .set_tick_mark_size(LabelAreaPosition::Bottom, 5)
        .draw()?;
    let plot = (LEFT + (width - LEFT - right) / 2, height - 16);
    area.draw_text(&panel.x_label, &label, plot)?;

    for (i, curve) in panel.curves.iter().enumerate() {
        let faint = colour(i).mix(if panel.curves.len() > 1 { 0.18 } else { 0.28 });
        for piece in pieces(&curve.x, &curve.raw) {
            // Outliers beyond the axis are drawn on its edge.
            let inside = piece
                .into_iter()
                .map(|(x, y)| (x, y.clamp(extent.least, extent.most)));
            chart.draw_series(LineSeries::new(inside, faint.stroke_width(1)))?;
        }
    }
    for (i, curve) in panel.curves.iter().enumerate() {
        let few = curve.dots && curve.x.len() <= 40;
        for piece in pieces(&curve.x, &curve.smooth) {
            if few {
                chart.draw_series(
                    piece
                        .iter()
                        .map(|&point| Circle::new(point, 3, colour(i).filled())),
                )?;
            }
            chart.draw_series(LineSeries::new(piece, colour(i).stroke_width(2)))?;
        }
    }
    if named {
        name_curves(area, panel, x.end, extent, right)
    } else {
        Ok(())
    }
}

/// Writes each curve's name at its end: beside the plot where it reaches the right edge, and in the
/// plot otherwise.
fn name_curves(
    area: &Area<'_>,
    panel: &Panel,
    x_end: f64,
    extent: &Extent,
    right: i32,
) -> Result<(), DrawError> {
    let (width, height) = (area.dim_in_pixel().0 as i32, area.dim_in_pixel().1 as i32);
    let (plot_width, plot_height) = (
        f64::from(width - right - LEFT),
        f64::from(height - TOP - BOTTOM),
    );
    let ends: Vec<(f64, f64)> = panel
        .curves
        .iter()
        .map(|curve| {
            let (x, y) = curve.end().unwrap_or_default();
            let position = extent.position(y).clamp(0.0, 1.0);
            (
                f64::from(LEFT) + plot_width * x / x_end,
                f64::from(TOP) + plot_height * (1.0 - position),
            )
        })
        .collect();
    let (beside, within): (Vec<usize>, Vec<usize>) =
        (0..ends.len()).partition(|&i| ends[i].0 > f64::from(width - right) - 0.1 * plot_width);
    let wanted: Vec<f64> = beside.iter().map(|&i| ends[i].1).collect();
    let heights = spread(&wanted, 17.0, f64::from(TOP)..f64::from(height - BOTTOM));
    for (&i, y) in beside.iter().zip(heights) {
        let text = fitted(&panel.curves[i].label, Size::Label, right - 16);
        canvas::write(
            area,
            &text,
            (width - right + 8, y.round() as i32),
            Size::Label,
            colour(i),
            HPos::Left,
        )?;
    }
    for i in within {
        // Below the end if another curve passes above it, and above it otherwise.
        let (x, y) = panel.curves[i].end().unwrap_or_default();
        let passes_above = |other: &Curve| other.at(x).is_some_and(|other| other > y);
        let crowded = panel
            .curves
            .iter()
            .enumerate()
            .any(|(k, other)| k != i && passes_above(other));
        let height = ends[i].1 + if crowded { 14.0 } else { -14.0 };
        canvas::write(
            area,
            &panel.curves[i].label,
            (ends[i].0 as i32 + 6, height.round() as i32),
            Size::Label,
            colour(i),
            HPos::Left,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(raw: Vec<f64>, smooth: Vec<f64>) -> Curve {
        Curve {
            label: "run".into(),
            x: (0..smooth.len()).map(|i| i as f64).collect(),
            raw,
            smooth,
            dots: false,
        }
    }

    #[test]
    fn the_axis_starts_at_zero_and_is_logarithmic_for_wide_ranges_only() {
        let linear = Extent::of(&[curve(vec![], vec![4.0, 1.0])], false).unwrap();
        assert!(!linear.logarithmic && linear.least == 0.0 && linear.most > 4.0);
        let far = Extent::of(&[curve(vec![], vec![100.0, 99.0])], false).unwrap();
        assert!(far.least > 90.0);
        let wide = Extent::of(&[curve(vec![], vec![1e3, 1e-3])], false).unwrap();
        assert!(wide.logarithmic && wide.least > 0.0);
        let negative = Extent::of(&[curve(vec![], vec![-5.0, 5.0])], false).unwrap();
        assert!(!negative.logarithmic && negative.least < -5.0);
        let constant = Extent::of(&[curve(vec![], vec![0.0, 0.0])], false).unwrap();
        assert!(constant.most > constant.least);
        let told = Extent::of(&[curve(vec![], vec![1e3, 1e-3])], true).unwrap();
        assert!(!told.logarithmic && told.least == 0.0);
        assert!(Extent::of(&[curve(vec![], vec![f64::NAN])], false).is_none());
    }
}
