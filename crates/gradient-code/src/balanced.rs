//! Pairwise-balanced assignments: sets of `d` of `k` points, any two meeting in `d^2 / k`.
//!
//! Four families: all points; a single set; one hyperplane out of each parallel class of the affine
//! geometry over a prime field (`k = q^t`, `d = k / q`; for `q = 2` these are Sylvester's Hadamard
//! matrices, for `t = 2` lines of the affine plane); and Paley's Hadamard matrices (`k - 1` a prime that is
//! 3 mod 4, `d = k / 2`). A set may be replaced by a parallel one, or by its complement where `d = k / 2`,
//! which is used to even out how much the points hold.

/// A load for which pairwise-balanced assignments are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalancedParameters {
    /// `d`, the workers of each partition.
    pub load: usize,
    /// The most partitions; `None` if there is no limit.
    pub partitions: Option<usize>,
}

/// What [`crate::assignment::pairwise_balanced`] can construct for `workers` workers and more than one
/// partition, by ascending load.
pub fn balanced_parameters(workers: usize) -> Vec<BalancedParameters> {
    let mut known = Vec::new();
    if let Some(q) = prime_base(workers) {
        known.push(BalancedParameters {
            load: workers / q,
            partitions: Some((workers - 1) / (q - 1)),
        });
    }
    if is_paley(workers) && prime_base(workers) != Some(2) {
        known.push(BalancedParameters {
            load: workers / 2,
            partitions: Some(workers - 1),
        });
    }
    if workers > 0 {
        known.push(BalancedParameters {
            load: workers,
            partitions: None,
        });
    }
    known
}

/// `partitions` sets of `load` of the points `0..workers`; `None` where nothing is known.
pub(crate) fn construct(partitions: usize, load: usize, workers: usize) -> Option<Vec<Vec<usize>>> {
    if load == workers {
        return Some(vec![(0..workers).collect(); partitions]);
    }
    if partitions == 1 {
        return (load < workers).then(|| vec![(0..load).collect()]);
    }
    let known = |b: &BalancedParameters| {
        b.load == load && b.partitions.is_some_and(|most| partitions <= most)
    };
    if !balanced_parameters(workers).iter().any(known) {
        return None;
    }
    let mut held = vec![0u128; workers];
    let mut choose = |alternatives: Vec<Vec<usize>>| {
        // First and second moments cannot tell orthogonal sets apart.
        let weight = |set: &Vec<usize>| set.iter().map(|&x| u128::pow(held[x], 3)).sum::<u128>();
        let set = alternatives.into_iter().min_by_key(weight)?;
        set.iter().for_each(|&x| held[x] += 1);
        Some(set)
    };
    match prime_base(workers) {
        Some(q) => normals(workers, q)
            .take(partitions)
            .map(|normal| {
                let parallel = |c| {
                    (0..workers)
                        .filter(|&x| product(normal, x, q) == c)
                        .collect()
                };
                choose((0..q).map(parallel).collect())
            })
            .collect(),
        None => {
            let q = workers - 1; // point q is the one at infinity
            let mut square = vec![false; q];
            (1..q).for_each(|x| square[x * x % q] = true);
            (0..partitions)
                .map(|j| {
                    let (inside, outside) =
                        (0..workers).partition(|&x| x == q || square[(x + q - j) % q]);
                    choose(vec![inside, outside])
                })
                .collect()
        }
    }
}

/// The prime `q` with `q^t = workers`, `t >= 2` (for `t = 1` the sets are single points, which do not
/// meet in `1 / q`: `t = 1` allows one set only).
fn prime_base(workers: usize) -> Option<usize> {
    let q = (2..)
        .take_while(|q| q * q <= workers)
        .find(|q| workers.is_multiple_of(*q))?;
    let mut rest = workers;
    while rest.is_multiple_of(q) {
        rest /= q;
    }
    (rest == 1).then_some(q)
}

fn is_paley(workers: usize) -> bool {
    workers.is_multiple_of(4) && is_prime(workers - 1)
}

fn is_prime(q: usize) -> bool {
    q > 1
        && (2..)
            .take_while(|d| d * d <= q)
            .all(|d| !q.is_multiple_of(d))
}

/// One normal vector per parallel class, as the number with these digits in base `q`: those whose leading
/// digit is 1.
fn normals(workers: usize, q: usize) -> impl Iterator<Item = usize> {
    (1..workers).filter(move |&normal| {
        let mut leading = normal;
        while leading >= q {
            leading /= q;
        }
        leading == 1
    })
}

/// Inner product of the digits of `a` and `b` in base `q`, mod `q`.
fn product(mut a: usize, mut b: usize, q: usize) -> usize {
    let mut sum = 0;
    while a > 0 && b > 0 {
        sum += (a % q) * (b % q);
        (a, b) = (a / q, b / q);
    }
    sum % q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(workers: usize) -> Vec<(usize, usize)> {
        balanced_parameters(workers)
            .iter()
            .filter_map(|b| b.partitions.map(|n| (b.load, n)))
            .collect()
    }

    #[test]
    fn which_parameters_are_known() {
        assert_eq!(limited(4), [(2, 3)]);
        assert_eq!(limited(9), [(3, 4)]);
        assert_eq!(limited(27), [(9, 13)]);
        assert_eq!(limited(12), [(6, 11)]);
        assert_eq!(limited(32), [(16, 31)]); // also Paley
        for none in [1, 2, 3, 7, 10, 50, 100] {
            assert_eq!(limited(none), [], "{none}");
        }
    }

    #[test]
    fn holdings_are_evened_out() {
        for (workers, load, partitions) in [(16, 8, 15), (12, 6, 11), (25, 5, 6)] {
            let sets = construct(partitions, load, workers).expect("known");
            let held = |x: usize| sets.iter().filter(|set| set.contains(&x)).count();
            let most = (0..workers).map(held).max();
            assert!(most <= Some(partitions * 4 / 5), "{workers}: {most:?}");
        }
    }
}
