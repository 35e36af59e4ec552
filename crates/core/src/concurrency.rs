//! How many requests an upstream is given at once, where that is found out: as many as do not make
//! it slower. Each window's median latency is held against the lowest one known; what lies above
//! it by more than a tolerance is time that requests wait inside the upstream, and the limit falls
//! by the ratio of the two (Netflix's concurrency-limits and Envoy's adaptive concurrency, both of
//! them gradients).
//!
//! Judged now and then off the data path; time is an argument. What an exchange has to look at is
//! one number of [`crate::vitals::UpstreamVitals`].

use crate::latencies::Snapshot;
use crate::moment::Moment;
use std::time::Duration;

/// Within what a limit is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConcurrencyRule {
    /// The limit never falls below this, at least 1.
    pub min: u32,
    /// Nor does it rise above this.
    pub max: u32,
    /// How many times its lowest latency an upstream may take, at least 1.0.
    pub tolerance: f64,
}

impl Default for ConcurrencyRule {
    fn default() -> ConcurrencyRule {
        ConcurrencyRule { min: 4, max: 10_000, tolerance: 1.5 }
    }
}

/// The limit before anything is known.
const START: u32 = 20;

impl ConcurrencyRule {
    /// The limit before anything is known.
    pub fn start(&self) -> u32 {
        START.clamp(self.min, self.max.max(self.min))
    }
}

/// Answers that a window must hold to say anything.
const ANSWERS_MIN: u64 = 10;

/// A window is at least so long, and at least as long as an answer takes: what a change has done
/// shows only in those that came after it.
const WINDOW_MIN: Duration = Duration::from_millis(100);

/// A window that holds too little after this long begins anew.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// The limit falls by no more than this at once.
const GRADIENT_MIN: f64 = 0.5;

/// The share of refusals above which an upstream has too much to do, however fast it is.
const REFUSED_SHARE: f64 = 0.1;

/// What the limit is multiplied by then.
const REFUSED_GRADIENT: f64 = 0.8;

/// How often the lowest latency is measured anew: by then it may be another one.
const MEASURE_EVERY: Duration = Duration::from_secs(30);

/// For that the limit falls to this part of itself where it is used up, so that nothing waits
/// inside the upstream.
const MEASURE_PART: f64 = 3.0;

/// A gradient below this is a fall.
const FALL: f64 = 0.75;

/// A fall to this part that has not made the upstream faster by a third shows that it is slower by
/// itself.
const FALL_PART: f64 = 4.0;
const FASTER: f64 = 0.66;

/// What one upstream is given at once.
#[derive(Debug)]
pub struct Limiter {
    limit: f64,
    /// The lowest latency, and when it was measured.
    floor: Option<Duration>,
    measured: Moment,
    phase: Phase,
    window: Window,
    /// The limit and the latency that a fall began with.
    fall: Option<(f64, Duration)>,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To find the limit.
    Follow,
    /// To let what is inside the upstream come out.
    Drain,
    /// To measure the lowest latency.
    Measure,
}

#[derive(Debug)]
struct Window {
    began: Moment,
    at: Snapshot,
    /// The most that was seen in flight.
    in_flight: u32,
}

/// What one window has shown.
#[derive(Clone, Copy, Debug)]
struct Shown {
    median: Duration,
    /// Whether the upstream has refused too much.
    refuses: bool,
    /// Whether the limit was used up to a half: one that is not used is not known to be good.
    binds: bool,
}

impl Limiter {
    /// Begins with nothing known.
    pub fn new(rule: &ConcurrencyRule, counts: Snapshot, now: Moment) -> Limiter {
        Limiter {
            limit: f64::from(rule.start()),
            floor: None,
            measured: now,
            phase: Phase::Follow,
            window: Window { began: now, at: counts, in_flight: 0 },
            fall: None,
        }
    }

