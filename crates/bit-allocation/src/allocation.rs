//! Solving a problem by a method, and the bound that every solution is reported with.

use crate::exact::{self, Outcome};
use crate::hull::{self, BreakSolution};
use crate::problem::value;
use crate::{
    AllocationError, Method, Problem, UtilityTable, algorithm1, brute_force, dp, equal, greedy,
};
use serde::Serialize;

/// A value counts as its bound when it is below it by no more than this times the sum of absolute
/// utilities; a few thousand roundings of a double.
pub const TOLERANCE: f64 = 1e-12;

/// Bits for every worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Allocation {
    /// The width of every worker in bits per coordinate, in their order; 0 where a worker idles.
    pub bits: Vec<u8>,
    /// `F`, the sum of their utilities, added in the order of the workers.
    pub utility: f64,
    /// No allocation of the same total has a larger utility than this, up to [`TOLERANCE`]. Equal
    /// to `utility` when the method itself proves that it is optimal, else the value of the
    /// continuous relaxation ([`relax`]).
    pub bound: f64,
    /// Whether `utility` is proved to be the largest possible, up to [`TOLERANCE`].
    pub optimal: bool,
}

/// Allocates `problem.total_bits` bits by `method`.
///
/// The same problem and method always give the same allocation. Methods that choose the same bits
/// report the same utility to the last bit.
///
/// # Errors
/// Without workers; when utilities overflow in the sum; when the budget is outside of
/// [`Problem::range`] or, because widths have gaps, no choice of widths sums to it; when the method
/// is one that enumerates states and there are too many.
pub fn allocate(problem: &Problem, method: Method) -> Result<Allocation, AllocationError> {
    problem.check()?;
    let tables: Vec<&UtilityTable> = problem.tables.iter().collect();
    let total = problem.total_bits;
    let (choice, proved) = match method {
        Method::Exact => match exact::solve(&tables, total, exact::LIMIT) {
            Outcome::Optimal(choice) => (Some(choice), true),
            Outcome::Feasible(choice) => (Some(choice), false),
            Outcome::Unreachable => (None, true),
            Outcome::GaveUp(size) => return Err(too_large(method, size, exact::LIMIT)),
        },
        Method::Dp => {
            let size = dp::size(&tables, total);
            if size > dp::LIMIT {
                return Err(too_large(method, size, dp::LIMIT));
            }
            (dp::allocate(&tables, total), true)
        }
        Method::BruteForce => {
            let size = brute_force::size(&tables);
            if size > brute_force::LIMIT {
                return Err(too_large(method, size, brute_force::LIMIT));
            }
            (brute_force::allocate(&tables, total), true)
        }
        Method::Algorithm1 => (algorithm1::allocate(&tables, total), false),
        Method::Greedy => (greedy::allocate(&tables, total), false),
        Method::Continuous => (greedy::continuous(&tables, total), false),
        Method::Equal => (equal::allocate(&tables, total), false),
    };
    match choice {
        Some(choice) => Ok(report(problem, &tables, &choice, proved)),
        None => Err(unreachable(problem, &tables)),
    }
}

