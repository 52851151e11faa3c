//! The blocks of MobileNetV3-Large (Howard et al. 2019, table 1) under torchvision's names.

use tch::{TchError, Tensor};

use crate::error::TorchError;
use crate::init::Init;
use crate::layers::{Activation, Conv2d, ConvNorm, ConvShape, Mode, NormKind};
use crate::store::Scope;

/// All convolutions of a detector that starts without a pretrained backbone draw from N(0, 0.03)
/// (torchvision's `_normal_init`).
pub(super) const INIT: Init = Init::Normal(0.03);

/// One row of table 1.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    /// Input channels.
    pub input: i64,
    /// Side of the depthwise kernel.
    pub kernel: i64,
    /// Channels after the expansion.
    pub expanded: i64,
    /// Output channels.
    pub output: i64,
    /// Whether squeeze-and-excitation follows the depthwise convolution.
    pub squeeze: bool,
    /// The nonlinearity.
    pub activation: Activation,
    /// Stride of the depthwise convolution.
    pub stride: i64,
}

/// The 15 rows, with the reduced tail (80 channels from the first stride-32 block on) that
/// torchvision uses for a detector without an ImageNet backbone and for its published weights.
pub const LARGE_REDUCED: [BlockShape; 15] = {
    use Activation::{Hardswish as HS, Relu as RE};
    const fn row(
        input: i64,
        kernel: i64,
        expanded: i64,
        output: i64,
        squeeze: bool,
        activation: Activation,
        stride: i64,
    ) -> BlockShape {
        BlockShape {
            input,
            kernel,
            expanded,
            output,
            squeeze,
            activation,
            stride,
        }
    }
    [
        row(16, 3, 16, 16, false, RE, 1),
        row(16, 3, 64, 24, false, RE, 2),
        row(24, 3, 72, 24, false, RE, 1),
        row(24, 5, 72, 40, true, RE, 2),
        row(40, 5, 120, 40, true, RE, 1),
        row(40, 5, 120, 40, true, RE, 1),
        row(40, 3, 240, 80, false, HS, 2),
        row(80, 3, 200, 80, false, HS, 1),
        row(80, 3, 184, 80, false, HS, 1),
        row(80, 3, 184, 80, false, HS, 1),
        row(80, 3, 480, 112, true, HS, 1),
        row(112, 3, 672, 112, true, HS, 1),
        row(112, 5, 672, 80, true, HS, 2),
        row(80, 5, 480, 80, true, HS, 1),
        row(80, 5, 480, 80, true, HS, 1),
    ]
};

/// Channels of the stem and of the closing 1x1 convolution.
pub const STEM_CHANNELS: i64 = 16;
/// Channels of the closing 1x1 convolution, 6 times the last block's.
pub const LAST_CHANNELS: i64 = 480;

