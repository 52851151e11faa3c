//! The tensors of a file, of whatever format, without reading them yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use super::pickle;
use crate::error::TorchError;

/// Where a tensor lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Type of its numbers.
    pub(super) kind: Kind,
    /// Its shape.
    pub(super) shape: Vec<i64>,
    /// Strides in elements where they are not those of a contiguous tensor.
    pub(super) strides: Option<Vec<i64>>,
    /// Its bytes, little-endian.
    pub(super) range: Range<usize>,
}

/// A mapped file and its table of contents.
pub(super) struct TensorFile {
    bytes: Mmap,
    entries: BTreeMap<String, Entry>,
}

impl TensorFile {
    /// Opens a safetensors or `torch.save` file; which one, its first bytes say.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        // SAFETY: the mapping is read only, and lives as short as loading does. As with every mapped
        // file, nobody may truncate it meanwhile.
        let bytes = unsafe { Mmap::map(&file) }.map_err(|error| error.to_string())?;
        let entries = if bytes.starts_with(b"PK\x03\x04") {
            pickle::tensors(&bytes)?
        } else if bytes.starts_with(&[0x80, 2, 0x8a, 10]) {
            return Err(format!(
                "it is in PyTorch's format from before version 1.6. Convert it where PyTorch is: {}",
                "python3 -c \"import sys, torch; torch.save(torch.load(sys.argv[1], \
                 map_location='cpu'), sys.argv[2])\" OLD NEW"
            ));
        } else if bytes.get(8) == Some(&b'{') {
            safetensors(&bytes)?
        } else {
            return Err("it is neither a safetensors file nor one of torch.save".into());
        };
        Ok(Self {
            bytes,
            entries: entries.into_iter().collect(),
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Reads an entry of this file, of as many numbers as `into` has, as f32.
    pub(super) fn read(&self, entry: &Entry, into: &mut [f32]) -> Result<(), TorchError> {
        let bytes = &self.bytes[entry.range.clone()];
        let elements = (bytes.len() / entry.kind.elt_size_in_bytes()) as i64;
        let mut tensor = Tensor::f_from_data_size(bytes, &[elements], entry.kind)?;
        if let Some(strides) = &entry.strides {
            tensor = tensor
                .f_as_strided(&entry.shape, strides, 0i64)?
                .f_contiguous()?;
        }
        tensor
            .f_to_kind(Kind::Float)?
            .f_copy_data(into, into.len())?;
        Ok(())
    }

    /// Whether two entries hold the same bytes.
    pub(super) fn equal(&self, one: &Entry, other: &Entry) -> bool {
        let bytes = |entry: &Entry| &self.bytes[entry.range.clone()];
        one.shape == other.shape && one.kind == other.kind && bytes(one) == bytes(other)
    }
}

/// The strides of a contiguous tensor, in elements.
pub(super) fn contiguous_strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

fn safetensors(bytes: &[u8]) -> Result<Vec<(String, Entry)>, String> {
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let data = header + size_of::<u64>();
    metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let kind = kind(info.dtype)
                .ok_or_else(|| format!("{name} has numbers of type {:?}", info.dtype))?;
            let range = data + info.data_offsets.0..data + info.data_offsets.1;
            if bytes.get(range.clone()).is_none() {
                return Err(format!("the file is truncated: {name} lies beyond its end"));
            }
            let entry = Entry {
                kind,
                shape: info.shape.iter().map(|&size| size as i64).collect(),
                strides: None,
                range,
            };
            Ok((name, entry))
        })
        .collect()
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        Dtype::BOOL => Kind::Bool,
        _ => return None,
    })
}
