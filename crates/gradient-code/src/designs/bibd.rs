//! Symmetric balanced incomplete block designs from difference sets.
//!
//! A `(v, kappa, lambda)` difference set is a set of `kappa` elements of a group of order `v` whose
//! differences hit every element but 0 exactly `lambda` times. Its translates are the blocks of a design
//! with `v` workers and `v` partitions in which any two workers share `lambda` partitions, and any two
//! partitions `lambda` workers. Two classical families give all designs here:
//!
//! * Singer: hyperplanes of the projective space of dimension `D - 1` over the field of `q` elements,
//!   `v = (q^D - 1)/(q - 1)`, in the integers mod `v`. With `D = 3` these are the projective planes:
//!   Fano (7, 3, 1), (13, 4, 1), (21, 5, 1), (31, 6, 1), (57, 8, 1), (73, 9, 1), (91, 10, 1), ...
//! * quadratic residues (Paley): the squares of the field of `q = 3 mod 4` elements,
//!   `(q, (q - 1)/2, (q - 3)/4)`.

use super::field::{Field, prime_power};
use super::{Degree, DesignError, Family, RegularAssignment};

/// Parameters of a difference set, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Singer { order: usize, dimension: u32 },
    Squares { order: usize },
}

impl Source {
    /// `(v, kappa, lambda)`.
    fn parameters(self) -> (usize, usize, usize) {
        match self {
            Self::Singer { order, dimension } => {
                let points = |dimension| (order.pow(dimension) - 1) / (order - 1);
                (
                    points(dimension),
                    points(dimension - 1),
                    points(dimension - 2),
                )
            }
            Self::Squares { order } => (order, (order - 1) / 2, (order - 3) / 4),
        }
    }

    /// All with at most `most` workers, planes before others.
    fn up_to(most: usize) -> Vec<Self> {
        let mut found = Vec::new();
        for dimension in 3.. {
            let before = found.len();
            for order in (2..most).filter(|&q| prime_power(q).is_some()) {
                let source = Self::Singer { order, dimension };
                if order.saturating_pow(dimension - 1) > most || source.parameters().0 > most {
                    break;
                }
                found.push(source);
            }
            if found.len() == before {
                break;
            }
        }
        let squares = (7..=most).filter(|&q| q % 4 == 3 && prime_power(q).is_some());
        found.extend(squares.map(|order| Self::Squares { order }));
        found
    }
}

/// The symmetric design in which each of `workers` workers holds `degree` of as many partitions; if
/// `degree` is open, the one with the fewest.
///
/// ```
/// let fano = gradient_code::designs::bibd(7, Some(3))?;
/// assert_eq!(fano.held()[0], [0, 1, 3]);
/// assert_eq!(fano.held()[6], [0, 2, 6]);
/// # Ok::<(), gradient_code::designs::DesignError>(())
/// ```
///
/// # Errors
/// [`DesignError::NotThere`], naming the nearest designs, if neither family has one.
pub fn bibd(workers: usize, degree: Option<usize>) -> Result<RegularAssignment, DesignError> {
    let mut known = Source::up_to(2 * workers + 30);
    let source = known
        .iter()
        .filter(|source| {
            let (v, kappa, _) = source.parameters();
            v == workers && degree.is_none_or(|degree| degree == kappa)
        })
        .min_by_key(|source| source.parameters().1);
    let Some(&source) = source else {
        known.sort_by_key(|source| {
            let (v, kappa, _) = source.parameters();
            (v.abs_diff(workers), kappa.abs_diff(degree.unwrap_or(0)))
        });
        let mut nearest: Vec<(usize, usize)> = Vec::new();
        for (v, kappa, _) in known.iter().map(|source| source.parameters()) {
            if !nearest.contains(&(v, kappa)) && nearest.len() < 4 {
                nearest.push((v, kappa));
            }
        }
        let nearest: Vec<String> = nearest
            .iter()
            .map(|(v, kappa)| format!("{v} workers with {kappa}"))
            .collect();
        return Err(DesignError::NotThere {
            design: "symmetric block design",
            workers,
            degree: Degree(degree),
            nearest: nearest.join(", "),
        });
    };
    let (v, kappa, lambda) = source.parameters();
    let held = match source {
        Source::Singer { order, dimension } => {
            let base = singer(order, dimension);
            (0..v)
                .map(|shift| base.iter().map(|d| (d + shift) % v).collect())
                .collect()
        }
        Source::Squares { order } => {
            let field = Field::new(order).expect("the order is a prime power");
            let squares = field.squares();
            (0..v)
                .map(|shift| squares.iter().map(|&d| field.add(d, shift)).collect())
                .collect()
        }
    };
    RegularAssignment::checked(v, held, Family::Bibd { lambda }, kappa)
}

