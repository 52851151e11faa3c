//! What memory allows: copying, reading, and reading and writing in place.

use rayon::prelude::*;

/// Coordinates that one task takes, about as many as the codec's tasks do.
const TASK: usize = 1 << 19;

/// Roughly normal (sums of four uniforms), zero mean.
pub fn gradient(n: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n)
        .map(|_| uniform() + uniform() + uniform() + uniform())
        .collect()
}

/// One call of memcpy, or one for each task where there are several threads.
pub(crate) fn copy(from: &[f32], to: &mut [f32]) {
    if rayon::current_num_threads() == 1 {
        return to.copy_from_slice(from);
    }
    to.par_chunks_mut(TASK)
        .zip(from.par_chunks(TASK))
        .for_each(|(to, from)| to.copy_from_slice(from));
}

/// Some function of every bit.
pub(crate) fn read(x: &[f32]) -> u32 {
    let part = |x: &[f32]| {
        let (rows, rest) = x.as_chunks::<64>();
        let mut bits = [0u32; 64];
        for row in rows {
            for (bits, v) in bits.iter_mut().zip(row) {
                *bits ^= v.to_bits();
            }
        }
        let rest = rest.iter().fold(0, |bits, v| bits ^ v.to_bits());
        bits.iter().fold(rest, |all, bits| all ^ bits)
    };
    x.par_chunks(TASK).map(part).reduce(|| 0, |a, b| a ^ b)
}

/// Changes every coordinate in place.
pub(crate) fn update(x: &mut [f32]) {
    x.par_chunks_mut(TASK)
        .for_each(|x| x.iter_mut().for_each(|v| *v = -*v));
}
