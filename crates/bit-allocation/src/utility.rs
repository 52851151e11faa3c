//! Utilities of workers whose messages are lost with probability `p` and quantized with relative
//! variance `phi`.

use crate::{AllocationError, UtilityTable};
use std::ops::RangeInclusive;

/// Variance constant of stochastic rounding to `s = 2^(z-1) - 1` levels scaled by the l2 norm of a
/// vector of `dimension` coordinates: `E||Q(x) - x||^2 <= phi ||x||^2` with
/// `phi(z) = dimension / (4 s^2)` (Song & Choi 2026, eq 5). Infinite for `z < 2`, which has no level.
///
/// With one scale per bucket, `dimension` is the bucket size.
///
/// ```
/// assert_eq!(bit_allocation::utility::qsgd_phi(3, 360.0), 10.0);
/// ```
pub fn qsgd_phi(z: u8, dimension: f64) -> f64 {
    if z < 2 {
        return f64::INFINITY;
    }
    let levels = (i32::from(z) - 1).min(1023);
    let levels = 2f64.powi(levels) - 1.0;
    dimension / (4.0 * levels * levels)
}

/// `h = (1 - p) / (p + phi)`: what a worker adds to `S`, where `n^2 C / S` bounds the error (Song &
/// Choi 2026, eqs 21 and 23). 0 for a worker that never answers or whose messages say nothing
/// (`phi` infinite).
pub fn joint(p: f64, phi: f64) -> f64 {
    (1.0 - p) / (p + phi)
}

/// The baseline of the scaling `eta` that multiplies `phi` (Song & Choi 2026, eq 33):
/// `mean(p) 4 (2^(mean_bits-1) - 1)^2 / dimension`, at which `eta phi` at the average width equals
/// the mean of `p`. Use a fraction of it to weigh quantization less; below 1 the bound on the
/// error is no longer one.
///
/// `mean_bits` is the budget per worker, `Z / k`, and need not be an integer. NaN without workers.
pub fn balanced_scaling(p: &[f64], mean_bits: f64, dimension: f64) -> f64 {
    let mean = p.iter().sum::<f64>() / p.len() as f64;
    let levels = (mean_bits - 1.0).exp2() - 1.0;
    mean * 4.0 * levels * levels / dimension
}

/// One table per worker: [`joint`] of `p[i]` and `phi(z)` at every width `z`, and with `allow_idle`
/// also width 0 with utility 0.
///
/// `phi` includes the scaling `eta`, if any; it is called once per width. The paper's widths start
/// at 2. A worker with `p = 1` is dead: its only width is 0, whether or not others may idle.
///
/// # Errors
/// When a `p` is outside `0..=1`, a `phi` negative or NaN, the range of widths empty or containing
/// 0, or a utility infinite (`p` and `phi` both 0).
pub fn tables(
    p: &[f64],
    phi: &dyn Fn(u8) -> f64,
    widths: RangeInclusive<u8>,
    allow_idle: bool,
) -> Result<Vec<UtilityTable>, AllocationError> {
    tables_by_width(p.len(), &|worker, _| p[worker], phi, widths, allow_idle)
}

