//! What can go wrong with a data set.

use std::path::PathBuf;

/// Why a data set, or one image of it, could not be used. Every variant names the file.
///
/// Messages are lower case and read after "failed to ...: ".
#[derive(Debug, thiserror::Error)]
pub enum CocoError {
    /// The operating system refused a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The annotation file is not JSON, or not COCO's.
    #[error("{}, line {line}, column {column}: {what}", path.display())]
    Json {
        /// The annotation file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was expected and what was found.
        what: String,
    },
    /// Two entries of one list have the same id.
    #[error("{}: {what} id {id} appears more than once", path.display())]
    DuplicateId {
        /// The annotation file.
        path: PathBuf,
        /// `image`, `annotation` or `category`.
        what: &'static str,
        /// The id.
        id: u64,
    },
    /// An annotation points at nothing.
    #[error("{}: annotation {annotation} names {what} {id}, which the file does not have", path.display())]
    UnknownReference {
        /// The annotation file.
        path: PathBuf,
        /// The annotation's id.
        annotation: u64,
        /// `image` or `category`.
        what: &'static str,
        /// The id it names.
        id: u64,
    },
    /// A detection in an image that the annotations do not have.
    #[error("{}: entry {position} (from 0) is about image {id}, which {} does not have", path.display(), annotations.display())]
    UnknownImage {
        /// The results file.
        path: PathBuf,
        /// Which entry, from 0.
        position: usize,
        /// The image id it names.
        id: u64,
        /// The annotation file.
        annotations: PathBuf,
    },
    /// A number that cannot be: an infinite or negative box size or area, an image without pixels,
    /// a category id that cannot be a label.
    #[error("{}: {what} {id} has {value}", path.display())]
    Impossible {
        /// The annotation file.
        path: PathBuf,
        /// `image`, `annotation` or `category`.
        what: &'static str,
        /// Its id.
        id: u64,
        /// The number, with its name.
        value: String,
    },
    /// The file has no images or no categories.
    #[error("{}: the list \"{what}\" is empty", path.display())]
    Empty {
        /// The annotation file.
        path: PathBuf,
        /// `images` or `categories`.
        what: &'static str,
    },
    /// An image file that cannot be decoded.
    #[error("{}: not a usable image: {what}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// The decoder's reason.
        what: String,
    },
    /// An image whose size is not what the annotations say, so its boxes would be wrong.
    #[error("{}: the image is {}x{}, the annotations say {}x{}", path.display(), found.0, found.1, expected.0, expected.1)]
    ImageSize {
        /// The image file.
        path: PathBuf,
        /// (width, height) in the annotation file.
        expected: (u32, u32),
        /// (width, height) of the file.
        found: (u32, u32),
    },
    /// An image index beyond the end.
    #[error("{}: image index {index} does not exist: there are {images}, counted from 0", path.display())]
    NoSuchImage {
        /// The annotation file.
        path: PathBuf,
        /// The index given.
        index: usize,
        /// How many there are.
        images: usize,
    },
    /// A setting outside what is supported.
    #[error("{key} = {value} is not usable: {valid}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// Its value as given.
        value: String,
        /// What would be valid.
        valid: &'static str,
    },
    /// The directory to generate into is in use.
    #[error("{}: already exists; remove it or choose another directory", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
}

impl CocoError {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl From<CocoError> for learner::LearnerError {
    /// The same message as [`learner::LearnerError::Data`], or `Setting` for a setting.
    fn from(error: CocoError) -> Self {
        use CocoError as E;
        let path = match &error {
            E::Setting { key, value, valid } => return Self::setting(key, value, *valid),
            E::Io { path, .. }
            | E::Json { path, .. }
            | E::DuplicateId { path, .. }
            | E::UnknownReference { path, .. }
            | E::UnknownImage { path, .. }
            | E::Impossible { path, .. }
            | E::Empty { path, .. }
            | E::Image { path, .. }
            | E::ImageSize { path, .. }
            | E::NoSuchImage { path, .. }
            | E::Exists { path } => path.clone(),
        };
        let message = error.to_string();
        let prefix = format!("{}", path.display());
        let what = message
            .strip_prefix(&prefix)
            .map(|rest| rest.trim_start_matches([':', ',', ' ']))
            .unwrap_or(&message)
            .to_owned();
        Self::Data { path, what }
    }
}
