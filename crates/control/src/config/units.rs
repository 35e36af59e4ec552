//! Durations, sizes, shares and rates as an operator writes them.

use std::time::Duration;

/// Why a text is not what it should be: what to say, and what to write instead if that is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitFault {
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A duration: `250ms`, `2s`, `5m`, `1h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitFault> {
    let units = "one of ms, s, m, h and d";
    measure(text, "duration", &DURATIONS, units, "s").map(Duration::from_millis)
}

/// A size in bytes: `512B`, `16KiB`, `10MB`.
pub(crate) fn size(text: &str) -> Result<u64, UnitFault> {
    measure(text, "size", &SIZES, "one of B, KiB, MiB, GiB, kB, MB and GB", "KiB")
}

/// Bytes a second: `128B/s`, `1KiB/s`.
pub(crate) fn byte_rate(text: &str) -> Result<u64, UnitFault> {
    match text.strip_suffix("/s") {
        Some(bytes) => size(bytes),
        None => Err(UnitFault {
            reason: format!("`{text}` is not a rate of bytes: it does not end in /s"),
            hint: size(text).ok().map(|_| format!("write \"{text}/s\"")),
        }),
    }
}

/// A share of a whole: `20%`, `0.5%`; 0.0 to 1.0.
pub(crate) fn share(text: &str) -> Result<f64, UnitFault> {
    let bad = |reason: String, hint: &str| UnitFault { reason, hint: Some(hint.to_owned()) };
    let Some(number) = text.strip_suffix('%') else {
        let reason = format!("`{text}` is not a share: it does not end in %");
        return Err(bad(reason, "write \"20%\""));
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(percent) if plain && percent <= 100.0 => Ok(percent / 100.0),
        Ok(_) if plain => Err(bad(format!("{text} is out of bounds"), "0% to 100%")),
        Ok(_) | Err(_) => Err(bad(format!("`{text}` is not a share"), "write \"20%\"")),
    }
}

/// So many in a time: `100/s`, `5000/min`, `20/h`.
pub(crate) fn rate(text: &str) -> Result<(u32, Duration), UnitFault> {
    let usual = || Some("write \"100/s\", \"5000/min\" or \"20/h\"".to_owned());
    let fault = |reason: &str| UnitFault {
        reason: format!("`{}` is not a rate: {reason}", text.escape_debug()),
        hint: usual(),
    };
    let (count, unit) = text.split_once('/').ok_or_else(|| fault("it does not end in a time"))?;
    let seconds = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        _ => return Err(fault("the time is one of s, min and h")),
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let count =
        Some(count.trim()).filter(|count| plain(count)).and_then(|count| count.parse().ok());
    match count {
        Some(count) if count > 0 => Ok((count, Duration::from_secs(seconds))),
        _ => Err(fault("it does not start with a whole number above 0")),
    }
}

fn measure(
    text: &str,
    what: &str,
    units: &[(&str, u64)],
    unit_names: &str,
    usual: &str,
) -> Result<u64, UnitFault> {
    let fault = |reason, hint| Err(UnitFault { reason, hint });
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..end], text[end..].trim_start());
    if digits.is_empty() {
        let reason = format!("`{text}` is not a {what}: it does not start with a number");
        return fault(reason, Some(format!("write a number and a unit: \"30{usual}\"")));
    }
    let Ok(number) = digits.parse::<u64>() else {
        return fault(format!("`{text}` is too large for a {what}"), None);
    };
    if unit.is_empty() {
        let reason = format!("`{text}` has no unit: a {what} ends in {unit_names}");
        return fault(reason, Some(format!("write \"{digits}{usual}\"")));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        if unit.starts_with('.') {
            let reason = format!("`{text}` is not a {what}: the number has to be whole");
            return fault(reason, Some("write it in a smaller unit".to_owned()));
        }
        let near = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let hint = near.map(|(name, _)| format!("write \"{digits}{name}\""));
        return fault(format!("`{text}` is not a {what}: the unit is {unit_names}"), hint);
    };
    match number.checked_mul(*factor) {
        Some(value) => Ok(value),
        None => fault(format!("`{text}` is too large for a {what}"), None),
    }
}

/// A duration in the largest unit that holds it whole.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)], "ms")
}

/// A size in the largest binary unit that holds it whole.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)], "B")
}

fn show(number: u64, units: &[(&str, u64)], smallest: &str) -> String {
    units.iter().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor)).map_or_else(
        || format!("{number}{smallest}"),
        |(unit, factor)| format!("{}{unit}", number / factor),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        for (text, millis) in
            [("250ms", 250), ("2s", 2_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, hint) in [
            ("30", Some("write \"30s\"")),
            ("5S", Some("write \"5s\"")),
            ("1.5s", Some("write it in a smaller unit")),
            ("soon", Some("write a number and a unit: \"30s\"")),
            ("99999999999999999999s", None),
            ("9999999999999999999d", None),
        ] {
            assert_eq!(duration(text).unwrap_err().hint.as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        for (text, bytes) in [("512B", 512), ("16KiB", 16_384), ("10MB", 10_000_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("16kib").unwrap_err().hint.as_deref(), Some("write \"16KiB\""));
        assert_eq!(byte_rate("1KiB/s"), Ok(1024));
        assert_eq!(byte_rate("1KiB").unwrap_err().hint.as_deref(), Some("write \"1KiB/s\""));
    }

    #[test]
    fn shares_are_percents() {
        for (text, expected) in [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("0.5%", 0.005)] {
            assert_eq!(share(text), Ok(expected), "{text}");
        }
        for text in ["20", "-1%", "101%", "%", "inf%", "1e1%", "x%", "1.2.3%", " 5%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for millis in [0, 1, 999, 1_000, 90_000, 3_600_000, 172_800_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for bytes in [0, 1, 1_000, 1_024, 1 << 20, 3 << 30] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
    }
}
