//! A circuit breaker: an upstream that fails too often is not asked for a while, then asked a
//! little, and asked again as before once those few went well (Nygard, Release It!, 2018,
//! section 5).
//!
//! Judged now and then off the data path. What an exchange has to look at is one word of
//! [`crate::vitals::UpstreamVitals`].

use crate::moment::Moment;
use crate::vitals::EndpointVitals;
use std::time::Duration;

/// When an upstream is not asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerRule {
    /// Requests in flight over all endpoints; `None` is no limit.
    pub in_flight_max: Option<u32>,
    /// The share of requests in the window that must fail to open it, 0.0 to 1.0; `None` never
    /// does.
    pub error_rate: Option<f64>,
    /// Requests a window must hold before its share counts.
    pub requests_min: u32,
    /// How long a window is.
    pub window: Duration,
    /// How long it stays open before the upstream is asked a little.
    pub open_for: Duration,
    /// Requests it is asked with while half open; all must go well.
    pub probes: u32,
}

impl Default for BreakerRule {
    fn default() -> BreakerRule {
        BreakerRule {
            in_flight_max: None,
            error_rate: None,
            requests_min: 20,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
            probes: 3,
        }
    }
}

/// Whether an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// As usual.
    #[default]
    Closed,
    /// Not at all.
    Open,
    /// With a few requests.
    HalfOpen,
}

impl Gate {
    /// The word used in what is shown.
    pub const fn word(self) -> &'static str {
        match self {
            Gate::Closed => "closed",
            Gate::Open => "open",
            Gate::HalfOpen => "half-open",
        }
    }
}

/// How the few requests do that a half-open breaker lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trial {
    /// Nobody is under way.
    #[default]
    Idle,
    /// Of some nothing is known yet.
    UnderWay,
    /// All went well.
    Passed,
    /// One has failed.
    Failed,
}

/// Counters of an upstream at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Requests that have got their answer, or failed, so far.
    pub ended: u64,
    /// Those that failed by its fault so far, error statuses included.
    pub errors: u64,
    /// How its probes do.
    pub trial: Trial,
}

/// What has become of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is this now.
    To(Gate),
    /// It is still half open, and of some probes nothing is known after another `open_for`: as many
    /// others may pass.
    MoreProbes,
}

/// One upstream's breaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    gate: Gate,
    since: Moment,
    at: Reading,
}

impl Breaker {
    /// Whether the upstream is asked.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// Since when.
    pub fn since(&self) -> Moment {
        self.since
    }

    fn turn(&mut self, gate: Gate, at: Reading, now: Moment) -> Option<Change> {
        *self = Breaker { gate, since: now, at };
        Some(Change::To(gate))
    }

    /// Judges the counters; gives what has changed by that. While it is half open nothing counts
    /// but its probes.
    pub fn judge(&mut self, rule: &BreakerRule, reading: Reading, now: Moment) -> Option<Change> {
        let Some(most) = rule.error_rate else {
            return match self.gate {
                Gate::Closed => None,
                Gate::Open | Gate::HalfOpen => self.turn(Gate::Closed, reading, now),
            };
        };
        let ended = reading.ended.saturating_sub(self.at.ended);
        let errors = reading.errors.saturating_sub(self.at.errors);
        let passed = now.since(self.since);
        match (self.gate, reading.trial) {
            (Gate::Closed, _) => {
                let enough = ended >= u64::from(rule.requests_min.max(1));
                if enough && errors as f64 / ended.max(1) as f64 > most {
                    return self.turn(Gate::Open, reading, now);
                }
                if passed >= rule.window {
                    (self.since, self.at) = (now, reading);
                }
                None
            }
            (Gate::Open, _) if passed >= rule.open_for => self.turn(Gate::HalfOpen, reading, now),
            (Gate::Open, _) => None,
            (Gate::HalfOpen, Trial::Failed) => self.turn(Gate::Open, reading, now),
            (Gate::HalfOpen, Trial::Passed) => self.turn(Gate::Closed, reading, now),
            (Gate::HalfOpen, Trial::UnderWay) if passed >= rule.open_for => {
                self.since = now;
                Some(Change::MoreProbes)
            }
            (Gate::HalfOpen, Trial::UnderWay) => None,
            (Gate::HalfOpen, Trial::Idle) => {
                self.since = now;
                None
            }
        }
    }
}

/// What the endpoints of an upstream have done, summed up over all that it ever had: one that
/// leaves takes nothing with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Requests given to endpoints.
    pub picked: u64,
    /// Those that are over.
    pub ended: u64,
    /// Errors.
    pub errors: u64,
}

