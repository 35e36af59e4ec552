//! How many retries an upstream may be asked to bear: a share of its requests, so that retries
//! never become the load that keeps it down (Nygard, Release It!, 2018, section 4; the sliding
//! window is Finagle's).
//!
//! Computed now and then off the data path; an exchange that wants to retry takes one from the
//! allowance this leaves in [`crate::vitals::UpstreamVitals`].

use crate::moment::Moment;
use std::time::Duration;

/// The share, and what is allowed whatever the share comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries allowed to each request of the window, 0.0 to 10.0.
    pub share: f64,
    /// Retries a second that are always allowed.
    pub floor_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget { share: 0.2, floor_per_second: 10 }
    }
}

/// Seconds the window holds.
pub const WINDOW_SECONDS: u64 = 10;

/// The window of one upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryWindow {
    /// Requests and retries of each second, by the second modulo the window.
    slots: [(u64, u64); WINDOW_SECONDS as usize],
    second: u64,
    requests: u64,
    retries: u64,
}

impl RetryWindow {
    /// Takes in how many requests and retries there have been so far; gives how many retries are
    /// allowed from now on.
    pub fn allowance(
        &mut self,
        budget: RetryBudget,
        requests: u64,
        retries: u64,
        now: Moment,
    ) -> u32 {
        let second = now.nanos() / Duration::from_secs(1).as_nanos() as u64;
        let passed = second.saturating_sub(self.second).min(WINDOW_SECONDS);
        for back in 0..passed {
            self.slots[((second - back) % WINDOW_SECONDS) as usize] = (0, 0);
        }
        self.second = second;
        let slot = &mut self.slots[(second % WINDOW_SECONDS) as usize];
        slot.0 += requests.saturating_sub(self.requests);
        slot.1 += retries.saturating_sub(self.retries);
        (self.requests, self.retries) = (requests, retries);
        let sum = |of: fn(&(u64, u64)) -> u64| self.slots.iter().map(of).sum::<u64>();
        let floor = u64::from(budget.floor_per_second) * WINDOW_SECONDS;
        let whole = floor + (sum(|slot| slot.0) as f64 * budget.share) as u64;
        u32::try_from(whole.saturating_sub(sum(|slot| slot.1))).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::START.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_share_of_the_last_ten_seconds_above_the_floor_is_allowed() {
        let budget = RetryBudget { share: 0.2, floor_per_second: 1 };
        let mut window = RetryWindow::default();
        assert_eq!(window.allowance(budget, 0, 0, at(0)), 10);
        assert_eq!(window.allowance(budget, 1000, 0, at(500)), 210);
        assert_eq!(window.allowance(budget, 1000, 200, at(1_500)), 10);
        assert_eq!(window.allowance(budget, 1000, 260, at(2_500)), 0);
        assert_eq!(window.allowance(budget, 1000, 260, at(10_500)), 0, "the requests are gone");
        assert_eq!(window.allowance(budget, 1000, 260, at(13_000)), 10, "so are the retries");
    }

    #[test]
    fn no_share_and_no_floor_is_no_retry() {
        let budget = RetryBudget { share: 0.0, floor_per_second: 0 };
        assert_eq!(RetryWindow::default().allowance(budget, 1_000_000, 0, at(77)), 0);
    }
}
