//! The networks. They know tensors only: no data, no loss.

pub mod cnn;
pub mod mobilenet_v3;
pub mod ssdlite;
pub mod tiny_ssd;

use tch::{TchError, Tensor};

use crate::detection::anchors::DefaultBoxes;
use crate::layers::Mode;

/// What a single-shot detector says about every anchor of every image.
pub struct HeadOutputs {
    /// Class scores before softmax, `[N, anchors, classes]`; class 0 is the background.
    pub logits: Tensor,
    /// Box codes relative to the anchors (see [`crate::detection::box_coder`]), `[N, anchors, 4]`.
    pub codes: Tensor,
}

/// A single-shot detector for square images.
pub trait DetectionModel: Send {
    /// Runs the network on images `[N, 3, side, side]` with values in [-1, 1].
    ///
    /// # Errors
    /// When libtorch fails.
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<HeadOutputs, TchError>;

    /// The sides of the feature maps that carry anchors, for images of `side` pixels, in the
    /// order of the anchors.
    fn map_sides(&self, side: u32) -> Vec<u32>;

    /// The default boxes per cell of each map.
    fn default_boxes(&self) -> DefaultBoxes;

    /// Whether a batch's gradient is the sum of its samples' gradients.
    fn is_per_sample(&self) -> bool;
}

/// The side of a map after `halvings` convolutions of stride 2 with "same" padding.
fn halved(side: u32, halvings: u32) -> u32 {
    (0..halvings).fold(side, |side, _| side.div_ceil(2))
}

/// Rearranges a head's map `[N, boxes * columns, H, W]` into `[N, H * W * boxes, columns]`.
fn per_anchor(map: &Tensor, columns: i64) -> Result<Tensor, TchError> {
    let (n, _, height, width) = map.size4()?;
    map.f_view([n, -1, columns, height, width])?
        .f_permute([0, 3, 4, 1, 2])?
        .f_reshape([n, -1, columns])
}