impl Totals {
    /// Takes in what an endpoint has done since it was `seen`.
    pub fn take(&mut self, vitals: &EndpointVitals, seen: &mut Totals) {
        let picked = vitals.picked();
        let ended = picked.saturating_sub(vitals.in_flight().into());
        let errors = vitals.errors();
        for (sum, seen, now) in [
            (&mut self.picked, &mut seen.picked, picked),
            (&mut self.ended, &mut seen.ended, ended),
            (&mut self.errors, &mut seen.errors, errors),
        ] {
            *sum += now.saturating_sub(*seen);
            *seen = now.max(*seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> BreakerRule {
        BreakerRule { error_rate: Some(0.5), ..BreakerRule::default() }
    }

    struct Bench(Breaker, Reading, Moment);

    impl Bench {
        fn serve(&mut self, good: u64, bad: u64) -> Option<Change> {
            self.1.ended += good + bad;
            self.1.errors += bad;
            self.wait(Duration::from_millis(100))
        }

        fn try_out(&mut self, trial: Trial, passed: Duration) -> Option<Change> {
            self.1.trial = trial;
            self.wait(passed)
        }

        fn wait(&mut self, passed: Duration) -> Option<Change> {
            self.2 = self.2.after(passed);
            self.0.judge(&rule(), self.1, self.2)
        }
    }

    fn bench() -> Bench {
        Bench(Breaker::default(), Reading::default(), Moment::START)
    }

    const TICK: Duration = Duration::from_millis(100);

    #[test]
    fn it_opens_waits_asks_a_little_and_closes() {
        let mut bench = bench();
        assert_eq!(bench.serve(9, 10), None, "too few");
        assert_eq!(bench.serve(0, 1), Some(Change::To(Gate::Open)));
        assert_eq!(bench.wait(Duration::from_millis(4_900)), None);
        assert_eq!(bench.wait(TICK), Some(Change::To(Gate::HalfOpen)));
        assert_eq!(bench.serve(200, 100), None, "who came before is no probe");
        assert_eq!(bench.try_out(Trial::UnderWay, TICK), None);
        assert_eq!(bench.try_out(Trial::Passed, TICK), Some(Change::To(Gate::Closed)));
    }

    #[test]
    fn a_probe_that_fails_while_half_open_opens_it_again() {
        let mut bench = bench();
        bench.serve(0, 20);
        bench.wait(Duration::from_secs(5));
        assert_eq!(bench.0.gate(), Gate::HalfOpen);
        assert_eq!(bench.try_out(Trial::Failed, TICK), Some(Change::To(Gate::Open)));
    }

    #[test]
    fn probes_that_nothing_is_heard_of_make_way_for_others_time_and_again() {
        let mut bench = bench();
        bench.serve(0, 20);
        bench.wait(Duration::from_secs(5));
        assert_eq!(bench.try_out(Trial::Idle, Duration::from_secs(50)), None, "nobody has come");
        for _ in 0..3 {
            assert_eq!(bench.try_out(Trial::UnderWay, Duration::ZERO), None);
            let term = Duration::from_secs(5);
            assert_eq!(bench.try_out(Trial::UnderWay, term), Some(Change::MoreProbes));
        }
    }

    #[test]
    fn a_window_that_is_over_is_forgotten() {
        let mut bench = bench();
        bench.serve(0, 19);
        bench.wait(Duration::from_secs(10));
        assert_eq!(bench.serve(1, 1), None);
        assert_eq!(bench.0.gate(), Gate::Closed);
    }

    #[test]
    fn a_rule_taken_away_closes_it() {
        let mut bench = bench();
        bench.serve(0, 20);
        let none = BreakerRule { error_rate: None, ..rule() };
        assert_eq!(bench.0.judge(&none, bench.1, bench.2), Some(Change::To(Gate::Closed)));
    }

    #[test]
    fn an_endpoint_that_leaves_takes_nothing_with_it() {
        let (one, two) = (EndpointVitals::default(), EndpointVitals::default());
        let (mut totals, mut seen) = (Totals::default(), [Totals::default(); 2]);
        for vitals in [&one, &two, &two] {
            assert!(vitals.try_enter(None));
            vitals.count_pick();
        }
        two.count_failure();
        two.leave();
        totals.take(&one, &mut seen[0]);
        totals.take(&two, &mut seen[1]);
        assert_eq!((totals.picked, totals.ended, totals.errors), (3, 1, 1));
        one.leave();
        totals.take(&one, &mut seen[0]);
        assert_eq!((totals.picked, totals.ended, totals.errors), (3, 2, 1));
        two.leave();
        totals.take(&two, &mut seen[1]);
        assert_eq!(totals.ended, 3, "it came back");
    }
}
