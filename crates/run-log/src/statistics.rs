//! Averages and quantiles of series in which values may be missing.

/// Iterations that the smoothed loss averages over, for a run of `iterations`.
pub fn smoothing_span(iterations: usize) -> f64 {
    (iterations as f64 / 40.0).clamp(4.0, 400.0)
}

/// Exponential average with weight 2 / (span + 1), corrected for its start; NaN entries are skipped
/// (the average stays), and leading ones stay NaN.
pub fn exponential_average(values: &[f64], span: f64) -> Vec<f64> {
    let keep = 1.0 - 2.0 / (span.max(1.0) + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let step = |&value: &f64| {
        if value.is_finite() {
            sum = keep * sum + (1.0 - keep) * value;
            weight = keep * weight + (1.0 - keep);
        }
        if weight > 0.0 { sum / weight } else { f64::NAN }
    };
    values.iter().map(step).collect()
}

/// Quantile by linear interpolation between order statistics; NaN entries do not count.
pub fn quantile(values: impl IntoIterator<Item = f64>, q: f64) -> f64 {
    let mut sorted: Vec<f64> = values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (
        sorted[position.floor() as usize],
        sorted[position.ceil() as usize],
    );
    below + (above - below) * position.fract()
}

/// Mean of the finite entries; NaN if there are none.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .into_iter()
        .filter(|v| v.is_finite())
        .fold((0.0, 0u64), |(s, n), v| (s + v, n + 1));
    if count == 0 {
        f64::NAN
    } else {
        sum / count as f64
    }
}

/// Whether smaller values of a metric are better.
pub fn smaller_is_better(metric: &str) -> bool {
    let name = metric.to_ascii_lowercase();
    ["loss", "error", "distance"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_average_of_a_constant_is_that_constant_from_the_start() {
        let average = exponential_average(&[f64::NAN, 3.0, 3.0, f64::NAN, 3.0], 10.0);
        assert!(average[0].is_nan());
        assert!(
            average[1..].iter().all(|value| (value - 3.0).abs() < 1e-12),
            "{average:?}"
        );
        // At span 2 the newest value weighs 2/3, the one before 2/9, and the sum of weights is 8/9.
        let average = exponential_average(&[3.0, 6.0], 2.0);
        assert!(
            (average[1] - (3.0 * (1.0 / 3.0) * (2.0 / 3.0) + 6.0 * (2.0 / 3.0)) / (8.0 / 9.0))
                .abs()
                < 1e-12
        );
    }

    #[test]
    fn quantiles_interpolate_and_skip_what_was_not_measured() {
        assert_eq!(quantile([4.0, f64::NAN, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile([4.0, 1.0], 0.0), 1.0);
        assert_eq!(quantile([4.0, 1.0], 1.0), 4.0);
        assert!(quantile([f64::NAN], 0.5).is_nan());
    }
}