    /// Takes in what was counted, and how many are in flight; gives how many may be.
    pub fn judge(
        &mut self,
        rule: &ConcurrencyRule,
        counts: &Snapshot,
        in_flight: u32,
        now: Moment,
    ) -> u32 {
        self.window.in_flight = self.window.in_flight.max(in_flight);
        if let Some(shown) = self.shown(counts, now) {
            self.window = Window { began: now, at: counts.clone(), in_flight };
            self.turn(rule, shown, now);
        }
        self.allowed(rule)
    }

    /// How many may be in flight.
    fn allowed(&self, rule: &ConcurrencyRule) -> u32 {
        let part = match self.phase {
            Phase::Follow => 1.0,
            Phase::Drain | Phase::Measure => MEASURE_PART,
        };
        let most = rule.max.max(rule.min);
        ((self.limit / part) as u32).clamp(rule.min.max(1), most)
    }

    /// What the window has shown, where it is over.
    fn shown(&mut self, counts: &Snapshot, now: Moment) -> Option<Shown> {
        let passed = now.since(self.window.began);
        let counted = counts.since(&self.window.at);
        let (answers, refusals) = (counted.total(), u64::from(counted.refusals()));
        if answers + refusals < ANSWERS_MIN {
            if passed >= WINDOW_MAX {
                self.window = Window { began: now, at: counts.clone(), in_flight: 0 };
            }
            return None;
        }
        let median = counted.quantile(0.5).or(self.floor)?;
        if passed < WINDOW_MIN.max(median) {
            return None;
        }
        let refused = refusals as f64 / (answers + refusals) as f64;
        let binds = f64::from(self.window.in_flight) * 2.0 >= self.limit;
        Some(Shown { median, refuses: refused > REFUSED_SHARE, binds })
    }

    fn turn(&mut self, rule: &ConcurrencyRule, shown: Shown, now: Moment) {
        let passed = now.since(self.measured);
        match self.phase {
            Phase::Drain => self.phase = Phase::Measure,
            Phase::Measure => {
                self.set_floor(shown.median, now);
                self.phase = Phase::Follow;
            }
            Phase::Follow if self.floor.is_none() || passed >= MEASURE_EVERY => {
                if shown.binds {
                    self.phase = Phase::Drain;
                } else {
                    self.set_floor(shown.median, now);
                }
            }
            Phase::Follow => self.follow(rule, shown, now),
        }
    }

    fn set_floor(&mut self, floor: Duration, now: Moment) {
        self.floor = Some(floor);
        self.measured = now;
        self.fall = None;
    }

    fn follow(&mut self, rule: &ConcurrencyRule, shown: Shown, now: Moment) {
        let floor = self.floor.map_or(shown.median, |floor| floor.min(shown.median));
        self.floor = Some(floor);
        let ratio = floor.as_secs_f64() / shown.median.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut gradient = (rule.tolerance * ratio).clamp(GRADIENT_MIN, 1.0);
        if shown.refuses {
            gradient = gradient.min(REFUSED_GRADIENT);
        }
        let headroom = if shown.binds && !shown.refuses { self.limit.sqrt() } else { 0.0 };
        let most = f64::from(rule.max.max(rule.min));
        self.limit = (self.limit * gradient + headroom).clamp(f64::from(rule.min.max(1)), most);
        self.look_at_fall(gradient, shown, now);
    }

    /// Where less in flight has not made it faster, nothing has waited: this is how long it takes.
    fn look_at_fall(&mut self, gradient: f64, shown: Shown, now: Moment) {
        if gradient >= FALL || shown.refuses {
            self.fall = None;
            return;
        }
        let (limit, median) = *self.fall.get_or_insert((self.limit, shown.median));
        let faster = shown.median.as_secs_f64() < median.as_secs_f64() * FASTER;
        if faster {
            self.fall = Some((self.limit, shown.median));
        } else if self.limit <= limit / FALL_PART {
            self.set_floor(shown.median, now);
        }
    }
}