/// The difference set of the projective plane of prime power order `q`, mod `q^2 + q + 1`: of all
/// equivalent ones that contain 0 and 1 the first in lexicographic order. `None` if `q` is not a prime
/// power.
///
/// ```
/// use gradient_code::designs::difference_set;
/// assert_eq!(difference_set(2).expect("prime"), [0, 1, 3]);
/// assert_eq!(difference_set(9).expect("3^2"), [0, 1, 3, 9, 27, 49, 56, 61, 77, 81]);
/// ```
pub fn difference_set(order: usize) -> Option<Vec<usize>> {
    prime_power(order)?;
    Some(singer(order, 3))
}

/// Singer 1938: with `g` primitive in the field of `q^D` elements, the exponents `i < v` at which the
/// trace of `g^i` down to the field of `q` elements is 0; normalised.
fn singer(order: usize, dimension: u32) -> Vec<usize> {
    let field = Field::new(order.pow(dimension)).expect("a power of a prime power");
    let v = (order.pow(dimension) - 1) / (order - 1);
    let trace =
        |i: usize| (0..dimension).fold(0, |sum, t| field.add(sum, field.power(i * order.pow(t))));
    let set: Vec<usize> = (0..v).filter(|&i| trace(i) == 0).collect();
    canonical(&set, v)
}

/// The least of the sets `t D + s` that contain 0 and 1.
fn canonical(set: &[usize], v: usize) -> Vec<usize> {
    let coprime = |t: &usize| {
        let (mut a, mut b) = (*t, v);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let mut member = vec![false; v];
    let mut best = set.to_vec();
    let mut found = false;
    for t in (1..v).filter(coprime) {
        let scaled: Vec<usize> = set.iter().map(|d| d * t % v).collect();
        for &d in &scaled {
            member[d] = true;
        }
        for &shift in scaled.iter().filter(|&&d| member[(d + 1) % v]) {
            let mut moved: Vec<usize> = scaled.iter().map(|d| (d + v - shift) % v).collect();
            moved.sort_unstable();
            if !found || moved < best {
                (best, found) = (moved, true);
            }
        }
        for &d in &scaled {
            member[d] = false;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_all_small_orders() {
        for (order, expected) in [
            (2, vec![0, 1, 3]),
            (3, vec![0, 1, 3, 9]),
            (4, vec![0, 1, 4, 14, 16]),
            (5, vec![0, 1, 3, 8, 12, 18]),
            (9, vec![0, 1, 3, 9, 27, 49, 56, 61, 77, 81]),
        ] {
            assert_eq!(difference_set(order), Some(expected));
        }
        for order in [2, 3, 4, 5, 7, 8, 9, 11, 13, 16] {
            let v = order * order + order + 1;
            let plane = bibd(v, Some(order + 1)).expect("a prime power");
            assert_eq!(plane.family(), Family::Bibd { lambda: 1 });
            assert_eq!((plane.degree(), plane.copies()), (order + 1, order + 1));
        }
        assert_eq!(difference_set(6), None);
    }

    /// Parameters from the tables of the literature; `checked` verified each design.
    #[test]
    fn other_difference_sets() {
        for (v, kappa, lambda) in [
            (11, 5, 2),
            (15, 7, 3),
            (19, 9, 4),
            (23, 11, 5),
            (27, 13, 6), // the field of 27 elements
            (31, 15, 7),
            (40, 13, 4),
            (85, 21, 5),
        ] {
            let design = bibd(v, Some(kappa)).expect("it exists");
            assert_eq!(design.family(), Family::Bibd { lambda });
        }
        // 31 workers: the plane of order 5 has fewer partitions than the other two.
        assert_eq!(bibd(31, None).expect("it exists").degree(), 6);
    }

    #[test]
    fn the_nearest_designs_are_named() {
        let error = bibd(12, Some(4)).expect_err("there is none").to_string();
        assert_eq!(
            error,
            "find a symmetric block design for 12 workers with 4 partitions each: the nearest are \
             13 workers with 4, 11 workers with 5, 15 workers with 7, 7 workers with 3"
        );
        assert!(bibd(0, None).is_err());
        assert!(bibd(7, Some(4)).is_err());
        let error = bibd(10, None).expect_err("there is none").to_string();
        assert!(
            error.contains("with any number of partitions each"),
            "{error}"
        );
    }
}
