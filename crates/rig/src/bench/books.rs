//! What one thread writes down, and what it tells of it while it runs.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use super::latency::{Latency, Moment};
use super::schedule::Course;
use super::slot::Exchange;
use super::tally::{Fault, Tally};

/// How often a thread tells where it stands.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// What a thread did since it last told.
#[derive(Debug)]
pub(super) struct Tick {
    /// When it told, in nanoseconds since the start of the run.
    pub at: u64,
    pub failed: u64,
    /// What was answered, by response time.
    pub answered: Moment,
}

impl Tick {
    fn new(at: u64) -> Self {
        Self { at, failed: 0, answered: Moment::new() }
    }
}

/// What became of a request.
pub(super) enum Outcome {
    Answered(u16),
    Failed(Fault),
    /// The run was over before.
    Unfinished,
}

/// How long requests took, by two clocks.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// From when it was to be sent. What had no answer counts with the time it had waited.
    pub response: Latency,
    /// From when it was sent; answers only.
    pub service: Latency,
    /// As `response`, of answers with a status of 2xx only.
    pub served: Latency,
    /// How many of `response` had no answer.
    pub lower_bounds: u64,
}

impl Times {
    pub fn new() -> Self {
        Self {
            response: Latency::new(),
            service: Latency::new(),
            served: Latency::new(),
            lower_bounds: 0,
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.served.merge(&other.served);
        self.lower_bounds += other.lower_bounds;
    }
}

/// All that a thread brings home.
#[derive(Debug)]
pub(super) struct Found {
    pub tally: Tally,
    /// What was sent before anything counted.
    pub warm_up: Tally,
    pub times: Times,
    /// Answers that came while it was measured, whenever they were asked for.
    pub answered_meanwhile: u64,
    /// When it stopped measuring.
    pub until: u64,
    /// The longest that a request which was not sent had waited.
    pub unsent_wait: u64,
    /// Processor time while it was measured.
    pub cpu: Duration,
}

pub(super) struct Books {
    course: Course,
    tick: Tick,
    next_tick: u64,
    ticks: SyncSender<Tick>,
    pub found: Found,
}

impl Books {
    pub fn new(course: Course, ticks: SyncSender<Tick>) -> Self {
        let found = Found {
            tally: Tally::default(),
            warm_up: Tally::default(),
            times: Times::new(),
            answered_meanwhile: 0,
            until: 0,
            unsent_wait: 0,
            cpu: Duration::ZERO,
        };
        Self { course, tick: Tick::new(0), next_tick: tick_nanos(), ticks, found }
    }

    pub fn next_tick(&self) -> u64 {
        self.next_tick
    }

    /// Tells where it stands, if it is time for it and somebody listens.
    pub fn tell(&mut self, now: u64) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = (now / tick_nanos() + 1) * tick_nanos();
        self.tick.at = now;
        let tick = std::mem::replace(&mut self.tick, Tick::new(now));
        if let Err(TrySendError::Full(tick)) = self.ticks.try_send(tick) {
            self.tick = tick;
        }
    }

    /// Tells the rest.
    pub fn close(mut self, now: u64) -> Found {
        self.tick.at = now;
        // Nobody listens only where the run is given up.
        let _ = self.ticks.send(self.tick);
        self.found
    }

    /// Writes down what became of a request.
    pub fn settle(&mut self, exchange: &Exchange, outcome: Outcome, now: u64) {
        let measured = exchange.intended >= self.course.measured_from;
        let found = &mut self.found;
        let tally = if measured { &mut found.tally } else { &mut found.warm_up };
        tally.sent += u64::from(exchange.sent > 0);
        tally.bytes_out += exchange.sent as u64;
        tally.bytes_in += exchange.received;
        let response = now.saturating_sub(exchange.intended);
        let (mut bound, mut served) = (false, false);
        match outcome {
            Outcome::Answered(status) => {
                tally.answer(status);
                served = status / 100 == 2;
                self.tick.answered.record(response);
                self.tick.failed += u64::from(status >= 400);
                let inside = now >= self.course.measured_from && now < self.course.end;
                found.answered_meanwhile += u64::from(inside);
            }
            Outcome::Failed(fault) => {
                bound = fault == Fault::Timeout;
                tally.fault(fault);
                self.tick.failed += 1;
                if !bound {
                    return;
                }
            }
            Outcome::Unfinished => {
                bound = true;
                tally.unfinished += u64::from(exchange.sent > 0);
                tally.unsent += u64::from(exchange.sent == 0);
            }
        }
        if measured {
            found.times.response.record(response);
            found.times.lower_bounds += u64::from(bound);
            if served {
                found.times.served.record(response);
            }
            if !bound {
                found.times.service.record(now.saturating_sub(exchange.started));
            }
        }
    }

    /// Writes down what happened to a connection on which nothing was asked.
    pub fn fault(&mut self, fault: Fault, now: u64) {
        let measured = now >= self.course.measured_from;
        let tally = if measured { &mut self.found.tally } else { &mut self.found.warm_up };
        tally.fault(fault);
        self.tick.failed += 1;
    }

    /// Writes down a request that was never sent.
    pub fn unsent(&mut self, intended: u64, now: u64) {
        let found = &mut self.found;
        if intended < self.course.measured_from {
            found.warm_up.unsent += 1;
            return;
        }
        found.tally.unsent += 1;
        let waited = now.saturating_sub(intended);
        found.unsent_wait = found.unsent_wait.max(waited);
        found.times.response.record(waited);
        found.times.lower_bounds += 1;
    }
}

fn tick_nanos() -> u64 {
    TICK.as_nanos() as u64
}
