//! The assignments of OSGC (arXiv 2510.22539): Scheme I and Scheme II.
//!
//! Both realise the row sums of Theorem 1 with `n + k - 1` coefficients, and both have negative ones
//! whenever `Y_i < b_i - 1`. Lemma 1 bounds `||sum_j alpha_i^j g_j||` by `sqrt(C) sum_j alpha_i^j`,
//! which needs coefficients of one sign in a row; with mixed signs the true error may exceed the
//! bound `n^2 C / S` several times over. They are here for comparison: the overlap construction
//! ([`crate::overlap`]) has the same load and keeps the bound.
//!
//! Rows are in the order of the paper, most reliable worker first (`p_1 <= .. <= p_k`), and `b_i`,
//! called *holdings* here, is the number of partitions of worker `i`: `b_1 >= .. >= b_k` and
//! `sum b_i = n + k - 1`.

use crate::code::{CodeError, CodeMatrix};
use crate::overlap;

/// The holdings used unless others are given: `(n - k + 2, 2, .., 2, 1)`, which is the
/// `(2, .., 2, 1)` of the paper's runs when `n = k`.
///
/// # Errors
/// [`CodeError::FewerPartitionsThanWorkers`] if `partitions < workers`; [`CodeError::NoPartitions`].
pub fn default_holdings(
    scheme: &'static str,
    workers: usize,
    partitions: usize,
) -> Result<Vec<usize>, CodeError> {
    if partitions == 0 {
        return Err(CodeError::NoPartitions);
    }
    if partitions < workers {
        return Err(CodeError::FewerPartitionsThanWorkers {
            scheme,
            workers,
            partitions,
        });
    }
    Ok(match workers {
        0 => Vec::new(),
        1 => vec![partitions],
        _ => {
            let mut holdings = vec![2; workers];
            holdings[0] = partitions - workers + 2;
            holdings[workers - 1] = 1;
            holdings
        }
    })
}

/// Scheme I: every worker holds partition 1, with `alpha_i^1 = Y_i - b_i + 1`, and `b_i - 1`
/// partitions that nobody else holds, with coefficient 1.
///
/// # Errors
/// As [`overlap::overlap`] for the row sums; [`CodeError::HoldingsLength`],
/// [`CodeError::HoldingsTotal`] and [`CodeError::Holding`] for holdings that break the rules in the
/// module's description.
pub fn scheme_one(
    row_sums: &[f64],
    partitions: usize,
    holdings: &[usize],
) -> Result<CodeMatrix, CodeError> {
    check(
        "I",
        row_sums,
        partitions,
        holdings,
        1,
        "every worker needs at least 1 partition",
    )?;
    let mut next = 1; // l'_1 = 2, counted from 1
    let rows = row_sums
        .iter()
        .zip(holdings)
        .map(|(&y, &b)| {
            let own = next..next + b - 1;
            next = own.end;
            let shared = (0, y - (b - 1) as f64);
            std::iter::once(shared)
                .chain(own.map(|partition| (partition, 1.0)))
                .collect()
        })
        .collect();
    CodeMatrix::new(partitions, rows)
}

/// Scheme II, a chain: worker `i` holds `b_i` consecutive partitions of which it shares the first
/// with its predecessor and the last with its successor; those in between have coefficient 1.
///
/// # Errors
/// As [`scheme_one`]; besides, all but the last worker need at least 2 partitions and the last one
/// holds exactly 1 (with a single worker: all `n`).
pub fn scheme_two(
    row_sums: &[f64],
    partitions: usize,
    holdings: &[usize],
) -> Result<CodeMatrix, CodeError> {
    check(
        "II",
        row_sums,
        partitions,
        holdings,
        2,
        "all but the last worker need at least 2 partitions",
    )?;
    let last = row_sums.len() - 1;
    if last > 0 && holdings[last] != 1 {
        return Err(CodeError::Holding {
            scheme: "II",
            worker: last,
            holding: holdings[last],
            requirement: "the last worker holds exactly 1",
        });
    }
    let mut first = 0;
    let mut carried = 0.0; // alpha_{i-1} of the partition shared with the predecessor
    let mut rows = Vec::with_capacity(row_sums.len());
    for (worker, (&y, &b)) in row_sums.iter().zip(holdings).enumerate() {
        let mut row: Vec<(usize, f64)> = (first..first + b).map(|j| (j, 1.0)).collect();
        if worker > 0 {
            row[0].1 = 1.0 - carried;
        }
        // The last coefficient is whatever the row sum leaves: Y_i + alpha_{i-1} - b_i + 1.
        carried = if worker == last && worker > 0 {
            y
        } else {
            y + carried - (b - 1) as f64
        };
        row[b - 1].1 = carried;
        first += b - 1;
        rows.push(row);
    }
    CodeMatrix::new(partitions, rows)
}

