//! From category ids to the labels that a network learns.

use std::collections::HashMap;
use std::path::Path;

use crate::{Category, CocoError};

/// The largest category id that can be a label itself.
const LARGEST_RAW: u64 = 65_535;

/// How category ids become labels; 0 is always the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// 1..=C in ascending order of category id: no output of the network is wasted.
    #[default]
    Dense,
    /// The category ids themselves, as in torchvision's detection models: COCO's 80 categories
    /// have ids up to 90, so that 91 classes are needed, 10 of which never occur.
    Raw,
}

impl Labels {
    /// Classes that a network needs, the background included: the largest label + 1.
    /// `categories` ascend by id.
    pub(crate) fn classes(self, categories: &[Category]) -> usize {
        match (self, categories.last()) {
            (Labels::Raw, Some(last)) => last.id as usize + 1,
            _ => categories.len() + 1,
        }
    }

    /// The label of every category id; `categories` ascend by id, `path` is for the message.
    pub(crate) fn of(
        self,
        categories: &[Category],
        path: &Path,
    ) -> Result<HashMap<u64, i64>, CocoError> {
        match self {
            Labels::Dense => Ok(categories.iter().map(|c| c.id).zip(1..).collect()),
            Labels::Raw => categories
                .iter()
                .map(|category| match category.id {
                    id @ 1..=LARGEST_RAW => Ok((id, id as i64)),
                    id => Err(CocoError::Impossible {
                        path: path.to_owned(),
                        what: "category",
                        id,
                        value: format!("an id that is no raw label: 1 to {LARGEST_RAW} are"),
                    }),
                })
                .collect(),
        }
    }
}
