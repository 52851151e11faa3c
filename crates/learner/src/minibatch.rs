//! Which samples a partition holds and which of them an iteration uses.
//!
//! Both are pure functions of the run seed: no sampler state is carried, so workers that share a
//! partition draw the same minibatch, and a resumed run continues where it was.

use crate::LearnerError;
use counter_rng::{CounterRng, Purpose, rng};
use rand::Rng;
use std::sync::{Arc, Mutex, PoisonError};

/// Deals `samples` sample indices into `partitions` partitions after a seeded shuffle.
///
/// Sizes differ by at most one, the first `samples mod partitions` being the larger; every index
/// appears exactly once; indices within a partition ascend. With fewer samples than partitions some
/// are empty, which [`MinibatchOrder::new`] refuses.
///
/// ```
/// let parts = learner::minibatch::partition(10, 4, 7);
/// assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2, 2]);
/// ```
pub fn partition(samples: u32, partitions: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> = (0..samples).collect();
    shuffle(&mut order, &mut rng(seed, Purpose::Partition, 0, 0));
    let mut rest = order.as_slice();
    (0..partitions)
        .map(|j| {
            let larger = usize::from(j < order.len() % partitions);
            let (mine, others) = rest.split_at(order.len() / partitions + larger);
            rest = others;
            let mut mine = mine.to_vec();
            mine.sort_unstable();
            mine
        })
        .collect()
}

/// The minibatch of every (partition, iteration).
///
/// Each epoch of a partition is a fresh seeded permutation of its samples, cut into
/// `floor(samples / batch)` minibatches of exactly `batch` samples: within an epoch no sample is
/// used twice. The up to `batch - 1` samples left over differ from epoch to epoch. A `batch` of 0,
/// or one of at least the partition's size, means the whole partition every time.
///
/// Shared by threads (`Sync`); the current epoch's permutation is kept per partition, so a draw
/// costs O(batch) amortised.
///
/// ```
/// use learner::minibatch::{MinibatchOrder, partition};
/// let order = MinibatchOrder::new(partition(100, 4, 1), 10, 1)?;
/// let first = order.samples(2, 0);
/// assert_eq!(first.len(), 10);
/// assert_eq!(order.samples(2, 0), first);
/// # Ok::<(), learner::LearnerError>(())
/// ```
#[derive(Debug)]
pub struct MinibatchOrder {
    partitions: Vec<Vec<u32>>,
    batch: usize,
    seed: u64,
    /// The permutation last used, by partition.
    recent: Vec<Mutex<Option<Epoch>>>,
}

#[derive(Clone, Debug)]
struct Epoch {
    number: u64,
    order: Arc<[u32]>,
}

impl MinibatchOrder {
    /// Minibatches of `batch` samples from the given partitions.
    ///
    /// # Errors
    /// [`LearnerError::Setting`] when there is no partition or one is empty.
    pub fn new(partitions: Vec<Vec<u32>>, batch: usize, seed: u64) -> Result<Self, LearnerError> {
        let samples: usize = partitions.iter().map(Vec::len).sum();
        if partitions.iter().any(Vec::is_empty) || partitions.is_empty() {
            return Err(LearnerError::setting(
                "partitions",
                partitions.len(),
                format!(
                    "every partition needs a sample, so between 1 and {samples} with {samples} samples"
                ),
            ));
        }
        let recent = partitions.iter().map(|_| Mutex::new(None)).collect();
        Ok(Self {
            partitions,
            batch,
            seed,
            recent,
        })
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// All samples of a partition, ascending.
    ///
    /// # Panics
    /// When the partition does not exist.
    pub fn partition(&self, partition: usize) -> &[u32] {
        &self.partitions[partition]
    }

    /// Samples over all partitions.
    pub fn total_samples(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    /// Samples per minibatch as configured; 0 for the whole partition.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The samples of `partition` that `iteration` uses: ascending for a whole partition, in the
    /// epoch's order otherwise.
    ///
    /// # Panics
    /// When the partition does not exist.
    pub fn samples(&self, partition: usize, iteration: u64) -> Vec<u32> {
        let members = &self.partitions[partition];
        if self.batch == 0 || self.batch >= members.len() {
            return members.clone();
        }
        let per_epoch = (members.len() / self.batch) as u64;
        let order = self.epoch(partition, iteration / per_epoch);
        let start = (iteration % per_epoch) as usize * self.batch;
        order[start..start + self.batch].to_vec()
    }

    fn epoch(&self, partition: usize, number: u64) -> Arc<[u32]> {
        // A permutation is stored whole or not at all, so a poisoned lock holds a usable value.
        let mut recent = self.recent[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*recent {
            Some(epoch) if epoch.number == number => epoch.order.clone(),
            _ => {
                let mut order = self.partitions[partition].clone();
                let stream = partition as u64;
                shuffle(
                    &mut order,
                    &mut rng(self.seed, Purpose::Minibatch, number, stream),
                );
                let order: Arc<[u32]> = order.into();
                *recent = Some(Epoch {
                    number,
                    order: order.clone(),
                });
                order
            }
        }
    }
}

/// Fisher-Yates with our own bounded draw, so that orders do not change with the `rand` crate.
fn shuffle(values: &mut [u32], random: &mut CounterRng) {
    for last in (1..values.len()).rev() {
        values.swap(last, below(last as u64 + 1, random) as usize);
    }
}

/// Uniform on `0..bound` by the high word of a product; the bias is below `bound / 2^64`.
fn below(bound: u64, random: &mut CounterRng) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn partitions_are_balanced_and_complete(samples in 0u32..400, partitions in 1usize..40, seed: u64) {
            let parts = partition(samples, partitions, seed);
            prop_assert_eq!(parts.len(), partitions);
            let (small, large) = (
                parts.iter().map(Vec::len).min().unwrap(),
                parts.iter().map(Vec::len).max().unwrap(),
            );
            prop_assert!(large - small <= 1);
            let mut all: Vec<u32> = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..samples).collect::<Vec<_>>());
        }

