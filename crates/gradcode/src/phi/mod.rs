//! phi(z), measured: the relative error energy of a compressor on vectors that are really there.
//!
//! [`estimate`] measures it from messages, [`mod@reference`] makes vectors of known laws, [`table`] is the file that
//! results are kept in.

pub mod estimate;
pub mod reference;
pub mod table;

use gradient_codec::{Preset, Widths};

/// Whether phi of this preset depends on the length of vectors beyond a bucket of theirs.
pub fn depends_on_dimension(preset: &Preset) -> bool {
    match preset {
        Preset::QsgdBucketed { .. } | Preset::F32 => false,
        Preset::Rotated { .. } | Preset::Eden { .. } => false,
        Preset::Sign { group } => *group == 0,
        // One scale for the whole vector, or a number of entries.
        Preset::Qsgd | Preset::OneBit { .. } | Preset::TopK { .. } | Preset::RandK { .. } => true,
    }
}

/// Whether messages are rotated at random, so that phi is that of normal vectors whatever the gradient.
pub fn rotates(preset: &Preset) -> bool {
    matches!(preset, Preset::Rotated { .. } | Preset::Eden { .. })
}

/// The widths up to `most` that a preset has for vectors of `dimension` coordinates, ascending.
pub fn widths(preset: &Preset, dimension: usize, most: u8) -> Vec<u8> {
    match preset.widths(dimension) {
        Widths::Fixed(bits) => vec![bits],
        Widths::Adjustable { min, max } => (min..=max.min(most))
            .filter(|&bits| preset.compressor(bits, dimension).is_ok())
            .collect(),
    }
}
