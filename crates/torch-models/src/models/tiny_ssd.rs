//! TinySSD: a single-shot detector small enough to train on two CPU cores in a minute.
//!
//! Seven 3x3 convolutions with group norm and ReLU, three feature maps (strides 8, 16, 32), one
//! 3x3 convolution per map and output. Every layer is per sample, so gradients add up over
//! samples and several partitions go through one pass.

use tch::{TchError, Tensor};

use super::{DetectionModel, HeadOutputs, halved, per_anchor};
use crate::detection::anchors::DefaultBoxes;
use crate::error::TorchError;
use crate::init::Init;
use crate::layers::{Activation, Conv2d, ConvNorm, ConvShape, Mode, NormKind};
use crate::store::Scope;

/// Scales of the anchors of the three maps, relative to the image, and of the one beyond.
const SCALES: [f64; 4] = [0.18, 0.32, 0.5, 0.75];
/// Aspect ratios besides 1.
const RATIOS: [f64; 1] = [2.0];
const BOXES_PER_CELL: i64 = 2 + 2 * RATIOS.len() as i64;

/// The network. See the module documentation.
pub struct TinySsd {
    /// The backbone, cut after each of the three maps.
    stages: [Vec<ConvNorm>; 3],
    logits: Vec<Conv2d>,
    codes: Vec<Conv2d>,
    classes: i64,
}

impl TinySsd {
    /// A network of base width `width` for `classes` classes, background included.
    ///
    /// # Errors
    /// When `width` is odd or 0, or libtorch cannot allocate.
    pub fn new(scope: &Scope<'_>, width: i64, classes: i64) -> Result<Self, TorchError> {
        if width < 2 || width % 2 != 0 {
            return Err(TorchError::Setting {
                key: "model.width",
                value: width.to_string(),
                expected: "an even number, at least 2".into(),
            });
        }
        let w = width;
        let mut index = 0;
        let mut layer = |input, output, stride| {
            let shape = ConvShape::dense(input, output, 3, stride);
            let scope = scope.sub(format_args!("features.{index}"));
            index += 1;
            ConvNorm::new(
                &scope,
                shape,
                Init::kaiming(shape.fan_in()),
                NormKind::Group,
                Activation::Relu,
            )
        };
        let stages = [
            vec![
                layer(3, w / 2, 2)?,
                layer(w / 2, w, 2)?,
                layer(w, 2 * w, 2)?,
                layer(2 * w, 2 * w, 1)?,
            ],
            vec![layer(2 * w, 4 * w, 2)?, layer(4 * w, 4 * w, 1)?],
            vec![layer(4 * w, 4 * w, 2)?],
        ];
        let heads = |name: &str, columns| {
            [2 * w, 4 * w, 4 * w]
                .into_iter()
                .enumerate()
                .map(|(map, channels)| {
                    let shape = ConvShape::dense(channels, BOXES_PER_CELL * columns, 3, 1);
                    let scope = scope.sub(format_args!("{name}.{map}"));
                    Conv2d::new(&scope, shape, Init::Normal(0.01), true)
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            stages,
            logits: heads("classification_head", classes)?,
            codes: heads("regression_head", 4)?,
            classes,
        })
    }
}

impl DetectionModel for TinySsd {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<HeadOutputs, TchError> {
        let mut x = images.shallow_clone();
        let (mut logits, mut codes) = (Vec::new(), Vec::new());
        for (map, stage) in self.stages.iter().enumerate() {
            for layer in stage {
                x = layer.forward(&x, mode)?;
            }
            logits.push(per_anchor(&self.logits[map].forward(&x)?, self.classes)?);
            codes.push(per_anchor(&self.codes[map].forward(&x)?, 4)?);
        }
        Ok(HeadOutputs {
            logits: Tensor::f_cat(&logits, 1)?,
            codes: Tensor::f_cat(&codes, 1)?,
        })
    }

    fn map_sides(&self, side: u32) -> Vec<u32> {
        (3..6).map(|halvings| halved(side, halvings)).collect()
    }

    fn default_boxes(&self) -> DefaultBoxes {
        DefaultBoxes::new(&SCALES, &RATIOS)
    }

    fn is_per_sample(&self) -> bool {
        true
    }
}
