//! Average precision and recall by COCO's rules.
//!
//! A port of pycocotools' `COCOeval` for boxes; its twelve numbers are reproduced to rounding. What
//! decides the details:
//!
//! * ten IoU thresholds 0.50:0.05:0.95, 101 recall levels, areas below 32^2, up to 96^2 and above;
//! * per image and category the 100 best-scored detections count. Sorting is stable in the order
//!   given; across images, by ascending image;
//! * a detection takes the unmatched ground truth of highest IoU, the last among equals; real objects
//!   come before ignored ones (crowds and other areas); a crowd may be taken many times, and the IoU
//!   with it is the intersection over the detection's area;
//! * detections on ignored objects, and unmatched ones outside the area range, count neither way.
//!
//! One difference: pycocotools stores matches as annotation ids, so that a match with an annotation
//! of id 0 is taken for no match; here it counts. Files with ids from 1, as all of COCO's, agree.

use learner::Metric;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// An annotated object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroundTruth {
    /// Which image; the order of these decides ties between images, as pycocotools' image ids do.
    pub image: u64,
    /// Category.
    pub label: i64,
    /// `[x, y, width, height]` in pixels.
    pub bbox: [f64; 4],
    /// The annotated area, which decides small, medium or large.
    pub area: f64,
    /// Whether it is a crowd.
    pub crowd: bool,
}

/// A detected object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Which image.
    pub image: u64,
    /// Category.
    pub label: i64,
    /// `[x, y, width, height]` in pixels.
    pub bbox: [f64; 4],
    /// Confidence; only its order counts.
    pub score: f64,
}

/// The twelve numbers of a COCO evaluation, each in [0, 1], or NaN where there is no object to find
/// (pycocotools prints -1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragePrecision {
    /// Mean over the ten thresholds: COCO's headline number.
    pub ap: f64,
    /// At IoU 0.50.
    pub ap50: f64,
    /// At IoU 0.75.
    pub ap75: f64,
    /// Objects up to 32^2 pixels.
    pub ap_small: f64,
    /// Objects between 32^2 and 96^2 pixels.
    pub ap_medium: f64,
    /// Objects from 96^2 pixels.
    pub ap_large: f64,
    /// Recall with one detection per image and category.
    pub ar_1: f64,
    /// Recall with ten.
    pub ar_10: f64,
    /// Recall with a hundred.
    pub ar_100: f64,
    /// Recall of small objects.
    pub ar_small: f64,
    /// Recall of medium objects.
    pub ar_medium: f64,
    /// Recall of large objects.
    pub ar_large: f64,
}

impl AveragePrecision {
    /// The twelve numbers in COCO's order under the names AP, AP50, AP75, APs, APm, APl, AR1, AR10,
    /// AR100, ARs, ARm, ARl.
    pub fn metrics(&self) -> Vec<Metric> {
        [
            ("AP", self.ap),
            ("AP50", self.ap50),
            ("AP75", self.ap75),
            ("APs", self.ap_small),
            ("APm", self.ap_medium),
            ("APl", self.ap_large),
            ("AR1", self.ar_1),
            ("AR10", self.ar_10),
            ("AR100", self.ar_100),
            ("ARs", self.ar_small),
            ("ARm", self.ar_medium),
            ("ARl", self.ar_large),
        ]
        .map(|(name, value)| Metric::new(name, value))
        .to_vec()
    }
}

/// IoU thresholds, recall levels, and the most detections per image and category.
const THRESHOLDS: usize = 10;
const RECALLS: usize = 101;
const MOST_DETECTIONS: usize = 100;

/// Which objects one of the numbers is about, by area in pixels, both ends included.
const ANY_AREA: usize = 0;
const AREAS: [[f64; 2]; 4] = [
    [0.0, 1e10],
    [0.0, 32.0 * 32.0],
    [32.0 * 32.0, 96.0 * 96.0],
    [96.0 * 96.0, 1e10],
];

