//! A plot's place on the page, and its axes.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{self, AXIS, Area, DrawError, GRID, INK, MUTED, Size, fitted, style};
use super::scale::Scale;
use super::strokes::Point;

/// A panel's plot in pixels.
pub struct Plot {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub x: Scale,
    pub y: Scale,
}

impl Plot {
    /// Whether the axis has this abscissa: a logarithmic one has no zero bits.
    pub fn holds(&self, x: f64) -> bool {
        self.x.position(x) > -1e-6
    }

    /// Where the point is drawn.
    pub fn at(&self, (x, y): (f64, f64)) -> Point {
        (
            self.left + (self.right - self.left) * self.x.position(x),
            self.bottom - (self.bottom - self.top) * self.y.position(y),
        )
    }

    /// Where the point is drawn, no further out than the edges.
    pub fn clamped(&self, point: (f64, f64)) -> Point {
        let (x, y) = self.at(point);
        (
            x.clamp(self.left, self.right),
            y.clamp(self.top, self.bottom),
        )
    }

    /// Draws grid lines, ticks and the axes' names: the one of the ordinates above their axis.
    pub fn draw_axes(
        &self,
        area: &Area<'_>,
        x_label: &str,
        y_label: &str,
    ) -> Result<(), DrawError> {
        let (left, right) = (self.left as i32, self.right as i32);
        let (top, bottom) = (self.top as i32, self.bottom as i32);
        let line = |from, to, ink: RGBColor| {
            area.draw(&PathElement::new(vec![from, to], ink.stroke_width(1)))
        };
        for value in self.y.ticks(((bottom - top) / 45) as usize) {
            let y = self.at((self.x.least, value)).1.round() as i32;
            line((left, y), (right, y), GRID)?;
            let text = self.y.label(value);
            canvas::write(area, &text, (left - 7, y), Size::Label, MUTED, HPos::Right)?;
        }
        line((left, top), (left, bottom), AXIS)?;
        line((left, bottom), (right, bottom), AXIS)?;
        for value in self.x.ticks(((right - left) / 85) as usize) {
            let x = self.at((value, self.y.least)).0.round() as i32;
            line((x, bottom), (x, bottom + 5), AXIS)?;
            let text = self.x.label(value);
            let centred = style(Size::Label, MUTED, HPos::Center);
            area.draw_text(&text, &centred, (x, bottom + 16))?;
        }
        // The name is centred under the plot, or as far left as it must be.
        let width = area.dim_in_pixel().0 as i32;
        let x_label = fitted(x_label, Size::Label, width - 8);
        let half = Size::Label.width(&x_label) / 2;
        let middle = ((left + right) / 2).min(width - half - 4).max(half + 4);
        let centred = style(Size::Label, INK, HPos::Center);
        area.draw_text(&x_label, &centred, (middle, bottom + 38))?;
        let y_label = fitted(y_label, Size::Label, width - 14);
        canvas::write(area, &y_label, (14, top - 18), Size::Label, INK, HPos::Left)
    }
}

/// Points as plotters takes them.
pub fn pixels(points: impl IntoIterator<Item = Point>) -> Vec<(i32, i32)> {
    points
        .into_iter()
        .map(|(x, y)| (x.round() as i32, y.round() as i32))
        .collect()
}
