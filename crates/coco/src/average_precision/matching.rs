//! Which detection takes which object, in one image and of one label.

use super::{Detection, GroundTruth, MOST_DETECTIONS, THRESHOLDS, best_first};

/// The objects and detections of one label in one image.
#[derive(Default)]
pub struct ImageTask<'a> {
    pub truth: Vec<&'a GroundTruth>,
    /// Best score first, at most [`MOST_DETECTIONS`], once prepared.
    pub found: Vec<&'a Detection>,
    /// IoU of detection d and object g at `d * truth.len() + g`, once prepared.
    overlaps: Vec<f64>,
}

/// What became of one detection: bit t is about IoU threshold t.
pub struct Outcome {
    pub score: f64,
    /// Position among the detections of its image and label, best first.
    pub rank: usize,
    pub matched: u16,
    pub ignored: u16,
}

impl ImageTask<'_> {
    pub fn prepare(&mut self) {
        self.found.sort_by(|a, b| best_first(a.score, b.score));
        self.found.truncate(MOST_DETECTIONS);
        self.overlaps = self
            .found
            .iter()
            .flat_map(|d| self.truth.iter().map(|g| overlap(&d.bbox, g)))
            .collect();
    }

    /// Matches detections to objects at every threshold; appends one outcome per detection and
    /// returns the number of objects that count.
    pub fn match_objects(
        &self,
        [smallest, largest]: [f64; 2],
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        let outside = |area: f64| area < smallest || area > largest;
        let ignored = |g: usize| self.truth[g].crowd || outside(self.truth[g].area);
        let objects = self.truth.len();
        // real objects first, in their order
        let mut order: Vec<usize> = (0..objects).filter(|g| !ignored(*g)).collect();
        let real = order.len();
        order.extend((0..objects).filter(|g| ignored(*g)));

        let first = outcomes.len();
        outcomes.extend(self.found.iter().enumerate().map(|(rank, d)| Outcome {
            score: d.score,
            rank,
            matched: 0,
            ignored: 0,
        }));
        let mut taken = vec![false; objects];
        for threshold in 0..THRESHOLDS {
            let bit = 1u16 << threshold;
            taken.fill(false);
            for (d, detection) in self.found.iter().enumerate() {
                let row = &self.overlaps[d * objects..(d + 1) * objects];
                let outcome = &mut outcomes[first + d];
                match best_match(row, &order, real, &taken, &self.truth, threshold) {
                    Some(g) => {
                        taken[g] = true;
                        outcome.matched |= bit;
                        outcome.ignored |= if ignored(g) { bit } else { 0 };
                    }
                    None if outside(detection.bbox[2] * detection.bbox[3]) => {
                        outcome.ignored |= bit;
                    }
                    None => {}
                }
            }
        }
        real
    }
}

/// The object that a detection with these IoUs takes, if any reaches the threshold.
fn best_match(
    overlaps: &[f64],
    order: &[usize],
    real: usize,
    taken: &[bool],
    truth: &[&GroundTruth],
    threshold: usize,
) -> Option<usize> {
    let mut least = iou_threshold(threshold).min(1.0 - 1e-10);
    let mut best = None;
    for (position, &g) in order.iter().enumerate() {
        if position == real && best.is_some() {
            break; // a real object is preferred to any ignored one
        }
        if (taken[g] && !truth[g].crowd) || overlaps[g] < least {
            continue;
        }
        least = overlaps[g];
        best = Some(g);
    }
    best
}

/// As numpy's `linspace(0.5, 0.95, 10)`, to the last bit.
fn iou_threshold(index: usize) -> f64 {
    if index + 1 == THRESHOLDS {
        0.95
    } else {
        0.5 + index as f64 * ((0.95 - 0.5) / (THRESHOLDS - 1) as f64)
    }
}

/// Intersection over union; over the detection's area when the object is a crowd.
fn overlap(detection: &[f64; 4], object: &GroundTruth) -> f64 {
    let ([dx, dy, dw, dh], [gx, gy, gw, gh]) = (*detection, object.bbox);
    let width = (dx + dw).min(gx + gw) - dx.max(gx);
    let height = (dy + dh).min(gy + gh) - dy.max(gy);
    if !(width > 0.0 && height > 0.0) {
        return 0.0;
    }
    let intersection = width * height;
    let union = if object.crowd {
        dw * dh
    } else {
        dw * dh + gw * gh - intersection
    };
    intersection / union
}
