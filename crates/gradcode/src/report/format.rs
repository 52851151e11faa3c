//! Numbers with units, three significant digits, for people.

/// `digits` significant digits, without exponent between 1e-4 and 1e6, without trailing zeros.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return "-".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..6).contains(&magnitude) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    let decimals = (digits as i32 - 1 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// SI prefixes from one up, by powers of 1000.
const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// The factor and SI prefix that bring `value` to between 1 and 1000, not below one.
pub fn si_prefix(value: f64) -> (f64, &'static str) {
    let power = if value.abs() >= 1.0 {
        (value.abs().log10() / 3.0 + 1e-9).floor() as usize
    } else {
        0
    };
    let power = power.min(PREFIXES.len() - 1);
    (1000f64.powi(power as i32), PREFIXES[power])
}

/// `12.3 Gbit`.
pub fn si(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let (factor, prefix) = si_prefix(value);
    // Rounding to three digits may reach the next prefix: 999.96 k is 1 M.
    if (value / factor).abs() >= 999.5 {
        let (factor, prefix) = si_prefix(value * 1.001);
        return format!("{} {prefix}{unit}", significant(value / factor, 3));
    }
    format!("{} {prefix}{unit}", significant(value / factor, 3))
}

/// `1.23 ms`, `12.3 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round();
    match seconds {
        s if !s.is_finite() => "-".to_owned(),
        0.0 => "0 s".to_owned(),
        s if s.abs() < 0.9995e-3 => format!("{} us", significant(s * 1e6, 3)),
        s if s.abs() < 0.9995 => format!("{} ms", significant(s * 1e3, 3)),
        s if s.abs() < 119.5 => format!("{} s", significant(s, 3)),
        _ if whole < 7200.0 => format!("{} min {:02} s", (whole / 60.0).floor(), whole % 60.0),
        _ => format!(
            "{} h {:02} min",
            (whole / 3600.0).floor(),
            (whole % 3600.0 / 60.0).floor()
        ),
    }
}

/// `12.3%`.
pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() {
        format!("{:.1}%", 100.0 * fraction)
    } else {
        "-".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.12345, "0.123"),
            (12.345, "12.3"),
            (-1234.5, "-1234"),
            (0.00012, "0.00012"),
            (0.000012, "1.20e-5"),
            (1.5e7, "1.50e7"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(significant(value, 3), text);
        }
    }

    #[test]
    fn si_units() {
        for (value, text) in [
            (0.0, "0 bit"),
            (0.5, "0.5 bit"),
            (999.0, "999 bit"),
            (1000.0, "1 kbit"),
            (999_960.0, "1 Mbit"),
            (1.234e9, "1.23 Gbit"),
            (5e20, "500 Ebit"),
        ] {
            assert_eq!(si(value, "bit"), text);
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.0000123, "12.3 us"),
            (0.99999e-3, "1 ms"),
            (0.0421, "42.1 ms"),
            (1.0, "1 s"),
            (119.4, "119 s"),
            (119.9, "2 min 00 s"),
            (3671.0, "61 min 11 s"),
            (7500.0, "2 h 05 min"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
