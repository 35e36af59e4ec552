//! When an authority is asked: well before a certificate ends, and after a failure later each time.
//! Decisions only: the time and chance are given.

use super::trouble::{Kind, Trouble};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most that an authority is believed which says when to come back.
const LATER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// When a certificate is renewed: in the last third of its life, spread over its first quarter so
/// that what was made together is not renewed together. `chance` is from 0 to 1.
pub(super) fn renew_at(from: SystemTime, until: SystemTime, chance: f64) -> SystemTime {
    let life = until.duration_since(from).unwrap_or_default();
    let before = life / 3 - (life / 12).mul_f64(chance.clamp(0.0, 1.0));
    until.checked_sub(before).unwrap_or(from)
}

/// How long to wait after so many failures in a row, the first being 1.
pub(super) fn wait(trouble: &Trouble, failures: u32, chance: f64) -> Duration {
    let spread = 1.0 + chance.clamp(0.0, 1.0) / 2.0;
    if let Kind::Limited(Some(told)) = trouble.kind {
        // Never sooner than told.
        let told = told.clamp(Duration::from_secs(1), LATER_MAX);
        return told + (told / 10).mul_f64(chance.clamp(0.0, 1.0));
    }
    let (first, most) = match trouble.kind {
        // Whoever does not answer is asked again soon; this counts against nothing.
        Kind::Away | Kind::Own => (2, HOUR),
        Kind::Limited(_) => (MINUTE, 6 * HOUR),
        // Authorities allow five failed proofs of a name an hour, and both kinds were tried.
        Kind::Unproved | Kind::Refused => (20 * MINUTE, 12 * HOUR),
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most);
    Duration::from_secs(doubled).mul_f64(spread)
}

/// What `Retry-After` says (RFC 9110 section 10.2.3): seconds, or a date.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    Some(date(text.trim())?.duration_since(now).unwrap_or_default())
}

/// A date as HTTP writes it today: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.strip_suffix(" GMT")?.split(' ');
    let day: u64 = parts.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|own| *own == month)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let mut time = [0; 3];
    for part in &mut time {
        *part = clock.next()??;
    }
    // Days from 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (shifted / 400, shifted % 400);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    let days = days.checked_sub(719_468)?;
    let [hour, minute, second] = time;
    let seconds = days * 86_400 + hour.min(23) * HOUR + minute.min(59) * MINUTE + second.min(60);
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_certificate_is_renewed_in_its_last_third() {
        let day = 24 * HOUR;
        let of = |chance| renew_at(at(0), at(90 * day), chance);
        assert_eq!(of(0.0), at(60 * day));
        assert_eq!(of(1.0), at(60 * day + 90 * day / 12));
        assert!(of(0.5) > of(0.0) && of(0.5) < of(1.0));
        assert_eq!(renew_at(at(10), at(5), 0.5), at(5));
    }

    #[test]
    fn failures_are_followed_later_each_time_and_never_sooner_than_told() {
        let of = |kind, failures, chance| {
            wait(&Trouble { kind, why: String::new() }, failures, chance).as_secs()
        };
        let away: Vec<u64> = (1..=4).map(|failures| of(Kind::Away, failures, 0.0)).collect();
        assert_eq!(away, [2, 4, 8, 16]);
        assert_eq!(of(Kind::Away, 1, 1.0), 3);
        assert_eq!(of(Kind::Away, 100, 0.0), HOUR);
        assert_eq!(of(Kind::Unproved, 1, 0.0), 20 * MINUTE);
        assert_eq!(of(Kind::Refused, 100, 0.0), 12 * HOUR);
        assert_eq!(of(Kind::Limited(None), 1, 0.0), MINUTE);
        for told in [1, 100, 3 * HOUR] {
            let kind = || Kind::Limited(Some(Duration::from_secs(told)));
            assert_eq!(of(kind(), 1, 0.0), told);
            assert_eq!(of(kind(), 9, 1.0), told + told / 10);
        }
        let forever = Kind::Limited(Some(Duration::from_secs(u64::MAX)));
        assert_eq!(of(forever, 1, 0.0), LATER_MAX.as_secs());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = at(784_111_777);
        for (text, expected) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Thu, 29 Feb 1996 00:00:00 GMT", Some(825_552_000 - 784_111_777)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("Sun, 06 Xxx 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }
}
