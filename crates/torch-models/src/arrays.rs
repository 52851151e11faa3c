//! Samples that are rows of arrays: what a model of the user's own learns from.
//!
//! A set is a safetensors, `.npz` or HDF5 file, or a directory of `.npy` files. Its arrays have equally
//! many rows; row k of each of them together is sample k. Safetensors files are mapped, so that ranks on
//! one node share the memory and only rows in use are read; all others are read whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use learner::LearnerError;
use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

use crate::error::TorchError;
use crate::source::Source;

mod formats;

/// One sample: a row of every array, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Vec<Vec<u8>>);

/// What the rows of one array are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The array's name in the file.
    pub name: String,
    /// Type of its elements.
    pub kind: Kind,
    /// Shape of a row.
    pub shape: Vec<i64>,
}

/// The arrays that make up a set, in the order in which the model takes them.
#[derive(Debug)]
pub struct Arrays {
    path: PathBuf,
    arrays: Vec<Array>,
    rows: usize,
}

#[derive(Debug)]
struct Array {
    column: Column,
    rows: usize,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// Part of a mapped file, from this byte on.
    Mapped(Arc<Mmap>, usize),
    Read(Vec<u8>),
}

impl Array {
    /// Bytes of a row.
    fn stride(&self) -> usize {
        let elements: i64 = self.column.shape.iter().product();
        elements as usize * self.column.kind.elt_size_in_bytes()
    }

    fn row(&self, row: usize) -> &[u8] {
        let (stride, all) = match &self.bytes {
            Bytes::Mapped(file, start) => (self.stride(), &file[*start..]),
            Bytes::Read(bytes) => (self.stride(), bytes.as_slice()),
        };
        &all[row * stride..(row + 1) * stride]
    }
}

impl Arrays {
    /// The arrays called `names` of the set at `path`, in that order; without names, the only array that
    /// there is.
    ///
    /// # Errors
    /// [`LearnerError::Data`] when the file cannot be read, lacks an array, or has arrays of unequal
    /// lengths or of types that libtorch lacks; [`LearnerError::Setting`] without names where there is
    /// more than one array.
    pub fn open(path: &Path, names: &[String]) -> Result<Self, LearnerError> {
        let refused = |what: String| LearnerError::Data {
            path: path.to_owned(),
            what,
        };
        let mut found = formats::read(path, names).map_err(refused)?;
        found.sort_by(|a, b| a.column.name.cmp(&b.column.name));
        let known = || {
            let names: Vec<&str> = found.iter().map(|a| a.column.name.as_str()).collect();
            names.join(", ")
        };
        if names.is_empty() && found.len() != 1 {
            return Err(LearnerError::setting(
                "data.arrays",
                "[]",
                format!(
                    "the names of the arrays that forward takes, in its order; {} has {}",
                    path.display(),
                    known()
                ),
            ));
        }
        if let Some(missing) = names
            .iter()
            .find(|name| !found.iter().any(|a| a.column.name == **name))
        {
            return Err(refused(format!(
                "it has no array {missing}; it has {}",
                known()
            )));
        }
        let mut arrays = Vec::with_capacity(found.len());
        if names.is_empty() {
            arrays.append(&mut found);
        }
        for name in names {
            let place = found.iter().position(|a| a.column.name == *name);
            // Not there any more: it was asked for twice.
            let place = place.ok_or_else(|| {
                LearnerError::setting("data.arrays", name, "every array once at most")
            })?;
            arrays.push(found.swap_remove(place));
        }
        let rows = arrays[0].rows;
        if let Some(other) = arrays.iter().find(|array| array.rows != rows) {
            return Err(refused(format!(
                "{} has {rows} rows and {} has {}; every sample needs a row of each",
                arrays[0].column.name, other.column.name, other.rows
            )));
        }
        if rows == 0 {
            return Err(refused("its arrays have no rows".to_owned()));
        }
        if u32::try_from(rows).is_err() {
            return Err(refused(format!("it has {rows} rows, more than 2^32 - 1")));
        }
        Ok(Self {
            path: path.to_owned(),
            arrays,
            rows,
        })
    }

    /// What the rows are, in the order of [`Arrays::open`].
    pub fn columns(&self) -> Vec<Column> {
        let columns = self.arrays.iter().map(|array| array.column.clone());
        columns.collect()
    }

    /// Where the arrays come from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The arrays of the file at `path` as one vector of f32: all of them, by name, one after another, or the
/// one called `name`.
///
/// # Errors
/// [`LearnerError::Data`] when the file cannot be read or lacks the array.
pub fn vector(path: &Path, name: Option<&str>) -> Result<Vec<f32>, LearnerError> {
    let refused = |what: String| LearnerError::Data {
        path: path.to_owned(),
        what,
    };
    let wanted: Vec<String> = name.map(str::to_owned).into_iter().collect();
    let mut found = formats::read(path, &wanted).map_err(refused)?;
    found.sort_by(|a, b| a.column.name.cmp(&b.column.name));
    let names: Vec<String> = found.iter().map(|a| a.column.name.clone()).collect();
    found.retain(|array| name.is_none_or(|name| array.column.name == name));
    if let (Some(name), []) = (name, &found[..]) {
        let known = names.join(", ");
        return Err(refused(format!("it has no array {name}; it has {known}")));
    }
    let mut all = Vec::new();
    for array in &found {
        let bytes: Vec<u8> = (0..array.rows)
            .flat_map(|row| array.row(row))
            .copied()
            .collect();
        let elements = bytes.len() / array.column.kind.elt_size_in_bytes();
        let tensor = Tensor::f_from_data_size(&bytes, &[elements as i64], array.column.kind)
            .and_then(|tensor| tensor.f_to_kind(Kind::Float));
        let start = all.len();
        all.resize(start + elements, 0f32);
        tensor
            .and_then(|tensor| tensor.f_copy_data(&mut all[start..], elements))
            .map_err(|error| refused(format!("{}: {error}", array.column.name)))?;
    }
    Ok(all)
}

impl Source for Arrays {
    type Item = Row;

    fn len(&self) -> usize {
        self.rows
    }

    fn get(&self, index: u32) -> Result<Arc<Row>, LearnerError> {
        let row = index as usize;
        if row >= self.rows {
            return Err(LearnerError::Data {
                path: self.path.clone(),
                what: format!("it has no row {row}, but {} rows", self.rows),
            });
        }
        let rows = self.arrays.iter().map(|array| array.row(row).to_vec());
        Ok(Arc::new(Row(rows.collect())))
    }
}

/// Rows as one tensor per column, `[rows, ...]`, on `device`.
///
/// # Errors
/// When libtorch fails.
pub fn stack(
    columns: &[Column],
    rows: &[(u32, Arc<Row>)],
    device: Device,
) -> Result<Vec<Tensor>, TorchError> {
    let one = |(place, column): (usize, &Column)| {
        let mut bytes = Vec::new();
        for (_, row) in rows {
            bytes.extend_from_slice(&row.0[place]);
        }
        let mut size = vec![rows.len() as i64];
        size.extend_from_slice(&column.shape);
        let tensor = Tensor::f_from_data_size(&bytes, &size, column.kind)?;
        Ok(tensor.f_to_device(device)?)
    };
    columns.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests;
