//! Precision and recall of one label within one range of areas.

use super::matching::{ImageTask, Outcome};
use super::{MOST_DETECTIONS, RECALLS, THRESHOLDS, best_first};
use std::ops::Range;

/// All detections of one label and area range, best first, with the number of objects to find.
pub struct Curve {
    outcomes: Vec<Outcome>,
    objects: usize,
}

impl Curve {
    pub fn new<'a, 'b: 'a>(
        images: impl Iterator<Item = &'a ImageTask<'b>>,
        area: [f64; 2],
    ) -> Self {
        let mut outcomes = vec![];
        let objects = images
            .map(|image| image.match_objects(area, &mut outcomes))
            .sum();
        outcomes.sort_by(|a, b| best_first(a.score, b.score));
        Self { outcomes, objects }
    }

    /// Objects to find: those that are no crowds and within the area.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// [`Self::precision`], averaged over the thresholds.
    pub fn mean_precision(&self) -> f64 {
        let sum: f64 = (0..THRESHOLDS).map(|t| self.precision(t)).sum();
        sum / THRESHOLDS as f64
    }

    /// Recall with at most `most` detections per image, averaged over the thresholds; NaN where there
    /// is nothing to find.
    pub fn mean_recall(&self, most: usize) -> f64 {
        let sum: f64 = (0..THRESHOLDS).map(|t| self.recall(t, most)).sum();
        sum / THRESHOLDS as f64
    }

    /// Precision at every recall level, averaged over the levels; NaN where there is nothing to find.
    pub fn precision(&self, threshold: usize) -> f64 {
        if self.objects == 0 {
            return f64::NAN;
        }
        let objects = self.objects as f64;
        let (mut right, mut wrong) = (0.0, 0.0);
        let mut recalls = vec![];
        let mut precisions = vec![];
        for hit in self.hits(threshold, MOST_DETECTIONS) {
            *(if hit { &mut right } else { &mut wrong }) += 1.0;
            recalls.push(right / objects);
            precisions.push(right / (wrong + right + f64::EPSILON));
        }
        for i in (1..precisions.len()).rev() {
            precisions[i - 1] = f64::max(precisions[i - 1], precisions[i]);
        }
        let levels: Range<usize> = 0..RECALLS;
        let sum: f64 = levels
            .map(|level| {
                let wanted = if level + 1 == RECALLS {
                    1.0
                } else {
                    level as f64 * 0.01
                };
                let reached = recalls.partition_point(|recall| *recall < wanted);
                precisions.get(reached).copied().unwrap_or(0.0)
            })
            .sum();
        sum / RECALLS as f64
    }

    /// Recall with at most `most` detections per image.
    fn recall(&self, threshold: usize, most: usize) -> f64 {
        let right = self.hits(threshold, most).filter(|hit| *hit).count();
        right as f64 / self.objects as f64
    }

    /// Whether each detection that counts is right.
    fn hits(&self, threshold: usize, most: usize) -> impl Iterator<Item = bool> {
        let bit = 1u16 << threshold;
        self.outcomes
            .iter()
            .filter(move |outcome| outcome.rank < most && outcome.ignored & bit == 0)
            .map(move |outcome| outcome.matched & bit != 0)
    }
}
