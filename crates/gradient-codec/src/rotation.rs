//! Randomised Hadamard rotations: `z = H D x / sqrt(P)` in blocks, D random signs.
//!
//! After it every coordinate is nearly normal with the variance that the block has on average,
//! whatever the vector: heavy tails no longer widen the scale of a bucket (Suresh et al. 2017,
//! "Distributed mean estimation with limited communication"; Vargaftik et al. 2022, EDEN).
//!
//! A rotation is orthogonal up to the rounding of f32, and a function of its 64-bit key alone. Its
//! blocks are the quantizer's buckets. The transform of P = 2^m coordinates flips signs, then has stages
//! h = 1, 2, 4, ..., P/2 in this order; a stage replaces (a, b) = (x_i, x_(i+h)) by (a + b, a - b) in f32; then
//! every coordinate is multiplied by `fl(1/sqrt(P))`. A block is transformed once or, in two rounds, twice,
//! each time with its own signs. The last block of a vector, of r coordinates, takes P as the largest power
//! of two up to r: if P < r the windows 0..P, r-P..r and 0..P are transformed in turn (with two rounds once
//! more r-P..r and 0..P), so that nothing is padded.
//!
//! One round is enough for stochastic rounding, which is unbiased given the rotation. The nearest level is
//! unbiased only as far as the rotation is like a uniform one, which one round is not where a few
//! coordinates dominate a block: for three of them in 4096 most of its error at 4 bits is bias, and
//! nothing with two rounds (`docs/rotation.md`).

use crate::kernels::{Kernels, Signs};
use crate::layout::{BLOCK, LANES, SEGMENT};
use crate::quantizer::Generator;
use crate::random::Keys;
use rayon::prelude::*;

/// Coordinates whose signs are drawn together: 512 words of 32 bits.
const STRIPE: usize = 32 * BLOCK;

/// One rotation of vectors in blocks of a power of two of coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    key: u64,
    block: u32,
    rounds: u32,
}

impl Rotation {
    /// The rotation with this key in blocks of `block` coordinates, a power of two from 512 to 8192,
    /// in one or two rounds.
    pub(crate) fn new(key: u64, block: u32, rounds: u32) -> Self {
        Self { key, block, rounds }
    }

    /// The key that frames carry in their header.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The Philox key of the signs of a window: [`crate::random::bits`] of (stripe, row, lane), where a
    /// stripe is 32 blocks of 512 coordinates, the row the block in it, and coordinate i of the block has
    /// bit `31 - i / 16` of lane `i % 16`'s word.
    pub fn sign_key(&self, window: u32) -> [u32; 4] {
        sign_key(self.key, window)
    }

    /// The parts of a block of `len` coordinates that are transformed one after the other.
    pub fn windows(
        self,
        len: usize,
    ) -> impl ExactSizeIterator<Item = (usize, usize)> + DoubleEndedIterator {
        let size = if len == 0 { 0 } else { 1 << len.ilog2() };
        let rounds = self.rounds as usize;
        let (count, windows) = if size == len {
            (rounds, [(0, size); 2])
        } else {
            (2 * rounds + 1, [(0, size), (len - size, len)])
        };
        (0..count).map(move |i| windows[i % 2])
    }

    /// Coordinates per block.
    pub fn block(&self) -> usize {
        self.block as usize
    }

    /// `x <- R x`: blocks count from the start of `x`. Work is split over rayon's current pool; the
    /// bits do not depend on it.
    pub fn apply(&self, x: &mut [f32]) {
        self.each_block(x, |rotor, start, x| rotor.apply(start, x));
    }

    /// `z <- R' z`, the inverse: brings a sum of rotated vectors back.
    pub fn invert(&self, z: &mut [f32]) {
        self.each_block(z, |rotor, start, z| rotor.invert(start, z));
    }

    fn each_block(&self, x: &mut [f32], f: impl Fn(&mut Rotor, usize, &mut [f32]) + Sync) {
        let kernels = Kernels::best();
        x.par_chunks_mut(SEGMENT).enumerate().for_each(|(i, x)| {
            let mut rotor = Rotor::new(kernels, *self);
            for (j, x) in x.chunks_mut(self.block()).enumerate() {
                f(&mut rotor, i * SEGMENT + j * self.block(), x);
            }
        });
    }
}

