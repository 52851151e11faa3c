//! Labels, training rules, loading, and the cache.

use super::*;
use crate::SampleCache;
use std::sync::Arc;

fn annotation(id: u64, image_id: u64, category_id: u64, bbox: [f64; 4]) -> Annotation {
    Annotation {
        id,
        image_id,
        category_id,
        bbox,
        area: bbox[2] * bbox[3],
        crowd: false,
    }
}

/// Three 40x20 images (ids 30, 10, 20) and categories 9 and 4, in that order.
fn lists(annotations: Vec<Annotation>) -> Annotations {
    let image = |id: u64| ImageInfo {
        id,
        file_name: format!("{id}.png"),
        width: 40,
        height: 20,
    };
    let category = |id: u64| Category {
        id,
        name: format!("c{id}"),
    };
    Annotations {
        images: vec![image(30), image(10), image(20)],
        annotations,
        categories: vec![category(9), category(4)],
    }
}

fn dataset(annotations: Vec<Annotation>) -> Dataset {
    Dataset::new(lists(annotations), Path::new("f.json"), Path::new("images")).unwrap()
}

#[test]
fn labels_are_dense_and_ascend_with_the_category_id() {
    let dataset = dataset(vec![annotation(1, 20, 9, [0.0, 0.0, 10.0, 10.0])]);
    assert_eq!(dataset.classes(), 3);
    assert_eq!((dataset.label(4), dataset.label(9)), (Some(1), Some(2)));
    assert_eq!(dataset.label(5), None);
    assert_eq!(dataset.category(2).unwrap().id, 9);
    assert!(dataset.category(0).is_none() && dataset.category(3).is_none());
    assert_eq!(dataset.targets(2, 20).unwrap().labels, [2]);
}

#[test]
fn raw_labels_are_the_category_ids() {
    let dense = dataset(vec![annotation(1, 20, 9, [0.0, 0.0, 10.0, 10.0])]);
    let raw = dense.clone().with_labels(Labels::Raw).unwrap();
    assert_eq!(raw.classes(), 10);
    assert_eq!((raw.label(4), raw.label(9)), (Some(4), Some(9)));
    assert_eq!(raw.targets(2, 20).unwrap().labels, [9]);
    assert_eq!(raw.ground_truth(2).unwrap()[0].label, 9);
    for label in 0..12 {
        let expected = [4, 9].contains(&label).then_some(label as u64);
        assert_eq!(raw.category(label).map(|c| c.id), expected);
    }
    let back = raw.with_labels(Labels::Dense).unwrap();
    assert_eq!(back.targets(2, 20).unwrap().labels, [2]);
}

#[test]
fn the_background_is_no_raw_label() {
    for id in [0, 65_536, u64::MAX] {
        let mut lists = lists(vec![]);
        lists.categories[0].id = id;
        let dense = Dataset::new(lists, Path::new("f.json"), Path::new("images")).unwrap();
        assert_eq!(dense.classes(), 3);
        assert_eq!(
            dense.with_labels(Labels::Raw).unwrap_err().to_string(),
            format!("f.json: category {id} has an id that is no raw label: 1 to 65535 are")
        );
    }
}

#[test]
fn annotations_of_an_image_keep_the_order_of_the_file() {
    let dataset = dataset(vec![
        annotation(5, 10, 4, [0.0, 0.0, 1.0, 1.0]),
        annotation(3, 30, 4, [0.0, 0.0, 1.0, 1.0]),
        annotation(4, 10, 9, [0.0, 0.0, 1.0, 1.0]),
    ]);
    let ids = |index| -> Vec<u64> {
        let annotations = dataset.annotations(index).unwrap();
        annotations.iter().map(|a| a.id).collect()
    };
    assert_eq!(ids(0), [3]);
    assert_eq!(ids(1), [5, 4]);
    assert_eq!(ids(2), [0; 0]);
}

#[test]
fn training_targets_are_clipped_scaled_and_freed_of_crowds() {
    let crowd = Annotation {
        crowd: true,
        ..annotation(4, 30, 4, [0.0, 0.0, 30.0, 10.0])
    };
    let dataset = dataset(vec![
        annotation(1, 30, 4, [-5.0, 10.0, 15.0, 30.0]), // leaves left and below
        annotation(2, 30, 9, [50.0, 5.0, 10.0, 10.0]),  // outside
        annotation(3, 30, 9, [8.0, 4.0, 0.0, 5.0]),     // no width
        crowd,
    ]);
    let targets = dataset.targets(0, 20).unwrap();
    assert_eq!(targets.boxes, [[0.0, 10.0, 5.0, 20.0]]);
    assert_eq!(targets.labels, [1]);
    let truth = dataset.ground_truth(0).unwrap();
    assert_eq!(truth.len(), 4);
    assert!(truth[3].crowd && truth[0].bbox == [-5.0, 10.0, 15.0, 30.0]);
}

