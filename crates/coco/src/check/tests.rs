//! A clean data set, and one with every kind of damage.

use super::*;
use crate::synth::{SynthConfig, generate};

fn set(scratch: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let config = SynthConfig {
        images: 20,
        validation: 1,
        side: 48,
        ..SynthConfig::default()
    };
    let summary = generate(&scratch.join("set"), &config).unwrap();
    (summary.train_annotations, summary.train_images)
}

#[test]
fn a_generated_set_is_clean() {
    let scratch = tempfile::tempdir().unwrap();
    let (annotations, images) = set(scratch.path());
    let report = check(&annotations, &images, 2).unwrap();
    assert!(report.is_usable(), "{report:?}");
    assert_eq!((report.images, report.trainable_images), (20, 20));
    assert_eq!((report.smallest, report.largest), ([48, 48], [48, 48]));
    let counted: usize = report.categories.iter().map(|c| c.annotations).sum();
    assert_eq!(counted, report.annotations);
    assert_eq!(report.categories[4].name, "ring");
    assert_eq!(report.categories[4].label, 5);
    for finding in [
        &report.degenerate_boxes,
        &report.boxes_outside,
        &report.zero_ids,
    ] {
        assert_eq!(finding.count, 0);
    }
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CheckReport>(&json).unwrap(), report);
}

#[test]
fn all_damage_is_reported_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let (annotations, images) = set(scratch.path());
    let image = |id: u64| images.join(format!("{id:012}.jpg"));
    std::fs::remove_file(image(1)).unwrap();
    let bytes = std::fs::read(image(2)).unwrap();
    std::fs::write(image(2), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(image(3), "").unwrap();
    image::RgbImage::new(48, 47).save(image(4)).unwrap();
    let mut lists = Annotations::read(&annotations).unwrap();
    lists.annotations[0].bbox[2] = 0.0;
    lists.annotations[1].bbox[0] = -2.0;
    lists.annotations[2].id = 0;
    std::fs::write(&annotations, serde_json::to_vec(&lists).unwrap()).unwrap();

    let report = check(&annotations, &images, 0).unwrap();
    assert!(!report.is_usable());
    let counts = [
        &report.missing_files,
        &report.unreadable_files,
        &report.wrong_sizes,
        &report.degenerate_boxes,
        &report.boxes_outside,
        &report.zero_ids,
        &report.inconsistencies,
    ]
    .map(|finding| finding.count);
    assert_eq!(counts, [1, 2, 1, 1, 1, 1, 0]);
    assert!(report.missing_files.examples[0].contains("000000000001.jpg"));
    assert!(
        report.unreadable_files.examples[0]
            .contains("000000000002.jpg: not a usable image: truncated")
    );
    assert!(
        report.wrong_sizes.examples[0].ends_with("the image is 48x47, the annotations say 48x48")
    );

    lists.annotations[3].category_id = 77;
    std::fs::write(&annotations, serde_json::to_vec(&lists).unwrap()).unwrap();
    let report = check(&annotations, &images, 1).unwrap();
    assert_eq!(
        (report.inconsistencies.count, report.trainable_images),
        (1, 0)
    );
}

#[test]
fn examples_are_few_and_counts_are_exact() {
    let scratch = tempfile::tempdir().unwrap();
    let (annotations, images) = set(scratch.path());
    for id in 1..=15 {
        std::fs::remove_file(images.join(format!("{id:012}.jpg"))).unwrap();
    }
    let missing = check(&annotations, &images, 2).unwrap().missing_files;
    assert_eq!((missing.count, missing.examples.len()), (15, EXAMPLES));
}

#[test]
fn nothing_to_report_on_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let (annotations, images) = set(scratch.path());
    let nowhere = scratch.path().join("nowhere");
    assert!(
        matches!(check(&nowhere, &images, 1), Err(CocoError::Io { path, .. }) if path == nowhere)
    );
    assert!(
        matches!(check(&annotations, &nowhere, 1), Err(CocoError::Io { path, .. }) if path == nowhere)
    );
    std::fs::write(&annotations, "{").unwrap();
    assert!(matches!(
        check(&annotations, &images, 1),
        Err(CocoError::Json { line: 1, .. })
    ));
}
