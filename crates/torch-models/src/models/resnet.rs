//! ResNet-18 and ResNet-50 (He et al. 2016) as torchvision 0.26 builds them, with its names,
//! parameter order and initialization: 11,689,512 and 25,557,032 parameters at 1000 outputs.
//!
//! The stride of a bottleneck is on its 3x3 convolution, not on the first 1x1 one as in the paper
//! (torchvision's variant, also called ResNet v1.5). `tests/parity` compares outputs, losses, all
//! gradients and running statistics with torchvision's.

use tch::{TchError, Tensor};

use super::{ClassificationModel, PixelStatistics};
use crate::error::TorchError;
use crate::init::Init;
use crate::layers::{Conv2d, ConvShape, Linear, Mode, Norm, NormKind};
use crate::store::Scope;

/// Batch norm's epsilon in torchvision's ResNets.
const EPSILON: f64 = 1e-5;

/// Which ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Basic blocks, 2 per stage.
    Eighteen,
    /// Bottleneck blocks, 3, 4, 6 and 3 per stage.
    Fifty,
}

impl Depth {
    /// Layers with weights.
    pub fn layers(self) -> u32 {
        match self {
            Depth::Eighteen => 18,
            Depth::Fifty => 50,
        }
    }

    /// Blocks of the four stages.
    fn blocks(self) -> [usize; 4] {
        match self {
            Depth::Eighteen => [2, 2, 2, 2],
            Depth::Fifty => [3, 4, 6, 3],
        }
    }

    /// Output channels of a block over its width.
    fn expansion(self) -> i64 {
        match self {
            Depth::Eighteen => 1,
            Depth::Fifty => 4,
        }
    }
}

/// What comes before the first stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stem {
    /// torchvision's: a 7x7 convolution of stride 2 and 3x3 max pooling of stride 2.
    #[default]
    Standard,
    /// A 3x3 convolution of stride 1 and no pooling, for images of about 32 pixels (He et al.
    /// 2016, section 4.2). `conv1.weight` then has another shape than torchvision's.
    Small,
}

/// The network. See the module documentation.
pub struct ResNet {
    stem: Stem,
    conv1: Conv2d,
    bn1: Norm,
    blocks: Vec<Block>,
    fc: Linear,
    norm: NormKind,
}

/// A residual block: convolutions, each with its normalization, and the shortcut.
struct Block {
    convolutions: Vec<(Conv2d, Norm)>,
    downsample: Option<(Conv2d, Norm)>,
}

/// A convolution without bias, from N(0, 2 / fan-out) (torchvision's `kaiming_normal_` with
/// `mode="fan_out"`).
fn conv(scope: &Scope<'_>, shape: ConvShape) -> Result<Conv2d, TorchError> {
    let fan_out = shape.output * shape.kernel * shape.kernel;
    Conv2d::new(scope, shape, Init::kaiming(fan_out), false)
}