/// Squeeze-and-excitation (Hu et al. 2018): channels scaled by a gate computed from their means.
struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcitation {
    fn new(scope: &Scope<'_>, channels: i64) -> Result<Self, TorchError> {
        let squeezed = make_divisible(channels as f64 / 4.0, 8);
        Ok(Self {
            fc1: Conv2d::new(
                &scope.sub("fc1"),
                ConvShape::dense(channels, squeezed, 1, 1),
                INIT,
                true,
            )?,
            fc2: Conv2d::new(
                &scope.sub("fc2"),
                ConvShape::dense(squeezed, channels, 1, 1),
                INIT,
                true,
            )?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let mean = x.f_adaptive_avg_pool2d([1, 1])?;
        let gate = self.fc2.forward(&self.fc1.forward(&mean)?.f_relu()?)?;
        gate.f_hardsigmoid()?.f_mul(x)
    }
}

/// The nearest multiple of `divisor` that is not more than 10 % below `value` and at least
/// `divisor`.
pub fn make_divisible(value: f64, divisor: i64) -> i64 {
    let rounded = ((value + divisor as f64 / 2.0) as i64 / divisor * divisor).max(divisor);
    if (rounded as f64) < 0.9 * value {
        rounded + divisor
    } else {
        rounded
    }
}

/// The part of an inverted residual after the expansion: depthwise convolution, optional
/// squeeze-and-excitation, projection. Layers are named by number from `first`.
pub struct Projection {
    depthwise: ConvNorm,
    squeeze: Option<SqueezeExcitation>,
    project: ConvNorm,
}

impl Projection {
    /// Registers the layers under `scope`.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(
        scope: &Scope<'_>,
        shape: &BlockShape,
        norm: NormKind,
        first: usize,
    ) -> Result<Self, TorchError> {
        let depthwise = ConvNorm::new(
            &scope.sub(first),
            ConvShape::depthwise(shape.expanded, shape.kernel, shape.stride),
            INIT,
            norm,
            shape.activation,
        )?;
        let squeeze = shape
            .squeeze
            .then(|| SqueezeExcitation::new(&scope.sub(first + 1), shape.expanded))
            .transpose()?;
        let project = ConvNorm::new(
            &scope.sub(first + 1 + usize::from(shape.squeeze)),
            ConvShape::dense(shape.expanded, shape.output, 1, 1),
            INIT,
            norm,
            Activation::Identity,
        )?;
        Ok(Self {
            depthwise,
            squeeze,
            project,
        })
    }

    /// Maps the expanded `[N, expanded, H, W]` to `[N, output, H / stride, W / stride]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let mut x = self.depthwise.forward(x, mode)?;
        if let Some(squeeze) = &self.squeeze {
            x = squeeze.forward(&x)?;
        }
        self.project.forward(&x, mode)
    }
}

/// The expansion convolution of a block, named `0`.
///
/// # Errors
/// When libtorch cannot allocate.
pub fn expansion(
    scope: &Scope<'_>,
    shape: &BlockShape,
    norm: NormKind,
) -> Result<ConvNorm, TorchError> {
    ConvNorm::new(
        scope,
        ConvShape::dense(shape.input, shape.expanded, 1, 1),
        INIT,
        norm,
        shape.activation,
    )
}

/// An inverted residual with linear bottleneck (Sandler et al. 2018, section 3.4).
pub struct InvertedResidual {
    expand: Option<ConvNorm>,
    projection: Projection,
    residual: bool,
}

impl InvertedResidual {
    /// Registers the layers as `block.0`, `block.1`, ... under `scope`; without expansion when it
    /// would not widen.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(scope: &Scope<'_>, shape: &BlockShape, norm: NormKind) -> Result<Self, TorchError> {
        let scope = scope.sub("block");
        let widens = shape.expanded != shape.input;
        let expand = widens
            .then(|| expansion(&scope.sub(0), shape, norm))
            .transpose()?;
        let projection = Projection::new(&scope, shape, norm, usize::from(widens))?;
        Ok(Self {
            expand,
            projection,
            residual: shape.stride == 1 && shape.input == shape.output,
        })
    }

    /// Applies the block to `[N, input, H, W]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let y = match &self.expand {
            Some(expand) => self.projection.forward(&expand.forward(x, mode)?, mode)?,
            None => self.projection.forward(x, mode)?,
        };
        if self.residual { y.f_add(x) } else { Ok(y) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeezed_channels_follow_the_paper() {
        let squeezed = [72, 120, 480, 672].map(|c| make_divisible(f64::from(c) / 4.0, 8));
        assert_eq!(squeezed, [24, 32, 120, 168]);
        assert_eq!(make_divisible(11.0, 8), 16, "8 would lose more than 10 %");
    }

    #[test]
    fn rows_chain() {
        assert_eq!(LARGE_REDUCED[0].input, STEM_CHANNELS);
        for pair in LARGE_REDUCED.windows(2) {
            assert_eq!(pair[0].output, pair[1].input);
        }
        assert_eq!(LARGE_REDUCED[14].output * 6, LAST_CHANNELS);
    }
}
