//! The time of day as text (RFC 9110 section 5.6.7), written at most once a second.

use gatehouse_core::moment::Moment;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A UTC calendar date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    weekday: usize,
}

impl Civil {
    /// The date `seconds` after 1970 (Howard Hinnant, "chrono-compatible low-level date
    /// algorithms").
    fn of(seconds: u64) -> Civil {
        let days = seconds / 86_400;
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_of_year = (5 * day_of_year + 2) / 153;
        let month = if month_of_year < 10 { month_of_year + 3 } else { month_of_year - 9 };
        let rest = seconds % 86_400;
        Civil {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_of_year + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days % 7) as usize,
        }
    }

    fn month_name(self) -> &'static str {
        MONTHS[(self.month as usize - 1) % 12]
    }
}

/// One second in the three forms it is written in.
#[derive(Debug, Default)]
struct Cached {
    second: u64,
    http: Vec<u8>,
    rfc3339: Vec<u8>,
    combined: Vec<u8>,
}

impl Cached {
    fn renew(&mut self, second: u64) {
        if self.second == second {
            return;
        }
        self.second = second;
        let civil = Civil::of(second);
        let Civil { year, month, day, hour, minute, second, .. } = civil;
        let name = civil.month_name();
        self.http.clear();
        write_http(civil, &mut self.http);
        self.rfc3339.clear();
        // Writing to a Vec cannot fail.
        drop(write!(self.rfc3339, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}."));
        self.combined.clear();
        drop(write!(
            self.combined,
            "{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000"
        ));
    }
}

/// A worker's calendar. The time of day is read once a second; between, it goes on with the
/// monotonic clock, which whoever asks has looked at already.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    cached: RefCell<Cached>,
    set: Cell<Set>,
}

/// One point in time by both clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Set {
    at: Moment,
    /// Nanoseconds since 1970; 0 before it was first read.
    nanos: u64,
}

const SECOND_NANOS: u64 = 1_000_000_000;

impl Calendar {
    /// Appends the `Date` of `now`.
    pub fn write_http(&self, now: Moment, out: &mut Vec<u8>) {
        let mut cached = self.cached.borrow_mut();
        cached.renew(self.nanos(now) / SECOND_NANOS);
        out.extend_from_slice(&cached.http);
    }

    /// Appends `now` as RFC 3339 has it: UTC, with milliseconds.
    pub fn write_rfc3339(&self, now: Moment, out: &mut Vec<u8>) {
        let nanos = self.nanos(now);
        let mut cached = self.cached.borrow_mut();
        cached.renew(nanos / SECOND_NANOS);
        out.extend_from_slice(&cached.rfc3339);
        let millis = nanos % SECOND_NANOS / 1_000_000;
        let digit = |value: u64| b'0' + (value % 10) as u8;
        out.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }

    /// Appends `now` as the combined log format has it.
    pub fn write_combined(&self, now: Moment, out: &mut Vec<u8>) {
        let mut cached = self.cached.borrow_mut();
        cached.renew(self.nanos(now) / SECOND_NANOS);
        out.extend_from_slice(&cached.combined);
    }

    /// Nanoseconds since 1970.
    fn nanos(&self, now: Moment) -> u64 {
        let Set { at, nanos } = self.set.get();
        // Of a moment before that one this makes very many: it is set anew.
        let since = now.nanos().wrapping_sub(at.nanos());
        if nanos != 0 && since < SECOND_NANOS {
            return nanos + since;
        }
        let nanos = u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX);
        self.set.set(Set { at: now, nanos });
        nanos
    }
}

/// Time since 1970; zero for a clock set before it.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn write_http(civil: Civil, out: &mut Vec<u8>) {
    let Civil { year, day, hour, minute, second, .. } = civil;
    let (weekday, month) = (DAYS[civil.weekday], civil.month_name());
    // Writing to a Vec cannot fail.
    drop(write!(out, "{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_goes_on_with_the_monotonic_clock_and_is_read_once_a_second() {
        let calendar = Calendar::default();
        let wall = || u64::try_from(since_epoch().as_nanos()).unwrap();
        let before = wall();
        let set = calendar.nanos(Moment::from_nanos(5_000));
        assert!((before..=wall()).contains(&set));
        assert_eq!(calendar.nanos(Moment::from_nanos(6_000)), set + 1_000);
        assert_eq!(calendar.nanos(Moment::from_nanos(1_000_004_999)), set + 999_999_999);
        // Past the second, and before it was set, it is read again.
        for nanos in [1_000_006_000, 7_000] {
            let before = wall();
            let set = calendar.nanos(Moment::from_nanos(nanos));
            assert!((before..=wall()).contains(&set));
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let mut cached = Cached::default();
        cached.renew(784_111_777);
        assert_eq!(cached.rfc3339, b"1994-11-06T08:49:37.");
        assert_eq!(cached.combined, b"06/Nov/1994:08:49:37 +0000");
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
        ] {
            let mut out = Vec::new();
            write_http(Civil::of(seconds), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
