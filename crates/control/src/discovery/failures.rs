//! How long a source waits after each of its failures: longer and longer where they follow each
//! other, and never not at all.

use super::source::retry_wait;
use crate::client::pause;
use gatehouse_core::chance::Chance;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::time::Duration;

/// Failures that are further apart have nothing to do with each other. A source that comes up
/// only to fail at once is not asked faster for that.
const APART: Duration = Duration::from_secs(30);

/// Where waits end that a server's return should not outlast: 1.6 s.
const FAILURES_MAX_IN_HOPE: u32 = 5;

/// The failures of one source.
pub(super) struct Failures {
    in_a_row: u32,
    last: Option<Moment>,
    chance: Chance,
}

impl Failures {
    pub fn new(chance: Chance) -> Failures {
        Failures { in_a_row: 0, last: None, chance }
    }

    /// Waits after one more.
    pub async fn wait(&mut self) {
        let wait = self.next(now(), u32::MAX);
        pause(wait).await;
    }

    /// The same, but for no longer than a return may go unnoticed.
    pub async fn wait_a_little(&mut self) {
        let wait = self.next(now(), FAILURES_MAX_IN_HOPE);
        pause(wait).await;
    }

    fn next(&mut self, now: Moment, most: u32) -> Duration {
        let follows = self.last.is_some_and(|last| now.since(last) < APART);
        self.in_a_row = if follows { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(now);
        retry_wait(self.in_a_row.min(most), &mut self.chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_follow_each_other_wait_longer_and_others_begin_anew() {
        let mut failures = Failures::new(Chance::seeded(1));
        let mut at = now();
        let mut waits = |apart: u64, most: u32| {
            at = at.after(Duration::from_secs(apart));
            failures.next(at, most)
        };
        assert!(waits(0, u32::MAX) <= Duration::from_millis(100));
        for _ in 0..20 {
            waits(1, u32::MAX);
        }
        assert!(waits(1, u32::MAX) > Duration::from_secs(2));
        let hopeful = waits(1, FAILURES_MAX_IN_HOPE);
        assert!(hopeful > Duration::from_millis(500) && hopeful < Duration::from_secs(2));
        assert!(waits(31, u32::MAX) <= Duration::from_millis(100));
    }
}