fn check(
    scheme: &'static str,
    row_sums: &[f64],
    partitions: usize,
    holdings: &[usize],
    least: usize,
    requirement: &'static str,
) -> Result<(), CodeError> {
    overlap::check(row_sums, partitions)?;
    let workers = row_sums.len();
    if holdings.len() != workers {
        return Err(CodeError::HoldingsLength {
            scheme,
            given: holdings.len(),
            workers,
        });
    }
    let required = partitions + workers - 1;
    let total: usize = holdings.iter().sum();
    if total != required {
        return Err(CodeError::HoldingsTotal {
            scheme,
            total,
            required,
        });
    }
    for (worker, &holding) in holdings.iter().enumerate() {
        let least = if worker + 1 == workers { 1 } else { least };
        if holding < least {
            return Err(CodeError::Holding {
                scheme,
                worker,
                holding,
                requirement,
            });
        }
        if worker > 0 && holding > holdings[worker - 1] {
            return Err(CodeError::Holding {
                scheme,
                worker,
                holding,
                requirement: "holdings must not increase from the most to the least reliable worker",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scheme_one_by_hand() {
        let code = scheme_one(&[3.2, 1.3, 0.5], 5, &[4, 2, 1]).expect("valid holdings");
        let expected = [
            vec![(0, 3.2 - 3.0), (1, 1.0), (2, 1.0), (3, 1.0)],
            vec![(0, 1.3 - 1.0), (4, 1.0)],
            vec![(0, 0.5)],
        ];
        assert_eq!(code.rows(), expected);
    }

    #[test]
    fn scheme_two_by_hand() {
        // n = k = 3, b = (2, 2, 1): the middle worker fills up the first shared partition.
        let code = scheme_two(&[1.5, 0.75, 0.75], 3, &[2, 2, 1]).expect("valid holdings");
        let expected = [
            vec![(0, 1.0), (1, 0.5)],
            vec![(1, 0.5), (2, 0.25)],
            vec![(2, 0.75)],
        ];
        assert_eq!(code.rows(), expected);
    }

    #[test]
    fn negative_coefficients_appear_below_the_holdings() {
        let y = [1.4, 0.9, 0.7];
        let one = scheme_one(&y, 3, &[2, 2, 1]).expect("valid holdings");
        assert!(one.rows()[1][0].1 < 0.0);
        let two = scheme_two(&[1.1, 0.3, 1.6], 3, &[2, 2, 1]).expect("valid holdings");
        assert!(two.rows().iter().flatten().any(|&(_, a)| a < 0.0));
    }

    #[test]
    fn a_single_worker_holds_everything() {
        for build in [scheme_one, scheme_two] {
            let code = build(&[4.0], 4, &[4]).expect("valid holdings");
            assert_eq!(code.column_sums(), [1.0; 4]);
        }
    }

    #[test]
    fn holdings_are_checked() {
        let y = [1.5, 1.0, 0.5];
        assert_eq!(
            default_holdings("I", 4, 3),
            Err(CodeError::FewerPartitionsThanWorkers {
                scheme: "I",
                workers: 4,
                partitions: 3
            })
        );
        assert_eq!(default_holdings("II", 3, 3), Ok(vec![2, 2, 1]));
        assert_eq!(default_holdings("II", 3, 7), Ok(vec![6, 2, 1]));
        assert!(matches!(
            scheme_one(&y, 3, &[3, 2]),
            Err(CodeError::HoldingsLength { given: 2, .. })
        ));
        assert!(matches!(
            scheme_one(&y, 3, &[2, 2, 2]),
            Err(CodeError::HoldingsTotal {
                total: 6,
                required: 5,
                ..
            })
        ));
        assert!(matches!(
            scheme_one(&y, 3, &[1, 2, 2]),
            Err(CodeError::Holding { worker: 1, .. })
        ));
        assert!(matches!(
            scheme_two(&y, 3, &[3, 1, 1]),
            Err(CodeError::Holding { worker: 1, .. })
        ));
        assert!(matches!(
            scheme_two(&[1.5, 1.5], 3, &[2, 2]),
            Err(CodeError::Holding { worker: 1, .. })
        ));
        assert!(matches!(
            scheme_two(&[1.0, 1.0], 3, &[3, 1]),
            Err(CodeError::RowSumTotal { .. })
        ));
    }

    proptest! {
        #[test]
        fn both_keep_row_and_column_sums_and_the_count(
            weights in prop::collection::vec(1e-3..5.0f64, 1..15),
            more in 0usize..10,
        ) {
            let partitions = weights.len() + more;
            let y = overlap::optimal_row_sums(&weights, partitions).expect("weights are valid");
            let holdings = default_holdings("I", y.len(), partitions).expect("n >= k");
            for build in [scheme_one, scheme_two] {
                let code = build(&y, partitions, &holdings).expect("valid holdings");
                for sum in code.column_sums() {
                    prop_assert!((sum - 1.0).abs() < 1e-12 * partitions as f64);
                }
                for (sum, y) in code.row_sums().iter().zip(&y) {
                    prop_assert!((sum - y).abs() < 1e-12 * partitions as f64);
                }
                prop_assert!(code.nnz() < partitions + y.len());
            }
        }
    }
}
