//! Weights files: reading safetensors and `torch.save` files under the names of PyTorch's model
//! libraries, writing safetensors under PyTorch's `state_dict` names.

mod file;
mod names;
mod pickle;

use std::fmt;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use crate::error::TorchError;
use crate::flat::Slot;
use crate::store::Buffer;
use file::{Entry, TensorFile};
use names::{Naming, is_head};

/// Tensors that a message names before it says how many more there are.
const NAMED: usize = 5;

/// How a weights file may differ from the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// The layers that tell classes apart may be missing or of another shape; those keep their initial
    /// values.
    pub ignore_head: bool,
    /// Any tensor may be missing; what is keeps its initial values.
    pub partial: bool,
}

/// What [`load`] took from a file. As text: one line for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Tensors of the model that were filled.
    pub filled: usize,
    /// How the file's names were changed; empty if they were not.
    pub change: String,
    /// Tensors of the model that keep their initial values.
    pub kept: Vec<String>,
    /// Tensors of the file that the model has no use for.
    pub unused: Vec<String>,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.filled + self.kept.len();
        write!(
            f,
            "{} of {all} tensors from {}",
            self.filled,
            self.path.display()
        )?;
        if !self.change.is_empty() {
            write!(f, " ({})", self.change)?;
        }
        if !self.kept.is_empty() {
            write!(f, "; from the seed: {}", listed(&self.kept))?;
        }
        if !self.unused.is_empty() {
            write!(f, "; unused in the file: {}", listed(&self.unused))?;
        }
        Ok(())
    }
}

/// The first few, and how many more there are.
fn listed(texts: &[String]) -> String {
    let shown = texts[..texts.len().min(NAMED)].join(", ");
    match texts.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Overwrites `parameters` (the flat vector) and `buffers` with what the file has.
///
/// Names may be torchvision's or Hugging Face's, with the prefix that a training wrapper puts before
/// all of them; a tied output layer is recognized. Any floating-point type is converted to f32.
/// The file is mapped: beside the model only one tensor at a time is in memory.
///
/// # Errors
/// [`TorchError::Weights`] when the file cannot be read, tensors have other shapes than the
/// model's or are missing and `tolerance` does not allow it, or nothing in it fits the model.
pub fn load(
    path: &Path,
    slots: &[Slot],
    parameters: &mut [f32],
    buffers: &mut [Buffer],
    tolerance: Tolerance,
) -> Result<Loaded, TorchError> {
    let error = |reason: String| TorchError::Weights {
        path: path.to_owned(),
        reason,
    };
    let file = TensorFile::open(path).map_err(error)?;
    let model: Vec<(&str, Vec<i64>)> = slots
        .iter()
        .map(|slot| (slot.name.as_str(), slot.shape.clone()))
        .chain(buffers.iter().map(|b| (b.name.as_str(), b.tensor.size())))
        .collect();
    let in_file: Vec<&str> = file.names().collect();
    let in_model: Vec<&str> = model.iter().map(|(name, _)| *name).collect();
    let naming = Naming::find(&in_file, &in_model);
    if naming.places.is_empty() {
        let some = |names: &[&str]| names[..names.len().min(3)].join(", ");
        return Err(error(format!(
            "it has no tensor of this model: its names are like {}, the model's like {}",
            some(&in_file),
            some(&in_model)
        )));
    }
    let entry = |name: &str| file.entry(naming.places.get(name)?);
    let mut kept = judge(&model, entry, tolerance).map_err(error)?;
    for (tied, origin) in &naming.tied {
        if let (Some(one), Some(other)) = (file.entry(tied), entry(origin))
            && !file.equal(one, other)
        {
            return Err(error(format!(
                "{tied} and {origin} differ, but the model has them tied: one tensor for both"
            )));
        }
    }
    let fits = |name: &str| entry(name).filter(|_| !kept.iter().any(|other| other == name));
    let mut filled = 0;
    for slot in slots {
        if let Some(entry) = fits(&slot.name) {
            let values = &mut parameters[slot.offset..slot.offset + slot.len];
            file.read(entry, values)?;
            filled += 1;
        }
    }
    for buffer in buffers.iter_mut() {
        if let Some(entry) = fits(&buffer.name) {
            let mut values = vec![0f32; buffer.tensor.numel()];
            file.read(entry, &mut values)?;
            let values = Tensor::f_from_slice(&values)?.f_view(buffer.tensor.size().as_slice())?;
            tch::no_grad(|| buffer.tensor.f_copy_(&values))?;
            filled += 1;
        }
    }
    kept.sort_unstable();
    Ok(Loaded {
        path: path.to_owned(),
        filled,
        change: naming.change,
        kept,
        unused: naming.unused,
    })
}

/// The tensors that keep their initial values, if `tolerance` allows that of all that do not fit.
fn judge<'a>(
    model: &[(&str, Vec<i64>)],
    entry: impl Fn(&str) -> Option<&'a Entry>,
    tolerance: Tolerance,
) -> Result<Vec<String>, String> {
    let (mut kept, mut missing, mut differing, mut kinds) = (vec![], vec![], vec![], vec![]);
    let mut head_differs = false;
    for (name, shape) in model {
        let ignored = tolerance.ignore_head && is_head(name);
        match entry(name) {
            None if ignored || tolerance.partial => kept.push((*name).to_owned()),
            None => missing.push((*name).to_owned()),
            Some(entry) if entry.shape != *shape && ignored => kept.push((*name).to_owned()),
            Some(entry) if entry.shape != *shape => {
                head_differs |= is_head(name);
                let found = &entry.shape;
                differing.push(format!(
                    "{name} has shape {found:?}, the model's is {shape:?}"
                ));
            }
            Some(entry) if !is_floating(entry.kind) => {
                kinds.push(format!("{name} has numbers of type {:?}", entry.kind));
            }
            Some(_) => {}
        }
    }
    let mut reasons = vec![];
    if !differing.is_empty() {
        reasons.push(listed(&differing));
    }
    if head_differs {
        reasons.push(
            "model.ignore_head = true (--init-ignore-head) gives the layers that tell classes apart \
             a fresh start"
                .to_owned(),
        );
    }
    if !kinds.is_empty() {
        reasons.push(listed(&kinds));
    }
    if !missing.is_empty() {
        reasons.push(format!(
            "it lacks {} of the model's {} tensors: {}; model.partial_weights = true (--init-partial) \
             gives those a fresh start",
            missing.len(),
            model.len(),
            listed(&missing)
        ));
    }
    match reasons.as_slice() {
        [] => Ok(kept),
        reasons => Err(reasons.join("; ")),
    }
}

