//! Sparse bodies: K values and where they belong.

use crate::sparse::{self, Indices};
use std::ops::Range;

/// The values of the coordinates that a sparse frame keeps, in the order of the coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'a> {
    pub values: &'a [[u8; 4]],
    pub coordinates: Coordinates<'a>,
    pub n: usize,
}

/// How a sparse frame says which coordinates it keeps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coordinates<'a> {
    /// Indices on the wire (top-K).
    Sent(Indices<'a>),
    /// Drawn under the key in the header (rand-K).
    Drawn(u64),
}

/// l2 norm of little-endian f32s.
pub(super) fn norm(values: &[[u8; 4]]) -> f64 {
    let square = |value: &[u8; 4]| f64::from(f32::from_le_bytes(*value)).powi(2);
    values.iter().map(square).sum::<f64>().sqrt()
}

impl Entries<'_> {
    /// The coordinates, in increasing order.
    pub fn indices(&self) -> Vec<usize> {
        match self.coordinates {
            Coordinates::Sent(indices) => {
                let index = |entry| indices.get(entry) as usize;
                (0..self.values.len()).map(index).collect()
            }
            Coordinates::Drawn(key) => sparse::random_coordinates(key, self.n, self.values.len()),
        }
    }

    /// Adds the entries whose coordinates are in `tile`, which is what `acc` holds; `indices` are
    /// those of [`Entries::indices`].
    pub fn accumulate(&self, indices: &[usize], weight: f32, tile: Range<usize>, acc: &mut [f32]) {
        let first = indices.partition_point(|i| *i < tile.start);
        for (i, value) in indices[first..].iter().zip(&self.values[first..]) {
            if *i >= tile.end {
                break;
            }
            acc[*i - tile.start] += weight * f32::from_le_bytes(*value);
        }
    }
}
