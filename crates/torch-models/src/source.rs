//! Where samples come from.

use std::sync::Arc;

use coco::SampleCache;
use learner::LearnerError;

/// A set of samples that any number of threads may read from.
pub trait Source: Send + Sync + 'static {
    /// One sample as it is held in memory: decoded, but not yet changed at random nor a tensor.
    type Item: Send + Sync + 'static;

    /// Samples in the set.
    fn len(&self) -> usize;

    /// Whether the set has no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples that training uses, ascending; all of them unless some have nothing to learn from.
    fn trainable(&self) -> Vec<u32> {
        (0..self.len() as u32).collect()
    }

    /// A sample, read now unless it is held.
    ///
    /// # Errors
    /// [`LearnerError::Data`] naming the file.
    fn get(&self, index: u32) -> Result<Arc<Self::Item>, LearnerError>;
}

/// Images with boxes and labels.
impl Source for SampleCache {
    type Item = coco::Sample;

    fn len(&self) -> usize {
        self.dataset().len()
    }

    fn trainable(&self) -> Vec<u32> {
        self.dataset().trainable_images()
    }

    fn get(&self, index: u32) -> Result<Arc<coco::Sample>, LearnerError> {
        Ok(SampleCache::get(self, index as usize)?)
    }
}
