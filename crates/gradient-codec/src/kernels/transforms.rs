//! Hadamard transforms with random signs ([`crate::rotation`]): the interface, and the passes that the
//! instruction sets of x86 share.
//!
//! Below, H is the Hadamard transform of a power of two of coordinates, 512 or more, times `fl(1/sqrt(n))`, and D
//! the flips of one [`Signs`] for every 512 of them.

use crate::layout::{BLOCK, LANES};

/// Signs of 512 coordinates: i is flipped where bit `31 - i / 16` of word `i % 16` is 1.
pub(crate) type Signs = [u32; LANES];

type Transform = unsafe fn(Option<&[Signs]>, &mut [f32], Option<&[Signs]>, bool);

/// The transforms of one instruction set.
pub(crate) struct Transforms {
    /// `z = H D x`. What follows `x` in memory is asked for by what comes of `z` next, which has more time for it.
    pub rotate: unsafe fn(&[Signs], &[f32], &mut [f32]),
    /// `z <- D' H D z`, with the signs D and D' that are given. The last argument: whether what follows `z` in
    /// memory comes next.
    pub transform: Transform,
    /// `sum += D H z`, which leaves no meaning in `z`. The last argument: whether what follows `sum` in memory
    /// comes next.
    pub add: unsafe fn(&mut [f32], &[Signs], &mut [f32], bool),
}

impl Transforms {
    /// See the fields; every slice of signs has one for every 512 coordinates.
    pub fn rotate(&self, signs: &[Signs], x: &[f32], z: &mut [f32]) {
        // SAFETY: this CPU has the instruction set, because `Kernels` alone hands these tables out.
        unsafe { (self.rotate)(signs, x, z) }
    }

    /// See the fields.
    pub fn transform(
        &self,
        before: Option<&[Signs]>,
        z: &mut [f32],
        after: Option<&[Signs]>,
        walks: bool,
    ) {
        // SAFETY: as in `rotate`.
        unsafe { (self.transform)(before, z, after, walks) }
    }

    /// See the fields.
    pub fn add(&self, z: &mut [f32], signs: &[Signs], sum: &mut [f32], walks: bool) {
        // SAFETY: as in `rotate`.
        unsafe { (self.add)(z, signs, sum, walks) }
    }
}

/// Whether there is one of `signs` for every 512 of `n` coordinates, a power of two of them.
pub(crate) fn fit(signs: &[Signs], n: usize) -> bool {
    n.is_power_of_two() && BLOCK * signs.len() == n
}

/// How a pass ends, as a constant of its loop.
#[cfg(target_arch = "x86_64")]
pub(super) mod ending {
    /// More stages follow.
    pub const STAGES: u8 = 0;
    /// The factor of the transform.
    pub const SCALED: u8 = 1;
    /// The factor, then signs.
    pub const FLIPPED: u8 = 2;
    /// The factor, then signs, then a sum.
    pub const ADDED: u8 = 3;
}

/// What the first pass asks for, as a constant of its loop.
#[cfg(target_arch = "x86_64")]
pub(super) mod request {
    /// Nothing: all is in the L1 cache.
    pub const NOTHING: u8 = 0;
    /// What follows, later.
    pub const LATER: u8 = 1;
    /// What the last pass adds to, now.
    pub const NOW: u8 = 2;
}

