//! What can be wrong with a table, a budget or a request.

use crate::Method;

/// A utility table that cannot be built. Reads after "failed to".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// There are no widths to choose from.
    #[error("build a utility table without widths: at least one is needed")]
    NoWidths,
    /// Not one value per width.
    #[error(
        "build a utility table from {widths} widths and {values} values: one value per width is needed"
    )]
    Lengths {
        /// Number of widths.
        widths: usize,
        /// Number of values.
        values: usize,
    },
    /// The widths are not strictly increasing.
    #[error(
        "build a utility table in which width {width} follows width {previous}: widths must strictly increase"
    )]
    NotIncreasing {
        /// The width before.
        previous: u8,
        /// The width that should have been larger.
        width: u8,
    },
    /// A utility is infinite or not a number.
    #[error(
        "build a utility table with utility {value} at width {width}: utilities must be finite"
    )]
    NotFinite {
        /// The width.
        width: u8,
        /// Its utility.
        value: f64,
    },
}

/// Bits that cannot be allocated. Reads after "failed to".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AllocationError {
    /// There is nobody to give bits to.
    #[error("allocate bits to 0 workers: at least one is needed")]
    NoWorkers,
    /// A straggle probability is not one.
    #[error("build the utilities of worker {worker} from p = {value}: it must lie in 0..=1")]
    Probability {
        /// Index of the worker, from 0.
        worker: usize,
        /// What was given.
        value: f64,
    },
    /// A quantizer variance constant is negative or not a number.
    #[error("build utilities from phi({width}) = {value}: it must be >= 0")]
    VarianceConstant {
        /// The width.
        width: u8,
        /// What was given.
        value: f64,
    },
    /// The range of widths is empty or contains 0.
    #[error("build utilities for widths {min}..={max}: it must hold that 1 <= min <= max")]
    Widths {
        /// Smallest width.
        min: u8,
        /// Largest width.
        max: u8,
    },
    /// The table of one worker is not valid.
    #[error("allocate bits to worker {worker}")]
    Table {
        /// Index of the worker, from 0.
        worker: usize,
        /// What is wrong with its table.
        source: TableError,
    },
    /// Utilities are so large that their sum is not a finite number.
    #[error("sum the utilities of {workers} workers: they overflow")]
    Overflow {
        /// Number of workers.
        workers: usize,
    },
    /// The budget is outside of what the widths allow.
    #[error(
        "allocate a total of {total_bits} bits to {workers} workers: their widths allow {min}..={max}"
    )]
    BudgetOutOfRange {
        /// The budget.
        total_bits: u64,
        /// Number of workers.
        workers: usize,
        /// Sum of the smallest widths.
        min: u64,
        /// Sum of the largest widths.
        max: u64,
    },
    /// No choice of widths sums to the budget, because the widths have gaps.
    #[error(
        "allocate a total of exactly {total_bits} bits: no choice of widths has that sum, the nearest are {below} and {above}"
    )]
    Unreachable {
        /// The budget.
        total_bits: u64,
        /// Largest smaller sum.
        below: u64,
        /// Smallest larger sum.
        above: u64,
    },
    /// The method would need too much memory or time.
    #[error(
        "allocate bits by method {method}: {size} states exceed its limit of {limit}; use method exact"
    )]
    TooLarge {
        /// The method asked for.
        method: Method,
        /// How many states it would have to visit.
        size: u128,
        /// How many it may.
        limit: u128,
    },
}