/// Rotates block after block.
pub(crate) struct Rotor {
    kernels: &'static Kernels,
    rotation: Rotation,
    /// The last stripe of each window and its signs.
    drawn: Vec<(Option<usize>, [Signs; 32])>,
}

impl Rotor {
    pub fn new(kernels: &'static Kernels, rotation: Rotation) -> Self {
        Self {
            kernels,
            rotation,
            drawn: vec![(None, [[0; LANES]; 32]); rotation.rounds as usize],
        }
    }

    /// Rotates the block of the vector that starts at coordinate `start`, a multiple of the block size; the next
    /// block in memory is asked for.
    pub fn apply(&mut self, start: usize, x: &mut [f32]) {
        let transforms = self.kernels.transforms();
        if is_whole(x.len()) {
            for window in 0..self.rotation.rounds {
                let signs = self.signs(window, start, x.len());
                transforms.transform(Some(signs), x, None, window == 0);
            }
            return;
        }
        for (window, (from, to)) in self.rotation.windows(x.len()).enumerate() {
            let x = &mut x[from..to];
            self.flip(start + from, window, x);
            self.kernels.hadamard(x);
        }
    }

    /// [`Self::apply`] from `x` to `z`, of the same length.
    pub fn apply_to(&mut self, start: usize, x: &[f32], z: &mut [f32]) {
        if !is_whole(x.len()) {
            z.copy_from_slice(x);
            return self.apply(start, z);
        }
        let transforms = self.kernels.transforms();
        transforms.rotate(self.signs(0, start, x.len()), x, z);
        for window in 1..self.rotation.rounds {
            let signs = self.signs(window, start, x.len());
            transforms.transform(Some(signs), z, None, false);
        }
    }

    /// The inverse of [`Self::apply`]; the next block in memory is asked for.
    pub fn invert(&mut self, start: usize, z: &mut [f32]) {
        let transforms = self.kernels.transforms();
        if is_whole(z.len()) {
            for window in (0..self.rotation.rounds).rev() {
                let walks = window + 1 == self.rotation.rounds;
                let signs = self.signs(window, start, z.len());
                transforms.transform(None, z, Some(signs), walks);
            }
            return;
        }
        for (window, (from, to)) in self.rotation.windows(z.len()).enumerate().rev() {
            let z = &mut z[from..to];
            self.kernels.hadamard(z);
            self.flip(start + from, window, z);
        }
    }

    /// Adds the inverse rotations of all blocks from coordinate `start` on to `sum`, and leaves no meaning in `z`.
    /// `walks`: asks for what follows `sum` in memory.
    pub fn add_inverse(&mut self, start: usize, z: &mut [f32], sum: &mut [f32], walks: bool) {
        let transforms = self.kernels.transforms();
        let block = self.rotation.block();
        let blocks = z.chunks_mut(block).zip(sum.chunks_mut(block));
        for (i, (z, sum)) in blocks.enumerate() {
            let start = start + i * block;
            if is_whole(z.len()) {
                for window in (1..self.rotation.rounds).rev() {
                    let signs = self.signs(window, start, z.len());
                    transforms.transform(None, z, Some(signs), false);
                }
                transforms.add(z, self.signs(0, start, z.len()), sum, walks);
            } else {
                self.invert(start, z);
                for (sum, v) in sum.iter_mut().zip(z) {
                    *sum += *v;
                }
            }
        }
    }

    /// Multiplies coordinates `start..` of the vector by their signs.
    fn flip(&mut self, start: usize, window: usize, x: &mut [f32]) {
        let kernels = self.kernels;
        let (mut at, mut x) = (start, x);
        while !x.is_empty() {
            let len = x.len().min(BLOCK - at % BLOCK);
            let (now, later) = x.split_at_mut(len);
            let signs = self.signs(window as u32, at - at % BLOCK, BLOCK);
            kernels.flip(&signs[0], at % BLOCK, now);
            (at, x) = (at + len, later);
        }
    }

