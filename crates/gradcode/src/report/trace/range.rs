//! Which iterations a trace shows.

use std::ops::Range;

use super::super::explain::columns::Columns;
use crate::exit::{Failure, Outcome};

/// Events in a file unless iterations are asked for: viewers get slow beyond.
const MOST_EVENTS: usize = 400_000;

/// `100..200`, `100..` or `..200`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("expected FROM..TO, e.g. 100..200")?;
    let bound = |text: &str, open: u64| match text {
        "" => Ok(open),
        text => text
            .parse::<u64>()
            .map_err(|error| format!("{text:?} is no iteration: {error}")),
    };
    let range = bound(from, 0)?..bound(to, u64::MAX)?;
    if range.is_empty() {
        return Err(format!(
            "{text:?} holds no iteration; the end is not included"
        ));
    }
    Ok(range)
}

/// Places in the columns.
pub fn rows(columns: &Columns, iterations: Option<Range<u64>>) -> Outcome<Range<usize>> {
    let all = 0..columns.len();
    let Some(wanted) = iterations else {
        let most = MOST_EVENTS / (8 + 3 * columns.workers);
        return Ok(all.end.saturating_sub(most.max(1))..all.end);
    };
    let place = |iteration: u64| {
        columns
            .iteration
            .partition_point(|&logged| logged < iteration as f64)
    };
    let rows = place(wanted.start)..place(wanted.end);
    if rows.is_empty() {
        let range = match (columns.iteration.first(), columns.iteration.last()) {
            (Some(first), Some(last)) => format!("iterations {first} to {last}"),
            _ => "no iterations".to_owned(),
        };
        let message = format!("--iterations: the log has none of them, but {range}");
        return Err(Failure::usage(message));
    }
    Ok(rows)
}