        #[test]
        fn an_epoch_uses_no_sample_twice(size in 1u32..60, batch in 1usize..20, epoch in 0u64..5, seed: u64) {
            let order = MinibatchOrder::new(vec![(0..size).collect()], batch, seed).unwrap();
            let per_epoch = (size as usize / batch).max(1) as u64;
            let mut used: Vec<u32> = (0..per_epoch)
                .flat_map(|i| order.samples(0, epoch * per_epoch + i))
                .collect();
            let drawn = used.len();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), drawn);
            prop_assert!(size as usize - drawn < batch);
        }

        #[test]
        fn a_minibatch_does_not_depend_on_what_was_drawn_before(
            iterations in prop::collection::vec((0usize..3, 0u64..50), 1..40), seed: u64,
        ) {
            let walked = MinibatchOrder::new(partition(50, 3, seed), 4, seed).unwrap();
            for (j, t) in iterations {
                let fresh = MinibatchOrder::new(partition(50, 3, seed), 4, seed).unwrap();
                prop_assert_eq!(walked.samples(j, t), fresh.samples(j, t));
            }
        }
    }

    #[test]
    fn epochs_and_partitions_have_orders_of_their_own() {
        let members: Vec<u32> = (0..100).collect();
        let order = MinibatchOrder::new(vec![members.clone(), members], 99, 3).unwrap();
        assert_ne!(order.samples(0, 0), order.samples(0, 1));
        assert_ne!(order.samples(0, 0), order.samples(1, 0));
    }

    #[test]
    fn batch_zero_is_the_whole_partition() {
        let order = MinibatchOrder::new(vec![vec![4, 5, 6]], 0, 3).unwrap();
        assert_eq!(order.samples(0, 17), [4, 5, 6]);
    }

    #[test]
    fn an_empty_partition_is_refused() {
        let error = MinibatchOrder::new(partition(2, 3, 0), 1, 0).unwrap_err();
        assert!(error.to_string().contains("between 1 and 2"), "{error}");
    }

    /// Golden values: a change here changes every seeded run.
    #[test]
    fn golden_order() {
        assert_eq!(partition(10, 3, 1), GOLDEN_PARTITION.map(|p| p.to_vec()));
        let order = MinibatchOrder::new(vec![(0..8).collect()], 4, 1).unwrap();
        assert_eq!([order.samples(0, 0), order.samples(0, 3)], GOLDEN_BATCHES);
    }
    const GOLDEN_PARTITION: [&[u32]; 3] = [&[3, 4, 7, 9], &[1, 6, 8], &[0, 2, 5]];
    const GOLDEN_BATCHES: [[u32; 4]; 2] = [[1, 6, 2, 3], [0, 2, 7, 5]];
}