    /// The signs of coordinates `start..start + len` in a window, whole blocks of 512 within a stripe.
    fn signs(&mut self, window: u32, start: usize, len: usize) -> &[Signs] {
        let slot = window as usize;
        if slot >= self.drawn.len() {
            self.drawn.resize(slot + 1, (None, [[0; LANES]; 32]));
        }
        let (drawn, signs) = &mut self.drawn[slot];
        let stripe = start / STRIPE;
        if *drawn != Some(stripe) {
            let keys = Keys::new(sign_key(self.rotation.key, window));
            let words = signs.as_flattened_mut().as_chunks_mut::<BLOCK>().0;
            self.kernels
                .fill(Generator::Philox, &keys, stripe as u64, &mut words[0]);
            *drawn = Some(stripe);
        }
        &signs[start % STRIPE / BLOCK..][..len / BLOCK]
    }
}

/// Whether a block's windows are all of it, and long enough for [`crate::kernels::Transforms`].
fn is_whole(len: usize) -> bool {
    len.is_power_of_two() && len >= BLOCK
}

/// The Philox key of the signs of a window: [`crate::random::bits`] of stripe, row and lane.
pub(crate) fn sign_key(key: u64, window: u32) -> [u32; 4] {
    [key as u32, (key >> 32) as u32, window, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.01)
            .collect()
    }

    fn squares(x: &[f32]) -> f64 {
        x.iter().map(|v| f64::from(*v).powi(2)).sum()
    }

    #[test]
    fn rotations_keep_the_norm_and_can_be_undone() {
        for (block, rounds) in [(512, 1), (4096, 2), (8192, 1), (8192, 2)] {
            let rotation = Rotation::new(0x1234_5678_9abc_def0, block, rounds);
            for n in [0, 1, 2, 3, 5, 31, 100, 512, 700, 5000, 8192, 70_001] {
                let x = vector(n);
                let mut z = x.clone();
                rotation.apply(&mut z);
                let (before, after) = (squares(&x), squares(&z));
                assert!((after - before).abs() <= 1e-5 * before, "{block} {n}");
                if n > 600 {
                    let moved = z.iter().zip(&x).filter(|(z, x)| z != x).count();
                    assert!(moved > n * 9 / 10, "{block} {n}");
                }
                rotation.invert(&mut z);
                for (z, x) in z.iter().zip(&x) {
                    assert!((z - x).abs() < 2e-6, "{block} {n} {z} {x}");
                }
            }
        }
    }

    /// One large coordinate is spread over its whole block, wherever it lies, also in the last one.
    #[test]
    fn a_single_coordinate_is_spread_evenly() {
        for (n, at, block) in [
            (8192, 4100, 4096..8192),
            (5000, 4999, 4096..5000),
            (5000, 4100, 4096..5000),
        ] {
            for rounds in [1, 2] {
                let rotation = Rotation::new(5, 4096, rounds);
                let mut z = vec![0.0; n];
                z[at] = 1.0;
                rotation.apply(&mut z);
                let largest = z.iter().fold(0f32, |max, v| max.max(v.abs()));
                let even = 1.0 / (block.len() as f32).sqrt();
                assert!(largest < 6.0 * even, "{n} {at}: {largest} {even}");
                let outside = z
                    .iter()
                    .enumerate()
                    .filter(|(i, v)| !block.contains(i) && **v != 0.0);
                assert_eq!(outside.count(), 0);
            }
        }
    }

    #[test]
    fn keys_and_windows_have_their_own_signs() {
        let mut rotor = Rotor::new(Kernels::best(), Rotation::new(1, 512, 1));
        let mut signs = |start, window, rotation| {
            rotor.rotation = Rotation::new(rotation, 512, 1);
            rotor.drawn.clear();
            let mut x = vec![1.0f32; 512];
            rotor.flip(start, window, &mut x);
            x
        };
        let first = signs(0, 0, 1);
        assert!(first.iter().filter(|v| **v < 0.0).count().abs_diff(256) < 60);
        for other in [
            signs(512, 0, 1),
            signs(STRIPE, 0, 1),
            signs(0, 1, 1),
            signs(0, 0, 2),
            signs(0, 0, 1 << 40 | 1),
        ] {
            let equal = first.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(equal.abs_diff(256) < 60, "{equal}");
        }
    }
}
