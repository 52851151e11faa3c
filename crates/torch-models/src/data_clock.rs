//! How long the computation waited for its samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sums over all minibatches of a learner; whoever built it keeps a clone to read.
#[derive(Clone, Debug, Default)]
pub struct DataClock {
    nanoseconds: Arc<[AtomicU64; 2]>,
}

impl DataClock {
    /// One minibatch took `all`, of which its samples were waited for during `waiting`.
    pub(crate) fn add(&self, waiting: Duration, all: Duration) {
        for (sum, part) in self.nanoseconds.iter().zip([waiting, all]) {
            sum.fetch_add(part.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// Seconds spent waiting for samples.
    pub fn waiting(&self) -> f64 {
        self.seconds(0)
    }

    /// Seconds spent on coded gradients, waiting included.
    pub fn all(&self) -> f64 {
        self.seconds(1)
    }

    fn seconds(&self, which: usize) -> f64 {
        self.nanoseconds[which].load(Ordering::Relaxed) as f64 * 1e-9
    }
}