/// As [`tables`] for `workers` workers whose lateness depends on the width of their messages, as it
/// does where bits take time to send: `p(worker, z)` is asked for every width. A worker is dead when
/// it is late at all of them.
///
/// # Errors
/// As [`tables`].
pub fn tables_by_width(
    workers: usize,
    p: &dyn Fn(usize, u8) -> f64,
    phi: &dyn Fn(u8) -> f64,
    widths: RangeInclusive<u8>,
    allow_idle: bool,
) -> Result<Vec<UtilityTable>, AllocationError> {
    let (min, max) = (*widths.start(), *widths.end());
    if !(1 <= min && min <= max) {
        return Err(AllocationError::Widths { min, max });
    }
    let mut columns = Vec::with_capacity(widths.len() + 1);
    if allow_idle {
        columns.push((0, f64::INFINITY));
    }
    for width in widths {
        let value = phi(width);
        if value.is_nan() || value < 0.0 {
            return Err(AllocationError::VarianceConstant { width, value });
        }
        columns.push((width, value));
    }
    (0..workers)
        .map(|worker| {
            let mut alive = false;
            let mut values = Vec::with_capacity(columns.len());
            for &(width, phi) in &columns {
                if width == 0 {
                    values.push(0.0);
                    continue;
                }
                let value = p(worker, width);
                if !(0.0..=1.0).contains(&value) {
                    return Err(AllocationError::Probability { worker, value });
                }
                alive |= value < 1.0;
                values.push(joint(value, phi));
            }
            if !alive {
                return Ok(UtilityTable::idle());
            }
            let widths = columns.iter().map(|&(width, _)| width).collect();
            UtilityTable::new(widths, values)
                .map_err(|source| AllocationError::Table { worker, source })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableError;

    #[test]
    fn phi_by_hand() {
        assert_eq!(qsgd_phi(2, 100.0), 25.0);
        assert_eq!(qsgd_phi(4, 196.0), 1.0);
        assert_eq!(qsgd_phi(1, 100.0), f64::INFINITY);
        assert_eq!(qsgd_phi(0, 100.0), f64::INFINITY);
        assert!(qsgd_phi(255, 1e6) >= 0.0);
    }

    #[test]
    fn the_joint_utility_at_its_ends() {
        assert_eq!(joint(0.5, 0.5), 0.5);
        assert_eq!(joint(1.0, 0.0), 0.0);
        assert_eq!(joint(0.3, f64::INFINITY), 0.0);
        assert_eq!(joint(0.0, 0.25), 4.0);
    }

    #[test]
    fn balanced_scaling_balances() {
        let (p, dimension) = ([0.2, 0.4], 1e6);
        for z in [3u8, 7, 12] {
            let eta = balanced_scaling(&p, f64::from(z), dimension);
            assert!((eta * qsgd_phi(z, dimension) - 0.3).abs() < 1e-12);
        }
        assert!(balanced_scaling(&[], 3.0, 1.0).is_nan());
    }

    #[test]
    fn tables_hold_the_joint_utility_and_the_idle_width() {
        let phi = |z: u8| 1.0 / f64::from(z);
        let with_idle = tables(&[0.5, 1.0, 0.0], &phi, 2..=4, true).unwrap();
        assert_eq!(with_idle[0].widths(), [0, 2, 3, 4]);
        assert_eq!(with_idle[0].values()[..2], [0.0, 0.5]);
        assert_eq!(with_idle[1], UtilityTable::idle());
        assert_eq!(with_idle[2].utility(4), Some(4.0));
        let without = tables(&[0.5, 1.0, 0.0], &phi, 2..=4, false).unwrap();
        assert_eq!(without[0].values(), &with_idle[0].values()[1..]);
        assert_eq!(without[1], UtilityTable::idle());
    }

    /// A message that takes longer than anybody waits is worth nothing, and a worker with no other is dead.
    #[test]
    fn lateness_may_depend_on_the_width() {
        let phi = |z: u8| 1.0 / f64::from(z);
        let p = |worker: usize, z: u8| match worker {
            0 => f64::from(z) / 4.0,
            _ => 1.0,
        };
        let tables = tables_by_width(2, &p, &phi, 2..=4, false).unwrap();
        assert_eq!(tables[0].widths(), [2, 3, 4]);
        let expected = [0.5 / 1.0, 0.25 / (0.75 + 1.0 / 3.0), 0.0];
        assert_eq!(tables[0].values(), expected);
        assert_eq!(tables[1], UtilityTable::idle());
    }

    #[test]
    fn bad_arguments_are_named() {
        let phi = |z: u8| 1.0 / f64::from(z);
        for bad in [-0.1, 1.1, f64::NAN] {
            let error = tables(&[0.5, bad], &phi, 2..=4, false).unwrap_err();
            assert!(matches!(
                error,
                AllocationError::Probability { worker: 1, .. }
            ));
        }
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        for range in [0..=4, 5..=4] {
            assert!(matches!(
                tables(&[0.5], &phi, range, false),
                Err(AllocationError::Widths { .. })
            ));
        }
        for bad in [-1.0, f64::NAN] {
            assert!(matches!(
                tables(&[0.5], &|z| if z == 3 { bad } else { 1.0 }, 2..=4, false),
                Err(AllocationError::VarianceConstant { width: 3, .. })
            ));
        }
        assert!(matches!(
            tables(&[0.5, 0.0], &|_| 0.0, 2..=4, false),
            Err(AllocationError::Table {
                worker: 1,
                source: TableError::NotFinite { width: 2, .. }
            })
        ));
    }
}
