//! The Lloyd-Max quantizer of the standard normal law: the 2^b levels with the least mean squared error
//! (Max, "Quantizing for minimum distortion", IRE Trans. Inf. Theory 1960; Lloyd 1982).
//!
//! Levels and thresholds are symmetric, so only magnitudes are kept: `y_0 < y_1 < ...` and, between
//! them, `t_i = (y_(i-1) + y_i) / 2`. Each level is the mean of the normal law over its cell; that
//! system is solved by Newton's method (its Jacobian is tridiagonal) from the levels that are optimal
//! in the limit, the images of equal cells under the distribution function of N(0, 3) (Panter & Dite
//! 1951). All arithmetic is f64 with the `libm` crate's functions, so that tables have the same bits on
//! every machine.

use std::sync::OnceLock;

/// The widest codebook.
pub(crate) const MAX_BITS: u8 = 16;

/// Levels and thresholds of one width, rounded to f32.
#[derive(Debug)]
pub(crate) struct Codebook {
    bits: u8,
    /// Values by code: index `code + 2^(b-1)` for codes in `-2^(b-1)..2^(b-1)`.
    values: Vec<f32>,
    /// `t_1 < t_2 < ...`, then infinity.
    thresholds: Vec<f32>,
    /// By `a * bins_per_unit`, rounded: for magnitudes a; the last bin is for all above it.
    bins: Vec<Bin>,
    bins_per_unit: f32,
    /// [`Bin::below`] up to [`BYTE_BINS`] bins, where they are no more.
    bytes: [u8; BYTE_BINS],
    /// `E(Q(x) - x)^2`, x ~ N(0, 1).
    distortion: f64,
}

/// Where a magnitude is looked for: a bin is narrower than the distance of neighbouring thresholds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Bin {
    /// The one threshold that may lie in the bin, or the next above it.
    pub threshold: f32,
    /// How many thresholds are below that one.
    pub below: u32,
}

/// Bins of which [`Codebook::bytes`] has a byte each.
pub(crate) const BYTE_BINS: usize = 128;

/// The codebook of `bits` in 1..=16, made when first asked for.
pub(crate) fn codebook(bits: u8) -> &'static Codebook {
    static BOOKS: [OnceLock<Codebook>; MAX_BITS as usize] =
        [const { OnceLock::new() }; MAX_BITS as usize];
    BOOKS[usize::from(bits) - 1].get_or_init(|| Codebook::new(bits))
}

impl Codebook {
    fn new(bits: u8) -> Self {
        let magnitudes = 1usize << (bits - 1);
        let levels = levels(magnitudes);
        let rounded: Vec<f32> = levels.iter().map(|y| *y as f32).collect();
        let mut thresholds: Vec<f32> = middles(&levels).map(|t| t as f32).collect();
        // The innermost thresholds are the closest.
        let gap = match thresholds[..] {
            [a, b, ..] => b - a,
            _ => 1.0,
        };
        // A bin reaches half its width to both sides, and a little more: products are rounded.
        let (bins_per_unit, reach) = (1.0625 / gap, 0.5 + 1.0 / 64.0);
        let last = thresholds.last().copied().unwrap_or(0.0);
        let bins = (f64::from(last * bins_per_unit) + reach).ceil() as usize + 1;
        thresholds.push(f32::INFINITY);
        let bins: Vec<Bin> = (0..bins)
            .map(|bin| {
                let start = (bin as f64 - reach) / f64::from(bins_per_unit);
                let below = thresholds.partition_point(|t| f64::from(*t) <= start);
                Bin {
                    threshold: thresholds[below],
                    below: below as u32,
                }
            })
            .collect();
        let mut bytes = [0; BYTE_BINS];
        for (byte, bin) in bytes.iter_mut().zip(&bins) {
            *byte = bin.below as u8;
        }
        Self {
            bits,
            values: rounded
                .iter()
                .rev()
                .map(|y| -y)
                .chain(rounded.iter().copied())
                .collect(),
            thresholds,
            bins,
            bins_per_unit,
            bytes,
            distortion: distortion(bits, &levels),
        }
    }

    /// b.
    pub fn bits(&self) -> u32 {
        u32::from(self.bits)
    }

    /// Values by `code + 2^(b-1)`: ascending, 2^b of them.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The largest level.
    pub fn outermost(&self) -> f32 {
        self.values[self.values.len() - 1]
    }

