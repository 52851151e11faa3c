//! Sparse bodies: K values, and for top-K the K indices behind them.
//!
//! Entries are in the order of their coordinates. Index e is bits `b e .. b e + b` of a bit stream,
//! least significant bit first; bit p of the stream is bit `p % 8` of byte `p / 8`.

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

/// The indices of the `k` largest magnitudes of finite coordinates, in increasing order; of equal
/// ones the lowest. Takes time linear in the coordinates.
pub fn largest(x: &[f32], k: usize) -> Vec<usize> {
    if k >= x.len() {
        return (0..x.len()).collect();
    }
    if k == 0 {
        return Vec::new();
    }
    let magnitude = |v: &f32| v.to_bits() & 0x7fff_ffff;
    let mut magnitudes: Vec<u32> = x.iter().map(magnitude).collect();
    let (above, threshold, _) = magnitudes.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
    let threshold = *threshold;
    let larger = above.iter().filter(|m| **m > threshold).count();
    let mut ties = k - larger;
    let mut indices = Vec::with_capacity(k);
    for (i, v) in x.iter().enumerate() {
        let m = magnitude(v);
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
        let x: Vec<f32> = (0..200u32)
            .map(|i| (i * 37 % 23) as f32 * if i % 3 == 0 { -1.0 } else { 1.0 })
            .collect();
        let mut order: Vec<usize> = (0..200).collect();
        order.sort_by(|a, b| x[*b].abs().total_cmp(&x[*a].abs())); // stable: ties by index
        for k in 0..=200 {
            let mut wanted = order[..k].to_vec();
            wanted.sort_unstable();
            assert_eq!(largest(&x, k), wanted, "{k}");
        }
        assert_eq!(largest(&[0.0, -0.0, 0.0], 2), [0, 1]);
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