/// As [`allocate`], but the widths sum to *at most* `problem.total_bits`, which may exceed the largest
/// possible sum: for utilities that fall where more bits do harm.
///
/// Every table is replaced by one of all widths in its range, each with the largest utility at no more
/// bits, which changes no optimum: bits that a worker is better off without are given to it and not
/// used. So each method does what it does in [`allocate`], and the bound holds for all allocations
/// within the budget.
///
/// # Errors
/// As [`allocate`]; the budget can be too small, but neither too large nor out of reach.
pub fn allocate_within(problem: &Problem, method: Method) -> Result<Allocation, AllocationError> {
    let (mut tables, mut best) = (Vec::new(), Vec::new());
    for (worker, table) in problem.tables.iter().enumerate() {
        let (mut widths, mut values, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let mut most = (f64::NEG_INFINITY, table.min_width());
        for width in table.min_width()..=table.max_width() {
            if let Some(value) = table.utility(width).filter(|value| *value > most.0) {
                most = (value, width);
            }
            widths.push(width);
            values.push(most.0);
            kept.push(most.1);
        }
        let monotone = UtilityTable::new(widths, values)
            .map_err(|source| AllocationError::Table { worker, source })?;
        tables.push(monotone);
        best.push(kept);
    }
    let monotone = Problem {
        total_bits: problem.total_bits.min(*problem.range().end()),
        tables,
    };
    let mut allocation = allocate(&monotone, method)?;
    for ((bits, table), kept) in allocation.bits.iter_mut().zip(&problem.tables).zip(best) {
        *bits = kept[usize::from(*bits - table.min_width())];
    }
    Ok(allocation)
}

fn too_large(method: Method, size: u128, limit: u128) -> AllocationError {
    AllocationError::TooLarge {
        method,
        size,
        limit,
    }
}

/// The nearest totals that can be reached, for a budget in range that cannot. Stepping the workers
/// one by one from their smallest to their largest widths reaches a total in every 255 bits, and the
/// ends of the range are reachable.
fn unreachable(problem: &Problem, tables: &[&UtilityTable]) -> AllocationError {
    let (total_bits, range) = (problem.total_bits, problem.range());
    let is_reachable = |&total: &u64| exact::reachable(tables, total);
    AllocationError::Unreachable {
        total_bits,
        below: (*range.start()..total_bits)
            .rev()
            .find(is_reachable)
            .unwrap_or(*range.start()),
        above: (total_bits + 1..=*range.end())
            .find(is_reachable)
            .unwrap_or(*range.end()),
    }
}

fn report(problem: &Problem, tables: &[&UtilityTable], choice: &[u8], proved: bool) -> Allocation {
    let utility = value(tables, choice);
    let bound = if proved {
        utility
    } else {
        relaxed(problem, tables).utility.max(utility)
    };
    let chosen = tables.iter().zip(choice);
    let scale: f64 = chosen
        .clone()
        .map(|(table, &index)| table.values()[usize::from(index)].abs())
        .sum();
    Allocation {
        bits: chosen
            .map(|(table, &index)| table.widths()[usize::from(index)])
            .collect(),
        utility,
        bound,
        optimal: bound - utility <= TOLERANCE * scale,
    }
}

/// The continuous relaxation of a problem: real widths, and between the widths of a table its upper
/// concave envelope.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relaxation {
    /// The real width of every worker; at most one is not a width of its table.
    pub widths: Vec<f64>,
    /// Its value: no allocation has a larger utility, up to [`TOLERANCE`].
    pub utility: f64,
    /// What another bit would be worth: the slope of the envelope at the fractional width. 0 when
    /// no width is fractional, in which case the relaxation is itself an optimal allocation.
    pub price: f64,
}

/// Solves the continuous relaxation: no smaller upper bound can be proved by a price per bit.
///
/// (Song & Choi 2026 compare with another one, `h_i` at real arguments. It is not concave, needs
/// more than a table, and is not an upper bound that can be computed with certainty.)
///
/// # Errors
/// Without workers, when utilities overflow in the sum, or when the budget is outside of
/// [`Problem::range`]. Gaps between widths are no obstacle.
pub fn relax(problem: &Problem) -> Result<Relaxation, AllocationError> {
    problem.check()?;
    let tables: Vec<&UtilityTable> = problem.tables.iter().collect();
    Ok(relaxed(problem, &tables))
}

/// As [`relax`], for a problem that has been checked.
fn relaxed(problem: &Problem, tables: &[&UtilityTable]) -> Relaxation {
    let spare = problem.total_bits - problem.range().start();
    let solution = BreakSolution::new(tables.len(), &hull::steps(tables), spare);
    let mut widths: Vec<f64> = tables
        .iter()
        .zip(&solution.choice)
        .map(|(table, &index)| f64::from(table.widths()[usize::from(index)]))
        .collect();
    let residual = solution.residual as f64;
    widths[solution.worker] += residual;
    Relaxation {
        widths,
        utility: value(tables, &solution.choice) + solution.price * residual,
        price: solution.price,
    }
}
