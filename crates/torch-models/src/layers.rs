//! Convolutions, linear layers and normalizations with PyTorch's parameter order and names.
//!
//! tch's own layers register the bias before the weight and start batch norm from a uniform
//! distribution, which would break both the flat layout and exchange of weights with PyTorch.

use tch::{TchError, Tensor};

use crate::error::TorchError;
use crate::init::Init;
use crate::store::Scope;

/// What a pass through the model is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Gradients: trainable batch norm normalizes with the batch's own statistics and leaves the
    /// running ones alone.
    Train,
    /// Predictions: batch norm uses its running statistics.
    Evaluate,
    /// Re-estimation of the running statistics: as `Train`, and the running statistics move
    /// towards the batch's by this factor.
    Calibrate(f64),
}

/// Which normalization follows the convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// Batch norm with the batch's statistics: couples the samples of a batch.
    Batch,
    /// Group norm: per sample, no running statistics.
    Group,
    /// Batch norm whose running statistics stay as loaded: per sample. Scale and shift are
    /// trained (torchvision's `FrozenBatchNorm2d` fixes them too).
    Frozen,
}

impl NormKind {
    /// Whether the gradient of a batch is the sum of its samples' gradients.
    pub fn is_per_sample(self) -> bool {
        self != NormKind::Batch
    }
}

/// Batch norm's epsilon in a [`ConvNorm`], as in torchvision's MobileNetV3 and SSDLite.
const CONV_NORM_EPSILON: f64 = 1e-3;
/// PyTorch's default.
const GROUP_NORM_EPSILON: f64 = 1e-5;

/// A normalization over the channels of `[N, C, H, W]`.
pub struct Norm {
    weight: Tensor,
    bias: Tensor,
    statistics: Statistics,
}

enum Statistics {
    Group {
        groups: i64,
    },
    Batch {
        mean: Tensor,
        variance: Tensor,
        frozen: bool,
        epsilon: f64,
    },
}

impl Norm {
    /// Registers `weight` and `bias` (and `running_mean`, `running_var`) under `scope`.
    /// `epsilon` is added to batch norm's variances; group norm's is 1e-5.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(
        scope: &Scope<'_>,
        kind: NormKind,
        channels: i64,
        epsilon: f64,
    ) -> Result<Self, TorchError> {
        let weight = scope.parameter("weight", &[channels], Init::Constant(1.0))?;
        let bias = scope.parameter("bias", &[channels], Init::Constant(0.0))?;
        let statistics = match kind {
            NormKind::Group => Statistics::Group {
                groups: group_count(channels),
            },
            NormKind::Batch | NormKind::Frozen => Statistics::Batch {
                mean: scope.buffer("running_mean", &[channels], 0.0)?,
                variance: scope.buffer("running_var", &[channels], 1.0)?,
                frozen: kind == NormKind::Frozen,
                epsilon,
            },
        };
        Ok(Self {
            weight,
            bias,
            statistics,
        })
    }

    /// Normalizes `x`, `[N, C, H, W]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        match &self.statistics {
            Statistics::Group { groups } => {
                x.f_group_norm(*groups, weight, bias, GROUP_NORM_EPSILON, true)
            }
            Statistics::Batch {
                mean,
                variance,
                frozen,
                epsilon,
            } => {
                let (running, training, momentum) = match mode {
                    Mode::Train if !frozen => (None, true, 0.0),
                    Mode::Calibrate(momentum) if !frozen => {
                        (Some((mean, variance)), true, momentum)
                    }
                    _ => (Some((mean, variance)), false, 0.0),
                };
                x.f_batch_norm(
                    weight,
                    bias,
                    running.map(|r| r.0),
                    running.map(|r| r.1),
                    training,
                    momentum,
                    *epsilon,
                    true,
                )
            }
        }
    }
}

/// Number of groups for `channels`: the largest divisor that is at most 8 and leaves at least
/// four channels to a group (at least one group).
pub fn group_count(channels: i64) -> i64 {
    (1..=8.min((channels / 4).max(1)))
        .rev()
        .find(|groups| channels % groups == 0)
        .unwrap_or(1)
}

/// A 2-D convolution with "same" padding `(kernel - 1) / 2` and no dilation.
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
    groups: i64,
}

/// The shape of a [`Conv2d`].
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    /// Input channels.
    pub input: i64,
    /// Output channels.
    pub output: i64,
    /// Side of the kernel, in pixels.
    pub kernel: i64,
    /// Stride.
    pub stride: i64,
    /// Channel groups; equal to `input` for a depthwise convolution.
    pub groups: i64,
}

impl ConvShape {
    /// A dense convolution.
    pub fn dense(input: i64, output: i64, kernel: i64, stride: i64) -> Self {
        Self {
            input,
            output,
            kernel,
            stride,
            groups: 1,
        }
    }

    /// A depthwise convolution.
    pub fn depthwise(channels: i64, kernel: i64, stride: i64) -> Self {
        Self {
            groups: channels,
            ..Self::dense(channels, channels, kernel, stride)
        }
    }

    /// Inputs that feed one output.
    pub fn fan_in(&self) -> i64 {
        self.input / self.groups * self.kernel * self.kernel
    }
}

impl Conv2d {
    /// Registers `weight` (and `bias`, which starts at 0) under `scope`.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(
        scope: &Scope<'_>,
        shape: ConvShape,
        init: Init,
        bias: bool,
    ) -> Result<Self, TorchError> {
        let weight = scope.parameter(
            "weight",
            &[
                shape.output,
                shape.input / shape.groups,
                shape.kernel,
                shape.kernel,
            ],
            init,
        )?;
        let bias = bias
            .then(|| scope.parameter("bias", &[shape.output], Init::Constant(0.0)))
            .transpose()?;
        Ok(Self {
            weight,
            bias,
            stride: shape.stride,
            padding: (shape.kernel - 1) / 2,
            groups: shape.groups,
        })
    }

    /// Convolves `x`, `[N, C, H, W]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_conv2d(
            &self.weight,
            self.bias.as_ref(),
            [self.stride; 2],
            [self.padding; 2],
            [1; 2],
            self.groups,
        )
    }
}

