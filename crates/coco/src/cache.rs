//! Decoded samples in memory.

use crate::{CocoError, Dataset, Sample};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Samples of one data set at one size, each decoded once while they fit a memory limit.
///
/// Shared by threads without a lock: a prefetch thread fills it by calling [`SampleCache::get`] ahead
/// of the one that computes. When the limit is reached, samples not yet held are decoded at every
/// call; nothing is evicted, since with a fresh permutation per epoch no sample is likelier than
/// another to be needed next.
#[derive(Debug)]
pub struct SampleCache {
    dataset: Arc<Dataset>,
    side: u32,
    limit: u64,
    used: AtomicU64,
    samples: Vec<OnceLock<Arc<Sample>>>,
}

impl SampleCache {
    /// An empty cache of `side` x `side` samples that grows to at most `limit` bytes.
    pub fn new(dataset: Arc<Dataset>, side: u32, limit: u64) -> Self {
        let samples = dataset.images.iter().map(|_| OnceLock::new()).collect();
        Self {
            dataset,
            side,
            limit,
            used: AtomicU64::new(0),
            samples,
        }
    }

    /// The data set behind the cache.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Side of the samples in pixels.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Bytes held, at most the limit.
    pub fn bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The sample of an image, decoded now unless it is held. Errors are not remembered.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn get(&self, index: usize) -> Result<Arc<Sample>, CocoError> {
        let slot = self.samples.get(index);
        if let Some(sample) = slot.and_then(OnceLock::get) {
            return Ok(sample.clone());
        }
        let sample = Arc::new(self.dataset.load(index, self.side)?);
        if let Some(slot) = slot {
            let bytes = sample.bytes();
            let fits = self
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(bytes).filter(|sum| *sum <= self.limit)
                })
                .is_ok();
            // Another thread may have decoded the same image meanwhile: its copy stays.
            if fits && slot.set(sample.clone()).is_err() {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        Ok(sample)
    }
}

impl Sample {
    /// Memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        let boxes = self.boxes.len() * (size_of::<[f32; 4]>() + size_of::<i64>());
        (size_of::<Self>() + self.pixels.len() + boxes) as u64
    }
}