    /// `E(Q(x) - x)^2` for x ~ N(0, 1).
    pub fn distortion(&self) -> f64 {
        self.distortion
    }

    /// The thresholds between positive levels, ascending, and infinity behind them.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// The positive levels, ascending, 2^(b-1) of them.
    pub fn magnitudes(&self) -> &[f32] {
        &self.values[self.values.len() / 2..]
    }

    /// By a magnitude times [`Self::bins_per_unit`], rounded either way where that is in doubt; larger ones have
    /// the last bin.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// See [`Self::bins`].
    pub fn bins_per_unit(&self) -> f32 {
        self.bins_per_unit
    }

    /// [`Bin::below`] of the first [`BYTE_BINS`] bins, modulo 256.
    pub fn bytes(&self) -> &[u8; BYTE_BINS] {
        &self.bytes
    }

    /// Index of the magnitude nearest to a finite `a >= 0`: how many thresholds are at or below it.
    #[inline(always)]
    pub fn nearest(&self, a: f32) -> u32 {
        // A saturating conversion.
        let bin = (a * self.bins_per_unit + 0.5) as usize;
        let bin = self.bins[bin.min(self.bins.len() - 1)];
        bin.below + u32::from(a >= bin.threshold)
    }
}

/// The positive levels, ascending.
fn levels(magnitudes: usize) -> Vec<f64> {
    let mut levels: Vec<f64> = (0..magnitudes)
        .map(|i| 3f64.sqrt() * normal_quantile(0.5 + (i as f64 + 0.5) / (2 * magnitudes) as f64))
        .collect();
    // Quadratic convergence: five steps reach what f64 can resolve.
    for _ in 0..8 {
        newton_step(&mut levels);
    }
    levels
}

/// Thresholds between neighbouring levels.
fn middles(levels: &[f64]) -> impl Iterator<Item = f64> {
    levels.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0)
}

/// The cell of each level: its borders and what they need of the normal law.
struct Cell {
    /// Probability.
    mass: f64,
    /// Mean of the law over the cell.
    centroid: f64,
    /// Derivative of the mean by the lower border, and by the upper one.
    by_border: [f64; 2],
}

fn cells(levels: &[f64]) -> Vec<Cell> {
    let borders: Vec<f64> = [0.0]
        .into_iter()
        .chain(middles(levels))
        .chain([f64::INFINITY])
        .collect();
    let cell = |pair: &[f64]| {
        let [lower, upper] = [pair[0], pair[1]];
        let [at_lower, at_upper] = [density(lower), density(upper)];
        let mass = tail(lower) - tail(upper);
        let centroid = (at_lower - at_upper) / mass;
        Cell {
            mass,
            centroid,
            by_border: [
                if lower == 0.0 {
                    0.0
                } else {
                    at_lower * (centroid - lower) / mass
                },
                if upper.is_infinite() {
                    0.0
                } else {
                    at_upper * (upper - centroid) / mass
                },
            ],
        }
    };
    borders.windows(2).map(cell).collect()
}

/// One step of Newton's method for `y_i = centroid_i(y)`.
fn newton_step(levels: &mut [f64]) {
    let cells = cells(levels);
    // Thomas's algorithm: row i is -a/2 y_(i-1) + (1 - a/2 - b/2) y_i - b/2 y_(i+1) = residual.
    let mut upper = Vec::with_capacity(levels.len());
    let mut right = Vec::with_capacity(levels.len());
    for (level, cell) in levels.iter().zip(&cells) {
        let [a, b] = cell.by_border.map(|d| 0.5 * d);
        let (before, solved) = match (upper.last(), right.last()) {
            (Some(u), Some(r)) => (*u, *r),
            _ => (0.0, 0.0),
        };
        let pivot = 1.0 - a - b + a * before;
        upper.push(-b / pivot);
        right.push((level - cell.centroid + a * solved) / pivot);
    }
    let mut step = 0.0;
    for (i, level) in levels.iter_mut().enumerate().rev() {
        step = right[i] - upper[i] * step;
        *level -= step;
    }
}

/// `E(Q(x) - x)^2 = 1 - E Q(x)^2`, because every level is the mean of its cell. Beyond 10 bits the
/// difference cancels, and one more bit divides it by 4 (Panter & Dite) to within 0.1 %.
fn distortion(bits: u8, levels: &[f64]) -> f64 {
    const LIMIT: u8 = 10;
    if bits > LIMIT {
        return codebook(LIMIT).distortion / 4f64.powi(i32::from(bits - LIMIT));
    }
    let energy = |(cell, level): (Cell, &f64)| 2.0 * cell.mass * level * level;
    1.0 - cells(levels)
        .into_iter()
        .zip(levels)
        .map(energy)
        .sum::<f64>()
}

