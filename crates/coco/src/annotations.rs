//! An `instances_*.json` file as typed values.
//!
//! Only the fields that detection needs are read; the rest (`info`, `licenses`, `segmentation` as
//! polygons or as run lengths, ...) is skipped without being stored, so that a file as large as COCO's
//! for training takes 2.5 s and 25 MB beside what is kept (`examples/full_size.rs`).

use crate::{CocoError, GroundTruth};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// One image of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Id, unique among the images.
    pub id: u64,
    /// File name, relative to the image directory.
    pub file_name: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// One object in one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Id, unique among the annotations.
    pub id: u64,
    /// Which image.
    pub image_id: u64,
    /// Which category.
    pub category_id: u64,
    /// `[x, y, width, height]` in pixels; x and y of the upper left corner.
    pub bbox: [f64; 4],
    /// Area in pixels, COCO's being that of the segmentation; where the file has none, of the box.
    #[serde(default = "no_area")]
    pub area: f64,
    /// A crowd: detections inside it count neither as right nor as wrong, and it is no training
    /// target.
    #[serde(
        default,
        rename = "iscrowd",
        deserialize_with = "flag",
        serialize_with = "as_number"
    )]
    pub crowd: bool,
}

/// One kind of object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Id, unique among the categories. COCO's run from 1 to 90 with gaps.
    pub id: u64,
    /// Name.
    pub name: String,
}

/// The lists of an annotation file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotations {
    /// The images.
    pub images: Vec<ImageInfo>,
    /// The objects.
    pub annotations: Vec<Annotation>,
    /// The kinds of objects.
    pub categories: Vec<Category>,
}

impl Annotations {
    /// Reads a file, without [validating](Annotations::problems) ids and numbers.
    ///
    /// # Errors
    /// [`CocoError::Io`], and [`CocoError::Json`] with line and column.
    pub fn read(path: &Path) -> Result<Self, CocoError> {
        let mut read: Self = read_json(path)?;
        for annotation in &mut read.annotations {
            if annotation.area.is_nan() {
                annotation.area = annotation.bbox[2] * annotation.bbox[3];
            }
        }
        Ok(read)
    }

    /// Everything that makes the lists inconsistent, in order: empty lists, images without pixels,
    /// duplicate ids, references to nothing, impossible boxes and areas. `path` is for the messages.
    pub fn problems<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = CocoError> + 'a {
        let image_ids: HashSet<u64> = self.images.iter().map(|image| image.id).collect();
        let category_ids: HashSet<u64> = self.categories.iter().map(|c| c.id).collect();
        let lists = [
            ("images", self.images.is_empty()),
            ("categories", self.categories.is_empty()),
        ];
        let empty = lists
            .into_iter()
            .filter(|(_, empty)| *empty)
            .map(move |(what, _)| CocoError::Empty {
                path: path.to_owned(),
                what,
            });
        let no_pixels = self
            .images
            .iter()
            .filter(|image| image.width == 0 || image.height == 0)
            .map(move |image| CocoError::Impossible {
                path: path.to_owned(),
                what: "image",
                id: image.id,
                value: format!("size {}x{}", image.width, image.height),
            });
        let duplicates = duplicates(path, "image", self.images.iter().map(|i| i.id))
            .chain(duplicates(
                path,
                "category",
                self.categories.iter().map(|c| c.id),
            ))
            .chain(duplicates(
                path,
                "annotation",
                self.annotations.iter().map(|a| a.id),
            ));
        let references = self.annotations.iter().flat_map(move |annotation| {
            let image = (!image_ids.contains(&annotation.image_id))
                .then_some(("image", annotation.image_id));
            let category = (!category_ids.contains(&annotation.category_id))
                .then_some(("category", annotation.category_id));
            [image, category]
                .into_iter()
                .flatten()
                .map(move |(what, id)| CocoError::UnknownReference {
                    path: path.to_owned(),
                    annotation: annotation.id,
                    what,
                    id,
                })
        });
        let impossible = self
            .annotations
            .iter()
            .filter(|annotation| !annotation.is_possible())
            .map(move |annotation| CocoError::Impossible {
                path: path.to_owned(),
                what: "annotation",
                id: annotation.id,
                value: format!("bbox {:?}, area {}", annotation.bbox, annotation.area),
            });
        empty
            .chain(no_pixels)
            .chain(duplicates)
            .chain(references)
            .chain(impossible)
    }
}

impl Annotation {
    /// The object that an evaluation looks for, under `label`.
    pub(crate) fn ground_truth(&self, label: i64) -> GroundTruth {
        GroundTruth {
            image: self.image_id,
            label,
            bbox: self.bbox,
            area: self.area,
            crowd: self.crowd,
        }
    }

    fn is_possible(&self) -> bool {
        let [_, _, width, height] = self.bbox;
        self.bbox.iter().all(|v| v.is_finite())
            && width >= 0.0
            && height >= 0.0
            && self.area.is_finite()
            && self.area >= 0.0
    }
}

/// Parses a JSON file as it is read, without holding its text.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CocoError> {
    let file = File::open(path).map_err(CocoError::io(path))?;
    let reader = BufReader::with_capacity(1 << 20, file);
    serde_json::from_reader(reader).map_err(|error| {
        if error.is_io() {
            return CocoError::Io {
                path: path.to_owned(),
                source: error.into(),
            };
        }
        let text = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        CocoError::Json {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            what: text.strip_suffix(&position).unwrap_or(&text).to_owned(),
        }
    })
}

fn duplicates<'a>(
    path: &'a Path,
    what: &'static str,
    ids: impl Iterator<Item = u64> + 'a,
) -> impl Iterator<Item = CocoError> + 'a {
    let mut seen = HashSet::new();
    ids.filter(move |id| !seen.insert(*id))
        .map(move |id| CocoError::DuplicateId {
            path: path.to_owned(),
            what,
            id,
        })
}

/// Marks a missing area until the box is known.
fn no_area() -> f64 {
    f64::NAN
}

/// `iscrowd` as COCO's 0 and 1, or as true and false.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Flag;
    impl serde::de::Visitor<'_> for Flag {
        type Value = bool;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("iscrowd as 0 or 1")
        }
        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<bool, E> {
            match value {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(E::invalid_value(
                    serde::de::Unexpected::Unsigned(other),
                    &self,
                )),
            }
        }
    }
    deserializer.deserialize_any(Flag)
}

fn as_number<S: serde::Serializer>(crowd: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*crowd))
}

#[cfg(test)]
mod tests;
