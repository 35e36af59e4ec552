//! What a run found, as numbers.

use std::time::Duration;

use super::leg::Outcome;
use super::{Bench, Latency, Pace, Tally, Target};
use crate::bench::books::Times;

/// Less than this share of the asked rate is a rate that was not kept.
const KEPT: f64 = 0.99;
/// More than this share of its threads' time, and the generator itself is the limit.
const BUSY: f64 = 0.9;

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each target, in the order they were given.
    pub targets: Vec<Measured>,
    /// How it ended.
    pub ending: Ending,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it was to.
    Complete,
    /// It was stopped before.
    Stopped,
}

/// What was found of one target.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its URL.
    pub name: String,
    /// How fast it was to be asked.
    pub pace: Pace,
    /// Connections at once.
    pub connections: u32,
    /// Threads that asked.
    pub threads: u32,
    /// How long there was load that does not count.
    pub warm_up: Duration,
    /// How long it was measured.
    pub measured: Duration,
    /// Counts.
    pub tally: Tally,
    /// Counts of the warm-up.
    pub warm_up_tally: Tally,
    /// From when each request was to be sent to the end of its answer. One that had no answer
    /// counts with the time it had waited. In a closed loop it was to be sent when it was.
    pub response: Latency,
    /// From when each request was sent to the end of its answer.
    pub service: Latency,
    /// As `response`, of answers with a status of 2xx only.
    pub served: Latency,
    /// How many of the response times are of requests without an answer, and so lower bounds.
    pub lower_bounds: u64,
    /// Answers that came while it was measured, whenever they were asked for.
    pub answered_meanwhile: u64,
    /// The longest that a request which was not sent had waited.
    pub unsent_wait: Duration,
    /// Processor time of the generator while it measured.
    pub cpu: Duration,
    /// Over time.
    pub points: Vec<Point>,
    /// Round by round.
    pub rounds: Vec<Round>,
}

/// One moment.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// When it began, in measured time.
    pub at: Duration,
    /// Its length.
    pub width: Duration,
    /// Answers that came.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
    /// The median response time of those answers.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// One turn of a target.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Answers a second.
    pub rate: f64,
    /// The median response time.
    pub p50: Duration,
    /// The 99th percentile of it.
    pub p99: Duration,
}

/// A figure of one target by that of another, taken within each round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The least of all rounds.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Measured {
    pub(super) fn new(bench: &Bench, target: &Target) -> Self {
        let Times { response, service, served, lower_bounds } = Times::new();
        Self {
            name: target.name.clone(),
            pace: bench.pace,
            connections: bench.connections,
            threads: bench.threads,
            warm_up: bench.warm_up,
            measured: Duration::ZERO,
            tally: Tally::default(),
            warm_up_tally: Tally::default(),
            response,
            service,
            served,
            lower_bounds,
            answered_meanwhile: 0,
            unsent_wait: Duration::ZERO,
            cpu: Duration::ZERO,
            points: Vec::new(),
            rounds: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        let mut times = Times::new();
        let mut answered = 0;
        for found in &outcome.found {
            times.merge(&found.times);
            answered += found.answered_meanwhile;
            self.tally.merge(&found.tally);
            self.warm_up_tally.merge(&found.warm_up);
            self.unsent_wait = self.unsent_wait.max(Duration::from_nanos(found.unsent_wait));
            self.cpu += found.cpu;
        }
        self.rounds.push(Round {
            rate: per_second(answered, outcome.measured),
            p50: times.response.within(0.5),
            p99: times.response.within(0.99),
        });
        self.response.merge(&times.response);
        self.service.merge(&times.service);
        self.served.merge(&times.served);
        self.lower_bounds += times.lower_bounds;
        self.answered_meanwhile += answered;
        let before = self.measured;
        let later = |point: Point| Point { at: before + point.at, ..point };
        self.points.extend(outcome.points.into_iter().map(later));
        self.measured += outcome.measured;
    }

    /// Answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        per_second(self.answered_meanwhile, self.measured)
    }

    /// The rate that was asked for, if it was not kept.
    #[must_use]
    pub fn missed_rate(&self) -> Option<u64> {
        match self.pace {
            Pace::Closed => None,
            Pace::Open(asked) => Some(asked).filter(|asked| self.rate() < KEPT * *asked as f64),
        }
    }

    /// Processor time of the generator for each answer.
    #[must_use]
    pub fn cpu_per_answer(&self) -> Duration {
        self.cpu.div_f64((self.answered_meanwhile as f64).max(1.0))
    }

    /// How much of its threads' time the generator used, from 0 to 1.
    #[must_use]
    pub fn cpu_share(&self) -> f64 {
        let threads = f64::from(self.threads) * self.measured.as_secs_f64();
        if threads > 0.0 { self.cpu.as_secs_f64() / threads } else { 0.0 }
    }

    /// Whether the generator, and not the target, may have been the limit.
    #[must_use]
    pub fn limited_by_itself(&self) -> bool {
        self.cpu_share() > BUSY
    }

    /// A figure of this target by that of `base`, in rounds that both have had.
    #[must_use]
    pub fn ratio(&self, base: &Self, figure: impl Fn(&Round) -> f64) -> Option<Ratio> {
        let pairs = self.rounds.iter().zip(&base.rounds);
        let ratios = pairs.map(|(mine, theirs)| figure(mine) / figure(theirs));
        let mut ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        ratios.sort_by(f64::total_cmp);
        let (min, max) = (*ratios.first()?, *ratios.last()?);
        let middle = ratios.len() / 2;
        let median = match ratios.len() % 2 {
            0 => f64::midpoint(ratios[middle - 1], ratios[middle]),
            _ => ratios[middle],
        };
        Some(Ratio { min, median, max })
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}
