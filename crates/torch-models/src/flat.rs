//! One flat parameter vector and one flat gradient vector that a model's tensors are views of.
//!
//! Every leaf tensor's storage is pointed at a slice of one contiguous f32 buffer, and every
//! `.grad` at a slice of another. A master's parameters therefore arrive in one copy, and
//! `backward()` accumulates straight into the vector that is quantized and sent: there is no
//! gather or scatter per tensor. It rests on three facts of libtorch, which [`Flat::check`]
//! verifies after every backward pass:
//!
//! * handles of one tensor share its implementation, so `set_data` moves all of them;
//! * `.grad` is a handle on the gradient itself, so the same works for it once it exists;
//! * gradient accumulation adds in place into a gradient that is already defined.
//!
//! The layout is dense and in PyTorch's order (see [`crate::store`]).

use tch::{Device, Kind, Tensor};

use crate::error::TorchError;
use crate::init::Init;
use crate::store::Parameter;

/// One tensor's place in the flat vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Dotted name, as in a PyTorch `state_dict`.
    pub name: String,
    /// First element in the flat vectors.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
    /// Shape of the view.
    pub shape: Vec<i64>,
    /// How it starts.
    pub init: Init,
}

/// The flat vectors of one model. See the module documentation.
pub struct Flat {
    parameters: Tensor,
    gradients: Tensor,
    leaves: Vec<Tensor>,
    slots: Vec<Slot>,
    /// The values of the tensors that start as they came; empty for all others.
    kept: Vec<Vec<f32>>,
    dimension: usize,
    /// Page-locked staging for transfers; `None` on the CPU, where nothing is staged.
    host: Option<Tensor>,
}

impl Flat {
    /// Lays `parameters` out in order and turns them into views. All values are zero until
    /// [`Flat::set_parameters`].
    ///
    /// # Errors
    /// When libtorch cannot allocate the buffers, or `parameters` is empty.
    pub fn new(parameters: Vec<Parameter>, device: Device) -> Result<Self, TorchError> {
        let mut slots = Vec::with_capacity(parameters.len());
        let mut leaves = Vec::with_capacity(parameters.len());
        let mut kept = Vec::with_capacity(parameters.len());
        let mut offset = 0;
        for parameter in parameters {
            let len = parameter.tensor.numel();
            slots.push(Slot {
                name: parameter.name,
                offset,
                len,
                shape: parameter.tensor.size(),
                init: parameter.init,
            });
            kept.push(match parameter.init {
                Init::Kept => Vec::try_from(parameter.tensor.f_detach()?.f_reshape(-1i64)?)?,
                _ => Vec::new(),
            });
            leaves.push(parameter.tensor);
            offset += len;
        }
        let zeros = || Tensor::f_zeros([offset as i64], (Kind::Float, device));
        let host = match device {
            Device::Cpu => None,
            _ => {
                let pageable = Tensor::f_zeros([offset as i64], (Kind::Float, Device::Cpu))?;
                // Page-locked memory only makes the copies faster; do without if there is none.
                Some(pageable.f_pin_memory(device).unwrap_or(pageable))
            }
        };
        let mut flat = Self {
            parameters: zeros()?,
            gradients: zeros()?,
            leaves,
            slots,
            kept,
            dimension: offset,
            host,
        };
        flat.attach_parameters()?;
        flat.attach_gradients()?;
        flat.check()?;
        Ok(flat)
    }

    fn view(buffer: &Tensor, slot: &Slot) -> Result<Tensor, TorchError> {
        Ok(buffer
            .f_narrow(0, slot.offset as i64, slot.len as i64)?
            .f_view(slot.shape.as_slice())?)
    }

    fn attach_parameters(&mut self) -> Result<(), TorchError> {
        tch::no_grad(|| {
            for (leaf, slot) in self.leaves.iter_mut().zip(&self.slots) {
                leaf.f_set_data(&Self::view(&self.parameters, slot)?)?;
            }
            Ok(())
        })
    }

    fn attach_gradients(&mut self) -> Result<(), TorchError> {
        // A backward pass through a dummy sum brings every `.grad` into being.
        tch::with_grad(|| {
            let sums = self
                .leaves
                .iter()
                .map(|leaf| leaf.f_sum(Kind::Float))
                .collect::<Result<Vec<_>, _>>()?;
            Tensor::f_stack(&sums, 0)?.f_sum(Kind::Float)?.f_backward()
        })?;
        tch::no_grad(|| {
            for (leaf, slot) in self.leaves.iter().zip(&self.slots) {
                leaf.f_grad()?
                    .f_set_data(&Self::view(&self.gradients, slot)?)?;
            }
            Ok::<(), TorchError>(())
        })?;
        self.zero_gradients()
    }

    /// Number of parameters.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Where each tensor lies, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The flat parameter tensor, shape `[dimension]`.
    pub fn parameters(&self) -> &Tensor {
        &self.parameters
    }

    /// The flat gradient tensor, shape `[dimension]`.
    pub fn gradients(&self) -> &Tensor {
        &self.gradients
    }

