//! The inner loops compiled for several instruction sets, and the choice between them at run time.
//!
//! A [`Kernels`] is a table of functions compiled for one set. It is only handed out by
//! [`Kernels::best`] and [`Kernels::all`], after the CPU was asked: that is the invariant behind
//! every `unsafe` here.

/// Repeats the body for `$r` = 0..32 as a constant, so that every shift below is a constant too.
macro_rules! for_each_row {
    ($r:ident => $body:block) => {
        for_each_row!(@ $r $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24
            25 26 27 28 29 30 31)
    };
    (@ $r:ident $body:block $($i:literal)*) => { $({ const $r: usize = $i; $body })* };
}

/// `f` for every width 1..=16, with what follows as its other parameters.
macro_rules! widths {
    ($f:path $(, $parameter:expr)*) => {{
        use $f as f;
        widths!(@ f ($($parameter),*) 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    }};
    (@ $f:ident ($first:expr, $second:expr) $($bits:literal)*) => {
        [$($f::<$bits, { $first }, { $second }>),*]
    };
    (@ $f:ident () $($bits:literal)*) => { [$($f::<$bits>),*] };
    (@ $f:ident $parameter:tt $($bits:literal)*) => { [$($f::<$bits, { $parameter }>),*] };
}

// First: its macro is for the modules below.
#[cfg_attr(target_arch = "x86_64", macro_use)]
mod transforms;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod fused;
mod generic;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use fused::{Ahead, Codes, Fused, Levels, Run, Statistic};
pub(crate) use generic::nearest::add_products;
pub(crate) use generic::{PARTIALS, total};
pub(crate) use transforms::{Signs, Transforms};

use crate::layout::BLOCK;
use crate::lloyd_max::Codebook;
use crate::quantizer::{FixedPoint, Generator};
use crate::random::Keys;
use std::sync::OnceLock;

type Fill = unsafe fn(&Keys, u64, &mut [u32; BLOCK]);
type Quantize = unsafe fn(&[f32; BLOCK], &FixedPoint, &mut [u32; BLOCK]);
/// The levels of a block, and the partial sums of [`generic::total`] that the products of coordinates and
/// their levels were added to.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Nearest {
    pub levels: [f32; BLOCK],
    pub dot: [f64; PARTIALS],
}

impl Nearest {
    pub const ZERO: Self = Self {
        levels: [0.0; BLOCK],
        dot: [0.0; PARTIALS],
    };
}

/// The levels that are nearest to the products of coordinates with a factor, and their codes, packed. The last
/// argument: asks for what follows this block in memory.
type FindNearest =
    unsafe fn(&[f32; BLOCK], f32, &Codebook, &mut [u8], &mut Nearest, near: *const f32);
type SignsOf = unsafe fn(&[f32; BLOCK], &mut [u32; BLOCK]);
type Pack = unsafe fn(&[u32; BLOCK], &mut [u8]);
type Accumulate = unsafe fn(&[u8], f32, &mut [f32]);
type AccumulateTable = unsafe fn(&[u8], f32, &[f32], &mut [f32]);
type Lowest = unsafe fn(&[u8]) -> i32;

/// The inner loops for one instruction set, which this CPU has.
pub(crate) struct Kernels {
    name: &'static str,
    max_abs_bits: unsafe fn(&[f32]) -> u32,
    max_abs_bits_le: unsafe fn(&[u8]) -> u32,
    sum_squares: unsafe fn(&[f32]) -> f64,
    sum_abs: unsafe fn(&[f32]) -> f64,
    squared_error: unsafe fn(&[f32], &FixedPoint, f32) -> f64,
    flip: unsafe fn(&Signs, usize, &mut [f32]),
    fill_philox: Fill,
    fill_ars: Fill,
    quantize: Quantize,
    signs: SignsOf,
    // Indexed by width - 1; codes of one bit are signs.
    pack: [Pack; 16],
    accumulate: [Accumulate; 16],
    accumulate_mid_rise: [Accumulate; 16],
    accumulate_table: [AccumulateTable; 16],
    lowest: [Lowest; 16],
    accumulate_f32: Accumulate,
    nearest: [FindNearest; 16],
    transforms: Transforms,
    fused: Option<Fused>,
}