#[test]
fn images_without_something_to_learn_are_not_trainable() {
    let crowd = Annotation {
        crowd: true,
        ..annotation(1, 30, 4, [0.0, 0.0, 30.0, 10.0])
    };
    let sliver = annotation(2, 10, 4, [3.0, 3.0, 1.0, 10.0]);
    let good = annotation(3, 20, 4, [3.0, 3.0, 2.0, 10.0]);
    let dataset = dataset(vec![
        crowd,
        sliver.clone(),
        good,
        Annotation {
            id: 4,
            image_id: 20,
            ..sliver
        },
    ]);
    assert_eq!(dataset.trainable_images(), [2]);
    assert_eq!(dataset.mean_boxes(), 2.0);
}

#[test]
fn an_image_index_beyond_the_end_is_an_error() {
    let message = dataset(vec![]).load(3, 8).unwrap_err().to_string();
    assert_eq!(
        message,
        "f.json: image index 3 does not exist: there are 3, counted from 0"
    );
}

/// A data set on disk: the left half of image `i` is grey level 50 i.
fn on_disk(directory: &Path) -> Dataset {
    for (i, id) in [30, 10, 20].into_iter().enumerate() {
        let picture = image::RgbImage::from_fn(40, 20, |x, _| {
            image::Rgb(if x < 20 { [50 * i as u8; 3] } else { [255; 3] })
        });
        picture.save(directory.join(format!("{id}.png"))).unwrap();
    }
    let lists = lists(vec![annotation(1, 10, 4, [10.0, 5.0, 20.0, 10.0])]);
    Dataset::new(lists, Path::new("f.json"), directory).unwrap()
}

#[test]
fn loading_resizes_pixels_and_boxes_alike() {
    let directory = tempfile::tempdir().unwrap();
    let dataset = on_disk(directory.path());
    let sample = dataset.load(1, 10).unwrap();
    assert_eq!(sample.pixels.len(), 300);
    assert_eq!(sample.pixels[..3], [50; 3]);
    assert_eq!(sample.pixels[297..], [255; 3]);
    assert_eq!(sample.boxes, [[2.5, 2.5, 7.5, 7.5]]);
    assert!(matches!(
        dataset.load(1, 0),
        Err(CocoError::Setting { key: "side", .. })
    ));
}

#[test]
fn bad_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let dataset = on_disk(directory.path());
    let (first, second) = (
        directory.path().join("30.png"),
        directory.path().join("10.png"),
    );
    std::fs::write(&first, b"no picture").unwrap();
    let error = dataset.load(0, 8).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: not a usable image: neither JPEG nor PNG",
            first.display()
        )
    );
    let learner: learner::LearnerError = error.into();
    assert_eq!(
        learner.to_string(),
        format!(
            "{}: not a usable image: neither JPEG nor PNG",
            first.display()
        )
    );
    image::RgbImage::new(20, 40).save(&second).unwrap();
    assert_eq!(
        dataset.load(1, 8).unwrap_err().to_string(),
        format!(
            "{}: the image is 20x40, the annotations say 40x20",
            second.display()
        )
    );
    std::fs::remove_file(&second).unwrap();
    assert!(matches!(dataset.load(1, 8), Err(CocoError::Io { path, .. }) if path == second));
    let missing = directory.path().join("nowhere");
    assert!(matches!(
        Dataset::open(Path::new("f.json"), &missing),
        Err(CocoError::Io { path, .. }) if path == missing
    ));
}

#[test]
fn the_cache_holds_what_fits_and_decodes_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let dataset = Arc::new(on_disk(directory.path()));
    let one = dataset.load(0, 16).unwrap().bytes();
    let cache = SampleCache::new(dataset.clone(), Some(16), 2 * one + one / 2);
    let expected: Vec<Sample> = (0..3).map(|i| dataset.load(i, 16).unwrap()).collect();
    // three images on four threads, over and over
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cache, expected) = (&cache, &expected);
            scope.spawn(move || {
                for round in 0..50 {
                    let index = (thread + round) % 3;
                    assert_eq!(*cache.get(index).unwrap(), expected[index]);
                }
            });
        }
    });
    assert!(cache.bytes() > 0 && cache.bytes() <= 2 * one + one / 2);
    let held = (0..3)
        .filter(|&i| Arc::ptr_eq(&cache.get(i).unwrap(), &cache.get(i).unwrap()))
        .count();
    assert_eq!(held, 2);
    assert!(matches!(cache.get(3), Err(CocoError::NoSuchImage { .. })));
}

#[test]
fn a_cache_without_memory_still_loads() {
    let directory = tempfile::tempdir().unwrap();
    let cache = SampleCache::new(Arc::new(on_disk(directory.path())), Some(8), 0);
    assert_eq!(cache.get(2).unwrap().pixels[0], 100);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn samples_may_keep_their_images_size() {
    let directory = tempfile::tempdir().unwrap();
    let dataset = Arc::new(on_disk(directory.path()));
    let sample = SampleCache::new(dataset.clone(), None, 0).get(1).unwrap();
    let info = &dataset.images[1];
    assert_eq!((sample.width, sample.height), (info.width, info.height));
    assert_eq!(sample.pixels.len() as u32, 3 * info.width * info.height);
    let squeezed = dataset.targets(1, 16).unwrap();
    assert_eq!(sample.labels, squeezed.labels);
    let across = 16.0 / info.width as f32;
    for (mine, squeezed) in sample.boxes.iter().zip(squeezed.boxes) {
        assert!((mine[0] * across - squeezed[0]).abs() < 1e-4);
    }
}
