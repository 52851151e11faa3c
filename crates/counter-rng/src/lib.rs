//! Counter-based randomness for the whole workspace.
//!
//! Every draw is a pure function of `(run seed, purpose, iteration, stream, index)`, where the
//! stream is a worker, a partition or a sample and the index is the position in the stream. No
//! generator state is carried from one iteration to the next, so resuming a run, moving it to
//! another number of ranks, or changing the transport cannot change a result.
//!
//! The generator is ChaCha8 from `rand_chacha`: its 256-bit key is the concatenation of the four
//! coordinates and its block counter is the index, so no two purposes, iterations or streams can
//! share random bits. Stochastic rounding, which needs gigabytes of bits a second, has generators
//! of its own in `gradient-codec`; it takes its 128-bit message keys from [`rounding_key`].
//!
//! ```
//! use counter_rng::{Purpose, rng};
//! use rand::RngExt;
//!
//! let mut delay_of_worker_3 = rng(42, Purpose::Delay, 7, 3);
//! let u: f64 = delay_of_worker_3.random();
//! assert_eq!(u, rng(42, Purpose::Delay, 7, 3).random::<f64>());
//! ```

use rand::{RngExt, SeedableRng};

/// The generator behind every draw outside the codec.
pub type CounterRng = rand_chacha::ChaCha8Rng;

/// What a draw is for. Draws for different purposes are independent.
///
/// The numbers are part of the reproducibility contract: they never change and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u64)]
pub enum Purpose {
    /// Per-worker parameters of a delay model (`psi ~ U(a, b)`); iteration 0.
    DelayProfile = 1,
    /// A worker's delay in one iteration; stream = worker.
    Delay = 2,
    /// Order of the samples of a partition in one epoch; iteration = epoch, stream = partition.
    Minibatch = 3,
    /// Augmentation of one sample; stream = sample.
    Augmentation = 4,
    /// Stochastic rounding of one message; stream = worker.
    Rounding = 5,
    /// Initial parameters; stream = tensor.
    Initialization = 6,
    /// Randomised rotations of the codec; stream = worker + 1, or 0 for the one that all workers share.
    Rotation = 7,
    /// Random parts of a gradient code.
    Code = 8,
    /// Synthetic data; stream = sample.
    Synthesis = 9,
    /// Which samples belong to which partition; iteration 0.
    Partition = 10,
    /// Whether an injected fault strikes; stream = worker, index = place in the list of faults.
    Fault = 11,
    /// Which coordinate of a message an injected fault spoils; stream = worker.
    FaultPlace = 12,
    /// What a model draws in its passes over a minibatch; stream = its first sample.
    Dropout = 13,
    /// Coordinates of a reference vector; iteration = its law, stream = its number.
    Reference = 14,
}

/// The generator of one stream, positioned at index 0.
///
/// # Example
/// ```
/// use counter_rng::{Purpose, rng};
/// use rand::Rng;
/// let (mut a, mut b) = (rng(1, Purpose::Delay, 0, 0), rng(1, Purpose::Delay, 0, 1));
/// assert_ne!(a.next_u64(), b.next_u64());
/// ```
pub fn rng(seed: u64, purpose: Purpose, iteration: u64, stream: u64) -> CounterRng {
    let mut key = [0u8; 32];
    for (bytes, word) in key
        .chunks_exact_mut(8)
        .zip([seed, purpose as u64, iteration, stream])
    {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    CounterRng::from_seed(key)
}

/// The 128-bit key of one message's stochastic rounding.
pub fn rounding_key(seed: u64, iteration: u64, worker: u64) -> [u32; 4] {
    rng(seed, Purpose::Rounding, iteration, worker).random()
}

/// The 64-bit key of the random rotation of one worker's message, or of the one that all workers of
/// an iteration share (`None`).
pub fn rotation_key(seed: u64, iteration: u64, worker: Option<u32>) -> u64 {
    let stream = worker.map_or(0, |worker| u64::from(worker) + 1);
    rng(seed, Purpose::Rotation, iteration, stream).random()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn every_coordinate_of_the_key_matters() {
        let mut seen = HashSet::new();
        for seed in 0..3 {
            for purpose in [Purpose::Delay, Purpose::Minibatch, Purpose::Rounding] {
                for iteration in 0..3 {
                    for stream in 0..3 {
                        assert!(seen.insert(rng(seed, purpose, iteration, stream).next_u64()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_position_does_not_depend_on_what_was_drawn_before() {
        let mut walked = rng(9, Purpose::Minibatch, 2, 5);
        for _ in 0..1000 {
            walked.next_u64();
        }
        let mut jumped = rng(9, Purpose::Minibatch, 2, 5);
        jumped.set_word_pos(2000);
        assert_eq!(walked.next_u64(), jumped.next_u64());
    }

    /// Golden values: a change here changes every seeded result that users have published.
    #[test]
    fn golden_draws() {
        assert_eq!(rng(0, Purpose::Delay, 0, 0).next_u64(), GOLDEN_DELAY);
        assert_eq!(rounding_key(1, 2, 3), GOLDEN_ROUNDING);
        let rotations = [None, Some(0), Some(3)].map(|worker| rotation_key(1, 2, worker));
        assert_eq!(rotations, GOLDEN_ROTATION);
    }
    const GOLDEN_DELAY: u64 = 13_401_477_096_143_823_361;
    const GOLDEN_ROTATION: [u64; 3] = [
        12_910_859_607_414_357_221,
        10_496_621_111_295_489_945,
        7_037_708_201_819_286_548,
    ];
    const GOLDEN_ROUNDING: [u32; 4] = [3_279_803_366, 3_100_875_258, 1_532_900_688, 3_438_863_470];
}
