//! Who was late when, and how late the others came: one row per worker, iterations to the right.

use ndarray::Array2;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use run_log::quantile;

use super::super::format::{duration, percent};
use super::canvas::{self, AXIS, Area, DrawError, INK, MUTED, Size, style, svg, tick};

/// Iterations and workers drawn one by one.
const COLUMNS: usize = 800;
const ROWS: usize = 128;
/// Cells in a row of more iterations than that, which neighbours share: at most, and at least.
const SHARED_COLUMNS: (usize, usize) = (410, 150);
/// Cells of a map, nearly: more would make a file that browsers are slow with.
const CELLS: usize = 30_000;

/// From the earliest to the latest arrivals in time.
const ON_TIME: [RGBColor; 5] = [
    RGBColor(222, 235, 245),
    RGBColor(184, 212, 232),
    RGBColor(138, 184, 218),
    RGBColor(88, 148, 198),
    RGBColor(38, 104, 166),
];
const LATE: RGBColor = RGBColor(196, 78, 0);
const NOT_ASKED: RGBColor = RGBColor(238, 238, 238);

const LEFT: i32 = 64;
const RIGHT: i32 = 76;
const TOP: i32 = 84;
const BOTTOM: i32 = 52;
const WIDTH: i32 = 960;
/// Room for "new plan".
const LABEL_WIDTH: i32 = 70;

/// What the map is of: iterations x workers, alike.
pub struct Map<'a> {
    /// How late everybody was; 0 in time, -1 not asked.
    pub lateness: &'a Array2<f64>,
    /// When who came, s; NaN if not in time.
    pub arrival: &'a Array2<f64>,
    /// Iterations from which on there was a new plan.
    pub plans: &'a [u64],
}

/// How often the workers of a cell were what in the iterations of the cell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cell {
    on_time: u32,
    late: u32,
    not_asked: u32,
    /// Sum and number of the arrivals.
    arrivals: (f64, u32),
}

impl Cell {
    fn count(&mut self, late_iterations: f64) {
        match late_iterations {
            late if late > 0.0 => self.late += 1,
            0.0 => self.on_time += 1,
            _ => self.not_asked += 1,
        }
    }

    fn asked(&self) -> u32 {
        self.on_time + self.late
    }

    /// Late in proportion to those asked; pale where few were asked. In few steps, so that equal
    /// neighbours can be drawn as one. `range` is that of the arrivals.
    fn colour(&self, range: (f64, f64)) -> RGBColor {
        let steps = |share: f64| (share * 12.0).round() / 12.0;
        let late = steps(f64::from(self.late) / f64::from(self.asked().max(1)));
        let asked =
            steps(f64::from(self.asked()) / f64::from((self.asked() + self.not_asked).max(1)));
        let on_time = ON_TIME[self.step(range)];
        blend(NOT_ASKED, blend(on_time, LATE, late), asked)
    }

    /// Which of the colours for arrivals.
    fn step(&self, (least, most): (f64, f64)) -> usize {
        let (sum, count) = self.arrivals;
        let position = (sum / f64::from(count) - least) / (most - least);
        if position.is_finite() {
            ((position * ON_TIME.len() as f64) as usize).min(ON_TIME.len() - 1)
        } else {
            0
        }
    }
}

fn blend(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let channel =
        |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(
        channel(from.0, to.0),
        channel(from.1, to.1),
        channel(from.2, to.2),
    )
}

/// Counts the map (iterations x workers) into at most `rows` x `columns` cells, workers by iterations.
/// Cells of one map differ by at most one worker and one iteration.
fn aggregated(map: &Map<'_>, rows: usize, columns: usize) -> Vec<Vec<Cell>> {
    let (iterations, workers) = map.lateness.dim();
    let (rows, columns) = (rows.min(workers), columns.min(iterations));
    let mut cells = vec![vec![Cell::default(); columns]; rows];
    for ((t, i), &value) in map.lateness.indexed_iter() {
        let cell = &mut cells[i * rows / workers][t * columns / iterations];
        cell.count(value);
        let arrival = map.arrival[[t, i]];
        if arrival.is_finite() {
            cell.arrivals = (cell.arrivals.0 + arrival, cell.arrivals.1 + 1);
        }
    }
    cells
}