/// [`Transforms`] from the operations of one instruction set: the stages inside vectors and across the `rows`
/// of a group in registers, and then for n coordinates `r` of them `h` apart at a time.
///
/// `in_lanes(v)`: the stages inside one vector. `shifted(words, part, rows)`: the signs of the lanes of part
/// `part` of a row, `rows` rows further down. `flip(v, signs)`: the top bits of `signs` flip `v`.
#[cfg(target_arch = "x86_64")]
macro_rules! transforms {
    (
        $features:literal, $vector:ident of $width:literal, rows [$($i:literal)+],
        $load:ident, $store:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $shift:ident;
        $($n:literal: $($r:literal rows $h:literal apart),+;)+
    ) => {
        use crate::kernels::transforms::{Signs, ending, fit, request};
        use crate::kernels::x86::{fetch, prefetch};
        use crate::layout::{BLOCK, LANES};

        /// Coordinates of the first pass.
        const GROUP: usize = ROWS * $width;
        /// Vectors of the first pass.
        const ROWS: usize = [$($i),+].len();
        /// Vectors of a row of 16.
        const PARTS: usize = LANES / $width;

        /// See [`crate::kernels::transforms::Transforms::rotate`].
        #[target_feature(enable = $features)]
        pub fn rotate(signs: &[Signs], x: &[f32], z: &mut [f32]) {
            assert!(x.len() == z.len() && fit(signs, z.len()));
            let (from, to) = (x.as_ptr(), z.as_mut_ptr());
            // SAFETY: `x` and `z` are as long as the signs are for.
            unsafe { first_pass::<true, { request::NOTHING }>(signs, from, to, z.len(), from) };
            last_passes::<{ ending::SCALED }>(z, &[], &mut []);
        }

        /// See [`crate::kernels::transforms::Transforms::transform`].
        #[target_feature(enable = $features)]
        pub fn transform(
            before: Option<&[Signs]>,
            z: &mut [f32],
            after: Option<&[Signs]>,
            walks: bool,
        ) {
            let (n, here) = (z.len(), z.as_mut_ptr());
            assert!(n.is_power_of_two() && n >= BLOCK);
            // SAFETY: n readable and writable coordinates, and signs for as many.
            unsafe {
                match (before, walks) {
                    (Some(signs), false) => {
                        assert!(fit(signs, n));
                        first_pass::<true, { request::NOTHING }>(signs, here, here, n, here);
                    }
                    (Some(signs), true) => {
                        assert!(fit(signs, n));
                        first_pass::<true, { request::LATER }>(signs, here, here, n, here);
                    }
                    (None, false) => {
                        first_pass::<false, { request::NOTHING }>(&[], here, here, n, here);
                    }
                    (None, true) => {
                        first_pass::<false, { request::LATER }>(&[], here, here, n, here);
                    }
                }
            }
            match after {
                Some(signs) => last_passes::<{ ending::FLIPPED }>(z, signs, &mut []),
                None => last_passes::<{ ending::SCALED }>(z, &[], &mut []),
            }
        }

        /// See [`crate::kernels::transforms::Transforms::add`].
        #[target_feature(enable = $features)]
        pub fn add(z: &mut [f32], signs: &[Signs], sum: &mut [f32], walks: bool) {
            assert!(z.len() == sum.len() && fit(signs, z.len()));
            let (n, here, near) = (z.len(), z.as_mut_ptr(), sum.as_ptr());
            // SAFETY: n readable and writable coordinates.
            unsafe {
                if walks {
                    first_pass::<false, { request::NOW | request::LATER }>(&[], here, here, n, near);
                } else {
                    first_pass::<false, { request::NOW }>(&[], here, here, n, near);
                }
            }
            last_passes::<{ ending::ADDED }>(z, signs, sum);
        }

        /// The stages inside groups of coordinates, after flips if `FLIP`.
        ///
        /// # Safety
        /// `from` are n readable coordinates, `to` n writable ones, the same or others; n is a multiple of
        /// [`GROUP`], and there are signs for all of them if `FLIP`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn first_pass<const FLIP: bool, const REQUEST: u8>(
            signs: &[Signs],
            from: *const f32,
            to: *mut f32,
            n: usize,
            near: *const f32,
        ) {
            for start in (0..n).step_by(GROUP) {
                let row = start % BLOCK / LANES;
                let near = near.wrapping_add(start - start % BLOCK);
                let mut words = [shifted(&[0; LANES], 0, 0); PARTS];
                if FLIP {
                    for (part, words) in words.iter_mut().enumerate() {
                        *words = shifted(&signs[start / BLOCK], part, row);
                    }
                }
                let mut rows = [$splat(0.0); ROWS];
                // One by one, lest the compiler makes a loop of it, with the rows in memory.
                $({
                    let down = $width * $i / LANES;
                    if $width * $i % LANES == 0 {
                        if REQUEST & request::NOW != 0 {
                            fetch(near.wrapping_add(LANES * (row + down)).cast());
                        }
                        if REQUEST & request::LATER != 0 {
                            prefetch(near, row + down);
                        }
                    }
                    // SAFETY: a vector of the group.
                    let mut v = unsafe { $load(from.add(start + $width * $i)) };
                    if FLIP {
                        v = flip(v, $shift(words[$width * $i % LANES / $width], down as i32));
                    }
                    rows[$i] = in_lanes(v);
                })+
                for (i, v) in butterflies(rows).into_iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { $store(to.add(start + $width * i), v) };
                }
            }
        }

        /// The stages across groups, and the ending of the last pass.
        #[inline]
        #[target_feature(enable = $features)]
        fn last_passes<const ENDING: u8>(z: &mut [f32], signs: &[Signs], sum: &mut [f32]) {
            match z.len() {
                $($n => transforms!(@ ENDING z signs sum $($r $h)+),)+
                n => unreachable!("a transform of {n} coordinates"),
            }
        }

        /// Stages `H`, `2 H`, ..., `H R / 2`.
        #[inline]
        #[target_feature(enable = $features)]
        fn stages<const R: usize, const H: usize, const ENDING: u8>(
            z: &mut [f32],
            signs: &[Signs],
            sum: &mut [f32],
        ) {
            let n = z.len();
            assert!(n.is_multiple_of(R * H));
            assert!(ENDING == ending::STAGES || n == R * H);
            assert!(ENDING < ending::FLIPPED || fit(signs, n));
            assert!(ENDING != ending::ADDED || sum.len() == n);
            let scale = $splat((1.0 / (n as f64).sqrt()) as f32);
            for part in z.chunks_exact_mut(R * H) {
                for at in (0..H).step_by($width) {
                    let first = part[at..].as_mut_ptr();
                    let mut rows = [$splat(0.0); R];
                    for (r, row) in rows.iter_mut().enumerate() {
                        // SAFETY: `at` and a vector behind it are at most H, so that this ends within the
                        // R H coordinates of `part`.
                        *row = unsafe { $load(first.add(H * r)) };
                    }
                    let rows = butterflies(rows);
                    let block = if H <= BLOCK { 0 } else { at / BLOCK };
                    // One by one, as above.
                    $(if $i < R {
                        let mut v = rows[$i % R];
                        if ENDING != ending::STAGES {
                            v = $mul(v, scale);
                        }
                        if ENDING >= ending::FLIPPED {
                            // `at` is below H, so that no carry is lost.
                            let row = at % BLOCK / LANES + H * $i % BLOCK / LANES;
                            // SAFETY: this is the block of coordinate `H * $i + at`, which has signs.
                            let words = unsafe { &*signs.as_ptr().add(block + H * $i / BLOCK) };
                            v = flip(v, shifted(words, at % LANES / $width, row));
                        }
                        // SAFETY: as above; `sum` is as long as `z`, which is `part`.
                        unsafe {
                            if ENDING == ending::ADDED {
                                let to = sum.as_mut_ptr().add(H * $i + at);
                                $store(to, $add($load(to), v));
                            } else {
                                $store(first.add(H * $i), v);
                            }
                        }
                    })+
                }
            }
        }

        /// All stages across `R` vectors.
        #[inline]
        #[target_feature(enable = $features)]
        fn butterflies<const R: usize>(mut rows: [$vector; R]) -> [$vector; R] {
            let mut h = 1;
            while h < R {
                for i in 0..R {
                    if i & h == 0 {
                        let (a, b) = (rows[i], rows[i + h]);
                        rows[i] = $add(a, b);
                        rows[i + h] = $sub(a, b);
                    }
                }
                h *= 2;
            }
            rows
        }
    };
    (@ $ending:ident $z:ident $signs:ident $sum:ident $r:literal $h:literal) => {
        stages::<$r, $h, $ending>($z, $signs, $sum)
    };
    (@ $ending:ident $z:ident $signs:ident $sum:ident $r:literal $h:literal $($more:literal)+) => {{
        stages::<$r, $h, { ending::STAGES }>($z, &[], &mut []);
        transforms!(@ $ending $z $signs $sum $($more)+)
    }};
}
