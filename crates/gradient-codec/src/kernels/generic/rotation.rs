//! Random rotations: signs and the Hadamard transform.

use crate::kernels::transforms::{Signs, Transforms, fit};
use crate::layout::{BLOCK, LANES};

/// [`Transforms`] that the compiler vectorises.
pub const TRANSFORMS: Transforms = Transforms {
    rotate,
    transform,
    add,
};

/// See [`Transforms::rotate`].
fn rotate(signs: &[Signs], x: &[f32], z: &mut [f32]) {
    z.copy_from_slice(x);
    transform(Some(signs), z, None, false);
}

/// See [`Transforms::transform`].
fn transform(before: Option<&[Signs]>, z: &mut [f32], after: Option<&[Signs]>, _walks: bool) {
    if let Some(signs) = before {
        flip_all(signs, z);
    }
    hadamard(z);
    if let Some(signs) = after {
        flip_all(signs, z);
    }
}

/// See [`Transforms::add`].
fn add(z: &mut [f32], signs: &[Signs], sum: &mut [f32], walks: bool) {
    transform(None, z, Some(signs), walks);
    for (sum, v) in sum.iter_mut().zip(z) {
        *sum += *v;
    }
}

fn flip_all(signs: &[Signs], z: &mut [f32]) {
    assert!(fit(signs, z.len()));
    for (signs, z) in signs.iter().zip(z.chunks_mut(BLOCK)) {
        flip(signs, 0, z);
    }
}

/// Multiplies coordinates `first..` of a block by -1 where their sign bit is set: coordinate i has bit
/// `31 - i / 16` of word `i % 16`.
#[inline(always)]
pub fn flip(words: &Signs, first: usize, x: &mut [f32]) {
    let sign = |i: usize| words[i % LANES] << (i / LANES) & 1 << 31;
    if first.is_multiple_of(LANES) {
        for (row, x) in x.chunks_mut(LANES).enumerate() {
            let row = first / LANES + row;
            for (x, word) in x.iter_mut().zip(words) {
                *x = f32::from_bits(x.to_bits() ^ (word << row & 1 << 31));
            }
        }
    } else {
        for (i, x) in x.iter_mut().enumerate() {
            *x = f32::from_bits(x.to_bits() ^ sign(first + i));
        }
    }
}

/// The Hadamard transform of a power of two of coordinates times `fl(1/sqrt(P))`, in the order of
/// stages of [`crate::rotation`].
#[inline(always)]
pub fn hadamard(x: &mut [f32]) {
    let scale = (1.0 / (x.len() as f64).sqrt()) as f32;
    let (rows, rest) = x.as_chunks_mut::<LANES>();
    if rest.is_empty() {
        for row in rows {
            butterflies::<1>(row);
            butterflies::<2>(row);
            butterflies::<4>(row);
            butterflies::<8>(row);
        }
        stages(x, LANES);
    } else {
        stages(x, 1);
    }
    for x in x {
        *x *= scale;
    }
}

/// One stage within a row.
#[inline(always)]
fn butterflies<const H: usize>(row: &mut [f32; LANES]) {
    let old = *row;
    for i in 0..LANES {
        row[i] = if i & H == 0 {
            old[i] + old[i ^ H]
        } else {
            old[i ^ H] - old[i]
        };
    }
}

/// The stages from `h` on.
#[inline(always)]
fn stages(x: &mut [f32], mut h: usize) {
    while h < x.len() {
        for pair in x.chunks_exact_mut(2 * h) {
            let (a, b) = pair.split_at_mut(h);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        h *= 2;
    }
}