    /// The initial parameters of run `seed`.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0f32; self.dimension];
        for (index, slot) in self.slots.iter().enumerate() {
            let values = &mut values[slot.offset..slot.offset + slot.len];
            match slot.init {
                Init::Kept => values.copy_from_slice(&self.kept[index]),
                init => init.fill(seed, index as u64, values),
            }
        }
        values
    }

    /// Overwrites all parameters, in one copy. Call it between a backward pass and the next
    /// forward pass: autograd is not told.
    ///
    /// # Errors
    /// [`TorchError::Length`] when `values` has another length.
    pub fn set_parameters(&mut self, values: &[f32]) -> Result<(), TorchError> {
        self.same_length(values.len())?;
        match &mut self.host {
            None => {
                // SAFETY: `parameters` was allocated above as a contiguous f32 CPU tensor of
                // `dimension` elements and lives as long as `self`; no forward pass is running,
                // because that borrows the model and the model's owner holds `&mut self` here.
                unsafe { slice_mut(&mut self.parameters, self.dimension) }.copy_from_slice(values);
            }
            Some(host) => {
                // SAFETY: as above, for the staging buffer.
                unsafe { slice_mut(host, self.dimension) }.copy_from_slice(values);
                tch::no_grad(|| self.parameters.f_copy_(host))?;
            }
        }
        Ok(())
    }

    /// Sets all gradients to zero; the next backward passes accumulate into them.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn zero_gradients(&mut self) -> Result<(), TorchError> {
        let _ = tch::no_grad(|| self.gradients.f_zero_())?;
        Ok(())
    }

    /// Copies the accumulated gradient into `out`.
    ///
    /// # Errors
    /// [`TorchError::Length`] when `out` has another length.
    pub fn read_gradients(&mut self, out: &mut [f32]) -> Result<(), TorchError> {
        self.same_length(out.len())?;
        let source = match &mut self.host {
            None => &mut self.gradients,
            Some(host) => {
                tch::no_grad(|| host.f_copy_(&self.gradients))?;
                host
            }
        };
        // SAFETY: `source` is a contiguous f32 CPU tensor of `dimension` elements (the gradient
        // buffer or the staging buffer) and no backward pass is running.
        out.copy_from_slice(unsafe { slice_mut(source, self.dimension) });
        Ok(())
    }

    /// Verifies that every parameter and gradient still is a view of the flat vectors.
    ///
    /// # Errors
    /// [`TorchError::Detached`] naming the first tensor that is not.
    pub fn check(&self) -> Result<(), TorchError> {
        let parameters = self.parameters.data_ptr() as usize;
        let gradients = self.gradients.data_ptr() as usize;
        for (leaf, slot) in self.leaves.iter().zip(&self.slots) {
            let place = slot.offset * size_of::<f32>();
            let gradient = leaf.f_grad()?;
            let what = if leaf.data_ptr() as usize != parameters + place {
                "parameter"
            } else if !gradient.defined() || gradient.data_ptr() as usize != gradients + place {
                "gradient"
            } else {
                continue;
            };
            return Err(TorchError::Detached {
                what,
                name: slot.name.clone(),
            });
        }
        Ok(())
    }

    fn same_length(&self, found: usize) -> Result<(), TorchError> {
        if found == self.dimension {
            return Ok(());
        }
        Err(TorchError::Length {
            found,
            expected: self.dimension,
        })
    }
}

/// The memory of a CPU tensor.
///
/// # Safety
/// `tensor` must be a contiguous f32 tensor in CPU memory with `len` elements, and nothing else
/// may read or write that memory while the slice lives.
unsafe fn slice_mut(tensor: &mut Tensor, len: usize) -> &mut [f32] {
    debug_assert_eq!(
        (tensor.device(), tensor.kind(), tensor.numel()),
        (Device::Cpu, Kind::Float, len)
    );
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn two_tensors() -> (Tensor, Tensor, Flat) {
        let store = Store::new(Device::Cpu);
        let scope = store.root().sub("layer");
        let weight = scope
            .parameter("weight", &[2, 3], Init::Normal(1.0))
            .unwrap();
        let bias = scope.parameter("bias", &[3], Init::Constant(0.5)).unwrap();
        let flat = Flat::new(store.into_parts().0, Device::Cpu).unwrap();
        (weight, bias, flat)
    }

    #[test]
    fn layout_is_dense_and_in_order() {
        let (_, _, flat) = two_tensors();
        let places: Vec<_> = flat
            .slots()
            .iter()
            .map(|s| (s.name.as_str(), s.offset, s.len))
            .collect();
        assert_eq!(places, [("layer.weight", 0, 6), ("layer.bias", 6, 3)]);
        assert_eq!(flat.dimension(), 9);
        assert_eq!(flat.initial_parameters(1)[6..], [0.5; 3]);
    }

    #[test]
    fn views_survive_many_steps_and_carry_the_gradient() {
        let (weight, bias, mut flat) = two_tensors();
        let x = Tensor::from_slice(&[1f32, 2.0]).view([1, 2]);
        let mut gradient = [0f32; 9];
        for step in 0..5 {
            let values: Vec<f32> = (0..9).map(|i| (i + step) as f32).collect();
            flat.set_parameters(&values).unwrap();
            assert_eq!(weight.double_value(&[1, 2]), (5 + step) as f64);
            flat.zero_gradients().unwrap();
            let y = x.matmul(&weight) + &bias;
            y.sum(Kind::Float).backward();
            (bias.sum(Kind::Float) * 2.0).backward();
            flat.check().unwrap();
            flat.read_gradients(&mut gradient).unwrap();
            assert_eq!(gradient, [1., 1., 1., 2., 2., 2., 3., 3., 3.]);
        }
    }

    #[test]
    fn a_replaced_gradient_is_noticed() {
        let (weight, _, flat) = two_tensors();
        weight
            .grad()
            .set_data(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)));
        let error = flat.check().unwrap_err();
        assert!(
            matches!(&error, TorchError::Detached { what: "gradient", name } if name == "layer.weight"),
            "{error}"
        );
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let (_, _, mut flat) = two_tensors();
        assert!(matches!(
            flat.set_parameters(&[0.0; 8]),
            Err(TorchError::Length {
                found: 8,
                expected: 9
            })
        ));
        assert!(flat.read_gradients(&mut [0.0; 10]).is_err());
    }
}
