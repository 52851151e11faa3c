//! When each worker's gradients arrived: 10% to 90%, to 99%, and the median.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::super::format::{duration, percent};
use super::canvas::{self, Area, DrawError, GRID, INK, MUTED, Size, style, svg};
use super::scale::{Choice, Scale};

/// A worker's row.
pub struct Range {
    /// Its number.
    pub worker: usize,
    /// 10%, 50%, 90% and 99% quantiles and maximum of the arrivals in time, s.
    pub arrival: [f64; 5],
    /// Late share of its iterations; NaN if it was never asked.
    pub late: f64,
}

const WIDTH: i32 = 960;
const LEFT: i32 = 64;
const RIGHT: i32 = 84;
const TOP: i32 = 96;
const BOTTOM: i32 = 56;
/// Height of a row, of few and of many.
const ROWS: (i32, i32) = (24, 17);

const RANGE: RGBColor = RGBColor(150, 192, 222);
const MEDIAN: RGBColor = RGBColor(0, 84, 140);
const DEADLINE: RGBColor = RGBColor(196, 78, 0);

/// Draws a row per worker; `deadline` is the median one, NaN without.
///
/// # Errors
/// None in practice: the drawing goes to memory.
pub fn draw(label: &str, rows: &[Range], deadline: f64) -> Result<String, DrawError> {
    let row_height = if rows.len() > 12 { ROWS.1 } else { ROWS.0 };
    let height = TOP + row_height * rows.len().max(1) as i32 + BOTTOM;
    let greatest = rows.iter().map(|row| row.arrival[3]);
    // A deadline far beyond all arrivals would leave them no room.
    let longest = greatest.filter(|a| a.is_finite()).fold(0.0, f64::max);
    let shown_deadline = deadline.is_finite() && deadline < 3.0 * longest;
    let end = if shown_deadline {
        longest.max(deadline)
    } else {
        longest
    };
    let (factor, unit) = if end < 0.5 { (1e3, "ms") } else { (1.0, "s") };
    let scale = Scale::roomy([0.0, end * factor].into_iter(), Choice::Linear);
    svg((WIDTH as u32, height as u32), |area| {
        let title = format!("When gradients arrived: {label}");
        canvas::write(area, &title, (14, 22), Size::Title, INK, HPos::Left)?;
        legend(area, shown_deadline.then_some(deadline))?;
        canvas::write(
            area,
            "worker",
            (LEFT - 8, TOP - 14),
            Size::Label,
            MUTED,
            HPos::Right,
        )?;
        canvas::write(
            area,
            "late",
            (WIDTH - RIGHT + 10, TOP - 14),
            Size::Label,
            MUTED,
            HPos::Left,
        )?;
        let Some(scale) = scale.filter(|_| longest > 0.0) else {
            return canvas::write(
                area,
                "nothing arrived",
                (LEFT, TOP),
                Size::Label,
                MUTED,
                HPos::Left,
            );
        };
        let x = |seconds: f64| {
            LEFT + (scale.position(seconds * factor) * f64::from(WIDTH - LEFT - RIGHT)).round()
                as i32
        };
        let bottom = TOP + row_height * rows.len() as i32;
        for value in scale.ticks(8) {
            let at = x(value / factor);
            area.draw(&PathElement::new([(at, TOP), (at, bottom)], GRID))?;
            let centred = style(Size::Label, MUTED, HPos::Center);
            area.draw_text(&scale.label(value), &centred, (at, bottom + 14))?;
        }
        let name = format!("header's arrival after the round's start, {unit}");
        let centred = style(Size::Label, INK, HPos::Center);
        area.draw_text(&name, &centred, ((LEFT + WIDTH - RIGHT) / 2, bottom + 36))?;
        for (k, row) in rows.iter().enumerate() {
            let middle = TOP + row_height * k as i32 + row_height / 2;
            let number = row.worker.to_string();
            canvas::write(
                area,
                &number,
                (LEFT - 8, middle),
                Size::Label,
                INK,
                HPos::Right,
            )?;
            let late = percent(row.late);
            canvas::write(
                area,
                &late,
                (WIDTH - RIGHT + 10, middle),
                Size::Label,
                INK,
                HPos::Left,
            )?;
            let [low, median, high, most, _] = row.arrival;
            if median.is_finite() {
                let thin = [(x(high), middle - 1), (x(most), middle + 1)];
                area.draw(&Rectangle::new(thin, RANGE.filled()))?;
                let thick = [
                    (x(low), middle - row_height / 4),
                    (x(high).max(x(low) + 1), middle + row_height / 4),
                ];
                area.draw(&Rectangle::new(thick, RANGE.filled()))?;
                let mark = [
                    (x(median) - 1, middle - row_height / 3),
                    (x(median) + 2, middle + row_height / 3),
                ];
                area.draw(&Rectangle::new(mark, MEDIAN.filled()))?;
            }
        }
        if shown_deadline {
            let at = x(deadline);
            area.draw(&PathElement::new(
                [(at, TOP), (at, bottom)],
                DEADLINE.stroke_width(2),
            ))?;
        }
        Ok(())
    })
}

fn legend(area: &Area<'_>, deadline: Option<f64>) -> Result<(), DrawError> {
    let mut at = 14;
    let mut entry = |colour: RGBColor, width: i32, text: &str| {
        area.draw(&Rectangle::new(
            [(at, 40), (at + width, 52)],
            colour.filled(),
        ))?;
        let from = at + width + 6;
        canvas::write(area, text, (from, 46), Size::Label, INK, HPos::Left)?;
        at = from + Size::Label.width(text) + 22;
        Ok::<(), DrawError>(())
    };
    entry(
        RANGE,
        22,
        "from the 10% to the 90% quantile, thin to the 99% quantile",
    )?;
    entry(MEDIAN, 3, "median")?;
    match deadline {
        Some(deadline) => entry(
            DEADLINE,
            2,
            &format!("deadline (median): {}", duration(deadline)),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_without_arrivals_have_an_empty_row() {
        let rows = [
            Range {
                worker: 0,
                arrival: [0.1, 0.2, 0.3, 0.35, 0.4],
                late: 0.25,
            },
            Range {
                worker: 7,
                arrival: [f64::NAN; 5],
                late: f64::NAN,
            },
        ];
        let svg = draw("a", &rows, 0.4).unwrap();
        assert!(svg.contains("25.0%") && svg.contains("400 ms") && !svg.contains("NaN"));
        // A deadline that nobody comes near is left out.
        assert!(!draw("a", &rows, 40.0).unwrap().contains("deadline"));
        assert!(
            draw("a", &rows[1..], f64::NAN)
                .unwrap()
                .contains("nothing arrived")
        );
    }
}
