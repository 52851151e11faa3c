//! Sums over thousands of workers without thousands of roundings.

/// Neumaier's compensated sum of finite numbers; infinite if one of them is.
pub(crate) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut residue) = (0.0f64, 0.0);
    for value in values {
        let (next, lost) = two_sum(sum, value);
        sum = next;
        residue += lost;
    }
    if sum.is_finite() { sum + residue } else { sum }
}

/// `a + b` and what its rounding lost.
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let lost = if a.abs() >= b.abs() {
        (a - sum) + b
    } else {
        (b - sum) + a
    };
    (sum, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_lost() {
        assert_eq!(sum([1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum((0..10).map(|_| 0.1)), 1.0);
        assert_eq!(sum([1.0, f64::INFINITY]), f64::INFINITY);
        assert_eq!(sum([]), 0.0);
    }
}
