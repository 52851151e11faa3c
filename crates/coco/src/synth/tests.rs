//! The promises of the module's documentation.

use super::*;
use crate::{Annotations, Dataset};
use std::collections::BTreeSet;

fn small() -> SynthConfig {
    SynthConfig {
        images: 40,
        validation: 5,
        side: 64,
        seed: 3,
        threads: 2,
    }
}

fn generated(config: &SynthConfig) -> (tempfile::TempDir, SynthSummary) {
    let scratch = tempfile::tempdir().unwrap();
    let summary = generate(&scratch.path().join("set"), config).unwrap();
    (scratch, summary)
}

#[test]
fn shapes_do_not_overlap_and_have_the_stated_sizes() {
    let (_scratch, summary) = generated(&small());
    let lists = Annotations::read(&summary.train_annotations).unwrap();
    assert_eq!(lists.annotations.len(), summary.train_objects);
    assert_eq!(lists.problems(&summary.train_annotations).count(), 0);
    assert_eq!(lists.annotations[0].id, 1);
    for image in &lists.images {
        let boxes: Vec<[f64; 4]> = lists
            .annotations
            .iter()
            .filter(|a| a.image_id == image.id)
            .map(|a| a.bbox)
            .collect();
        assert!((1..=4).contains(&boxes.len()));
        for (i, &[x, y, w, h]) in boxes.iter().enumerate() {
            assert!(x >= 0.0 && y >= 0.0 && x + w <= 64.0 && y + h <= 64.0);
            assert!(
                (8.0..=32.0).contains(&w) && (8.0..=32.0).contains(&h),
                "{w} {h}"
            );
            for &[a, b, c, d] in &boxes[..i] {
                assert!(x >= a + c || a >= x + w || y >= b + d || b >= y + h);
            }
        }
    }
    let used: BTreeSet<u64> = lists.annotations.iter().map(|a| a.category_id).collect();
    assert_eq!(used.len(), 5, "forty images show every shape");
    for annotation in &lists.annotations {
        let fill = annotation.area / (annotation.bbox[2] * annotation.bbox[3]);
        let [least, most] = match annotation.category_id {
            1 => [0.7, 0.9],   // disk: pi/4
            2 => [1.0, 1.0],   // square
            3 => [0.4, 0.65],  // triangle: 1/2
            4 => [0.4, 0.7],   // cross: 1 - 0.67^2
            _ => [0.45, 0.75], // ring: pi/4 (1 - 0.55^2)
        };
        assert!(
            (least..=most).contains(&fill),
            "{annotation:?} fills {fill}"
        );
    }
}

/// Inside every box the mean colour differs from the image's median by the stated contrast, less the
/// texture: what makes the set learnable.
#[test]
fn shapes_stand_out() {
    let (_scratch, summary) = generated(&small());
    let set = Dataset::open(&summary.train_annotations, &summary.train_images).unwrap();
    let mut clear = 0;
    let mut squares = 0;
    for index in 0..set.len() {
        let pixels = set.pixels(index, 64).unwrap();
        let median = |channel: usize| {
            let mut values: Vec<u8> = pixels.iter().skip(channel).step_by(3).copied().collect();
            values.sort_unstable();
            f64::from(values[values.len() / 2])
        };
        let background = [0, 1, 2].map(median);
        for object in set.annotations(index).unwrap() {
            if object.category_id != 2 {
                continue;
            }
            let [x, y, w, h] = object.bbox.map(|v| v as usize);
            let mut distance = 0.0;
            for (channel, level) in background.iter().enumerate() {
                let sum: f64 = (y..y + h)
                    .flat_map(|row| (x..x + w).map(move |column| (row * 64 + column) * 3))
                    .map(|pixel| f64::from(pixels[pixel + channel]))
                    .sum();
                distance += (sum / (w * h) as f64 - level).abs();
            }
            squares += 1;
            clear += usize::from(distance > 90.0);
        }
    }
    assert!(
        squares >= 10 && clear * 10 >= squares * 9,
        "{clear} of {squares}"
    );
}

fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    for name in ["instances_train.json", "instances_val.json"] {
        found.push((name.to_owned(), std::fs::read(root.join(name)).unwrap()));
    }
    for split in ["train", "val"] {
        let mut names: Vec<PathBuf> = std::fs::read_dir(root.join(split))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        for path in names {
            let relative = path.strip_prefix(root).unwrap().display().to_string();
            found.push((relative, std::fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn threads_change_nothing_and_seeds_everything() {
    let (one, _) = generated(&SynthConfig {
        threads: 1,
        ..small()
    });
    let (three, _) = generated(&SynthConfig {
        threads: 3,
        ..small()
    });
    let (other, _) = generated(&SynthConfig { seed: 4, ..small() });
    let files = [one, three, other].map(|scratch| files(&scratch.path().join("set")));
    assert_eq!(files[0].len(), 47);
    assert!(files[0] == files[1]);
    for (a, b) in files[0].iter().zip(&files[2]) {
        assert_eq!(a.0, b.0);
        assert_ne!(a.1, b.1, "{}", a.0);
    }
}

#[test]
fn more_images_keep_those_there_were() {
    let (few, _) = generated(&small());
    let (more, _) = generated(&SynthConfig {
        images: 43,
        ..small()
    });
    let read = |scratch: &tempfile::TempDir| {
        std::fs::read(scratch.path().join("set/train/000000000040.jpg")).unwrap()
    };
    assert_eq!(read(&few), read(&more));
}

#[test]
fn training_and_validation_images_differ() {
    let (scratch, _) = generated(&small());
    let read = |split| {
        std::fs::read(
            scratch
                .path()
                .join("set")
                .join(split)
                .join("000000000001.jpg"),
        )
    };
    assert_ne!(read("train").unwrap(), read("val").unwrap());
}

#[test]
fn an_occupied_directory_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let set = scratch.path().join("set");
    std::fs::create_dir(&set).unwrap();
    generate(&set, &small()).unwrap();
    let before = files(&set);
    assert!(matches!(generate(&set, &small()), Err(CocoError::Exists { path }) if path == set));
    assert!(files(&set) == before);
    let file = scratch.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(
        generate(&file, &small()),
        Err(CocoError::Exists { .. })
    ));
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "no partial directory stays behind");
}

#[test]
fn settings_out_of_range_are_refused() {
    let attempt = |config: SynthConfig| {
        let scratch = tempfile::tempdir().unwrap();
        let message = generate(&scratch.path().join("set"), &config)
            .unwrap_err()
            .to_string();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        message
    };
    assert_eq!(
        attempt(SynthConfig {
            side: 20,
            ..small()
        }),
        "side = 20 is not usable: between 32 and 4096 pixels"
    );
    assert!(
        attempt(SynthConfig {
            images: 0,
            ..small()
        })
        .starts_with("images = 0")
    );
    assert!(
        attempt(SynthConfig {
            validation: 0,
            ..small()
        })
        .starts_with("validation = 0")
    );
}
