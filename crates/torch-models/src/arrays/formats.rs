//! The files that arrays come from.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use super::{Array, Bytes, Column};

/// The arrays of the set at `path`, in no particular order: at least those called `names`, all of them
/// without names.
pub(super) fn read(path: &Path, names: &[String]) -> Result<Vec<Array>, String> {
    if path.is_dir() {
        return directory(path);
    }
    match path.extension().and_then(OsStr::to_str) {
        Some("safetensors") => safetensors(path),
        Some("npz") => {
            let arrays = Tensor::read_npz(path).map_err(|error| error.to_string())?;
            arrays
                .into_iter()
                .map(|(name, t)| copied(name, &t))
                .collect()
        }
        Some("npy") => Ok(vec![npy(path)?]),
        Some("h5" | "hdf5") => hdf5(path, names),
        _ => Err(
            "expected a file ending in .safetensors, .npz, .npy, .h5 or .hdf5, or a directory \
                  of .npy files"
                .to_owned(),
        ),
    }
}

fn directory(path: &Path) -> Result<Vec<Array>, String> {
    let mut arrays = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| error.to_string())? {
        let file = entry.map_err(|error| error.to_string())?.path();
        if file.extension() == Some(OsStr::new("npy")) {
            arrays.push(npy(&file).map_err(|why| format!("{}: {why}", file.display()))?);
        }
    }
    if arrays.is_empty() {
        return Err("it is a directory without .npy files".to_owned());
    }
    Ok(arrays)
}

fn npy(path: &Path) -> Result<Array, String> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let tensor = Tensor::read_npy(path).map_err(|error| error.to_string())?;
    copied(name.into_owned(), &tensor)
}

/// An array of `size` (rows first).
fn array(name: String, kind: Kind, size: &[i64], bytes: Bytes) -> Result<Array, String> {
    let Some((&rows, shape)) = size.split_first() else {
        return Err(format!("{name} is a number, not an array of rows"));
    };
    Ok(Array {
        rows: rows as usize,
        column: Column {
            name,
            kind,
            shape: shape.to_vec(),
        },
        bytes,
    })
}

fn copied(name: String, tensor: &Tensor) -> Result<Array, String> {
    let (kind, size) = (tensor.kind(), tensor.size());
    let mut bytes = vec![0u8; tensor.numel() * kind.elt_size_in_bytes()];
    let copy = tensor.f_contiguous().and_then(|whole| {
        let elements = whole.numel();
        whole.f_copy_data_u8(&mut bytes, elements)
    });
    copy.map_err(|error| error.to_string())?;
    array(name, kind, &size, Bytes::Read(bytes))
}

fn safetensors(path: &Path) -> Result<Vec<Array>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    // SAFETY: the mapping is read only. Somebody who rewrites the file in place during a run changes
    // samples or ends the process with SIGBUS; data sets are not written while they are trained on.
    let file = Arc::new(unsafe { Mmap::map(&file) }.map_err(|error| error.to_string())?);
    let tensors = SafeTensors::deserialize(&file).map_err(|error| error.to_string())?;
    let begin = file.as_ptr() as usize;
    let one = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let kind = kind(view.dtype())
            .ok_or_else(|| format!("{name} has type {:?}, which libtorch lacks", view.dtype()))?;
        let size: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        let start = view.data().as_ptr() as usize - begin;
        array(name, kind, &size, Bytes::Mapped(file.clone(), start))
    };
    tensors.tensors().into_iter().map(one).collect()
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    })
}

/// The data sets of the root group.
fn hdf5(path: &Path, names: &[String]) -> Result<Vec<Array>, String> {
    let said = |error: hdf5::Error| error.to_string();
    let file = hdf5::File::open(path).map_err(said)?;
    let wanted = |set: &hdf5::Dataset| {
        let name = set.name();
        names.is_empty() || names.iter().any(|wanted| *wanted == name[1..])
    };
    let sets = file.datasets().map_err(said)?;
    sets.iter()
        .filter(|set| wanted(set))
        .map(data_set)
        .collect()
}

fn data_set(set: &hdf5::Dataset) -> Result<Array, String> {
    let name = set.name().trim_start_matches('/').to_owned();
    let said = |error: hdf5::Error| format!("{name}: {error}");
    let size: Vec<i64> = set.shape().iter().map(|&size| size as i64).collect();
    let stored = set.dtype().and_then(|t| t.to_descriptor()).map_err(said)?;
    fn bytes<T: hdf5::H5Type + bytemuck::NoUninit>(set: &hdf5::Dataset) -> hdf5::Result<Vec<u8>> {
        Ok(bytemuck::cast_slice(&set.read_raw::<T>()?).to_vec())
    }
    let (kind, bytes) = match stored {
        TypeDescriptor::Float(FloatSize::U4) => (Kind::Float, bytes::<f32>(set)),
        TypeDescriptor::Float(FloatSize::U8) => (Kind::Double, bytes::<f64>(set)),
        TypeDescriptor::Integer(IntSize::U1) => (Kind::Int8, bytes::<i8>(set)),
        TypeDescriptor::Integer(IntSize::U2) => (Kind::Int16, bytes::<i16>(set)),
        TypeDescriptor::Integer(IntSize::U4) => (Kind::Int, bytes::<i32>(set)),
        TypeDescriptor::Integer(IntSize::U8) => (Kind::Int64, bytes::<i64>(set)),
        TypeDescriptor::Unsigned(IntSize::U1) => (Kind::Uint8, bytes::<u8>(set)),
        TypeDescriptor::Boolean => (Kind::Bool, bytes::<bool>(set)),
        other => return Err(format!("{name} has type {other}, which libtorch lacks")),
    };
    array(name.clone(), kind, &size, Bytes::Read(bytes.map_err(said)?))
}
