//! What is read, what is skipped, and what malformed files are told.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Annotations, CocoError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("instances.json");
    std::fs::write(&path, text).unwrap();
    Annotations::read(&path)
}

/// With everything that COCO's files hold besides, and a run-length segmentation.
const COMPLETE: &str = r#"{
  "info": {"year": 2017, "contributor": ["a", {"b": null}]},
  "licenses": [{"id": 1, "url": "http://x/"}],
  "images": [{"license": 1, "file_name": "1.jpg", "height": 20, "width": 10, "id": 7, "coco_url": "u"}],
  "annotations": [
    {"segmentation": [[1.5, 2.0, 3.0]], "area": 2.25, "iscrowd": 0, "image_id": 7, "bbox": [1, 2.5, 3, 4], "category_id": 18, "id": 1},
    {"segmentation": {"counts": [1, 2], "size": [20, 10]}, "area": 9, "iscrowd": 1, "image_id": 7, "bbox": [0, 0, 3, 3], "category_id": 18, "id": 2},
    {"image_id": 7, "bbox": [0, 0, 2, 5], "category_id": 18, "id": 3}
  ],
  "categories": [{"supercategory": "animal", "id": 18, "name": "dog"}]
}"#;

#[test]
fn reads_what_it_needs_and_skips_the_rest() {
    let read = read(COMPLETE).unwrap();
    assert_eq!(read.images[0].id, 7);
    assert_eq!((read.images[0].width, read.images[0].height), (10, 20));
    assert_eq!(read.annotations[0].bbox, [1.0, 2.5, 3.0, 4.0]);
    assert_eq!(read.annotations[0].area, 2.25);
    let crowds: Vec<bool> = read.annotations.iter().map(|a| a.crowd).collect();
    assert_eq!(crowds, [false, true, false]);
    assert_eq!(
        read.annotations[2].area, 10.0,
        "the box's where none is given"
    );
    assert_eq!(read.problems(Path::new("x")).count(), 0);
}

#[test]
fn writes_what_it_reads() {
    let first = read(COMPLETE).unwrap();
    let text = serde_json::to_string(&first).unwrap();
    assert!(text.contains(r#""iscrowd":1"#), "{text}");
    assert_eq!(read(&text).unwrap(), first);
}

#[test]
fn a_malformed_file_is_told_where() {
    for (text, line, column, what) in [
        ("{\n  \"images\": [", 2, 13, "EOF while parsing a list"),
        (
            "{\"images\": {}}",
            1,
            12,
            "invalid type: map, expected a sequence",
        ),
        ("{\"images\": []}", 1, 14, "missing field `annotations`"),
        (
            "{\"images\": [{\"id\": 1,\n\"file_name\": \"a\", \"width\": -3}]}",
            2,
            30,
            "invalid value: integer `-3`, expected u32",
        ),
        ("", 1, 0, "EOF while parsing a value"),
        ("\u{7f}ELF", 1, 1, "expected value"),
    ] {
        match read(text).unwrap_err() {
            CocoError::Json {
                line: l,
                column: c,
                what: w,
                path,
            } => {
                assert_eq!((l, c, w.as_str()), (line, column, what), "{text}");
                assert!(path.ends_with("instances.json"));
            }
            other => panic!("{other}"),
        }
    }
    let crowd = COMPLETE.replace("\"iscrowd\": 1", "\"iscrowd\": 7");
    let message = read(&crowd).unwrap_err().to_string();
    assert!(
        message.contains("line 7, column") && message.contains("expected iscrowd as 0 or 1"),
        "{message}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let message = Annotations::read(Path::new("/nowhere/instances.json"))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("/nowhere/instances.json: No such file"),
        "{message}"
    );
}

fn problems(change: impl FnOnce(&mut Annotations)) -> Vec<String> {
    let mut lists = read(COMPLETE).unwrap();
    change(&mut lists);
    lists
        .problems(Path::new("f.json"))
        .map(|problem| problem.to_string())
        .collect()
}

#[test]
fn every_inconsistency_is_found() {
    assert_eq!(
        problems(|lists| lists.annotations[1].id = 1),
        ["f.json: annotation id 1 appears more than once"]
    );
    assert_eq!(
        problems(|lists| lists.images.push(lists.images[0].clone())),
        ["f.json: image id 7 appears more than once"]
    );
    assert_eq!(
        problems(|lists| lists.annotations[2].category_id = 5),
        ["f.json: annotation 3 names category 5, which the file does not have"]
    );
    assert_eq!(
        problems(|lists| lists.annotations[2].image_id = 5),
        ["f.json: annotation 3 names image 5, which the file does not have"]
    );
    assert_eq!(
        problems(|lists| lists.annotations[0].bbox[2] = -1.0),
        ["f.json: annotation 1 has bbox [1.0, 2.5, -1.0, 4.0], area 2.25"]
    );
    assert_eq!(
        problems(|lists| lists.images[0].width = 0),
        ["f.json: image 7 has size 0x20"]
    );
    let empty = problems(|lists| *lists = Annotations::default());
    assert_eq!(
        empty,
        [
            "f.json: the list \"images\" is empty",
            "f.json: the list \"categories\" is empty"
        ]
    );
}

proptest! {
    /// Cutting or garbling a file never panics and never yields more than an error.
    #[test]
    fn damage_is_an_error_or_harmless(cut in 0usize..COMPLETE.len(), byte: u8) {
        let _ = read(&COMPLETE[..cut]);
        let mut bytes = COMPLETE.as_bytes().to_vec();
        bytes[cut] = byte;
        if let Ok(lists) = read(&String::from_utf8_lossy(&bytes)) {
            let _ = lists.problems(Path::new("f.json")).count();
        }
    }
}