/// Cells in a row for so many iterations and rows.
fn columns_for(iterations: usize, rows: usize) -> usize {
    if iterations <= COLUMNS && iterations * rows <= CELLS {
        return COLUMNS;
    }
    let (most, least) = SHARED_COLUMNS;
    (CELLS / rows.max(1)).clamp(least, most)
}

/// Draws the map.
///
/// # Errors
/// None in practice: the drawing goes to memory.
pub fn draw(label: &str, map: &Map<'_>) -> Result<String, DrawError> {
    let late = map.lateness;
    let (iterations, workers) = late.dim();
    let columns = columns_for(iterations, workers.min(ROWS));
    let cells = aggregated(map, ROWS, columns);
    let at = |q| quantile(map.arrival.iter().copied(), q);
    let range = (at(0.02), at(0.98));
    let row_height = (420 / cells.len().max(1) as i32).clamp(4, 34);
    let height = row_height * cells.len() as i32;
    let area = (WIDTH - LEFT - RIGHT, height);
    svg((WIDTH as u32, (TOP + height + BOTTOM) as u32), |canvas| {
        heading(canvas, label, late, range)?;
        let x = |column: usize, columns: usize| {
            LEFT + (column as i64 * i64::from(area.0) / columns as i64) as i32
        };
        for (row, cells) in cells.iter().enumerate() {
            let top = TOP + row as i32 * row_height;
            let gap = i32::from(row_height > 8) * 2;
            let mut start = 0;
            for run in cells.chunk_by(|a, b| a.colour(range) == b.colour(range)) {
                let end = start + run.len();
                let corners = [
                    (x(start, cells.len()), top),
                    (x(end, cells.len()), top + row_height - gap),
                ];
                canvas.draw(&Rectangle::new(corners, run[0].colour(range).filled()))?;
                start = end;
            }
        }
        row_labels(canvas, late, cells.len(), row_height)?;
        iteration_axis(canvas, iterations, TOP + height, x)?;
        let mut labelled = i32::MIN / 2;
        for &start in map
            .plans
            .iter()
            .filter(|&&start| (start as usize) < iterations)
        {
            let at = x(start as usize, iterations);
            let line = [(at, TOP - 6), (at, TOP + height + 6)];
            canvas.draw(&PathElement::new(line, INK.stroke_width(2)))?;
            // Of plans that follow each other closely only the first is labelled.
            if at - labelled >= LABEL_WIDTH {
                let place = style(Size::Label, INK, HPos::Center);
                canvas.draw_text("new plan", &place, (at, TOP - 14))?;
                labelled = at;
            }
        }
        let axis_name = match (iterations > columns, workers > ROWS) {
            (false, false) => "iterations",
            (true, false) => "iterations, neighbours averaged",
            (_, true) => "iterations, neighbours and neighbouring workers averaged",
        };
        let middle = (LEFT + area.0 / 2, TOP + height + 38);
        canvas.draw_text(axis_name, &style(Size::Label, MUTED, HPos::Center), middle)
    })
}