impl Block {
    fn new(
        scope: &Scope<'_>,
        depth: Depth,
        input: i64,
        width: i64,
        stride: i64,
        norm: NormKind,
    ) -> Result<Self, TorchError> {
        let output = width * depth.expansion();
        let shapes = match depth {
            Depth::Eighteen => vec![
                ConvShape::dense(input, width, 3, stride),
                ConvShape::dense(width, width, 3, 1),
            ],
            Depth::Fifty => vec![
                ConvShape::dense(input, width, 1, 1),
                ConvShape::dense(width, width, 3, stride),
                ConvShape::dense(width, output, 1, 1),
            ],
        };
        let convolutions = (1..)
            .zip(shapes)
            .map(|(number, shape)| {
                let convolution = conv(&scope.sub(format_args!("conv{number}")), shape)?;
                let bn = scope.sub(format_args!("bn{number}"));
                Ok((convolution, Norm::new(&bn, norm, shape.output, EPSILON)?))
            })
            .collect::<Result<_, TorchError>>()?;
        let downsample = (stride != 1 || input != output)
            .then(|| {
                let scope = scope.sub("downsample");
                let shape = ConvShape::dense(input, output, 1, stride);
                let convolution = conv(&scope.sub(0), shape)?;
                let norm = Norm::new(&scope.sub(1), norm, output, EPSILON)?;
                Ok::<_, TorchError>((convolution, norm))
            })
            .transpose()?;
        Ok(Self {
            convolutions,
            downsample,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let mut y = x.shallow_clone();
        for (number, (convolution, norm)) in self.convolutions.iter().enumerate() {
            y = norm.forward(&convolution.forward(&y)?, mode)?;
            if number + 1 < self.convolutions.len() {
                y = y.f_relu_()?;
            }
        }
        let shortcut = match &self.downsample {
            Some((convolution, norm)) => norm.forward(&convolution.forward(x)?, mode)?,
            None => x.shallow_clone(),
        };
        y.f_add_(&shortcut)?.f_relu_()
    }
}

impl ResNet {
    /// A network with `outputs` logits.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(
        scope: &Scope<'_>,
        depth: Depth,
        stem: Stem,
        norm: NormKind,
        outputs: i64,
    ) -> Result<Self, TorchError> {
        let first = match stem {
            Stem::Standard => ConvShape::dense(3, 64, 7, 2),
            Stem::Small => ConvShape::dense(3, 64, 3, 1),
        };
        let conv1 = conv(&scope.sub("conv1"), first)?;
        let bn1 = Norm::new(&scope.sub("bn1"), norm, 64, EPSILON)?;
        let mut blocks = vec![];
        let mut channels = 64;
        for (stage, count) in depth.blocks().into_iter().enumerate() {
            let width = 64 << stage;
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let scope = scope.sub(format_args!("layer{}.{block}", stage + 1));
                blocks.push(Block::new(&scope, depth, channels, width, stride, norm)?);
                channels = width * depth.expansion();
            }
        }
        Ok(Self {
            stem,
            conv1,
            bn1,
            blocks,
            fc: Linear::uniform(&scope.sub("fc"), channels, outputs)?,
            norm,
        })
    }
}

impl ClassificationModel for ResNet {
    /// Logits `[N, outputs]` of images `[N, 3, H, W]` that [`PixelStatistics::IMAGENET`]
    /// normalized.
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let mut x = self.conv1.forward(images)?;
        x = self.bn1.forward(&x, mode)?.f_relu_()?;
        if self.stem == Stem::Standard {
            x = x.f_max_pool2d([3; 2], [2; 2], [1; 2], [1; 2], false)?;
        }
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        let means = x.f_adaptive_avg_pool2d([1; 2])?.f_flatten(1, -1)?;
        self.fc.forward(&means)
    }

    fn is_per_sample(&self) -> bool {
        self.norm.is_per_sample()
    }

    fn pixel_statistics(&self) -> PixelStatistics {
        PixelStatistics::IMAGENET
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use tch::{Device, Kind};

    fn parameters(depth: Depth, stem: Stem, norm: NormKind, outputs: i64) -> usize {
        let store = Store::new(Device::Cpu);
        ResNet::new(&store.root(), depth, stem, norm, outputs).unwrap();
        let (parameters, _) = store.into_parts();
        parameters.iter().map(|p| p.tensor.numel()).sum()
    }

    #[test]
    fn sizes_are_torchvisions() {
        use NormKind::{Batch, Group};
        let standard = Stem::Standard;
        assert_eq!(parameters(Depth::Fifty, standard, Batch, 1000), 25_557_032);
        assert_eq!(parameters(Depth::Fifty, standard, Group, 1000), 25_557_032);
        assert_eq!(
            parameters(Depth::Eighteen, standard, Batch, 1000),
            11_689_512
        );
        let small = parameters(Depth::Eighteen, Stem::Small, Batch, 10);
        assert_eq!(
            small,
            11_689_512 - 990 * 513 - 64 * 3 * (49 - 9),
            "the convolution is 3x3 instead of 7x7"
        );
    }

    #[test]
    fn the_small_stem_keeps_small_images_large() {
        let store = Store::new(Device::Cpu);
        let net = ResNet::new(
            &store.root(),
            Depth::Eighteen,
            Stem::Small,
            NormKind::Group,
            10,
        )
        .unwrap();
        let images = Tensor::rand([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        let first = net.conv1.forward(&images).unwrap();
        assert_eq!(first.size(), [2, 64, 32, 32]);
        let logits = net.forward(&images, Mode::Train).unwrap();
        assert_eq!(logits.size(), [2, 10]);
    }
}
