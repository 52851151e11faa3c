//! Columns of text.

use run_log::study::Point;

use super::super::format::significant;
use super::groups::Group;
use super::measure::Estimate;

/// A column: two lines of heading and one cell per point.
pub struct Column {
    pub head: [String; 2],
    pub cells: Vec<String>,
}

impl Column {
    /// Whether any cell has text.
    pub fn says_something(&self) -> bool {
        let empty = |cell: &String| cell.is_empty() || cell == "-";
        !self.cells.iter().all(empty)
    }
}

/// A column with one cell per point of the group.
pub fn column(head: [&str; 2], group: &Group<'_>, cell: impl Fn(&Point) -> String) -> Column {
    Column {
        head: head.map(str::to_owned),
        cells: group
            .entries
            .iter()
            .map(|entry| cell(&entry.point))
            .collect(),
    }
}

/// `0.3412 ± 0.0011`: the error to two digits, the mean to the same place, or to four digits where
/// there is no error.
pub fn plus_minus(estimate: Estimate) -> String {
    let Estimate {
        mean,
        standard_error,
        ..
    } = estimate;
    if !mean.is_finite() {
        return String::new();
    }
    // Rounding errors are no spread.
    if !standard_error.is_finite() || standard_error <= 1e-12 * mean.abs() {
        return significant(mean, 4);
    }
    let largest = mean.abs().max(standard_error);
    let rounded = format!("{standard_error:.1e}");
    let exponent = rounded
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let place = 1 - exponent.unwrap_or(0);
    if (1e-4..1e6).contains(&largest) && place <= 8 {
        let decimals = place.max(0) as usize;
        return format!("{mean:.decimals$} \u{b1} {standard_error:.decimals$}");
    }
    let exponent = largest.log10().floor();
    let scale = 10f64.powf(exponent);
    let decimals = (place + exponent as i32).clamp(0, 8) as usize;
    format!(
        "({:.decimals$} \u{b1} {:.decimals$})e{exponent}",
        mean / scale,
        standard_error / scale
    )
}

/// Columns side by side; those without any value are left out.
pub fn aligned(columns: &[Column]) -> String {
    let full: Vec<&Column> = columns
        .iter()
        .filter(|column| column.says_something())
        .collect();
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> = full
        .iter()
        .map(|column| {
            let heads = column.head.iter().map(|text| length(text));
            heads
                .chain(column.cells.iter().map(|cell| length(cell)))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let mut line = |cell: &dyn Fn(usize) -> String| {
        let mut line = String::from("  ");
        for (i, &width) in widths.iter().enumerate() {
            let cell = cell(i);
            let pad = " ".repeat(width - length(&cell));
            // Names to the left, numbers to the right.
            line += &if i == 0 {
                format!("{cell}{pad}   ")
            } else {
                format!("{pad}{cell}   ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    for row in 0..2 {
        if full.iter().any(|column| !column.head[row].is_empty()) {
            line(&|i| full[i].head[row].clone());
        }
    }
    let rows = full.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        line(&|i| match full[i].cells[row].as_str() {
            "" => "-".into(),
            cell => cell.to_owned(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_decide_the_digits_of_means() {
        for (mean, standard_error, text) in [
            (0.34123, 0.00112, "0.3412 \u{b1} 0.0011"),
            (128.4, 17.2, "128 \u{b1} 17"),
            (4.0952, 0.0999999, "4.10 \u{b1} 0.10"),
            (90.0, 1e-14, "90"),
            (9.1e8, 2.3e6, "(9.100 \u{b1} 0.023)e8"),
            (1.5e-6, 2e-7, "(1.50 \u{b1} 0.20)e-6"),
            (0.5, f64::NAN, "0.5"),
            (0.5, 0.0, "0.5"),
            (f64::NAN, 1.0, ""),
        ] {
            let runs = 2;
            assert_eq!(
                plus_minus(Estimate {
                    mean,
                    standard_error,
                    runs
                }),
                text
            );
        }
    }
}
