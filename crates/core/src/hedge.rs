//! When a second endpoint is asked the same, because the first takes longer than nearly all do
//! (Dean and Barroso, The Tail at Scale, 2013).
//!
//! A percentile is worked out now and then off the data path; what an exchange reads is one number
//! of [`crate::vitals::UpstreamVitals`].

use crate::latencies::{Recent, Snapshot};
use crate::moment::Moment;
use std::time::Duration;

/// After how long a second endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HedgeRule {
    /// Always the same.
    After(Duration),
    /// What this share of the upstream's answers of late did not take longer than, above 0.0 and
    /// below 1.0.
    Percentile(f64),
}

/// Answers that must be known of before a percentile says anything.
const ANSWERS_MIN: u64 = 100;

/// The shortest wait: timers know no shorter one.
const AFTER_MIN: Duration = Duration::from_millis(1);

/// What is remembered of one upstream's answers.
#[derive(Debug, Default)]
pub struct HedgeWindow(Option<Recent>);

impl HedgeWindow {
    /// How long to wait from now on; `None` where that is not known, or the rule says it itself.
    pub fn after(&mut self, rule: HedgeRule, counts: &Snapshot, now: Moment) -> Option<Duration> {
        let share = match rule {
            HedgeRule::After(_) => return None,
            HedgeRule::Percentile(share) => share,
        };
        let recent = self.0.get_or_insert_with(|| Recent::new(counts.clone(), now));
        let counted = recent.follow(counts, now);
        let known = (counted.total() >= ANSWERS_MIN).then_some(counted)?;
        known.quantile(share).map(|after| after.max(AFTER_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latencies::Latencies;

    #[test]
    fn a_percentile_is_known_once_enough_answers_are_and_follows_them() {
        let latencies = Latencies::default();
        let mut window = HedgeWindow::default();
        let rule = HedgeRule::Percentile(0.9);
        let mut after = |seconds| {
            let now = Moment::START.after(Duration::from_secs(seconds));
            let found = window.after(rule, &latencies.snapshot(), now);
            found.map(|after| after.as_secs_f64() * 1000.0)
        };
        let answer = |count, millis| {
            (0..count).for_each(|_| latencies.observe(Duration::from_millis(millis)));
        };
        assert_eq!(after(0), None);
        answer(99, 10);
        assert_eq!(after(1), None, "too few");
        answer(1, 10);
        assert!(after(2).is_some_and(|after| (10.0..11.3).contains(&after)));
        answer(20, 100);
        assert!(after(3).is_some_and(|after| (100.0..113.0).contains(&after)));
        assert!(after(11).is_some(), "one stretch is remembered");
        assert_eq!(after(21), None, "two are not");
    }

    #[test]
    fn nobody_waits_for_less_than_a_timer_can() {
        let latencies = Latencies::default();
        let mut window = HedgeWindow::default();
        let mut after = |rule| window.after(rule, &latencies.snapshot(), Moment::START);
        after(HedgeRule::Percentile(0.5));
        (0..200).for_each(|_| latencies.observe(Duration::from_micros(20)));
        assert_eq!(after(HedgeRule::Percentile(0.5)), Some(AFTER_MIN));
        assert_eq!(after(HedgeRule::After(Duration::ZERO)), None, "the rule says it itself");
    }
}
