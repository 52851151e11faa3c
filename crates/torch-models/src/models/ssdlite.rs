//! SSDLite on MobileNetV3-Large, as torchvision's `ssdlite320_mobilenet_v3_large` builds it.
//!
//! Names, parameter order, shapes and arithmetic are torchvision 0.26's (the parity test compares
//! outputs, losses and gradients), for any input side and number of classes, with the reduced
//! tail: 3,440,060 parameters at 91 classes. Besides torchvision's batch norm (eps 1e-3) it can be
//! built with group norm or with frozen statistics, which are per sample.
//!
//! Papers: SSD (Liu et al. 2016), MobileNetV2 section 6.2 (SSDLite), MobileNetV3 section 6.3.

use tch::{TchError, Tensor};

use super::mobilenet_v3::{
    INIT, InvertedResidual, LARGE_REDUCED, LAST_CHANNELS, Projection, STEM_CHANNELS, expansion,
};
use super::{DetectionModel, HeadOutputs, halved, per_anchor};
use crate::detection::anchors::DefaultBoxes;
use crate::error::TorchError;
use crate::layers::{Activation, Conv2d, ConvNorm, ConvShape, Mode, NormKind};
use crate::store::Scope;

/// Index of C4, the first block at stride 32, among the blocks; its expansion is the first map.
const C4: usize = 12;
/// Output channels of the extra blocks.
const EXTRAS: [i64; 4] = [512, 256, 256, 128];
/// Channels of the six maps.
const MAPS: [i64; 6] = [672, LAST_CHANNELS, 512, 256, 256, 128];
/// Aspect ratios besides 1.
const RATIOS: [f64; 2] = [2.0, 3.0];
const BOXES_PER_CELL: i64 = 2 + 2 * RATIOS.len() as i64;

/// A depthwise 3x3 convolution and a 1x1 projection per map.
struct Head(Vec<(ConvNorm, Conv2d)>);

