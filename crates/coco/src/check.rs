//! Everything that is wrong with a data set, as a report.

use crate::decode::read_image;
use crate::{Annotations, CocoError};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Examples kept per kind of problem.
const EXAMPLES: usize = 10;

/// What a data set holds and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Images listed.
    pub images: usize,
    /// Annotations listed.
    pub annotations: usize,
    /// Of which crowds.
    pub crowds: usize,
    /// Images with something to learn; see [`crate::Dataset::trainable_images`]. 0 when
    /// `inconsistencies` forbid opening the data set.
    pub trainable_images: usize,
    /// Smallest and largest (width, height) listed, each side on its own.
    pub smallest: [u32; 2],
    /// See `smallest`.
    pub largest: [u32; 2],
    /// By ascending id.
    pub categories: Vec<CategoryCount>,
    /// Problems that forbid training: [`crate::Dataset::open`] fails.
    pub inconsistencies: Finding,
    /// Image files that do not exist.
    pub missing_files: Finding,
    /// Image files that cannot be decoded.
    pub unreadable_files: Finding,
    /// Image files whose size is not the annotations'.
    pub wrong_sizes: Finding,
    /// Boxes of no width or height (dropped in training).
    pub degenerate_boxes: Finding,
    /// Boxes that leave the image by more than a pixel (clipped in training).
    pub boxes_outside: Finding,
    /// Annotations with id 0, which pycocotools never counts as found.
    pub zero_ids: Finding,
}

/// One category's share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryCount {
    /// Id in the file.
    pub id: u64,
    /// Dense label, from 1.
    pub label: i64,
    /// Name.
    pub name: String,
    /// Annotations, crowds included.
    pub annotations: usize,
    /// Images with at least one of them.
    pub images: usize,
}

/// How often a problem was met, with the first ten cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How often.
    pub count: usize,
    /// The first cases, each naming the file or the annotation.
    pub examples: Vec<String>,
}

impl Finding {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

impl CheckReport {
    /// Whether training and evaluation can run on the data set: it is consistent, every image can be
    /// decoded and has the listed size, and something can be learnt. Degenerate and outlying boxes
    /// and zero ids are only worth a warning.
    pub fn is_usable(&self) -> bool {
        let fatal = [
            &self.inconsistencies,
            &self.missing_files,
            &self.unreadable_files,
            &self.wrong_sizes,
        ];
        fatal.iter().all(|finding| finding.count == 0) && self.trainable_images > 0
    }
}

/// Examines a data set completely, decoding every image on `threads` threads (0: one per core).
///
/// # Errors
/// Only when there is nothing to report on: [`CocoError::Io`] for a missing annotation file or image
/// directory, [`CocoError::Json`] for a malformed one. All else is in the report.
pub fn check(annotations: &Path, images: &Path, threads: usize) -> Result<CheckReport, CocoError> {
    std::fs::read_dir(images).map_err(CocoError::io(images))?;
    let lists = Annotations::read(annotations)?;
    let mut report = CheckReport {
        images: lists.images.len(),
        annotations: lists.annotations.len(),
        crowds: lists.annotations.iter().filter(|a| a.crowd).count(),
        categories: count_categories(&lists),
        ..CheckReport::default()
    };
    for problem in lists.problems(annotations) {
        report.inconsistencies.add(|| problem.to_string());
    }
    check_sizes(&lists, &mut report);
    check_boxes(&lists, &mut report);
    check_files(&lists, images, threads, &mut report);
    if let Ok(dataset) = crate::Dataset::new(lists, annotations, images) {
        report.trainable_images = dataset.trainable_images().len();
    }
    Ok(report)
}

fn count_categories(lists: &Annotations) -> Vec<CategoryCount> {
    let mut annotations: HashMap<u64, usize> = HashMap::new();
    let mut images: HashMap<u64, HashSet<u64>> = HashMap::new();
    for annotation in &lists.annotations {
        *annotations.entry(annotation.category_id).or_default() += 1;
        images
            .entry(annotation.category_id)
            .or_default()
            .insert(annotation.image_id);
    }
    let mut categories: Vec<_> = lists.categories.iter().collect();
    categories.sort_by_key(|category| category.id);
    (1..)
        .zip(categories)
        .map(|(label, category)| CategoryCount {
            id: category.id,
            label,
            name: category.name.clone(),
            annotations: annotations.get(&category.id).copied().unwrap_or(0),
            images: images.get(&category.id).map_or(0, HashSet::len),
        })
        .collect()
}

fn check_sizes(lists: &Annotations, report: &mut CheckReport) {
    let sides = |select: fn(u32, u32) -> u32| {
        [
            lists.images.iter().map(|i| i.width).reduce(select),
            lists.images.iter().map(|i| i.height).reduce(select),
        ]
        .map(Option::unwrap_or_default)
    };
    report.smallest = sides(u32::min);
    report.largest = sides(u32::max);
}

fn check_boxes(lists: &Annotations, report: &mut CheckReport) {
    let sizes: HashMap<u64, (f64, f64)> = lists
        .images
        .iter()
        .map(|image| (image.id, (f64::from(image.width), f64::from(image.height))))
        .collect();
    for annotation in &lists.annotations {
        let [x, y, width, height] = annotation.bbox;
        let case = || {
            let (id, image) = (annotation.id, annotation.image_id);
            format!(
                "annotation {id} in image {image}: bbox {:?}",
                annotation.bbox
            )
        };
        if annotation.id == 0 {
            report.zero_ids.add(case);
        }
        if !(width > 0.0 && height > 0.0) {
            report.degenerate_boxes.add(case);
        }
        if let Some((across, down)) = sizes.get(&annotation.image_id)
            && (x < -1.0 || y < -1.0 || x + width > across + 1.0 || y + height > down + 1.0)
        {
            report.boxes_outside.add(case);
        }
    }
}

/// What opening one image file showed.
enum FileProblem {
    Missing(String),
    Unreadable(String),
    WrongSize(String),
}

fn check_files(lists: &Annotations, directory: &Path, threads: usize, report: &mut CheckReport) {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let next = AtomicUsize::new(0);
    let examine = || {
        let mut problems = vec![];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = lists.images.get(index) else {
                return problems;
            };
            let path = directory.join(&image.file_name);
            let expected = (image.width, image.height);
            let problem = match read_image(&path) {
                Ok(pixels) if pixels.dimensions() == expected => continue,
                Ok(pixels) => FileProblem::WrongSize(
                    CocoError::ImageSize {
                        path,
                        expected,
                        found: pixels.dimensions(),
                    }
                    .to_string(),
                ),
                Err(error @ CocoError::Io { .. }) if !path.exists() => {
                    FileProblem::Missing(error.to_string())
                }
                Err(error) => FileProblem::Unreadable(error.to_string()),
            };
            problems.push((index, problem));
        }
    };
    let mut problems: Vec<(usize, FileProblem)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(examine)).collect();
        workers
            .into_iter()
            .flat_map(|worker| match worker.join() {
                Ok(problems) => problems,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    problems.sort_by_key(|(index, _)| *index);
    for (_, problem) in problems {
        match problem {
            FileProblem::Missing(what) => report.missing_files.add(|| what),
            FileProblem::Unreadable(what) => report.unreadable_files.add(|| what),
            FileProblem::WrongSize(what) => report.wrong_sizes.add(|| what),
        }
    }
}

#[cfg(test)]
mod tests;