/// Compiles the generic loops under the given attributes and collects them in a table.
macro_rules! kernels {
    ($table:ident, $name:literal, $rounds:expr, $fill_philox:path, $fill_ars:path, $nearest:path,
     $transforms:expr, $fused:expr $(, #[$feature:meta])?) => {
        static $table: Kernels = {
            use generic as g;
            $(#[$feature])?
            fn max_abs_bits(x: &[f32]) -> u32 { g::max_abs_bits(x) }
            $(#[$feature])?
            fn max_abs_bits_le(x: &[u8]) -> u32 { g::max_abs_bits_le(x) }
            $(#[$feature])?
            fn sum_squares(x: &[f32]) -> f64 { g::sum_squares(x) }
            $(#[$feature])?
            fn sum_abs(x: &[f32]) -> f64 { g::sum_abs(x) }
            $(#[$feature])?
            fn squared_error(x: &[f32], levels: &FixedPoint, step: f32) -> f64 {
                g::squared_error::<{ $rounds }>(x, levels, step)
            }
            $(#[$feature])?
            fn flip(words: &Signs, first: usize, x: &mut [f32]) { g::rotation::flip(words, first, x); }
            $(#[$feature])?
            fn signs(x: &[f32; BLOCK], y: &mut [u32; BLOCK]) { g::signs(x, y); }
            $(#[$feature])?
            fn accumulate_signs(bytes: &[u8], factor: f32, acc: &mut [f32]) {
                g::accumulate_signs(bytes, factor, acc);
            }
            $(#[$feature])?
            fn quantize(x: &[f32; BLOCK], levels: &FixedPoint, y: &mut [u32; BLOCK]) {
                g::quantize::<{ $rounds }>(x, levels, y);
            }
            $(#[$feature])?
            fn pack<const B: usize>(y: &[u32; BLOCK], out: &mut [u8]) { g::pack::<B>(y, out); }
            $(#[$feature])?
            fn accumulate<const B: usize>(bytes: &[u8], factor: f32, acc: &mut [f32]) {
                g::accumulate::<B>(bytes, factor, acc);
            }
            $(#[$feature])?
            fn accumulate_mid_rise<const B: usize>(bytes: &[u8], factor: f32, acc: &mut [f32]) {
                g::accumulate_mid_rise::<B>(bytes, factor, acc);
            }
            $(#[$feature])?
            fn accumulate_table<const B: usize>(bytes: &[u8], factor: f32, values: &[f32], acc: &mut [f32]) {
                g::accumulate_table::<B>(bytes, factor, values, acc);
            }
            $(#[$feature])?
            fn lowest<const B: usize>(bytes: &[u8]) -> i32 { g::lowest::<B>(bytes) }
            $(#[$feature])?
            fn accumulate_f32(bytes: &[u8], weight: f32, acc: &mut [f32]) {
                g::accumulate_f32(bytes, weight, acc);
            }
            Kernels {
                name: $name,
                max_abs_bits,
                max_abs_bits_le,
                sum_squares,
                fill_philox: $fill_philox,
                fill_ars: $fill_ars,
                sum_abs,
                squared_error,
                quantize,
                signs,
                flip,
                pack: kernels!(@widths pack, pack::<1>),
                accumulate: kernels!(@widths accumulate, accumulate_signs),
                accumulate_mid_rise: kernels!(@widths accumulate_mid_rise, accumulate_mid_rise::<1>),
                accumulate_table: kernels!(@widths accumulate_table, accumulate_table::<1>),
                lowest: kernels!(@widths lowest, g::lowest_sign),
                accumulate_f32,
                nearest: widths!($nearest),
                transforms: $transforms,
                fused: $fused,
            }
        };
    };
    (@widths $f:ident, $one_bit:expr) => {
        [
            $one_bit, $f::<2>, $f::<3>, $f::<4>, $f::<5>, $f::<6>, $f::<7>, $f::<8>, $f::<9>, $f::<10>,
            $f::<11>, $f::<12>, $f::<13>, $f::<14>, $f::<15>, $f::<16>,
        ]
    };
}

kernels!(
    PORTABLE,
    "portable",
    cfg!(target_arch = "aarch64"),
    generic::fill_philox,
    generic::fill_ars,
    generic::nearest::nearest,
    generic::rotation::TRANSFORMS,
    None
);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX2,
    "avx2",
    true,
    x86::fill_philox_avx2,
    x86::fill_ars_aes,
    avx2::nearest::nearest,
    Transforms {
        rotate: avx2::hadamard::rotate,
        transform: avx2::hadamard::transform,
        add: avx2::hadamard::add,
    },
    Some(Fused::AVX2),
    #[target_feature(enable = "avx2,bmi2,aes")]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX2_VAES,
    "avx2-vaes",
    true,
    x86::fill_philox_avx2,
    x86::fill_ars_aes,
    avx2::nearest::nearest,
    Transforms {
        rotate: avx2::hadamard::rotate,
        transform: avx2::hadamard::transform,
        add: avx2::hadamard::add,
    },
    Some(Fused::AVX2_VAES),
    #[target_feature(enable = "avx2,bmi2,aes")]
);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX512,
    "avx512",
    true,
    x86::fill_philox_avx512,
    x86::fill_ars_vaes,
    avx512::nearest::nearest,
    Transforms {
        rotate: avx512::hadamard::rotate,
        transform: avx512::hadamard::transform,
        add: avx512::hadamard::add,
    },
    Some(Fused::AVX512),
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi2,aes,vaes")]
);

static BEST: OnceLock<&'static Kernels> = OnceLock::new();

impl Kernels {
    /// The tables this CPU can run, fastest first.
    pub fn all() -> impl Iterator<Item = &'static Kernels> {
        #[cfg(target_arch = "x86_64")]
        let x86 = {
            use std::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("bmi2") && has!("aes");
            let vaes = avx2 && has!("vaes");
            let avx512 = vaes
                && has!("avx512f")
                && has!("avx512bw")
                && has!("avx512dq")
                && has!("avx512vl")
                && has!("avx512vbmi")
                && has!("avx512vbmi2");
            let sets = [(avx512, &AVX512), (vaes, &AVX2_VAES), (avx2, &AVX2)];
            sets.map(|(has, set)| has.then_some(set))
        };
        #[cfg(not(target_arch = "x86_64"))]
        let x86: [Option<&'static Kernels>; 0] = [];
        x86.into_iter().flatten().chain([&PORTABLE])
    }

    /// The fastest table this CPU can run, or the one chosen by [`Kernels::choose`].
    pub fn best() -> &'static Kernels {
        BEST.get_or_init(|| Self::all().next().unwrap_or(&PORTABLE))
    }

    /// Makes the table of this name [`Kernels::best`]; whether it is.
    pub fn choose(name: &str) -> bool {
        let named = Self::all().find(|kernels| kernels.name == name);
        named.is_some_and(|kernels| std::ptr::eq(*BEST.get_or_init(|| kernels), kernels))
    }

    /// Name of the instruction set.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The hand-written loops, where there are some.
    pub fn fused(&self) -> Option<&Fused> {
        self.fused.as_ref()
    }

    /// See [`generic::max_abs_bits`].
    pub fn max_abs_bits(&self, x: &[f32]) -> u32 {
        if let Some(fused) = &self.fused
            && x.len() > 16 * BLOCK
        {
            // More than a bucket: the first of a global scale's two passes, with prefetches.
            let mut largest = Ahead::ZERO;
            fused.gather(Statistic::Largest, true, x, &mut largest);
            return largest.max_abs_bits();
        }
        // SAFETY: this CPU has the table's instruction set; so for every call below.
        unsafe { (self.max_abs_bits)(x) }
    }

    /// See [`generic::max_abs_bits_le`].
    pub fn max_abs_bits_le(&self, bytes: &[u8]) -> u32 {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.max_abs_bits_le)(bytes) }
    }

    /// See [`generic::sum_squares`].
    pub fn sum_squares(&self, x: &[f32]) -> f64 {
        if let Some(fused) = &self.fused {
            let mut sums = Ahead::ZERO;
            fused.gather(Statistic::Squares, x.len() > 16 * BLOCK, x, &mut sums);
            return sums.sum_squares();
        }
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.sum_squares)(x) }
    }

    /// The random bits of a block in coordinate order.
    pub fn fill(&self, generator: Generator, keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
        let fill = match generator {
            Generator::Philox => self.fill_philox,
            Generator::Ars => self.fill_ars,
        };
        // SAFETY: as in `max_abs_bits`.
        unsafe { fill(keys, block, out) }
    }

    /// See [`generic::quantize`].
    pub fn quantize(&self, x: &[f32; BLOCK], levels: &FixedPoint, y: &mut [u32; BLOCK]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.quantize)(x, levels, y) }
    }

    /// See [`FindNearest`]; `words` is 64 times the book's width.
    pub fn nearest(
        &self,
        z: &[f32; BLOCK],
        factor: f32,
        book: &Codebook,
        words: &mut [u8],
        found: &mut Nearest,
        near: *const f32,
    ) {
        let nearest = self.nearest[book.bits() as usize - 1];
        // SAFETY: as in `max_abs_bits`; prefetches take any address.
        unsafe { nearest(z, factor, book, words, found, near) }
    }

    /// The rotations of 512 coordinates and more.
    pub fn transforms(&self) -> &Transforms {
        &self.transforms
    }

    /// The Hadamard transform of a power of two of coordinates.
    pub fn hadamard(&self, z: &mut [f32]) {
        if z.len() < BLOCK {
            generic::rotation::hadamard(z);
        } else {
            self.transforms.transform(None, z, None, false);
        }
    }

    /// See [`generic::rotation::flip`].
    pub fn flip(&self, words: &Signs, first: usize, x: &mut [f32]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.flip)(words, first, x) }
    }

    /// See [`generic::sum_abs`].
    pub fn sum_abs(&self, x: &[f32]) -> f64 {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.sum_abs)(x) }
    }

    /// See [`generic::squared_error`].
    pub fn squared_error(&self, x: &[f32], levels: &FixedPoint, step: f32) -> f64 {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.squared_error)(x, levels, step) }
    }

    /// See [`generic::signs`].
    pub fn signs(&self, x: &[f32; BLOCK], y: &mut [u32; BLOCK]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.signs)(x, y) }
    }

    /// See [`generic::pack`]; `bits` in 1..=16.
    pub fn pack(&self, bits: u8, y: &[u32; BLOCK], out: &mut [u8]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { self.pack[usize::from(bits) - 1](y, out) }
    }

    /// See [`generic::accumulate`], and [`generic::accumulate_signs`] for one bit; `bits` in 1..=16.
    pub fn accumulate(&self, bits: u8, bytes: &[u8], factor: f32, acc: &mut [f32]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { self.accumulate[usize::from(bits) - 1](bytes, factor, acc) }
    }

    /// See [`generic::accumulate_mid_rise`]; `bits` in 1..=16.
    pub fn accumulate_mid_rise(&self, bits: u8, bytes: &[u8], factor: f32, acc: &mut [f32]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { self.accumulate_mid_rise[usize::from(bits) - 1](bytes, factor, acc) }
    }

    /// See [`generic::accumulate_table`], with the values of `book`.
    pub fn accumulate_table(&self, book: &Codebook, bytes: &[u8], factor: f32, acc: &mut [f32]) {
        let accumulate = self.accumulate_table[book.bits() as usize - 1];
        // SAFETY: as in `max_abs_bits`.
        unsafe { accumulate(bytes, factor, book.values(), acc) }
    }

    /// See [`generic::lowest`]; `bits` in 1..=16.
    fn lowest(&self, bits: u8, bytes: &[u8]) -> i32 {
        // SAFETY: as in `max_abs_bits`.
        unsafe { self.lowest[usize::from(bits) - 1](bytes) }
    }

    /// Whether full blocks hold the code `-2^(bits-1)`; never with one bit.
    pub fn has_unused(&self, bits: u8, blocks: &[u8]) -> bool {
        match &self.fused {
            _ if bits == 1 => false,
            Some(fused) => fused.has_unused(bits, blocks),
            None => self.lowest(bits, blocks) == -(1 << (bits - 1)),
        }
    }

    /// See [`generic::accumulate_f32`].
    pub fn accumulate_f32(&self, bytes: &[u8], weight: f32, acc: &mut [f32]) {
        // SAFETY: as in `max_abs_bits`.
        unsafe { (self.accumulate_f32)(bytes, weight, acc) }
    }
}
