//! Sparse bodies: K values, and for top-K the K indices behind them.
//!
//! Entries are in the order of their coordinates. Index e is bits `b e .. b e + b` of a bit stream,
//! least significant bit first; bit p of the stream is bit `p % 8` of byte `p / 8`.

use crate::kernels::Kernels;
use crate::layout::BLOCK;
use crate::random;

/// Bits of an index below `n`: `ceil(log2 n)`.
pub fn index_bits(n: usize) -> u32 {
    usize::BITS - n.saturating_sub(1).leading_zeros()
}

/// Bytes of `entries` indices of `bits <= 64` bits.
pub fn index_bytes(entries: u32, bits: u32) -> u64 {
    // Below 2^32 * 64: no overflow.
    (u64::from(entries) * u64::from(bits)).div_ceil(8)
}

/// Coordinates under one maximum, at least, for [`largest`] to look for candidates.
const SMALLEST_CHUNK: usize = 32;

/// The indices of the `k` largest magnitudes of finite coordinates, in increasing order; of equal
/// ones the lowest. Takes time linear in the coordinates.
pub fn largest(kernels: &'static Kernels, x: &[f32], k: usize) -> Vec<usize> {
    if k >= x.len() {
        return (0..x.len()).collect();
    }
    if k == 0 {
        return Vec::new();
    }
    let chunk = (x.len() / k / 2).min(BLOCK);
    if chunk < SMALLEST_CHUNK {
        return largest_of(x, 0..x.len(), k);
    }
    // The k-th largest of the chunks' maxima is no larger than the k-th largest coordinate: what is
    // below it cannot be kept. At least 2k chunks, so that few others are above.
    let maxima: Vec<u32> = x.chunks(chunk).map(|x| kernels.max_abs_bits(x)).collect();
    let mut sorted = maxima.clone();
    let (_, &mut floor, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
    let mut candidates = Vec::new();
    for (j, x) in x.chunks(chunk).enumerate() {
        if maxima[j] >= floor {
            let above = x.iter().enumerate().filter(|(_, v)| magnitude(v) >= floor);
            candidates.extend(above.map(|(i, _)| chunk * j + i));
        }
    }
    largest_of(x, candidates.into_iter(), k)
}

/// The bits of a magnitude: in the order of the magnitudes of finite f32.
fn magnitude(v: &f32) -> u32 {
    v.to_bits() & 0x7fff_ffff
}

/// The `k >= 1` largest among at least k candidates in increasing order.
fn largest_of(x: &[f32], candidates: impl Iterator<Item = usize> + Clone, k: usize) -> Vec<usize> {
    let mut magnitudes: Vec<u32> = candidates.clone().map(|i| magnitude(&x[i])).collect();
    let (above, &mut threshold, _) = magnitudes.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
    let mut ties = k - above.iter().filter(|m| **m > threshold).count();
    let mut indices = Vec::with_capacity(k);
    for i in candidates {
        let m = magnitude(&x[i]);
        if m > threshold {
            indices.push(i);
        } else if m == threshold && ties > 0 {
            ties -= 1;
            indices.push(i);
        }
    }
    indices
}

/// `k` distinct coordinates of `n` in increasing order, every set equally likely over the keys:
/// Floyd's algorithm (Bentley & Floyd 1987) on words of Philox.
pub fn random_coordinates(key: u64, n: usize, k: usize) -> Vec<usize> {
    let mut chosen = vec![0u64; n.div_ceil(64)];
    let contains = |chosen: &[u64], i: usize| chosen[i / 64] >> (i % 64) & 1 == 1;
    for (draw, last) in (n - k..n).enumerate() {
        let candidate = random::below(draw as u64, key, last as u64 + 1) as usize;
        let i = if contains(&chosen, candidate) {
            last
        } else {
            candidate
        };
        chosen[i / 64] |= 1 << (i % 64);
    }
    let mut indices = Vec::with_capacity(k);
    for (at, mut word) in chosen.into_iter().enumerate() {
        while word != 0 {
            indices.push(64 * at + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
    indices
}

/// Writes indices of `bits` bits; `bytes` is exactly [`index_bytes`] long.
pub fn write_indices(indices: &[usize], bits: u32, bytes: &mut [u8]) {
    let (mut buffer, mut filled) = (0u128, 0);
    let mut bytes = bytes.iter_mut();
    for index in indices {
        buffer |= (*index as u128) << filled;
        filled += bits;
        while filled >= 8 {
            if let Some(byte) = bytes.next() {
                *byte = buffer as u8;
            }
            buffer >>= 8;
            filled -= 8;
        }
    }
    if let Some(byte) = bytes.next() {
        *byte = buffer as u8;
    }
}

/// Indices as they lie in a body.
#[derive(Clone, Copy, Debug)]
pub struct Indices<'a> {
    bytes: &'a [u8],
    bits: u32,
}

impl<'a> Indices<'a> {
    /// The indices of `bits` bits in `bytes`.
    pub fn new(bytes: &'a [u8], bits: u32) -> Self {
        Self { bytes, bits }
    }

    /// Index `entry`.
    pub fn get(&self, entry: usize) -> u64 {
        let at = entry as u64 * u64::from(self.bits);
        let bytes = &self.bytes[(at / 8) as usize..];
        let mut word = [0; 16];
        let taken = bytes.len().min(9); // up to 7 bits before the index, up to 64 of it
        word[..taken].copy_from_slice(&bytes[..taken]);
        let mask = (1u128 << self.bits) - 1;
        (u128::from_le_bytes(word) >> (at % 8) & mask) as u64
    }

    /// Whether the bits behind the last of `entries` indices are zero.
    pub fn padding_is_zero(&self, entries: usize) -> bool {
        let used = entries as u64 * u64::from(self.bits) % 8;
        used == 0 || self.bytes.last().is_none_or(|byte| byte >> used == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use std::collections::BTreeSet;

    #[test]
    fn index_widths() {
        for (n, bits) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1 << 20, 20),
        ] {
            assert_eq!(index_bits(n), bits, "{n}");
        }
        assert_eq!(index_bits(usize::MAX), usize::BITS);
        assert_eq!(index_bytes(u32::MAX, 64), 8 * u64::from(u32::MAX));
    }

    #[test]
    fn indices_round_trip_at_every_width() {
        for bits in 0..=64u32 {
            let mask = ((1u128 << bits) - 1) as u64;
            let indices: Vec<usize> = (0..37u64)
                .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) & mask) as usize)
                .collect();
            let mut bytes = vec![0xff; index_bytes(37, bits) as usize];
            write_indices(&indices, bits, &mut bytes);
            let read = Indices::new(&bytes, bits);
            assert!((0..37).all(|e| read.get(e) == indices[e] as u64), "{bits}");
            assert!(read.padding_is_zero(37));
        }
    }

    #[test]
    fn largest_by_sorting() {
        // Many ties, few ties, and one chunk that holds all the large ones.
        let of = |f: fn(u32) -> f32| (0..3000).map(f).collect::<Vec<f32>>();
        for x in [
            of(|i| (i * 37 % 23) as f32),
            of(|i| (i * 1237 % 3001) as f32 - 1500.0),
            of(|i| if i / 40 == 7 { i as f32 } else { 0.5 }),
        ] {
            for k in (0..70).chain([500, 2999, 3000]) {
                for kernels in Kernels::all() {
                    assert_eq!(largest(kernels, &x, k), reference::largest(&x, k), "{k}");
                }
            }
        }
        assert_eq!(largest(Kernels::best(), &[0.0, -0.0, 0.0], 2), [0, 1]);
    }

    #[test]
    fn random_coordinates_are_distinct_and_ordered() {
        for (n, k) in [(0, 0), (1, 1), (10, 0), (10, 10), (100, 7), (1000, 900)] {
            for key in 0..20 {
                let indices = random_coordinates(key, n, k);
                assert!(indices.is_sorted() && indices.len() == k);
                assert!(indices.last().is_none_or(|i| *i < n));
                assert_eq!(indices.iter().collect::<BTreeSet<_>>().len(), k);
            }
        }
        assert_ne!(random_coordinates(1, 100, 5), random_coordinates(2, 100, 5));
    }
}
