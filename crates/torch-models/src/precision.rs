//! The precision of a network's pass.

use std::ffi::c_int;

use tch::Device;

use crate::error::TorchError;

/// What a network multiplies in. Parameters, gradients, losses and everything that is sent are f32 in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// Mixed: convolutions and matrix products take bfloat16 operands, what loses by it (norms, softmax)
    /// stays f32, as `torch.autocast` decides.
    Bf16,
}

unsafe extern "C" {
    fn gradcode_autocast_begin(cuda: c_int) -> c_int;
    fn gradcode_autocast_end(cuda: c_int, before: c_int);
}

/// Ends mixed precision also when a pass panics.
struct Mixed {
    cuda: c_int,
    before: c_int,
}

impl Mixed {
    fn begin(device: Device) -> Result<Self, TorchError> {
        let cuda = c_int::from(device.is_cuda());
        // SAFETY: the function takes any number and lets no C++ exception out.
        let before = unsafe { gradcode_autocast_begin(cuda) };
        if before < 0 {
            return Err(TorchError::Setting {
                key: "model.precision",
                value: "bf16".to_owned(),
                expected: format!("f32, since libtorch has no mixed precision on {device:?}"),
            });
        }
        Ok(Self { cuda, before })
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        // SAFETY: the function takes any numbers and lets no C++ exception out.
        unsafe { gradcode_autocast_end(self.cuda, self.before) };
    }
}

impl Precision {
    /// Runs a forward pass on `device`. The backward pass follows it by itself; it does not belong here.
    ///
    /// # Errors
    /// As `pass`, and when libtorch has no mixed precision on the device.
    pub fn run<T, E: From<TorchError>>(
        self,
        device: Device,
        pass: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _mixed = match self {
            Precision::F32 => None,
            Precision::Bf16 => Some(Mixed::begin(device)?),
        };
        pass()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    fn product(precision: Precision) -> Tensor {
        let ones = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        let product = precision.run(Device::Cpu, || Ok::<_, TorchError>(ones.f_matmul(&ones)?));
        product.unwrap()
    }

    #[test]
    fn products_are_mixed_inside_only() {
        assert_eq!(product(Precision::F32).kind(), Kind::Float);
        assert_eq!(product(Precision::Bf16).kind(), Kind::BFloat16);
        assert_eq!(product(Precision::F32).kind(), Kind::Float);
    }

    #[test]
    fn a_panic_ends_it_too() {
        let panicked = std::panic::catch_unwind(|| {
            Precision::Bf16.run(Device::Cpu, || -> Result<(), TorchError> {
                panic!("a pass")
            })
        });
        assert!(panicked.is_err());
        assert_eq!(product(Precision::F32).kind(), Kind::Float);
    }

    #[test]
    fn gradients_stay_f32() {
        let weights = Tensor::ones([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let loss = Precision::Bf16.run(Device::Cpu, || {
            let out = weights.f_matmul(&weights)?;
            Ok::<_, TorchError>(out.f_to_kind(Kind::Float)?.f_sum(Kind::Float)?)
        });
        loss.unwrap().backward();
        assert_eq!(weights.grad().kind(), Kind::Float);
        assert_eq!(weights.grad(), weights * 8.0);
    }
}
