//! Decoded samples in memory.

use crate::{CocoError, Dataset, Sample};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Values by index, each made once while they fit a memory limit.
///
/// Shared by threads without a lock: a prefetch thread fills it by calling [`Cache::get`] ahead of the
/// one that computes. When the limit is reached, values not yet held are made at every call; nothing
/// is evicted, since with a fresh permutation per epoch no sample is likelier than another to be
/// needed next.
#[derive(Debug)]
pub struct Cache<T> {
    limit: u64,
    used: AtomicU64,
    held: Vec<OnceLock<Arc<T>>>,
}

impl<T> Cache<T> {
    /// An empty cache for `len` values that grows to at most `limit` bytes.
    pub fn new(len: usize, limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            held: (0..len).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Bytes held, at most the limit.
    pub fn bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The value at `index`, which `bytes` measures, and `make` makes now unless it is held.
    ///
    /// # Errors
    /// `make`'s, which are not remembered.
    pub fn get<E>(
        &self,
        index: usize,
        bytes: impl FnOnce(&T) -> u64,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let slot = self.held.get(index);
        if let Some(value) = slot.and_then(OnceLock::get) {
            return Ok(value.clone());
        }
        let value = Arc::new(make()?);
        if let Some(slot) = slot {
            let bytes = bytes(&value);
            let fits = self
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(bytes).filter(|sum| *sum <= self.limit)
                })
                .is_ok();
            // Another thread may have made the same meanwhile: its copy stays.
            if fits && slot.set(value.clone()).is_err() {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        Ok(value)
    }
}

/// Samples of one data set at one size, each decoded once while they fit a memory limit. See
/// [`Cache`].
#[derive(Debug)]
pub struct SampleCache {
    dataset: Arc<Dataset>,
    /// `None`: as large as the image.
    side: Option<u32>,
    held: Cache<Sample>,
}

impl SampleCache {
    /// An empty cache of `side` x `side` samples, or of samples as large as their images, that grows to
    /// at most `limit` bytes.
    pub fn new(dataset: Arc<Dataset>, side: Option<u32>, limit: u64) -> Self {
        Self {
            held: Cache::new(dataset.len(), limit),
            dataset,
            side,
        }
    }

    /// The data set behind the cache.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Side of the samples in pixels; none where samples are as large as their images.
    pub fn side(&self) -> Option<u32> {
        self.side
    }

    /// Bytes held, at most the limit.
    pub fn bytes(&self) -> u64 {
        self.held.bytes()
    }

    /// The sample of an image, decoded now unless it is held. Errors are not remembered.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn get(&self, index: usize) -> Result<Arc<Sample>, CocoError> {
        self.held.get(index, Sample::bytes, || match self.side {
            Some(side) => self.dataset.load(index, side),
            None => self.dataset.load_unscaled(index),
        })
    }
}

impl Sample {
    /// Memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        let boxes = self.boxes.len() * (size_of::<[f32; 4]>() + size_of::<i64>());
        (size_of::<Self>() + self.pixels.len() + boxes) as u64
    }
}
