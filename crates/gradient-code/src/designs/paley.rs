//! Paley graphs: strongly regular graphs on the fields of `q = 1 mod 4` elements.

use super::field::{Field, prime_power};
use super::{Degree, DesignError, Family, RegularAssignment};

const DESIGN: &str = "Paley graph";

/// Worker `i` holds the partitions `j` whose difference from `i` in the field of `workers` elements is
/// a square other than 0: `(q, (q - 1)/2, (q - 5)/4, (q - 1)/4)`. The graph is vertex-transitive.
///
/// # Errors
/// [`DesignError::NotThere`], naming the nearest graphs, if `workers` is not a prime power that is 1
/// mod 4, or `degree` is given and not `(workers - 1) / 2`.
pub fn paley(workers: usize, degree: Option<usize>) -> Result<RegularAssignment, DesignError> {
    let exists = |q: usize| q % 4 == 1 && prime_power(q).is_some();
    let field = Some(workers)
        .filter(|&q| exists(q) && degree.is_none_or(|degree| degree == (q - 1) / 2))
        .and_then(Field::new);
    let Some(field) = field else {
        let mut orders: Vec<usize> = (5..2 * workers + 10).filter(|&q| exists(q)).collect();
        orders.sort_by_key(|q| q.abs_diff(workers));
        let nearest: Vec<String> = orders
            .iter()
            .take(3)
            .map(|q| format!("{q} workers with {}", (q - 1) / 2))
            .collect();
        return Err(DesignError::NotThere {
            design: DESIGN,
            workers,
            degree: Degree(degree),
            nearest: nearest.join(", "),
        });
    };
    let squares = field.squares();
    let held = (0..workers)
        .map(|i| squares.iter().map(|&s| field.add(i, s)).collect())
        .collect();
    let family = Family::StronglyRegular {
        lambda: (workers - 5) / 4,
        mu: (workers - 1) / 4,
    };
    RegularAssignment::checked(workers, held, family, squares.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_and_prime_powers() {
        for q in [5, 9, 13, 17, 25, 29, 49, 81] {
            let graph = paley(q, None).expect("strongly regular");
            assert_eq!((graph.workers(), graph.degree()), (q, (q - 1) / 2));
        }
        let twenty_nine = paley(29, Some(14)).expect("strongly regular");
        let family = Family::StronglyRegular { lambda: 6, mu: 7 };
        assert_eq!(twenty_nine.family(), family);
        assert_eq!(paley(5, None).expect("a pentagon").held()[0], [1, 4]);
    }

    #[test]
    fn the_nearest_graphs_are_named() {
        let error = paley(27, None).expect_err("27 is 3 mod 4").to_string();
        assert!(
            error.contains("25 workers with 12, 29 workers with 14"),
            "{error}"
        );
        for (workers, degree) in [(21, None), (29, Some(13)), (0, None), (1, None)] {
            assert!(paley(workers, degree).is_err());
        }
    }
}