fn is_floating(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double
    )
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
        let strict = Tolerance::default();
        let taken = load(&path, flat.slots(), &mut loaded, &mut buffers, strict).unwrap();
        assert_eq!(taken.filled, 10);
        assert!(
            taken.to_string().starts_with("10 of 10 tensors from "),
            "{taken}"
        );
        assert_eq!(loaded, saved);
        assert_eq!(buffers[1].tensor.double_value(&[3]), 0.25);

        // other categories: refused, unless a new head is asked for
        let (flat, mut buffers) = model(8, 12);
        let initial = flat.initial_parameters(6);
        let mut loaded = initial.clone();
        let error = load(&path, flat.slots(), &mut loaded, &mut buffers, strict).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("head.classification_head.0.weight has shape [8, 3, 3, 3], the model's is [12, 3, 3, 3]")
                && message.contains("--init-ignore-head"),
            "{message}"
        );
        assert_eq!(loaded, initial, "an error changes nothing");
        let new_head = Tolerance {
            ignore_head: true,
            ..strict
        };
        let taken = load(&path, flat.slots(), &mut loaded, &mut buffers, new_head).unwrap();
        assert_eq!((taken.filled, taken.kept.len()), (5, 5));
        assert_eq!(loaded[..216], saved[..216]);
        assert_eq!(loaded[232..], initial[232..]);

        // another backbone: refused, and the message names all tensors and both shapes
        let (flat, mut buffers) = model(4, 8);
        let mut values = flat.initial_parameters(6);
        let error = load(&path, flat.slots(), &mut values, &mut buffers, new_head).unwrap_err();
        let message = error.to_string();
        assert_eq!(message.matches("has shape").count(), 5, "{message}");
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
            Tolerance::default(),
        );
        assert!(error.unwrap_err().to_string().contains("/nowhere"));
    }
}
