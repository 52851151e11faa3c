//! The last block of a frame, with fewer than 512 coordinates: `lanes = ceil(rem / 32)` lanes
//! instead of 16, coordinate `lanes * row + lane`.
//!
//! It is spread over a full block (missing lanes and coordinates zero) so that the same loops
//! serve both.

use crate::layout::{BLOCK, LANES, ROWS};

/// Where coordinate `i` of a partial block lies in a full one.
fn place(i: usize, lanes: usize) -> usize {
    LANES * (i / lanes) + i % lanes
}

/// Coordinates of a partial block spread over a full one.
pub fn spread(x: &[f32]) -> [f32; BLOCK] {
    let lanes = x.len().div_ceil(ROWS);
    let mut block = [0.0; BLOCK];
    for (i, v) in x.iter().enumerate() {
        block[place(i, lanes)] = *v;
    }
    block
}

/// The inverse of [`spread`].
pub fn gather(block: &[f32; BLOCK], x: &mut [f32]) {
    let lanes = x.len().div_ceil(ROWS);
    for (i, v) in x.iter_mut().enumerate() {
        *v = block[place(i, lanes)];
    }
}

/// Zeroes what lies behind the `coordinates` of a partial block.
pub fn clear_padding(y: &mut [u32; BLOCK], coordinates: usize) {
    let lanes = coordinates.div_ceil(ROWS);
    for (i, y) in y.iter_mut().enumerate() {
        let (row, lane) = (i / LANES, i % LANES);
        if lane >= lanes || lanes * row + lane >= coordinates {
            *y = 0;
        }
    }
}

/// Packed words of a partial block (`4 * lanes * bits` bytes) spread over those of a full one.
pub fn spread_words(bytes: &[u8], lanes: usize, full: &mut [u8]) {
    full.fill(0);
    for (part, full) in bytes
        .chunks_exact(4 * lanes)
        .zip(full.chunks_exact_mut(4 * LANES))
    {
        full[..4 * lanes].copy_from_slice(part);
    }
}

/// The inverse of [`spread_words`].
pub fn gather_words(full: &[u8], lanes: usize, bytes: &mut [u8]) {
    for (part, full) in bytes
        .chunks_exact_mut(4 * lanes)
        .zip(full.chunks_exact(4 * LANES))
    {
        part.copy_from_slice(&full[..4 * lanes]);
    }
}
