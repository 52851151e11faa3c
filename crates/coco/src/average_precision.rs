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

mod curve;
mod matching;

use crate::Category;
use curve::Curve;
use learner::{CategoryMetrics, Metric};
use matching::ImageTask;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Names of the twelve numbers, in COCO's order.
    pub const NAMES: [&str; 12] = [
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
    ];

    /// Of a category without objects.
    pub const UNDEFINED: Self = Self::from_numbers([f64::NAN; 12]);

    /// The twelve numbers in COCO's order, that of [`Self::NAMES`].
    pub fn numbers(&self) -> [f64; 12] {
        [
            self.ap,
            self.ap50,
            self.ap75,
            self.ap_small,
            self.ap_medium,
            self.ap_large,
            self.ar_1,
            self.ar_10,
            self.ar_100,
            self.ar_small,
            self.ar_medium,
            self.ar_large,
        ]
    }

    /// The twelve numbers in COCO's order as metrics under [`Self::NAMES`].
    pub fn metrics(&self) -> Vec<Metric> {
        let named = Self::NAMES.into_iter().zip(self.numbers());
        named
            .map(|(name, value)| Metric::new(name, value))
            .collect()
    }

    const fn from_numbers(numbers: [f64; 12]) -> Self {
        let [
            ap,
            ap50,
            ap75,
            ap_small,
            ap_medium,
            ap_large,
            ar_1,
            ar_10,
            ar_100,
            ar_small,
            ar_medium,
            ar_large,
        ] = numbers;
        Self {
            ap,
            ap50,
            ap75,
            ap_small,
            ap_medium,
            ap_large,
            ar_1,
            ar_10,
            ar_100,
            ar_small,
            ar_medium,
            ar_large,
        }
    }
}

/// The numbers of one category.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryPrecision {
    /// The category's label.
    pub label: i64,
    /// Objects to find: its annotations that are no crowds.
    pub objects: usize,
    /// Its twelve numbers; all NaN where there are only crowds.
    pub numbers: AveragePrecision,
}

/// What a COCO evaluation says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Means over the categories in which a number is defined.
    pub overall: AveragePrecision,
    /// Every label that has an annotation, ascending.
    pub categories: Vec<CategoryPrecision>,
}

impl Evaluation {
    /// A row per category of a data set, in its order; `label` is a category's label in the evaluation.
    pub fn table<'a>(
        &self,
        categories: impl IntoIterator<Item = &'a Category>,
        label: impl Fn(&Category) -> Option<i64>,
    ) -> Vec<CategoryMetrics> {
        let row = |category: &Category| {
            let label = label(category);
            let mine = self.categories.iter().find(|one| Some(one.label) == label);
            CategoryMetrics {
                id: category.id,
                name: category.name.clone(),
                objects: mine.map_or(0, |one| one.objects),
                metrics: mine
                    .map_or(AveragePrecision::UNDEFINED, |one| one.numbers)
                    .metrics(),
            }
        };
        categories.into_iter().map(row).collect()
    }
}

/// IoU thresholds, recall levels, and the most detections per image and category.
const THRESHOLDS: usize = 10;
const RECALLS: usize = 101;
const MOST_DETECTIONS: usize = 100;

/// Which objects one of the numbers is about, by area in pixels, both ends included.
const AREAS: [[f64; 2]; 4] = [
    [0.0, 1e10],
    [0.0, 32.0 * 32.0],
    [32.0 * 32.0, 96.0 * 96.0],
    [96.0 * 96.0, 1e10],
];

/// The overall numbers of [`evaluate`].
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
    evaluate(ground_truth, detections).overall
}

/// Evaluates detections against ground truth.
///
/// Detections in images or of labels without ground truth follow COCO's rules too: a label that no
/// object has is left out of every mean, and a detection of a real label in an image without such an
/// object is a false positive. The order of the two lists matters only among equal scores and equal
/// IoUs. One label is worked on at a time: beside the lists, memory is one index per entry and the
/// matches of the commonest label.
pub fn evaluate(ground_truth: &[GroundTruth], detections: &[Detection]) -> Evaluation {
    let truth = by_label(ground_truth, |object| object.label);
    let found = by_label(detections, |detection| detection.label);
    let mut categories = vec![];
    for objects in truth.chunk_by(|a, b| a.label == b.label) {
        let label = objects[0].label;
        let first = found.partition_point(|detection| detection.label < label);
        let end = found.partition_point(|detection| detection.label <= label);
        categories.push(category(label, objects, &found[first..end]));
    }
    Evaluation {
        overall: mean(&categories),
        categories,
    }
}

/// References to `items`, ascending by label, otherwise in their order.
fn by_label<T>(items: &[T], label: impl Fn(&T) -> i64) -> Vec<&T> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_by_key(|item| label(item));
    sorted
}

/// The numbers of the label that all of `truth` and `found` have.
fn category(label: i64, truth: &[&GroundTruth], found: &[&Detection]) -> CategoryPrecision {
    let mut images: BTreeMap<u64, ImageTask> = BTreeMap::new();
    for object in truth {
        images.entry(object.image).or_default().truth.push(object);
    }
    for detection in found {
        let task = images.entry(detection.image).or_default();
        task.found.push(detection);
    }
    images.values_mut().for_each(ImageTask::prepare);
    let [all, small, medium, large] = AREAS.map(|area| Curve::new(images.values(), area));
    let numbers = [
        all.mean_precision(),
        all.precision(0),
        all.precision(5),
        small.mean_precision(),
        medium.mean_precision(),
        large.mean_precision(),
        all.mean_recall(1),
        all.mean_recall(10),
        all.mean_recall(MOST_DETECTIONS),
        small.mean_recall(MOST_DETECTIONS),
        medium.mean_recall(MOST_DETECTIONS),
        large.mean_recall(MOST_DETECTIONS),
    ];
    CategoryPrecision {
        label,
        objects: all.objects(),
        numbers: AveragePrecision::from_numbers(numbers),
    }
}

/// Means over the categories where a number is defined; NaN where there are none.
fn mean(categories: &[CategoryPrecision]) -> AveragePrecision {
    let (mut sums, mut counts) = ([0.0; 12], [0usize; 12]);
    for category in categories {
        for (i, value) in category.numbers.numbers().into_iter().enumerate() {
            if !value.is_nan() {
                sums[i] += value;
                counts[i] += 1;
            }
        }
    }
    AveragePrecision::from_numbers(std::array::from_fn(|i| sums[i] / counts[i] as f64))
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

#[cfg(test)]
mod large_set;
#[cfg(test)]
mod tests;