fn heading(
    canvas: &Area<'_>,
    label: &str,
    late: &Array2<f64>,
    range: (f64, f64),
) -> Result<(), DrawError> {
    let title = format!("Who made the deadline: {label}");
    canvas::write(canvas, &title, (14, 22), Size::Title, INK, HPos::Left)?;
    let mut all = Cell::default();
    late.iter().for_each(|&value| all.count(value));
    let share = |count: u32| percent(f64::from(count) / f64::from(all.asked().max(1)));
    let arrived = if range.0 < range.1 {
        format!(", after {} to {}", duration(range.0), duration(range.1))
    } else {
        String::new()
    };
    let on_time = if arrived.is_empty() {
        &ON_TIME[..1]
    } else {
        &ON_TIME[..]
    };
    let mut x = 14;
    for (colours, count, text) in [
        (
            on_time,
            all.on_time,
            format!("on time {}{arrived}", share(all.on_time)),
        ),
        (&[LATE][..], all.late, format!("late {}", share(all.late))),
        (&[NOT_ASKED][..], all.not_asked, "not asked".to_owned()),
    ] {
        if count == 0 {
            continue;
        }
        for &colour in colours {
            canvas.draw(&Rectangle::new([(x, 40), (x + 12, 52)], colour.filled()))?;
            x += 12;
        }
        canvas::write(canvas, &text, (x + 6, 46), Size::Label, INK, HPos::Left)?;
        x += 6 + Size::Label.width(&text) + 26;
    }
    canvas::write(
        canvas,
        "worker",
        (LEFT - 8, TOP - 14),
        Size::Label,
        MUTED,
        HPos::Right,
    )?;
    canvas::write(
        canvas,
        "late",
        (WIDTH - RIGHT + 8, TOP - 14),
        Size::Label,
        MUTED,
        HPos::Left,
    )
}

/// Each row's worker and share of late iterations, or every so many rows'.
fn row_labels(
    canvas: &Area<'_>,
    late: &Array2<f64>,
    rows: usize,
    row_height: i32,
) -> Result<(), DrawError> {
    let workers = late.ncols();
    let every = (16 / row_height + i32::from(16 % row_height > 0)).max(1) as usize;
    for row in (0..rows).step_by(every) {
        // The first worker counted into this row.
        let worker = (row * workers).div_ceil(rows);
        let y = TOP + row as i32 * row_height + row_height / 2;
        let mut cell = Cell::default();
        late.column(worker)
            .iter()
            .for_each(|&value| cell.count(value));
        let share = match cell.asked() {
            0 => "-".to_owned(),
            asked => percent(f64::from(cell.late) / f64::from(asked)),
        };
        canvas::write(
            canvas,
            &worker.to_string(),
            (LEFT - 8, y),
            Size::Label,
            MUTED,
            HPos::Right,
        )?;
        canvas::write(
            canvas,
            &share,
            (WIDTH - RIGHT + 8, y),
            Size::Label,
            MUTED,
            HPos::Left,
        )?;
    }
    Ok(())
}

fn iteration_axis(
    canvas: &Area<'_>,
    iterations: usize,
    y: i32,
    x: impl Fn(usize, usize) -> i32,
) -> Result<(), DrawError> {
    let step = round_step(iterations, 8);
    for iteration in (0..=iterations).step_by(step) {
        let x = x(iteration, iterations);
        canvas.draw(&PathElement::new([(x, y), (x, y + 5)], AXIS))?;
        canvas.draw_text(
            &tick(iteration as f64),
            &style(Size::Label, MUTED, HPos::Center),
            (x, y + 16),
        )?;
    }
    Ok(())
}

