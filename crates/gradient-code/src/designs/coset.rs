//! Coset bipartite graphs (section VI of Munim & Ramamoorthy 2026).

use super::{DesignError, Family, RegularAssignment};

const DESIGN: &str = "coset bipartite graph";

/// The graph of `k` partitions and `m k` workers in which worker `x` holds the `degree` partitions
/// `x - b mod k` for `b` in `0..degree`: the circulant of these offsets, `m` times side by side. (The
/// paper leaves the offsets open.)
///
/// If `k` is a power of a prime that does not divide `degree`, the code with random diagonals that are
/// not just signs and `m` blocks is invertible (Prop. 1), so the gradient is recovered exactly when
/// nobody is late. Other parameters are built as well: [`RegularAssignment`] claims nothing about them.
///
/// A square matrix with a continuous law is near a singular one too often for `||R||_F^2` to have a mean
/// (its tail falls like the inverse root): with rounded messages and no ridge the expected error is
/// infinite, and what a plan estimates for it is as large as the worst of the rounds it drew. A ridge bounds
/// it.
///
/// # Errors
/// [`DesignError::Sizes`] if the workers are not a multiple of the partitions,
/// [`DesignError::Degree`] if `degree` is not between 1 and the number of partitions.
pub fn coset(
    workers: usize,
    partitions: usize,
    degree: usize,
) -> Result<RegularAssignment, DesignError> {
    if partitions == 0 || workers == 0 || !workers.is_multiple_of(partitions) {
        return Err(DesignError::Sizes {
            design: DESIGN,
            workers,
            partitions,
            required: match workers.checked_div(partitions) {
                Some(m @ 1..) => format!(
                    "m times as many workers as partitions, such as {} or {}",
                    m * partitions,
                    (m + 1) * partitions
                ),
                _ => "m times as many workers as partitions, both at least 1".to_owned(),
            },
        });
    }
    if degree == 0 || degree > partitions {
        return Err(DesignError::Degree {
            design: DESIGN,
            workers,
            partitions,
            degree,
            required: format!("1 to {partitions} are possible"),
        });
    }
    let held = (0..workers)
        .map(|x| {
            (0..degree)
                .map(|b| (x + partitions - b) % partitions)
                .collect()
        })
        .collect();
    let family = Family::Coset {
        copies: workers / partitions,
    };
    RegularAssignment::checked(partitions, held, family, degree)
}

/// The least degree above 1 that the prime of a prime power `partitions` does not divide (1 if there is
/// none); 2 or 3 also for other numbers.
pub fn default_coset_degree(partitions: usize) -> usize {
    match partitions {
        0..=2 => 1,
        even if even.is_multiple_of(2) => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circulants_repeat() {
        let graph = coset(10, 5, 2).expect("it exists");
        assert_eq!(graph.held()[0], [0, 4]);
        assert_eq!(graph.held()[5], [0, 4]);
        assert_eq!((graph.degree(), graph.copies()), (2, 4));
        assert_eq!(coset(54, 27, 5).expect("it exists").copies(), 10);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let error = coset(55, 27, 5).expect_err("not a multiple").to_string();
        assert!(error.contains("such as 54 or 81"), "{error}");
        for (workers, partitions, degree) in [(3, 4, 1), (4, 0, 1), (0, 4, 1)] {
            assert!(matches!(
                coset(workers, partitions, degree),
                Err(DesignError::Sizes { .. })
            ));
        }
        for degree in [0, 6] {
            assert!(matches!(
                coset(10, 5, degree),
                Err(DesignError::Degree { .. })
            ));
        }
    }
}
