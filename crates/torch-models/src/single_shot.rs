//! A single-shot network with its anchors: from images to detections.

use tch::{Kind, Tensor};

use crate::detection::Corners;
use crate::detection::postprocess::{Detection, PostProcess};
use crate::error::TorchError;
use crate::layers::Mode;
use crate::models::{DetectionModel, HeadOutputs};

/// A detection network for images of one size.
pub struct SingleShot {
    model: Box<dyn DetectionModel>,
    anchors: Vec<Corners>,
    side: u32,
    post_process: PostProcess,
}

impl SingleShot {
    /// `model` for square images of `side` pixels, with torchvision's limits on detections.
    pub fn new(model: Box<dyn DetectionModel>, side: u32) -> Self {
        Self {
            anchors: model.default_boxes().boxes(&model.map_sides(side), side),
            model,
            side,
            post_process: PostProcess::default(),
        }
    }

    /// The default boxes, in the order of the network's outputs.
    pub fn anchors(&self) -> &[Corners] {
        &self.anchors
    }

    /// Side of the square input in pixels.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Whether a batch's gradient is the sum of its samples' gradients.
    pub fn is_per_sample(&self) -> bool {
        self.model.is_per_sample()
    }

    /// Runs the network on images `[N, 3, side, side]` with values in [-1, 1].
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<HeadOutputs, TorchError> {
        Ok(self.model.forward(images, mode)?)
    }

    /// The detections in every image of a batch of outputs, in pixels of the network's input.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn detections(&self, outputs: &HeadOutputs) -> Result<Vec<Vec<Detection>>, TorchError> {
        let (images, anchors, classes) = outputs.logits.size3()?;
        let scores = outputs.logits.f_softmax(-1, Kind::Float)?.f_view(-1i64)?;
        let scores = Vec::<f32>::try_from(scores)?;
        let codes = Vec::<f32>::try_from(outputs.codes.f_reshape(-1i64)?)?;
        Ok(scores
            .chunks((anchors * classes) as usize)
            .zip(codes.chunks((anchors * 4) as usize))
            .take(images as usize)
            .map(|(scores, codes)| {
                self.post_process
                    .detections(scores, codes, &self.anchors, self.side)
            })
            .collect())
    }

    /// A detection's box `[x, y, width, height]` in pixels of an image of `width` x `height` that was
    /// squeezed into the network's square.
    pub fn in_image(&self, corners: Corners, width: u32, height: u32) -> [f64; 4] {
        let across = f64::from(width) / f64::from(self.side);
        let down = f64::from(height) / f64::from(self.side);
        let [x1, y1, x2, y2] = corners.map(f64::from);
        [x1 * across, y1 * down, (x2 - x1) * across, (y2 - y1) * down]
    }
}
