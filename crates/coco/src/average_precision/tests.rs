//! Against pycocotools' numbers, and properties.

use super::*;
use proptest::prelude::*;

/// Made by `tools/average-precision/dump_pycocotools.py`.
const PYCOCOTOOLS: &str = include_str!("pycocotools.json");

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Image, label, x, y, width, height, area, crowd.
    ground_truth: Vec<[f64; 8]>,
    /// Image, label, x, y, width, height, score.
    detections: Vec<[f64; 7]>,
    stats: [f64; 12],
}

fn numbers(result: &AveragePrecision) -> Vec<f64> {
    result.metrics().iter().map(|metric| metric.value).collect()
}

#[test]
fn equals_pycocotools() {
    let fixture: Fixture = serde_json::from_str(PYCOCOTOOLS).unwrap();
    assert!(fixture.cases.len() >= 9);
    for case in fixture.cases {
        let truth: Vec<GroundTruth> = case
            .ground_truth
            .iter()
            .map(|&[image, label, x, y, w, h, area, crowd]| GroundTruth {
                image: image as u64,
                label: label as i64,
                bbox: [x, y, w, h],
                area,
                crowd: crowd == 1.0,
            })
            .collect();
        let found: Vec<Detection> = case
            .detections
            .iter()
            .map(|&[image, label, x, y, w, h, score]| Detection {
                image: image as u64,
                label: label as i64,
                bbox: [x, y, w, h],
                score,
            })
            .collect();
        let ours = average_precision(&truth, &found);
        for (metric, theirs) in ours.metrics().iter().zip(case.stats) {
            let value = if metric.value.is_nan() {
                -1.0
            } else {
                metric.value
            };
            assert!(
                (value - theirs).abs() < 1e-12,
                "{}, {}: {value} against {theirs}",
                case.name,
                metric.name
            );
        }
    }
}

fn object(image: u64, label: i64, x: f64) -> GroundTruth {
    GroundTruth {
        image,
        label,
        bbox: [x, 0.0, 40.0, 40.0],
        area: 1600.0,
        crowd: false,
    }
}

fn found(object: &GroundTruth, score: f64) -> Detection {
    Detection {
        image: object.image,
        label: object.label,
        bbox: object.bbox,
        score,
    }
}

#[test]
fn a_false_positive_above_the_only_object_halves_precision() {
    let truth = [object(0, 1, 0.0)];
    let wrong = Detection {
        bbox: [200.0, 200.0, 40.0, 40.0],
        ..found(&truth[0], 0.9)
    };
    let result = average_precision(&truth, &[wrong, found(&truth[0], 0.8)]);
    assert!((result.ap - 0.5).abs() < 1e-12, "{result:?}");
    assert_eq!(result.ar_1, 0.0);
    assert_eq!(result.ar_10, 1.0);
}

#[test]
fn a_crowd_absorbs_detections() {
    let truth = [
        object(0, 1, 0.0),
        GroundTruth {
            crowd: true,
            bbox: [100.0, 0.0, 200.0, 200.0],
            ..object(0, 1, 0.0)
        },
    ];
    let inside = Detection {
        bbox: [120.0, 20.0, 30.0, 30.0],
        ..found(&truth[0], 0.9)
    };
    let result = average_precision(&truth, &[inside, inside, found(&truth[0], 0.5)]);
    assert!((result.ap - 1.0).abs() < 1e-12, "{result:?}");
}

#[test]
fn nothing_to_find_is_undefined() {
    assert!(
        numbers(&average_precision(&[], &[]))
            .iter()
            .all(|v| v.is_nan())
    );
}

#[test]
fn scores_that_are_not_numbers_come_last() {
    let truth = [object(0, 1, 0.0)];
    let wrong = Detection {
        bbox: [200.0, 200.0, 40.0, 40.0],
        ..found(&truth[0], f64::NAN)
    };
    let result = average_precision(&truth, &[wrong, found(&truth[0], 0.1)]);
    assert!((result.ap - 1.0).abs() < 1e-12);
}

prop_compose! {
    fn scenes()(
        objects in prop::collection::vec((0u64..4, 1i64..4, 0.0f64..300.0), 1..20),
        seen in prop::collection::vec((any::<prop::sample::Index>(), 0.0f64..1.0, -20.0f64..20.0), 0..30),
    ) -> (Vec<GroundTruth>, Vec<Detection>) {
        let truth: Vec<_> = objects.iter().map(|&(image, label, x)| object(image, label, x)).collect();
        let detections = seen.iter().map(|(which, score, shift)| {
            let mut detection = found(which.get(&truth), *score);
            detection.bbox[0] += shift;
            detection
        }).collect();
        (truth, detections)
    }
}

proptest! {
    #[test]
    fn every_number_is_a_fraction((truth, detections) in scenes()) {
        let result = average_precision(&truth, &detections);
        prop_assert!(numbers(&result).iter().all(|v| v.is_nan() || (0.0..=1.0).contains(v)));
        prop_assert!(result.ap <= result.ap50 + 1e-12);
        prop_assert!(result.ar_1 <= result.ar_10 && result.ar_10 <= result.ar_100);
    }

    #[test]
    fn finding_every_object_is_perfect((truth, _) in scenes()) {
        let detections: Vec<_> = truth.iter().map(|g| found(g, 0.5)).collect();
        let result = average_precision(&truth, &detections);
        prop_assert!((result.ap - 1.0).abs() < 1e-9, "{:?}", result);
        prop_assert!((result.ar_100 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_worst_scored_false_positive_changes_nothing((truth, mut detections) in scenes()) {
        let before = average_precision(&truth, &detections);
        detections.push(Detection { bbox: [1e4, 1e4, 40.0, 40.0], ..found(&truth[0], -1.0) });
        let after = average_precision(&truth, &detections);
        prop_assert!((before.ap - after.ap).abs() < 1e-12);
    }
}
