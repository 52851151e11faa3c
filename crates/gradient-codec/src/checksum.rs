//! CRC32C of a frame's body and tail, computed in pieces by the threads that touch them.

use crate::layout::SEGMENT;

/// Most pieces a body is cut into: each costs one combination of checksums at the end.
const MAX_GROUPS: usize = 64;

/// Segments that one task takes, so that a body of `n` coordinates makes at most 64 tasks.
pub fn segments_per_task(n: usize) -> usize {
    n.div_ceil(SEGMENT).div_ceil(MAX_GROUPS).max(1)
}

/// The checksum of consecutive pieces from theirs and their lengths.
pub fn concatenated(pieces: impl IntoIterator<Item = (u32, usize)>) -> u32 {
    pieces.into_iter().fold(0, |crc, (piece, len)| {
        crc32c::crc32c_combine(crc, piece, len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * 37) >> 3) as u8).collect();
        for cut in [0, 1, 64, 500, 999, 1000] {
            let (a, b) = bytes.split_at(cut);
            let pieces = [(crc32c::crc32c(a), a.len()), (crc32c::crc32c(b), b.len())];
            assert_eq!(concatenated(pieces), crc32c::crc32c(&bytes));
        }
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn tasks_cover_any_size() {
        for n in [0, 1, SEGMENT, SEGMENT + 1, 64 * SEGMENT + 1, 2000 * SEGMENT] {
            let per_task = segments_per_task(n);
            assert!(n.div_ceil(SEGMENT).div_ceil(per_task) <= MAX_GROUPS);
        }
    }
}
