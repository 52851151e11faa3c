//! Weights files: safetensors under PyTorch's `state_dict` names.

use std::collections::HashMap;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::error::TorchError;
use crate::flat::Slot;
use crate::store::Buffer;

/// Layers that a file made for other categories cannot fill: they keep their initial values.
const CATEGORY_LAYERS: [&str; 2] = ["head.classification_head.", "classification_head."];

/// Overwrites `parameters` (the flat vector) and `buffers` with what the file has, and returns
/// how many tensors it filled.
///
/// Tensors the file lacks keep their values (a backbone's weights start a detector), and so do
/// the class scores' layers when the file was made for another number of categories. Tensors the
/// model lacks are ignored. Any floating-point type is converted.
///
/// # Errors
/// [`TorchError::Weights`] when the file cannot be read, a tensor has another shape than the
/// model's, or nothing in the file fits the model.
pub fn load(
    path: &Path,
    slots: &[Slot],
    parameters: &mut [f32],
    buffers: &mut [Buffer],
) -> Result<usize, TorchError> {
    let error = |reason: String| TorchError::Weights {
        path: path.to_owned(),
        reason,
    };
    let file: HashMap<String, Tensor> = Tensor::read_safetensors(path)
        .map_err(|e| error(e.to_string()))?
        .into_iter()
        .collect();
    let same_shape = |name: &str, found: Vec<i64>, expected: &[i64]| {
        if found == expected {
            return Ok(true);
        }
        let skipped = CATEGORY_LAYERS.iter().any(|layer| name.starts_with(layer));
        if skipped {
            return Ok(false);
        }
        Err(error(format!(
            "{name} has shape {found:?}, the model's is {expected:?}"
        )))
    };
    let mut filled = 0;
    for slot in slots {
        let Some(tensor) = file.get(&slot.name) else {
            continue;
        };
        if !same_shape(&slot.name, tensor.size(), &slot.shape)? {
            continue;
        }
        let tensor = tensor.f_to_kind(Kind::Float)?.f_contiguous()?;
        tensor.f_copy_data(
            &mut parameters[slot.offset..slot.offset + slot.len],
            slot.len,
        )?;
        filled += 1;
    }
    for buffer in buffers {
        let Some(tensor) = file.get(&buffer.name) else {
            continue;
        };
        if same_shape(&buffer.name, tensor.size(), &buffer.tensor.size())? {
            let tensor = tensor.f_to_kind(Kind::Float)?;
            tch::no_grad(|| buffer.tensor.f_copy_(&tensor))?;
            filled += 1;
        }
    }
    if filled == 0 {
        return Err(error("it has no tensor of this model".into()));
    }
    Ok(filled)
}

/// Writes the flat vector `parameters` and `buffers` as safetensors that PyTorch's
/// `load_state_dict` takes (batch norm's `num_batches_tracked` is left out: use `strict=False`).
///
/// # Errors
/// [`TorchError::Weights`] when the file cannot be written.
pub fn save(
    path: &Path,
    slots: &[Slot],
    parameters: &[f32],
    buffers: &[Buffer],
) -> Result<(), TorchError> {
    let mut tensors = Vec::with_capacity(slots.len() + buffers.len());
    for slot in slots {
        let values = &parameters[slot.offset..slot.offset + slot.len];
        let tensor = Tensor::f_from_slice(values)?.f_view(slot.shape.as_slice())?;
        tensors.push((slot.name.clone(), tensor));
    }
    for buffer in buffers {
        tensors.push((
            buffer.name.clone(),
            buffer.tensor.f_to_device(tch::Device::Cpu)?,
        ));
    }
    Tensor::write_safetensors(&tensors, path).map_err(|e| TorchError::Weights {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flat::Flat;
    use crate::init::Init;
    use crate::layers::{Activation, ConvNorm, ConvShape, NormKind};
    use crate::store::Store;
    use tch::Device;

    fn model(channels: i64, head: i64) -> (Flat, Vec<Buffer>) {
        let store = Store::new(Device::Cpu);
        let root = store.root();
        let layer = |name: &str, output| {
            let shape = ConvShape::dense(3, output, 3, 1);
            ConvNorm::new(
                &root.sub(name),
                shape,
                Init::Normal(1.0),
                NormKind::Frozen,
                Activation::Relu,
            )
            .unwrap()
        };
        layer("backbone", channels);
        layer("head.classification_head", head);
        let (parameters, buffers) = store.into_parts();
        (Flat::new(parameters, Device::Cpu).unwrap(), buffers)
    }

    #[test]
    fn a_saved_model_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let (flat, buffers) = model(8, 8);
        let _ = buffers[1].tensor.shallow_clone().fill_(0.25);
        let saved = flat.initial_parameters(5);
        save(&path, flat.slots(), &saved, &buffers).unwrap();

        let (flat, mut buffers) = model(8, 8);
        let mut loaded = flat.initial_parameters(6);
        assert_eq!(
            load(&path, flat.slots(), &mut loaded, &mut buffers).unwrap(),
            10
        );
        assert_eq!(loaded, saved);
        assert_eq!(buffers[1].tensor.double_value(&[3]), 0.25);

        // other categories: the backbone is taken, the class scores are not
        let (flat, mut buffers) = model(8, 12);
        let initial = flat.initial_parameters(6);
        let mut loaded = initial.clone();
        assert_eq!(
            load(&path, flat.slots(), &mut loaded, &mut buffers).unwrap(),
            5
        );
        assert_eq!(loaded[..216], saved[..216]);
        assert_eq!(loaded[232..], initial[232..]);

        // another backbone: refused, and the message names the tensor and both shapes
        let (flat, mut buffers) = model(4, 8);
        let mut values = flat.initial_parameters(6);
        let error = load(&path, flat.slots(), &mut values, &mut buffers).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("backbone.0.weight has shape [8, 3, 3, 3]"),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let (flat, mut buffers) = model(8, 8);
        let mut values = flat.initial_parameters(0);
        let error = load(
            Path::new("/nowhere"),
            flat.slots(),
            &mut values,
            &mut buffers,
        );
        assert!(error.unwrap_err().to_string().contains("/nowhere"));
    }
}
