//! Fields of noise whose amplitude falls as one over the frequency.

use counter_rng::CounterRng;
use rand::RngExt;

/// A `side` x `side` field with mean about 0 and standard deviation about 1.
///
/// A sum of octaves of bilinearly interpolated white noise on lattices of 2, 4, 8, ... cells a side,
/// octave k with amplitude `2^-k`: power per octave falls as for 1/f noise in amplitude.
pub(super) fn noise(side: usize, random: &mut CounterRng) -> Vec<f32> {
    let mut field = vec![0.0f32; side * side];
    let mut power = 0.0f32;
    let mut line = vec![];
    let mut amplitude = 1.0f32;
    let mut cells = 2usize;
    while cells <= side.max(2) {
        let nodes = cells + 1;
        // uniform on [-1, 1): variance 1/3, of which bilinear interpolation leaves 4/9
        let lattice: Vec<f32> = (0..nodes * nodes)
            .map(|_| amplitude * (2.0 * random.random::<f32>() - 1.0))
            .collect();
        power += amplitude * amplitude / 3.0 * (4.0 / 9.0);
        let positions: Vec<(usize, f32)> = (0..side)
            .map(|i| {
                let at = (i as f32 + 0.5) * cells as f32 / side as f32;
                (at as usize, at.fract())
            })
            .collect();
        for (row, &(above, down)) in field.chunks_exact_mut(side).zip(&positions) {
            let (upper, lower) = (
                &lattice[above * nodes..][..nodes],
                &lattice[(above + 1) * nodes..][..nodes],
            );
            line.clear();
            line.extend(upper.iter().zip(lower).map(|(u, l)| u + down * (l - u)));
            for (pixel, &(left, across)) in row.iter_mut().zip(&positions) {
                *pixel += line[left] + across * (line[left + 1] - line[left]);
            }
        }
        amplitude *= 0.5;
        cells *= 2;
    }
    let scale = 1.0 / power.sqrt();
    field.iter_mut().for_each(|v| *v *= scale);
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use counter_rng::{Purpose, rng};

    /// Mean square of the differences at a lag, over many fields.
    fn structure(lag: usize) -> f32 {
        let side = 64;
        let mut sum = 0.0;
        let mut count = 0.0f32;
        for stream in 0..40 {
            let field = noise(side, &mut rng(1, Purpose::Synthesis, 9, stream));
            for row in field.chunks_exact(side) {
                for (a, b) in row.iter().zip(&row[lag..]) {
                    sum += (a - b) * (a - b);
                    count += 1.0;
                }
            }
        }
        sum / count
    }

    #[test]
    fn differences_grow_with_distance() {
        let (near, middle, far) = (structure(1), structure(8), structure(32));
        // white noise would have all three equal; 1/f has most of its power in the low octaves
        assert!(
            near < 0.25 * middle && middle < far,
            "{near} {middle} {far}"
        );
        assert!((1.0..3.5).contains(&far), "{far}");
    }
}
