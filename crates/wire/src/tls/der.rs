//! As much of DER (X.690) and of certificates (RFC 5280) as a person is told of them: how long one
//! is valid, whose it is. Trust is never decided here.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 6;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// Relative names a subject may have, and characters it is shown with.
const PARTS_MAX: usize = 32;
const SHOWN_MAX: usize = 512;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// Its subject, as RFC 4514 writes it, printable ASCII only.
    pub subject: String,
}

/// Reads one; `None` where it is none.
pub(super) fn certificate(der: &[u8]) -> Option<Certificate> {
    let (outer, _) = expect(der, SEQUENCE)?;
    let (mut body, _) = expect(outer, SEQUENCE)?;
    if let Some((_, after)) = expect(body, VERSION) {
        body = after;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        body = element(body)?.2;
    }
    let (validity, body) = expect(body, SEQUENCE)?;
    let (not_before, after) = time(validity)?;
    let (not_after, _) = time(after)?;
    let (subject, _) = expect(body, SEQUENCE)?;
    Some(Certificate { not_before, not_after, subject: name(subject) })
}

/// Tag, content, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 3 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == tag).map(|(_, content, after)| (content, after))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (tag, text, after) = element(der)?;
    let digits = text.strip_suffix(b"Z")?;
    let number = |from: usize, count: usize| -> Option<u64> {
        std::str::from_utf8(digits.get(from..from + count)?).ok()?.parse().ok()
    };
    let (year, at) = match tag {
        UTC_TIME => {
            (number(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2)
        }
        GENERALIZED_TIME => (number(0, 4)?, 4),
        _ => return None,
    };
    let (month, day) = (number(at, 2)?, number(at + 2, 2)?);
    let clock = number(at + 4, 2)? * 3600 + number(at + 6, 2)? * 60 + number(at + 8, 2)?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return (year < 1970).then_some((UNIX_EPOCH, after));
    }
    let seconds = days(year, month, day) * 86_400 + clock;
    Some((UNIX_EPOCH + Duration::from_secs(seconds), after))
}

/// Days from 1970-01-01 to this date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Counted in years that begin in March, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// A name's parts, the most specific first (RFC 4514 section 2.1).
fn name(mut sequence: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some((set, after)) = expect(sequence, SET).filter(|_| parts.len() < PARTS_MAX) {
        sequence = after;
        if let Some(part) = part(set) {
            parts.push(part);
        }
    }
    parts.reverse();
    let mut text = parts.join(",");
    text.truncate(SHOWN_MAX);
    text
}

fn part(set: &[u8]) -> Option<String> {
    let (pair, _) = expect(set, SEQUENCE)?;
    let (kind, after) = expect(pair, OID)?;
    let (_, value, _) = element(after)?;
    let mut out = match kind {
        [0x55, 4, 3] => "CN".to_owned(),
        [0x55, 4, 6] => "C".to_owned(),
        [0x55, 4, 7] => "L".to_owned(),
        [0x55, 4, 8] => "ST".to_owned(),
        [0x55, 4, 10] => "O".to_owned(),
        [0x55, 4, 11] => "OU".to_owned(),
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID".to_owned(),
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC".to_owned(),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress".to_owned(),
        _ => dotted(kind)?,
    };
    out.push('=');
    for (at, byte) in value.iter().enumerate() {
        let edge = at == 0 || at + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                out.extend(['\\', char::from(*byte)]);
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if edge => out.push_str("\\ "),
            0x20..=0x7e => out.push(char::from(*byte)),
            // Anything else could be read as something else: it is written as hex.
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    Some(out)
}

fn dotted(oid: &[u8]) -> Option<String> {
    let first = u32::from(*oid.first()?);
    let mut out = format!("{}.{}", (first / 40).min(2), first - 40 * (first / 40).min(2));
    let mut number = 0_u64;
    for byte in &oid[1..] {
        number = number.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            let _ = write!(out, ".{number}");
            number = 0;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    #[test]
    fn dates_are_what_the_calendar_says() {
        for (text, seconds) in [
            ("700101000000Z", 0),
            ("000229120000Z", 951_825_600),
            ("261124003623Z", 1_795_480_583),
            ("491231235959Z", 2_524_607_999),
        ] {
            let der = tlv(UTC_TIME, text.as_bytes());
            let expected = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(time(&der).map(|(time, _)| time), Some(expected), "{text}");
        }
        let far = tlv(GENERALIZED_TIME, b"20500101000000Z");
        let expected = UNIX_EPOCH + Duration::from_secs(2_524_608_000);
        assert_eq!(time(&far).map(|(time, _)| time), Some(expected));
        assert_eq!(time(&tlv(UTC_TIME, b"2611240036")), None);
    }

    #[test]
    fn a_subject_cannot_forge_another_part_or_a_line() {
        let part = |oid: &[u8], value: &[u8]| {
            tlv(SET, &tlv(SEQUENCE, &[tlv(OID, oid), tlv(12, value)].concat()))
        };
        let sequence =
            [part(&[0x55, 4, 10], b"Ex, Inc"), part(&[0x55, 4, 3], b" a,CN=b\r\n\xc3\xa9")]
                .concat();
        assert_eq!(name(&sequence), "CN=\\ a\\,CN\\=b\\0D\\0A\\C3\\A9,O=Ex\\, Inc");
        assert_eq!(name(&part(&[0x2a, 0x03, 0x84, 0x01], b"x")), "1.2.3.513=x");
    }

    #[test]
    fn what_is_cut_anywhere_is_refused_and_never_a_panic() {
        let der = tlv(SEQUENCE, &tlv(SEQUENCE, &[2, 1, 1]));
        for cut in 0..der.len() {
            assert_eq!(certificate(&der[..cut]), None);
        }
    }
}
