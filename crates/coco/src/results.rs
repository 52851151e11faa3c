//! COCO's results format: a JSON list of `{"image_id", "category_id", "bbox", "score"}`.
//!
//! What pycocotools' `loadRes` reads and COCO's evaluation server takes, with boxes
//! `[x, y, width, height]` in pixels of the original image.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use learner::FoundObject;

use crate::annotations::read_json;
use crate::{Annotations, Category, CocoError, Detection, Evaluation, GroundTruth, evaluate};

/// The detections of a results file, in its order; labels are category ids.
///
/// # Errors
/// [`CocoError::Io`], and [`CocoError::Json`] with line and column.
pub fn read_results(path: &Path) -> Result<Vec<FoundObject>, CocoError> {
    read_json(path)
}

/// Writes a results file, one entry per line.
///
/// # Errors
/// [`CocoError::Io`].
pub fn write_results<'a>(
    path: &Path,
    entries: impl IntoIterator<Item = &'a FoundObject>,
) -> Result<(), CocoError> {
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        out.write_all(b"[")?;
        for (number, entry) in entries.into_iter().enumerate() {
            out.write_all(if number == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut out, entry)?;
        }
        out.write_all(b"\n]\n")?;
        out.into_inner()
            .map_err(|error| error.into_error())?
            .sync_all()
    };
    write().map_err(CocoError::io(path))
}

/// An evaluation of a results file.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultsEvaluation {
    /// The numbers; labels are category ids.
    pub evaluation: Evaluation,
    /// The annotation file's categories, ascending by id.
    pub categories: Vec<Category>,
    /// Entries of the results file.
    pub detections: usize,
    /// Those of categories that the annotation file does not have: they count neither way, as in
    /// pycocotools.
    pub of_unknown_categories: usize,
}

/// Evaluates a results file against an annotation file, as pycocotools does with all images and
/// categories of the latter; no image is read.
///
/// # Errors
/// [`CocoError::Io`], [`CocoError::Json`], the first of [`Annotations::problems`], and
/// [`CocoError::UnknownImage`] for a result in an image that the annotation file does not have.
pub fn evaluate_results(
    results: &Path,
    annotations: &Path,
) -> Result<ResultsEvaluation, CocoError> {
    let truth = Annotations::read(annotations)?;
    if let Some(problem) = truth.problems(annotations).next() {
        return Err(problem);
    }
    let entries = read_results(results)?;
    let images: HashSet<u64> = truth.images.iter().map(|image| image.id).collect();
    let unknown = |entry: &FoundObject| !images.contains(&entry.image_id);
    if let Some(position) = entries.iter().position(unknown) {
        return Err(CocoError::UnknownImage {
            path: results.to_owned(),
            position,
            id: entries[position].image_id,
            annotations: annotations.to_owned(),
        });
    }
    let categories: HashSet<u64> = truth.categories.iter().map(|c| c.id).collect();
    let known = |entry: &&FoundObject| categories.contains(&entry.category_id);
    let detections: Vec<Detection> = entries.iter().filter(known).map(Detection::from).collect();
    let objects: Vec<GroundTruth> = truth
        .annotations
        .iter()
        .map(|annotation| annotation.ground_truth(annotation.category_id as i64))
        .collect();
    let mut named = truth.categories;
    named.sort_by_key(|category| category.id);
    Ok(ResultsEvaluation {
        evaluation: evaluate(&objects, &detections),
        categories: named,
        detections: entries.len(),
        of_unknown_categories: entries.len() - detections.len(),
    })
}

impl From<&FoundObject> for Detection {
    /// The category's id becomes the label.
    fn from(entry: &FoundObject) -> Self {
        Self {
            image: entry.image_id,
            label: entry.category_id as i64,
            bbox: entry.bbox,
            score: entry.score,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOTATIONS: &str = r#"{
        "images": [{"id": 9, "file_name": "a.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 3, "bbox": [10, 10, 40, 40]}]
    }"#;

    fn entry(category_id: u64, x: f64) -> FoundObject {
        FoundObject {
            image_id: 9,
            category_id,
            bbox: [x, 10.0, 40.0, 40.0],
            score: f64::from(0.7f32),
        }
    }

    #[test]
    fn results_are_read_back_bit_for_bit_and_evaluated() {
        let scratch = tempfile::tempdir().unwrap();
        let (results, annotations) = (scratch.path().join("r.json"), scratch.path().join("a.json"));
        std::fs::write(&annotations, ANNOTATIONS).unwrap();
        let entries = [entry(3, 10.0), entry(4, 0.1 + 0.2)];
        write_results(&results, &entries).unwrap();
        assert_eq!(read_results(&results).unwrap(), entries);
        let found = evaluate_results(&results, &annotations).unwrap();
        assert_eq!((found.detections, found.of_unknown_categories), (2, 1));
        assert!((found.evaluation.overall.ap - 1.0).abs() < 1e-12);
        assert_eq!(found.evaluation.categories[0].objects, 1);

        write_results(&results, &[]).unwrap();
        let nothing = evaluate_results(&results, &annotations).unwrap();
        assert_eq!(nothing.evaluation.overall.ap, 0.0);
    }

    #[test]
    fn a_result_in_no_image_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (results, annotations) = (scratch.path().join("r.json"), scratch.path().join("a.json"));
        std::fs::write(&annotations, ANNOTATIONS).unwrap();
        let lost = FoundObject {
            image_id: 8,
            ..entry(3, 0.0)
        };
        write_results(&results, &[entry(3, 0.0), lost]).unwrap();
        let refused = evaluate_results(&results, &annotations)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("r.json") && refused.contains("entry 1"),
            "{refused}"
        );
        assert!(
            refused.contains("image 8") && refused.contains("a.json"),
            "{refused}"
        );
        std::fs::write(&results, "[{\"image_id\": 9}]").unwrap();
        let refused = evaluate_results(&results, &annotations)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("line 1") && refused.contains("category_id"),
            "{refused}"
        );
    }
}
