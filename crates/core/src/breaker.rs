//! A circuit breaker: an upstream that fails too often is not asked for a while, then asked a
//! little, and asked again as before once those few went well (Nygard, Release It!, 2018,
//! section 5).
//!
//! Judged now and then off the data path. What an exchange has to look at is one word of
//! [`crate::vitals::UpstreamVitals`].

use crate::moment::Moment;
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

/// Counters of an upstream at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Requests that have got their answer, or failed, so far.
    pub ended: u64,
    /// Those that failed by its fault so far, error statuses included.
    pub errors: u64,
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

    fn turn(&mut self, gate: Gate, at: Reading, now: Moment) -> Option<Gate> {
        *self = Breaker { gate, since: now, at };
        Some(gate)
    }

    /// Judges the counters; gives what it has become where that changed.
    pub fn judge(&mut self, rule: &BreakerRule, reading: Reading, now: Moment) -> Option<Gate> {
        let Some(most) = rule.error_rate else {
            return match self.gate {
                Gate::Closed => None,
                Gate::Open | Gate::HalfOpen => self.turn(Gate::Closed, reading, now),
            };
        };
        let ended = reading.ended.saturating_sub(self.at.ended);
        let errors = reading.errors.saturating_sub(self.at.errors);
        let passed = now.since(self.since);
        match self.gate {
            Gate::Closed => {
                let enough = ended >= u64::from(rule.requests_min.max(1));
                if enough && errors as f64 / ended.max(1) as f64 > most {
                    return self.turn(Gate::Open, reading, now);
                }
                if passed >= rule.window {
                    (self.since, self.at) = (now, reading);
                }
                None
            }
            Gate::Open if passed >= rule.open_for => self.turn(Gate::HalfOpen, reading, now),
            Gate::Open => None,
            Gate::HalfOpen if errors > 0 => self.turn(Gate::Open, reading, now),
            Gate::HalfOpen if ended >= u64::from(rule.probes.max(1)) => {
                self.turn(Gate::Closed, reading, now)
            }
            Gate::HalfOpen => None,
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
        fn serve(&mut self, good: u64, bad: u64) -> Option<Gate> {
            self.1.ended += good + bad;
            self.1.errors += bad;
            self.wait(Duration::from_millis(100))
        }

        fn wait(&mut self, passed: Duration) -> Option<Gate> {
            self.2 = self.2.after(passed);
            self.0.judge(&rule(), self.1, self.2)
        }
    }

    fn bench() -> Bench {
        Bench(Breaker::default(), Reading::default(), Moment::START)
    }

    #[test]
    fn it_opens_waits_asks_a_little_and_closes() {
        let mut bench = bench();
        assert_eq!(bench.serve(9, 10), None, "too few");
        assert_eq!(bench.serve(0, 1), Some(Gate::Open));
        assert_eq!(bench.wait(Duration::from_millis(4_900)), None);
        assert_eq!(bench.wait(Duration::from_millis(100)), Some(Gate::HalfOpen));
        assert_eq!(bench.serve(2, 0), None);
        assert_eq!(bench.serve(1, 0), Some(Gate::Closed));
    }

    #[test]
    fn one_failure_while_half_open_opens_it_again() {
        let mut bench = bench();
        bench.serve(0, 20);
        bench.wait(Duration::from_secs(5));
        assert_eq!(bench.0.gate(), Gate::HalfOpen);
        assert_eq!(bench.serve(1, 1), Some(Gate::Open));
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
        assert_eq!(bench.0.judge(&none, bench.1, bench.2), Some(Gate::Closed));
    }
}
