//! Wall-clock times, as the log writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub(crate) fn seconds_since_1970() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// UTC in the form 2026-01-31T12:34:56Z.
pub(crate) fn iso_8601(seconds: f64) -> String {
    let seconds = seconds as i64;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a proleptic Gregorian date, counting years from March so that leap days come last
    // (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_instants() {
        assert_eq!(iso_8601(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_8601(951_782_399.9), "2000-02-28T23:59:59Z");
        assert_eq!(iso_8601(951_782_400.0), "2000-02-29T00:00:00Z");
        assert_eq!(iso_8601(1_735_689_599.0), "2024-12-31T23:59:59Z");
        assert_eq!(iso_8601(4_107_542_400.0), "2100-03-01T00:00:00Z");
    }
}
