//! Keys that take a number, a word, a list or a small table.

mod deadlines;
mod numbers;
mod raw;
#[cfg(test)]
mod tests;
mod times;

pub use deadlines::{DeadlineSeconds, MedianPlusMad, PlannedDeadline, Quantile};
pub use numbers::{OneOrMany, Rates, Scaling};
pub use times::{Every, UnitSeconds};
