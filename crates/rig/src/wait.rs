//! The one place that sleeps. A test waits for a fact, with a limit, and never for a time to pass.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at the condition.
const STEP: Duration = Duration::from_millis(2);

/// Returns as soon as `condition` holds.
///
/// # Panics
///
/// When it does not hold within `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "the condition did not hold within {limit:?}");
}

/// Whether `condition` came to hold within `limit`.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(STEP);
    }
}

/// Lets time pass: for peers that are slow on purpose, never for a fact that is waited for.
pub(crate) fn pause(period: Duration) {
    thread::sleep(period);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_to_hold_ends_the_wait() {
        let mut looks = 0;
        wait_until(Duration::from_secs(10), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "did not hold within 5ms")]
    fn a_condition_that_never_holds_fails_the_test() {
        wait_until(Duration::from_millis(5), || false);
    }
}
