//! CRC32C of a frame's body and tail, computed in pieces by the threads that touch them.

use crate::layout::SEGMENT;
use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of some bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum of bytes whose checksum is `crc`, followed by `bytes`.
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

/// Most pieces a body is cut into: each costs one combination of checksums at the end.
const MAX_GROUPS: usize = 64;

/// Segments that one task takes, so that a body of `n` coordinates makes at most 64 tasks.
pub fn segments_per_task(n: usize) -> usize {
    n.div_ceil(SEGMENT).div_ceil(MAX_GROUPS).max(1)
}

/// The checksum of consecutive pieces from theirs and their lengths.
pub fn concatenated(pieces: impl IntoIterator<Item = (u32, usize)>) -> u32 {
    // Appending len bytes multiplies the checksum so far by x^(8 len): one power serves all pieces
    // of the same length.
    let mut power = (0, ONE);
    pieces.into_iter().fold(0, |crc, (piece, len)| {
        if power.0 != len {
            power = (len, x_to_the_8(len));
        }
        multiply(crc, power.1) ^ piece
    })
}

/// The polynomial of CRC32C over GF(2), bit-reversed as everything here: bit 31 is x^0.
const POLYNOMIAL: u32 = 0x82F6_3B78;
const ONE: u32 = 1 << 31;

/// The product of two polynomials modulo [`POLYNOMIAL`].
fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}

/// x^(8 n) modulo [`POLYNOMIAL`], by repeated squaring.
fn x_to_the_8(mut n: usize) -> u32 {
    let mut square = ONE >> 8;
    let mut power = ONE;
    while n > 0 {
        if n & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
        n >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * 37) >> 3) as u8).collect();
        for cut in [0, 1, 64, 500, 999, 1000] {
            let (a, b) = bytes.split_at(cut);
            let pieces = [(crc32c(a), a.len()), (crc32c(b), b.len())];
            assert_eq!(concatenated(pieces), crc32c(&bytes));
        }
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn tasks_cover_any_size() {
        for n in [0, 1, SEGMENT, SEGMENT + 1, 64 * SEGMENT + 1, 2000 * SEGMENT] {
            let per_task = segments_per_task(n);
            assert!(n.div_ceil(SEGMENT).div_ceil(per_task) <= MAX_GROUPS);
        }
    }
}