/// The smallest of 1, 2, 5, 10, 20, ... that cuts `length` into at most `most` parts.
fn round_step(length: usize, most: usize) -> usize {
    let mut decade = 1;
    loop {
        for step in [decade, 2 * decade, 5 * decade] {
            if length <= step * most {
                return step;
            }
        }
        decade *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(
        iterations: usize,
        workers: usize,
        value: impl Fn(usize, usize) -> f64,
    ) -> Array2<f64> {
        Array2::from_shape_fn((iterations, workers), |(t, i)| value(t, i))
    }

    /// Without arrivals.
    fn counted(lateness: &Array2<f64>, rows: usize, columns: usize) -> Vec<Vec<Cell>> {
        let arrival = Array2::from_elem(lateness.dim(), f64::NAN);
        let map = Map {
            lateness,
            arrival: &arrival,
            plans: &[],
        };
        aggregated(&map, rows, columns)
    }

    #[test]
    fn a_small_map_has_a_cell_for_each() {
        let cells = counted(
            &matrix(3, 2, |t, i| [[0.0, 1.0], [2.0, -1.0], [0.0, 0.0]][t][i]),
            128,
            800,
        );
        assert_eq!(cells.len(), 2);
        let late = Cell {
            late: 1,
            ..Cell::default()
        };
        let on_time = Cell {
            on_time: 1,
            ..Cell::default()
        };
        let not_asked = Cell {
            not_asked: 1,
            ..Cell::default()
        };
        assert_eq!(
            cells,
            [vec![on_time, late, on_time], vec![late, not_asked, on_time]]
        );
    }

    #[test]
    fn a_large_map_is_aggregated_without_losing_anyone() {
        let late = matrix(2501, 300, |t, i| ((t + i) % 3) as f64 - 1.0);
        let cells = counted(&late, ROWS, COLUMNS);
        assert_eq!((cells.len(), cells[0].len()), (ROWS, COLUMNS));
        let mut sum = Cell::default();
        for cell in cells.iter().flatten() {
            sum.on_time += cell.on_time;
            sum.late += cell.late;
            sum.not_asked += cell.not_asked;
            let size = cell.asked() + cell.not_asked;
            assert!(
                (6..=12).contains(&size),
                "2 or 3 workers by 3 or 4 iterations, not {size}"
            );
        }
        let expected = |kind: f64| late.iter().filter(|&&value| value == kind).count() as u32;
        assert_eq!(
            (sum.on_time, sum.late, sum.not_asked),
            (expected(0.0), expected(1.0), expected(-1.0))
        );
    }

    #[test]
    fn colours_follow_the_share_of_late_and_the_arrivals() {
        let range = (1.0, 2.0);
        let cell = |on_time, late, not_asked| {
            let arrivals = (1.0 * f64::from(on_time), on_time);
            Cell {
                on_time,
                late,
                not_asked,
                arrivals,
            }
            .colour(range)
        };
        assert_eq!(cell(5, 0, 0), ON_TIME[0]);
        assert_eq!(cell(0, 5, 0), LATE);
        assert_eq!(cell(0, 0, 5), NOT_ASKED);
        assert_eq!(cell(1, 1, 0), blend(ON_TIME[0], LATE, 0.5));
        assert_eq!(cell(1000, 1, 0), ON_TIME[0]);
        let at = |arrival: f64| Cell {
            on_time: 1,
            arrivals: (arrival, 1),
            ..Cell::default()
        };
        for (arrival, step) in [(0.5, 0), (1.0, 0), (1.5, 2), (1.99, 4), (9.0, 4)] {
            assert_eq!(at(arrival).colour(range), ON_TIME[step], "{arrival}");
        }
        // Nothing to tell apart.
        assert_eq!(at(1.0).colour((1.0, 1.0)), ON_TIME[0]);
    }

    #[test]
    fn steps_are_round() {
        for (length, step) in [
            (1, 1),
            (8, 1),
            (9, 2),
            (600, 100),
            (2501, 500),
            (100_000, 20_000),
        ] {
            assert_eq!(round_step(length, 8), step);
        }
    }

    #[test]
    fn the_file_stays_small() {
        let late = |noisy: bool| {
            move |t: usize, i: usize| {
                f64::from(noisy && (t * 7919 + i * 104_729).is_multiple_of(10))
            }
        };
        for (noisy, iterations, workers, most) in [
            (true, 4000, 300, 3_000_000),
            (true, 800, 128, 3_000_000),
            (true, 800, 30, 3_000_000),
            (false, 4000, 300, 100_000),
        ] {
            let lateness = matrix(iterations, workers, late(noisy));
            let arrival = matrix(iterations, workers, |t, i| match noisy {
                true => ((t * 31 + i * 17) % 97) as f64,
                false => 1.0,
            });
            let map = Map {
                lateness: &lateness,
                arrival: &arrival,
                plans: &[5, 6, 400],
            };
            let svg = draw("large", &map).unwrap();
            assert!(svg.len() < most, "{iterations} x {workers}: {}", svg.len());
            assert_eq!(svg.matches("new plan").count(), 2, "not over each other");
        }
    }
}