/// Density of N(0, 1).
fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / std::f64::consts::TAU.sqrt()
}

/// `P(X > x)`, X ~ N(0, 1).
fn tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The quantile of N(0, 1) for p in 1/2..1, by bisection.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if tail(middle) > 1.0 - p {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Max 1960, table I (N = 2, 4, 8, 16 output levels).
    #[test]
    fn levels_of_the_literature() {
        let positive = |bits: u8| codebook(bits).values[1 << (bits - 1)..].to_vec();
        for (bits, wanted, distortion) in [
            (1, vec![0.7980], 0.3634),
            (2, vec![0.4528, 1.510], 0.1175),
            (3, vec![0.2451, 0.7560, 1.344, 2.152], 0.03454),
            (
                4,
                vec![0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733],
                0.009497,
            ),
        ] {
            for (level, wanted) in positive(bits).iter().zip(&wanted) {
                assert!((level - wanted).abs() < 6e-4, "{bits} {level} {wanted}");
            }
            let found = codebook(bits).distortion();
            assert!((found / distortion - 1.0).abs() < 1e-3, "{bits} {found}");
        }
        // Panter & Dite: sqrt(3) pi / 2 * 4^-b.
        let limit = 3f64.sqrt() * std::f64::consts::PI / 2.0 / 4f64.powi(16);
        assert!((codebook(16).distortion() / limit - 1.0).abs() < 0.01);
    }

    #[test]
    fn levels_are_the_means_of_their_cells() {
        for bits in 1..=MAX_BITS {
            let levels = levels(1 << (bits - 1));
            assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{bits}");
            for (cell, level) in cells(&levels).iter().zip(&levels) {
                assert!((cell.centroid - level).abs() < 1e-9, "{bits} {level}");
            }
        }
    }

    #[test]
    fn nearest_counts_thresholds() {
        for bits in 1..=MAX_BITS {
            let book = codebook(bits);
            let thresholds = book.thresholds();
            let check = |a: f32| {
                let wanted = thresholds.partition_point(|t| *t <= a) as u32;
                assert_eq!(book.nearest(a), wanted, "{bits} {a}");
            };
            for t in thresholds {
                for bits in -2i64..=2 {
                    let near = (i64::from(t.to_bits()) + bits) as u32;
                    check(f32::from_bits(near.min(f32::MAX.to_bits())));
                }
            }
            for a in [0.0, 1e-30, 1e-5, 7.3, 1e10, f32::MAX] {
                check(a);
            }
            // Where bins meet, rounding may lead to either.
            for (i, bins) in book.bins().windows(2).enumerate() {
                let border = (i as f32 + 0.5) / book.bins_per_unit();
                for bin in bins {
                    let found = bin.below + u32::from(border >= bin.threshold);
                    assert_eq!(found, book.nearest(border), "{bits} {border}");
                }
            }
            // Vectors of bytes hold the bins of widths up to 7.
            assert_eq!(book.bins().len() <= BYTE_BINS, bits <= 7);
            assert!(bits > 6 || book.bins().len() <= BYTE_BINS / 2);
        }
    }

    /// The tables are part of the format: a decoder reads values from them.
    #[test]
    fn golden_tables() {
        let bytes = |bits: u8| {
            let book = codebook(bits);
            let all = book.values.iter().chain(&book.thresholds);
            all.flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()
        };
        let hashes: Vec<u32> = (1..=MAX_BITS)
            .map(|b| crate::checksum::crc32c(&bytes(b)))
            .collect();
        let now: Vec<String> = hashes.iter().map(|hash| format!("{hash:#010x}")).collect();
        assert!(hashes == GOLDEN, "now {}", now.join(", "));
    }
    const GOLDEN: [u32; 16] = [
        0x351a34b5, 0x239b2767, 0x61db9a0d, 0x1017b263, 0x4f4339ad, 0x1bb98f9f, 0x5a9ad521,
        0x2a40b0f2, 0xea5200d7, 0xdb1a83ab, 0xf628778d, 0xf604b2be, 0xedcbfa7f, 0xdeeb04fc,
        0x8984fc31, 0xc2497c7f,
    ];
}
