//! Random bi-regular bipartite graphs, for sizes that no algebra covers.

use counter_rng::CounterRng;
use rand::RngExt;

use super::{DesignError, Family, RegularAssignment};
use crate::draw::{plan_time, shuffle};

const DESIGN: &str = "bi-regular bipartite graph";
const ATTEMPTS: usize = 100;

/// A random graph in which each of `workers` workers holds `degree` of `partitions` partitions and each
/// partition lies at equally many workers.
///
/// Configuration model: every partition is written down as often as it is held, the list is shuffled and
/// dealt out; a worker that got a partition twice swaps one of them with somebody else. Equal arguments
/// give equal graphs.
///
/// # Errors
/// [`DesignError::Sizes`] without workers or partitions; [`DesignError::Degree`] if `degree` is not
/// between 1 and the number of partitions, or the copies cannot be equally many, naming degrees that
/// are possible; [`DesignError::NoDraw`] should no attempt succeed.
pub fn bi_regular(
    workers: usize,
    partitions: usize,
    degree: usize,
    seed: u64,
) -> Result<RegularAssignment, DesignError> {
    if workers == 0 || partitions == 0 {
        return Err(DesignError::Sizes {
            design: DESIGN,
            workers,
            partitions,
            required: "at least 1 of both".to_owned(),
        });
    }
    let possible = |degree: usize| {
        (1..=partitions).contains(&degree) && (workers * degree).is_multiple_of(partitions)
    };
    if !possible(degree) {
        let mut degrees: Vec<usize> = (1..=partitions).filter(|&d| possible(d)).collect();
        degrees.sort_by_key(|d| d.abs_diff(degree));
        let nearest: Vec<String> = degrees.iter().take(3).map(usize::to_string).collect();
        return Err(DesignError::Degree {
            design: DESIGN,
            workers,
            partitions,
            degree,
            required: format!(
                "partitions have equally many copies with {}",
                nearest.join(", ")
            ),
        });
    }
    let copies = workers * degree / partitions;
    for attempt in 0..ATTEMPTS {
        let mut rng = plan_time(seed, attempt as u64);
        let mut stubs: Vec<usize> = (0..partitions)
            .flat_map(|partition| std::iter::repeat_n(partition, copies))
            .collect();
        shuffle(&mut stubs, &mut rng);
        let mut held: Vec<Vec<usize>> = stubs.chunks(degree).map(<[usize]>::to_vec).collect();
        if repair(&mut held, &mut rng) {
            return RegularAssignment::checked(partitions, held, Family::BiRegular, degree);
        }
    }
    Err(DesignError::NoDraw { attempts: ATTEMPTS })
}

/// The least degree with which every partition lies at equally many workers, at least 2 if it can be.
pub fn default_degree(workers: usize, partitions: usize) -> usize {
    (1..=partitions)
        .find(|&degree| {
            let copies = workers * degree;
            copies.is_multiple_of(partitions) && copies >= 2 * partitions
        })
        .unwrap_or(partitions)
}

/// Swaps repeated partitions away; false if that does not succeed soon.
fn repair(held: &mut [Vec<usize>], rng: &mut CounterRng) -> bool {
    let (workers, degree) = (held.len(), held[0].len());
    let mut tries = 200 * workers * degree;
    for worker in 0..workers {
        for at in 0..degree {
            while held[worker][..at].contains(&held[worker][at]) {
                if tries == 0 {
                    return false;
                }
                tries -= 1;
                let (other, theirs) = (rng.random_range(0..workers), rng.random_range(0..degree));
                let (mine, offered) = (held[worker][at], held[other][theirs]);
                // Neither may hold the partition it gets already.
                if !held[worker].contains(&offered) && !held[other].contains(&mine) {
                    held[worker][at] = offered;
                    held[other][theirs] = mine;
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_function_of_the_seed() {
        let graph = bi_regular(40, 20, 3, 1).expect("it exists");
        assert_eq!((graph.degree(), graph.copies()), (3, 6));
        assert_eq!(bi_regular(40, 20, 3, 1), Ok(graph.clone()));
        assert_ne!(bi_regular(40, 20, 3, 2), Ok(graph));
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let error = bi_regular(6, 4, 3, 0).expect_err("18 / 4").to_string();
        assert!(error.contains("equally many copies with 2, 4"), "{error}");
        assert!(bi_regular(6, 4, 5, 0).is_err());
        assert!(bi_regular(6, 4, 0, 0).is_err());
        assert!(bi_regular(0, 4, 1, 0).is_err());
        assert!(bi_regular(4, 0, 1, 0).is_err());
    }

    proptest! {
        /// All sizes that can be are built (`checked` verifies them), the dense ones included.
        #[test]
        fn whatever_is_possible_is_built(
            workers in 1usize..24,
            partitions in 1usize..24,
            degree in 1usize..24,
            seed: u64,
        ) {
            let possible = degree <= partitions && (workers * degree).is_multiple_of(partitions);
            prop_assert_eq!(bi_regular(workers, partitions, degree, seed).is_ok(), possible);
        }
    }
}