/// A fully connected layer.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Registers `weight` `[output, input]` and `bias` (which starts at 0) under `scope`.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(scope: &Scope<'_>, input: i64, output: i64, init: Init) -> Result<Self, TorchError> {
        Ok(Self {
            weight: scope.parameter("weight", &[output, input], init)?,
            bias: scope.parameter("bias", &[output], Init::Constant(0.0))?,
        })
    }

    /// As [`Linear::new`], from PyTorch's default: weight and bias uniform in
    /// (-1 / sqrt(input), 1 / sqrt(input)).
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn uniform(scope: &Scope<'_>, input: i64, output: i64) -> Result<Self, TorchError> {
        let init = Init::Uniform(1.0 / (input as f64).sqrt());
        Ok(Self {
            weight: scope.parameter("weight", &[output, input], init)?,
            bias: scope.parameter("bias", &[output], init)?,
        })
    }

    /// Maps `x`, `[N, input]`, to `[N, output]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, Some(&self.bias))
    }
}

/// A pointwise nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None.
    Identity,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, section 5.2).
    Hardswish,
}

impl Activation {
    /// Applies it to the output of a normalization, whose backward pass does not need that
    /// output: the rectifiers overwrite it.
    ///
    /// # Errors
    /// When libtorch fails.
    fn forward(self, mut x: Tensor) -> Result<Tensor, TchError> {
        match self {
            Activation::Identity => Ok(x),
            Activation::Relu => x.f_relu_(),
            Activation::Relu6 => x.f_relu6_(),
            Activation::Hardswish => x.f_hardswish(),
        }
    }
}

/// Convolution without bias, normalization, activation: torchvision's `Conv2dNormActivation`,
/// with the convolution named `0` and the normalization `1`.
pub struct ConvNorm {
    conv: Conv2d,
    norm: Norm,
    activation: Activation,
}

impl ConvNorm {
    /// Registers both layers under `scope`.
    ///
    /// # Errors
    /// When libtorch cannot allocate.
    pub fn new(
        scope: &Scope<'_>,
        shape: ConvShape,
        init: Init,
        norm: NormKind,
        activation: Activation,
    ) -> Result<Self, TorchError> {
        Ok(Self {
            conv: Conv2d::new(&scope.sub(0), shape, init, false)?,
            norm: Norm::new(&scope.sub(1), norm, shape.output, CONV_NORM_EPSILON)?,
            activation,
        })
    }

    /// Applies the three in turn.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let x = self.norm.forward(&self.conv.forward(x)?, mode)?;
        self.activation.forward(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use tch::{Device, Kind};

    #[test]
    fn groups_divide_the_channels() {
        for channels in 1..=512 {
            let groups = group_count(channels);
            assert!(channels % groups == 0 && (1..=8).contains(&groups));
        }
        assert_eq!(
            [8, 12, 24, 32, 36, 672].map(group_count),
            [2, 3, 6, 8, 6, 8]
        );
    }

    #[test]
    fn the_weight_comes_before_the_bias() {
        let store = Store::new(Device::Cpu);
        let shape = ConvShape::dense(3, 4, 3, 1);
        Conv2d::new(&store.root().sub("c"), shape, Init::kaiming(27), true).unwrap();
        Linear::new(&store.root().sub("l"), 4, 2, Init::kaiming(4)).unwrap();
        let names: Vec<_> = store.into_parts().0.into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["c.weight", "c.bias", "l.weight", "l.bias"]);
    }

    /// Batch statistics couple samples; the other two kinds must not.
    #[test]
    fn per_sample_norms_do_not_mix_samples() {
        for kind in [NormKind::Batch, NormKind::Group, NormKind::Frozen] {
            let store = Store::new(Device::Cpu);
            let norm = Norm::new(&store.root(), kind, 8, 1e-3).unwrap();
            let _ = norm.weight.detach().fill_(1.0);
            let x = (Tensor::arange(2 * 8 * 9, (Kind::Float, Device::Cpu)) * 0.7)
                .sin()
                .view([2, 8, 3, 3]);
            let both = norm.forward(&x, Mode::Train).unwrap().narrow(0, 0, 1);
            let alone = norm.forward(&x.narrow(0, 0, 1), Mode::Train).unwrap();
            let difference = (both - alone).abs().max().double_value(&[]);
            assert_eq!(
                difference < 1e-6,
                kind.is_per_sample(),
                "{kind:?}: {difference}"
            );
        }
    }

    #[test]
    fn calibration_averages_the_batches() {
        let store = Store::new(Device::Cpu);
        let norm = Norm::new(&store.root(), NormKind::Batch, 1, 1e-3).unwrap();
        for (batch, value) in [2.0, 4.0, 9.0].into_iter().enumerate() {
            let x = Tensor::full([2, 1, 2, 2], value, (Kind::Float, Device::Cpu));
            let _ = norm
                .forward(&x, Mode::Calibrate(1.0 / (batch + 1) as f64))
                .unwrap();
            let _ = norm.forward(&(&x * 100.0), Mode::Train).unwrap();
        }
        let Statistics::Batch { mean, .. } = &norm.statistics else {
            panic!("batch norm has running statistics");
        };
        assert!((mean.double_value(&[0]) - 5.0).abs() < 1e-5, "{mean}");
    }
}
