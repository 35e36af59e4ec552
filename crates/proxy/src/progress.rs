//! How an answer on its way moves on: when it last did, and how fast its client takes it.

use gatehouse_core::moment::Moment;
use gatehouse_wire::pump::Waits;
use std::time::Duration;

/// How an answer moves on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes that have moved, either way.
    moved: u64,
    /// When some last did; at the very beginning that is not known.
    quiet_since: Moment,
    /// Nanoseconds that the client was waited for in all.
    waited: u64,
    /// Bytes that were written when the client was first waited for.
    unhindered: u64,
    /// Whether it is the client that has been waited for since then, and ever.
    by_client: bool,
    was_hindered: bool,
}

impl Progress {
    /// Notes how it stands now: so many bytes have moved in all, `written` of them to the client.
    pub fn note(&mut self, moved: u64, written: u64, waits: Waits, now: impl FnOnce() -> Moment) {
        if self.moved != moved || self.quiet_since == Moment::START {
            let now = now();
            if self.by_client {
                self.waited += now.since(self.quiet_since).as_nanos() as u64;
            }
            (self.moved, self.quiet_since) = (moved, now);
        }
        self.by_client = waits == Waits::Sink;
        if self.by_client && !self.was_hindered {
            (self.unhindered, self.was_hindered) = (written, true);
        }
    }

    /// Until when something has to move, if nothing may be still for longer than `idle`.
    pub fn idle_until(&self, idle: Duration) -> Moment {
        self.quiet_since.after(idle)
    }

    /// Until when the client has to take more, where it may be waited for through `grace`, and then
    /// for a second more for each `rate_min` bytes that it took since it was waited for first.
    /// `None` where it may take its time.
    pub fn read_until(&self, written: u64, grace: Duration, rate_min: u32) -> Option<Moment> {
        let taken = written.saturating_sub(self.unhindered);
        let earned = taken.checked_div(u64::from(rate_min)).filter(|_| self.by_client)?;
        let allowed = grace.saturating_add(Duration::from_secs(earned));
        let left = allowed.saturating_sub(Duration::from_nanos(self.waited));
        Some(self.quiet_since.after(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Moment {
        Moment::START.after(SECOND * seconds)
    }

    #[test]
    fn only_the_time_that_a_client_is_waited_for_counts() {
        let mut progress = Progress::default();
        progress.note(1000, 500, Waits::Source, || at(5));
        assert_eq!(progress.read_until(500, 10 * SECOND, 100), None);
        // However much went before it was waited for, and however long the endpoint took.
        progress.note(5000, 4000, Waits::Sink, || at(100));
        assert_eq!(progress.read_until(4000, 10 * SECOND, 100), Some(at(110)));
        progress.note(5200, 4200, Waits::Sink, || at(104));
        assert_eq!(progress.read_until(4200, 10 * SECOND, 100), Some(at(104 + 12 - 4)));
        progress.note(5300, 4200, Waits::Source, || at(110));
        assert_eq!(progress.read_until(4200, 10 * SECOND, 100), None);
        progress.note(5400, 4300, Waits::Sink, || at(500));
        assert_eq!(progress.read_until(4300, 10 * SECOND, 100), Some(at(500 + 13 - 10)));
        assert_eq!(progress.read_until(4300, 10 * SECOND, 0), None);
        assert_eq!(progress.idle_until(SECOND), at(501));
    }
}
