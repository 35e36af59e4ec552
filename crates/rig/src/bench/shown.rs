//! Figures as people read them: three digits and a unit.

use std::time::Duration;

/// `12.3 us`, `4.56 ms`, `1.20 s`.
pub(super) fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    match nanos {
        0.0..1e3 => format!("{nanos} ns"),
        1e3..999.5e3 => format!("{} us", digits(nanos / 1e3)),
        999.5e3..999.5e6 => format!("{} ms", digits(nanos / 1e6)),
        _ => format!("{} s", digits(nanos / 1e9)),
    }
}

/// `812 B`, `1.21 KiB`, `3.40 GiB`.
pub(super) fn bytes(count: f64) -> String {
    let mut count = count;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if count < 999.5 {
            return format!(
                "{} {unit}",
                if unit == "B" { format!("{count:.0}") } else { digits(count) }
            );
        }
        count /= 1024.0;
    }
    format!("{} TiB", digits(count))
}

/// `98765/s`, `123/s`, `1.25/s`.
pub(super) fn rate(rate: f64) -> String {
    format!("{}/s", digits(rate))
}

/// Three digits, or more where there are more before the point.
pub(super) fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let nanos = |nanos| time(Duration::from_nanos(nanos));
        let shown = [0, 812, 1_000, 12_345, 999_400, 999_600, 45_678_901, 1_200_000_000].map(nanos);
        let expected =
            ["0 ns", "812 ns", "1.00 us", "12.3 us", "999 us", "1.00 ms", "45.7 ms", "1.20 s"];
        assert_eq!(shown, expected);
        let shown = [0.0, 812.0, 1240.0, 1e6, 1e15].map(bytes);
        assert_eq!(shown, ["0 B", "812 B", "1.21 KiB", "977 KiB", "909 TiB"]);
        assert_eq!([1.254, 99.96, 98765.4].map(rate), ["1.25/s", "100/s", "98765/s"]);
    }
}
