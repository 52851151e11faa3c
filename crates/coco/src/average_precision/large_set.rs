//! Against pycocotools' numbers on 600 images, overall and per category.

use super::*;

/// Made by `tools/average-precision/dump_large_set.py`, which draws the same set.
const PYCOCOTOOLS: &str = include_str!("large_set.json");

const IMAGES: u64 = 600;
const CATEGORIES: u64 = 24;

#[derive(Deserialize)]
struct Reference {
    objects: usize,
    crowds: usize,
    small: usize,
    detections: usize,
    over_a_hundred: usize,
    checksum: i64,
    stats: Vec<Option<f64>>,
    categories: Vec<BTreeMap<String, Option<f64>>>,
}

/// splitmix64.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    /// A box in eighths of pixels: the side's order of magnitude is drawn first.
    fn bbox(&mut self) -> [i64; 4] {
        let mut side = || (32 << self.below(6)) + self.below(700);
        let (width, height) = (side(), side());
        let (x, y) = (self.below(4800), self.below(4800));
        [x, y, width, height].map(|v| v as i64)
    }

    /// The box moved and stretched by up to a share of its sides.
    fn jittered(&mut self, b: [i64; 4]) -> [i64; 4] {
        let share = [2, 8, 20, 60][self.below(4) as usize];
        let mut moved = b;
        for (i, v) in moved.iter_mut().enumerate() {
            let reach = b[2 + i % 2] * share / 100;
            *v += self.below(2 * reach as u64 + 1) as i64 - reach;
        }
        [moved[0], moved[1], moved[2].max(8), moved[3].max(8)]
    }
}

fn pixels(b: [i64; 4]) -> [f64; 4] {
    b.map(|v| v as f64 / 8.0)
}

fn image(number: u64, truth: &mut Vec<GroundTruth>, found: &mut Vec<Detection>) {
    let mut draws = Draws(number);
    let image = (number * 7919) % 100_003 + 1;
    // label, box, area in eighths squared, crowd
    let mut objects: Vec<(u64, [i64; 4], i64, bool)> = vec![];
    for _ in 0..draws.below(13) {
        let label =
            1 + draws.below(CATEGORIES - 2) * draws.below(CATEGORIES - 2) / (CATEGORIES - 2);
        let b = draws.bbox();
        let area = b[2] * b[3] * (50 + draws.below(51) as i64) / 100;
        objects.push((label, b, area, draws.below(10) == 0));
    }
    if number.is_multiple_of(40) {
        objects.push((CATEGORIES - 1, draws.bbox(), 640_000, true));
    }
    let mut detections = vec![];
    for _ in 0..draws.below(31) {
        let (label, b) = if !objects.is_empty() && draws.below(4) > 0 {
            let (mut label, b, _, _) = objects[draws.below(objects.len() as u64) as usize];
            if draws.below(12) == 0 {
                label = 1 + draws.below(CATEGORIES);
            }
            (label, draws.jittered(b))
        } else {
            (1 + draws.below(CATEGORIES), draws.bbox())
        };
        detections.push((label, b, draws.below(40)));
    }
    if let Some(&(label, b, _, _)) = objects.first().filter(|_| number.is_multiple_of(51)) {
        for _ in 0..160 {
            detections.push((label, draws.jittered(b), draws.below(40)));
        }
    }
    truth.extend(objects.iter().map(|&(label, b, area, crowd)| GroundTruth {
        image,
        label: label as i64,
        bbox: pixels(b),
        area: area as f64 / 64.0,
        crowd,
    }));
    found.extend(detections.iter().map(|&(label, b, score)| Detection {
        image,
        label: label as i64,
        bbox: pixels(b),
        score: score as f64 / 64.0,
    }));
}

fn near(what: &str, ours: f64, theirs: Option<f64>) {
    match theirs {
        Some(theirs) => assert!(
            (ours - theirs).abs() < 1e-9,
            "{what}: {ours} against {theirs}"
        ),
        None => assert!(ours.is_nan(), "{what}: {ours} is defined"),
    }
}

#[test]
fn equals_pycocotools_on_six_hundred_images() {
    let reference: Reference = serde_json::from_str(PYCOCOTOOLS).unwrap();
    let (mut truth, mut found) = (vec![], vec![]);
    for number in 0..IMAGES {
        image(number, &mut truth, &mut found);
    }

    // the same set, and a hard one
    let eighths = |bbox: &[f64; 4]| (8.0 * bbox.iter().sum::<f64>()) as i64;
    let checksum: i64 = truth
        .iter()
        .map(|g| eighths(&g.bbox) + (64.0 * g.area) as i64)
        .chain(
            found
                .iter()
                .map(|d| eighths(&d.bbox) + (64.0 * d.score) as i64),
        )
        .sum();
    assert_eq!(checksum, reference.checksum);
    let crowds = truth.iter().filter(|g| g.crowd).count();
    let small = truth.iter().filter(|g| !g.crowd && g.area < 1024.0).count();
    assert_eq!(
        (truth.len(), crowds, small, found.len()),
        (
            reference.objects,
            reference.crowds,
            reference.small,
            reference.detections
        )
    );
    assert!(crowds > 300 && small > 400 && reference.over_a_hundred > 10);

    let ours = evaluate(&truth, &found);
    let numbers = AveragePrecision::NAMES
        .into_iter()
        .zip(ours.overall.numbers());
    for ((name, value), theirs) in numbers.zip(&reference.stats) {
        near(name, value, *theirs);
    }

    let mut compared = 0;
    for theirs in &reference.categories {
        let label = theirs["label"].unwrap() as i64;
        let Some(mine) = ours.categories.iter().find(|mine| mine.label == label) else {
            assert!(theirs["objects"] == Some(0.0) && theirs["AP"].is_none());
            continue;
        };
        assert_eq!(Some(mine.objects as f64), theirs["objects"]);
        for (name, value) in AveragePrecision::NAMES
            .into_iter()
            .zip(mine.numbers.numbers())
        {
            near(&format!("category {label}, {name}"), value, theirs[name]);
            compared += 1;
        }
    }
    assert_eq!(compared, 22 * 12, "all but the two that have no annotation");
}
