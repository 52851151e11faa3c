//! Images in a directory per class, as torchvision's `ImageFolder` has them.

use crate::decode::read_image;
use crate::{Cache, CocoError};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File names that are images, by their ends, in any case.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// `ROOT/CLASS/*.jpg|jpeg|png`: classes are the directories in ROOT in the order of their names, and
/// so are the images of a class. Other files are passed over; directories within a class are not
/// looked into (torchvision walks them too).
///
/// Opening reads directories alone, no image: ImageNet's 1.28 million take about 60 MB.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    classes: Vec<String>,
    /// All file names, one after the other; one string per name would take three times the memory.
    names: String,
    /// Where the name of image i ends in `names`.
    ends: Vec<u64>,
    /// Images `starts[c]..starts[c + 1]` are of class c.
    starts: Vec<usize>,
}

/// A decoded image and its class.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// `width * height * 3` bytes: rows, then columns, then R, G, B.
    pub pixels: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Class, from 0, in the order of the directories' names.
    pub class: u32,
}

/// A part of an image, in pixels of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Columns left of it.
    pub left: f64,
    /// Rows above it.
    pub top: f64,
    /// Width, above 0.
    pub width: f64,
    /// Height, above 0.
    pub height: f64,
}

/// The directories in `root`, sorted: the classes of an [`ImageFolder`].
///
/// # Errors
/// [`CocoError::Io`], and [`CocoError::Empty`] when there are none.
pub fn classes(root: &Path) -> Result<Vec<String>, CocoError> {
    let mut classes = vec![];
    for entry in std::fs::read_dir(root).map_err(CocoError::io(root))? {
        let entry = entry.map_err(CocoError::io(root))?;
        // Only the directory itself says what is a link to one.
        if entry.path().is_dir() {
            classes.push(text(&entry)?);
        }
    }
    classes.sort_unstable();
    if classes.is_empty() {
        return Err(CocoError::Empty {
            path: root.to_owned(),
            what: "directories, one per class",
        });
    }
    Ok(classes)
}

/// The name of a directory's entry.
fn text(entry: &std::fs::DirEntry) -> Result<String, CocoError> {
    entry.file_name().into_string().map_err(|_| CocoError::Io {
        path: entry.path(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, "its name is not UTF-8"),
    })
}

fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, end)| end);
    EXTENSIONS
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

impl ImageFolder {
    /// Lists the images under `root`.
    ///
    /// # Errors
    /// [`CocoError::Io`] when a directory cannot be read, [`CocoError::Empty`] when there is no class,
    /// or no image in one.
    pub fn open(root: &Path) -> Result<Self, CocoError> {
        let mut folder = Self {
            root: root.to_owned(),
            classes: classes(root)?,
            names: String::new(),
            ends: vec![],
            starts: vec![0],
        };
        for class in &folder.classes {
            let directory = root.join(class);
            let mut names = vec![];
            for entry in std::fs::read_dir(&directory).map_err(CocoError::io(&directory))? {
                let name = text(&entry.map_err(CocoError::io(&directory))?)?;
                if is_image(&name) {
                    names.push(name);
                }
            }
            if names.is_empty() {
                return Err(CocoError::Empty {
                    path: directory,
                    what: "files *.jpg, *.jpeg, *.png",
                });
            }
            names.sort_unstable();
            for name in names {
                folder.names.push_str(&name);
                folder.ends.push(folder.names.len() as u64);
            }
            folder.starts.push(folder.ends.len());
        }
        folder.names.shrink_to_fit();
        folder.ends.shrink_to_fit();
        Ok(folder)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no images; never true for a folder that was opened.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The classes' names, in order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The class of an image, from 0.
    ///
    /// # Errors
    /// [`CocoError::NoSuchImage`].
    pub fn class(&self, index: usize) -> Result<u32, CocoError> {
        if index >= self.len() {
            return Err(CocoError::NoSuchImage {
                path: self.root.clone(),
                index,
                images: self.len(),
            });
        }
        Ok(self.starts.partition_point(|&start| start <= index) as u32 - 1)
    }

    /// Where an image is.
    ///
    /// # Errors
    /// [`CocoError::NoSuchImage`].
    pub fn path(&self, index: usize) -> Result<PathBuf, CocoError> {
        let class = &self.classes[self.class(index)? as usize];
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let name = &self.names[start as usize..self.ends[index] as usize];
        Ok(self.root.join(class).join(name))
    }

    /// Decodes an image.
    ///
    /// # Errors
    /// [`CocoError::Io`] when the file is missing, [`CocoError::Image`] when it cannot be decoded,
    /// and [`CocoError::NoSuchImage`].
    pub fn load(&self, index: usize) -> Result<Photo, CocoError> {
        let class = self.class(index)?;
        let image = read_image(&self.path(index)?)?;
        let (width, height) = image.dimensions();
        Ok(Photo {
            pixels: image.into_raw(),
            width,
            height,
            class,
        })
    }
}

impl Photo {
    /// A region, clipped to the image, as a square of `side` pixels: `side * side * 3` bytes. Bilinear
    /// with antialiasing, as torchvision's transforms of PIL images.
    ///
    /// # Errors
    /// The resizer's reason, as text: a region outside the image.
    pub fn square(&self, region: Region, side: u32) -> Result<Vec<u8>, String> {
        let source = images::ImageRef::new(self.width, self.height, &self.pixels, PixelType::U8x3)
            .map_err(|error| error.to_string())?;
        let left = region.left.max(0.0);
        let top = region.top.max(0.0);
        let width = region.width.min(f64::from(self.width) - left);
        let height = region.height.min(f64::from(self.height) - top);
        let mut target = images::Image::new(side, side, PixelType::U8x3);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(left, top, width, height);
        Resizer::new()
            .resize(&source, &mut target, &options)
            .map_err(|error| error.to_string())?;
        Ok(target.into_vec())
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.pixels.len()) as u64
    }
}

/// Photos of one folder, each decoded once while they fit a memory limit. See [`crate::SampleCache`],
/// which does the same.
#[derive(Debug)]
pub struct PhotoCache {
    folder: Arc<ImageFolder>,
    held: Cache<Photo>,
}

impl PhotoCache {
    /// An empty cache that grows to at most `limit` bytes.
    pub fn new(folder: Arc<ImageFolder>, limit: u64) -> Self {
        Self {
            held: Cache::new(folder.len(), limit),
            folder,
        }
    }

    /// The folder behind the cache.
    pub fn folder(&self) -> &Arc<ImageFolder> {
        &self.folder
    }

    /// An image, decoded now unless it is held. Errors are not remembered.
    ///
    /// # Errors
    /// As [`ImageFolder::load`].
    pub fn get(&self, index: usize) -> Result<Arc<Photo>, CocoError> {
        self.held
            .get(index, Photo::bytes, || self.folder.load(index))
    }
}

#[cfg(test)]
mod tests;