/// Evaluates detections against ground truth.
///
/// Detections in images or of labels without ground truth follow COCO's rules too: a label that no
/// object has is left out of every mean, and a detection of a real label in an image without such an
/// object is a false positive. The order of the two lists matters only among equal scores and equal
/// IoUs.
///
/// ```
/// use coco::{Detection, GroundTruth, average_precision};
/// let object = GroundTruth { image: 0, label: 1, bbox: [0., 0., 10., 10.], area: 100., crowd: false };
/// // shifted by a fifth: IoU 2/3, so right at the four thresholds up to 0.65
/// let found = Detection { image: 0, label: 1, bbox: [2., 0., 10., 10.], score: 0.9 };
/// let result = average_precision(&[object], &[found]);
/// assert!((result.ap50 - 1.0).abs() < 1e-12 && (result.ap - 0.4).abs() < 1e-12);
/// assert!(result.ap_large.is_nan());
/// ```
pub fn average_precision(
    ground_truth: &[GroundTruth],
    detections: &[Detection],
) -> AveragePrecision {
    let mut by_label: BTreeMap<i64, BTreeMap<u64, ImageTask>> = BTreeMap::new();
    for object in ground_truth {
        let images = by_label.entry(object.label).or_default();
        images.entry(object.image).or_default().truth.push(object);
    }
    for detection in detections {
        if let Some(images) = by_label.get_mut(&detection.label) {
            images
                .entry(detection.image)
                .or_default()
                .found
                .push(detection);
        }
    }
    let mut means = Means::default();
    for images in by_label.values_mut() {
        images.values_mut().for_each(ImageTask::prepare);
        for (area, range) in AREAS.iter().enumerate() {
            let curve = Curve::new(images.values(), *range);
            if curve.objects > 0 {
                means.add(area, &curve);
            }
        }
    }
    means.summary()
}

/// The objects and detections of one label in one image.
#[derive(Default)]
struct ImageTask<'a> {
    truth: Vec<&'a GroundTruth>,
    /// Best score first, at most [`MOST_DETECTIONS`], once prepared.
    found: Vec<&'a Detection>,
    /// IoU of detection d and object g at `d * truth.len() + g`, once prepared.
    overlaps: Vec<f64>,
}

/// What became of one detection: bit t is about IoU threshold t.
struct Outcome {
    score: f64,
    /// Position among the detections of its image and label, best first.
    rank: usize,
    matched: u16,
    ignored: u16,
}

impl ImageTask<'_> {
    fn prepare(&mut self) {
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
    fn match_objects(&self, [smallest, largest]: [f64; 2], outcomes: &mut Vec<Outcome>) -> usize {
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

/// Descending; NaN last; both zeros equal.
fn best_first(a: f64, b: f64) -> std::cmp::Ordering {
    let key = |score: f64| {
        if score.is_nan() {
            f64::NEG_INFINITY
        } else {
            score + 0.0
        }
    };
    key(b).total_cmp(&key(a))
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

/// All detections of one label and area range, best first, with the number of objects to find.
struct Curve {
    outcomes: Vec<Outcome>,
    objects: usize,
}

impl Curve {
    fn new<'a, 'b: 'a>(images: impl Iterator<Item = &'a ImageTask<'b>>, area: [f64; 2]) -> Self {
        let mut outcomes = vec![];
        let objects = images
            .map(|image| image.match_objects(area, &mut outcomes))
            .sum();
        outcomes.sort_by(|a, b| best_first(a.score, b.score));
        Self { outcomes, objects }
    }

    /// Precision at every recall level, averaged over the levels.
    fn precision(&self, threshold: usize) -> f64 {
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

/// Sums over labels.
#[derive(Default)]
struct Means {
    labels: [usize; 4],
    precision: [[f64; THRESHOLDS]; 4],
    recall: [f64; 4],
    recall_with_few: [f64; 2],
}

impl Means {
    fn add(&mut self, area: usize, curve: &Curve) {
        let mean_recall = |most: usize| {
            let sum: f64 = (0..THRESHOLDS).map(|t| curve.recall(t, most)).sum();
            sum / THRESHOLDS as f64
        };
        self.labels[area] += 1;
        for (threshold, sum) in self.precision[area].iter_mut().enumerate() {
            *sum += curve.precision(threshold);
        }
        self.recall[area] += mean_recall(MOST_DETECTIONS);
        if area == ANY_AREA {
            self.recall_with_few[0] += mean_recall(1);
            self.recall_with_few[1] += mean_recall(10);
        }
    }

    fn summary(&self) -> AveragePrecision {
        // 0 labels give 0 / 0, the NaN of an undefined number
        let labels = |area: usize| self.labels[area] as f64;
        let precision = |area: usize| {
            let sum: f64 = self.precision[area].iter().sum();
            sum / (THRESHOLDS as f64 * labels(area))
        };
        let recall = |area: usize| self.recall[area] / labels(area);
        AveragePrecision {
            ap: precision(ANY_AREA),
            ap50: self.precision[ANY_AREA][0] / labels(ANY_AREA),
            ap75: self.precision[ANY_AREA][5] / labels(ANY_AREA),
            ap_small: precision(1),
            ap_medium: precision(2),
            ap_large: precision(3),
            ar_1: self.recall_with_few[0] / labels(ANY_AREA),
            ar_10: self.recall_with_few[1] / labels(ANY_AREA),
            ar_100: recall(ANY_AREA),
            ar_small: recall(1),
            ar_medium: recall(2),
            ar_large: recall(3),
        }
    }
}

#[cfg(test)]
mod tests;
