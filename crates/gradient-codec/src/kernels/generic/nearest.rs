//! The nearest levels of a normal law, with what their unbiased step needs.

use super::{PARTIALS, pack};
use crate::kernels::Nearest;
use crate::layout::BLOCK;
use crate::lloyd_max::Codebook;

/// See [`crate::kernels::FindNearest`].
pub fn nearest<const B: usize>(
    z: &[f32; BLOCK],
    factor: f32,
    book: &Codebook,
    words: &mut [u8],
    found: &mut Nearest,
    _near: *const f32,
) {
    let Nearest { levels, dot } = found;
    let (values, middle) = (book.values(), 1 << (B - 1));
    let mut y = [0; BLOCK];
    for ((y, q), &z) in y.iter_mut().zip(levels.iter_mut()).zip(z) {
        let level = z * factor;
        let index = book.nearest(level.abs());
        // A code and its complement are the two levels of one magnitude.
        let code = index ^ if level < 0.0 { u32::MAX } else { 0 };
        *y = code << (32 - B);
        *q = values[code.wrapping_add(middle) as usize % values.len()];
    }
    pack::<B>(&y, words);
    add_products(z, levels, dot);
}

/// Adds products to the partial sums of [`super::total`]; `x` begins at a multiple of 32 from where the sum
/// does.
pub fn add_products(x: &[f32], q: &[f32], partial: &mut [f64; PARTIALS]) {
    for (x, q) in x.chunks(PARTIALS).zip(q.chunks(PARTIALS)) {
        for ((sum, x), q) in partial.iter_mut().zip(x).zip(q) {
            *sum += f64::from(*x) * f64::from(*q);
        }
    }
}