impl Head {
    fn new(scope: &Scope<'_>, columns: i64, norm: NormKind) -> Result<Self, TorchError> {
        MAPS.into_iter()
            .enumerate()
            .map(|(map, channels)| {
                let scope = scope.sub(format_args!("module_list.{map}"));
                let depthwise = ConvNorm::new(
                    &scope.sub(0),
                    ConvShape::depthwise(channels, 3, 1),
                    INIT,
                    norm,
                    Activation::Relu6,
                )?;
                let shape = ConvShape::dense(channels, BOXES_PER_CELL * columns, 1, 1);
                Ok((depthwise, Conv2d::new(&scope.sub(1), shape, INIT, true)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// `[N, anchors, columns]`.
    fn forward(&self, maps: &[Tensor], columns: i64, mode: Mode) -> Result<Tensor, TchError> {
        let rows = self
            .0
            .iter()
            .zip(maps)
            .map(|((depthwise, project), map)| {
                per_anchor(&project.forward(&depthwise.forward(map, mode)?)?, columns)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Tensor::f_cat(&rows, 1)
    }
}

/// The network. See the module documentation.
pub struct SsdLite {
    stem: ConvNorm,
    blocks: Vec<InvertedResidual>,
    c4_expand: ConvNorm,
    c4_project: Projection,
    tail: Vec<InvertedResidual>,
    last: ConvNorm,
    extras: Vec<[ConvNorm; 3]>,
    classification: Head,
    regression: Head,
    classes: i64,
    norm: NormKind,
}

impl SsdLite {
    /// A network for `classes` classes, background included.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(scope: &Scope<'_>, classes: i64, norm: NormKind) -> Result<Self, TorchError> {
        let features = scope.sub("backbone.features");
        let until_c4 = features.sub(0);
        let stem = ConvNorm::new(
            &until_c4.sub(0),
            ConvShape::dense(3, STEM_CHANNELS, 3, 2),
            INIT,
            norm,
            Activation::Hardswish,
        )?;
        let blocks = LARGE_REDUCED[..C4]
            .iter()
            .enumerate()
            .map(|(i, shape)| InvertedResidual::new(&until_c4.sub(i + 1), shape, norm))
            .collect::<Result<_, _>>()?;
        let c4 = &LARGE_REDUCED[C4];
        let c4_expand = expansion(&until_c4.sub(C4 + 1), c4, norm)?;
        let from_c4 = features.sub(1);
        let c4_project = Projection::new(&from_c4.sub(0), c4, norm, 1)?;
        let tail: Vec<_> = LARGE_REDUCED[C4 + 1..]
            .iter()
            .enumerate()
            .map(|(i, shape)| InvertedResidual::new(&from_c4.sub(i + 1), shape, norm))
            .collect::<Result<_, _>>()?;
        let last = ConvNorm::new(
            &from_c4.sub(tail.len() + 1),
            ConvShape::dense(LAST_CHANNELS / 6, LAST_CHANNELS, 1, 1),
            INIT,
            norm,
            Activation::Hardswish,
        )?;
        let mut channels = LAST_CHANNELS;
        let mut extras = Vec::new();
        for (i, output) in EXTRAS.into_iter().enumerate() {
            let middle = output / 2;
            let layer = |name, shape| {
                let scope = scope.sub(format_args!("backbone.extra.{i}.{name}"));
                ConvNorm::new(&scope, shape, INIT, norm, Activation::Relu6)
            };
            extras.push([
                layer(0, ConvShape::dense(channels, middle, 1, 1))?,
                layer(1, ConvShape::depthwise(middle, 3, 2))?,
                layer(2, ConvShape::dense(middle, output, 1, 1))?,
            ]);
            channels = output;
        }
        let head = scope.sub("head");
        Ok(Self {
            stem,
            blocks,
            c4_expand,
            c4_project,
            tail,
            last,
            extras,
            classification: Head::new(&head.sub("classification_head"), classes, norm)?,
            regression: Head::new(&head.sub("regression_head"), 4, norm)?,
            classes,
            norm,
        })
    }

    /// The six feature maps of images `[N, 3, H, W]`.
    fn maps(&self, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>, TchError> {
        let mut maps = Vec::with_capacity(MAPS.len());
        let mut x = self.stem.forward(images, mode)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        maps.push(self.c4_expand.forward(&x, mode)?);
        x = self.c4_project.forward(&maps[0], mode)?;
        for block in &self.tail {
            x = block.forward(&x, mode)?;
        }
        maps.push(self.last.forward(&x, mode)?);
        for [reduce, depthwise, project] in &self.extras {
            x = reduce.forward(&maps[maps.len() - 1], mode)?;
            x = depthwise.forward(&x, mode)?;
            maps.push(project.forward(&x, mode)?);
        }
        Ok(maps)
    }
}

impl DetectionModel for SsdLite {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<HeadOutputs, TchError> {
        let maps = self.maps(images, mode)?;
        Ok(HeadOutputs {
            logits: self.classification.forward(&maps, self.classes, mode)?,
            codes: self.regression.forward(&maps, 4, mode)?,
        })
    }

    fn map_sides(&self, side: u32) -> Vec<u32> {
        (4..10).map(|halvings| halved(side, halvings)).collect()
    }

    fn default_boxes(&self) -> DefaultBoxes {
        DefaultBoxes::from_range(0.2, 0.95, MAPS.len(), &RATIOS)
    }

    fn is_per_sample(&self) -> bool {
        self.norm.is_per_sample()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flat::Flat;
    use crate::store::Store;
    use tch::{Device, Kind};

    #[test]
    fn sizes_are_torchvisions() {
        for (classes, dimension) in [(91, 3_440_060), (6, 2_261_960)] {
            let store = Store::new(Device::Cpu);
            let net = SsdLite::new(&store.root(), classes, NormKind::Batch).unwrap();
            let (parameters, buffers) = store.into_parts();
            assert_eq!((parameters.len(), buffers.len()), (266, 140));
            let flat = Flat::new(parameters, Device::Cpu).unwrap();
            assert_eq!(flat.dimension(), dimension);
            let anchors = |side| -> u32 { net.map_sides(side).iter().map(|m| m * m * 6).sum() };
            assert_eq!((anchors(320), anchors(160)), (3234, 840));
        }
    }

    #[test]
    fn any_side_gives_one_output_per_anchor() {
        let store = Store::new(Device::Cpu);
        let net = SsdLite::new(&store.root(), 6, NormKind::Group).unwrap();
        for side in [32, 75, 160] {
            let images = Tensor::zeros([1, 3, side, side], (Kind::Float, Device::Cpu));
            let outputs = tch::no_grad(|| net.forward(&images, Mode::Train)).unwrap();
            let cells: u32 = net.map_sides(side as u32).iter().map(|m| m * m).sum();
            assert_eq!(outputs.logits.size(), [1, i64::from(cells) * 6, 6]);
            assert_eq!(outputs.codes.size(), [1, i64::from(cells) * 6, 4]);
        }
    }
}
