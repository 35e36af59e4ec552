//! So many in a time: the generic cell rate algorithm (ITU-T I.371), one number a cell.

use crate::moment::Moment;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many are let through in a time, and how many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one costs; at least 1.
    interval_nanos: u64,
    /// Nanoseconds that may be owed: the burst, less the one that is asked for.
    owed_nanos_max: u64,
}

impl Rate {
    /// `count` every `period`, after a pause as many at once as a second lets through, and at
    /// least one. A count of 0 is taken for 1.
    pub fn new(count: u32, period: Duration) -> Rate {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval_nanos = (nanos / u64::from(count.max(1))).max(1);
        let burst = (1_000_000_000 / interval_nanos).max(1);
        Rate { interval_nanos, owed_nanos_max: interval_nanos.saturating_mul(burst - 1) }
    }
}

/// What has been let through so far. All workers share it; none waits for another.
#[derive(Debug, Default)]
pub struct RateCell(
    /// When everything let through will have been paid for.
    AtomicU64,
);

impl RateCell {
    /// Whether one more may pass now; if so it is counted.
    pub fn take(&self, rate: &Rate, now: Moment) -> bool {
        let pay = |paid: u64| {
            let owed = paid.saturating_sub(now.nanos());
            let next = paid.max(now.nanos()).saturating_add(rate.interval_nanos);
            (owed <= rate.owed_nanos_max).then_some(next)
        };
        self.0.fetch_update(Relaxed, Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a million asked for evenly over `wait` pass.
    fn passed(cell: &RateCell, rate: &Rate, from: Duration, wait: Duration) -> u32 {
        let at = |step: u32| Moment::START.after(from + wait * step / 10_000);
        (0..10_000).filter(|step| cell.take(rate, at(*step))).count() as u32
    }

    #[test]
    fn as_many_pass_as_the_rate_says_and_a_second_of_them_at_once() {
        let (rate, cell) = (Rate::new(100, Duration::from_secs(1)), RateCell::default());
        let start = Moment::START.after(Duration::from_secs(1000));
        assert_eq!((0..1000).filter(|_| cell.take(&rate, start)).count(), 100);
        let from = Duration::from_secs(1000);
        assert_eq!(passed(&cell, &rate, from, Duration::from_secs(10)), 999);
        assert!(!cell.take(&rate, Moment::START), "time does not run backwards into credit");
    }

    #[test]
    fn a_slow_rate_lets_one_through_at_a_time() {
        let (rate, cell) = (Rate::new(6, Duration::from_secs(60)), RateCell::default());
        let from = Duration::from_secs(1);
        assert_eq!(passed(&cell, &rate, from, Duration::from_secs(59)), 6);
        assert!(cell.take(&rate, Moment::START.after(Duration::from_secs(62))));
        assert!(!cell.take(&rate, Moment::START.after(Duration::from_secs(63))));
    }

    #[test]
    fn threads_share_what_passes() {
        let (rate, cell) = (Rate::new(1000, Duration::from_secs(1)), RateCell::default());
        let now = Moment::START.after(Duration::from_secs(5));
        let taken: usize = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| cell.take(&rate, now)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
