//! A load generator over HTTP/1.1 that does not flatter: with a rate, the time of every request is
//! fixed before the first is sent, and its response time counts from then, whether or not a
//! connection was free. A server that stalls is so charged with every request that it kept waiting,
//! not only with those that happened to be under way.
//!
//! Without a rate it is a closed loop: as many requests at once as there are connections.

mod alarm;
mod answer;
mod books;
mod chunks;
mod latency;
mod leg;
mod plot;
mod report;
mod schedule;
mod shown;
mod slot;
mod summary;
mod tally;
mod target;
mod worker;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use latency::Latency;
pub use plot::plot;
pub use report::{Ending, Measured, Point, Ratio, Report, Round};
pub use summary::summary;
pub use tally::Tally;
pub use target::{Message, Target};

/// The bar of a progress line.
const PROGRESS_WIDTH: usize = 20;

/// What decides when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The end of the one before it, on the same connection.
    Closed,
    /// Its number, at so many a second, which is more than none.
    Open(u64),
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Whom, and with what; all get the same, in turn. At least one.
    pub targets: Vec<Target>,
    /// How fast.
    pub pace: Pace,
    /// How long each target is measured in all.
    pub duration: Duration,
    /// How many requests count at most, for each target.
    pub requests: Option<u64>,
    /// How long there is load before anything counts, for each target in all.
    pub warm_up: Duration,
    /// How long a request may take from when it is sent.
    pub timeout: Duration,
    /// Connections at once; at least one.
    pub connections: u32,
    /// Threads; at least one, and not more than there are connections.
    pub threads: u32,
    /// In how many parts the targets take turns; at least one.
    pub rounds: u32,
}

/// Ends a run early, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the run within a tenth of a second.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Whom it asks now.
    pub target: &'a str,
    /// How much of the whole is over, from 0 to 1.
    pub share: f64,
    /// Answers a second, of late.
    pub rate: f64,
    /// The 99th percentile, of late.
    pub p99: Duration,
    /// Failures since the turn of this target began.
    pub failed: u64,
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = (self.share * PROGRESS_WIDTH as f64) as usize;
        let (done, left) = ("#".repeat(done), ".".repeat(PROGRESS_WIDTH.saturating_sub(done)));
        let (share, rate) = (100.0 * self.share, shown::rate(self.rate));
        let (p99, failed, target) = (shown::time(self.p99), self.failed, self.target);
        write!(f, "[{done}{left}] {share:3.0} % {rate:>9} p99 {p99:>8} failed {failed} {target}")
    }
}

impl Bench {
    /// Runs to the end, or until it is stopped, and tells `watch` a few times a second.
    ///
    /// # Errors
    ///
    /// When there is no thread or descriptor to be had. What goes wrong with a target is counted.
    pub fn run(&self, stop: &Stop, mut watch: impl FnMut(&Progress<'_>)) -> io::Result<Report> {
        let mut measured: Vec<Measured> =
            self.targets.iter().map(|target| Measured::new(self, target)).collect();
        let legs = f64::from(self.rounds) * self.targets.len() as f64;
        let mut done = 0.0;
        for round in 0..self.rounds {
            for turn in 0..self.targets.len() {
                // There and back, so that what drifts during a run drifts for all.
                let forth = round.is_multiple_of(2);
                let at = if forth { turn } else { self.targets.len() - 1 - turn };
                let mut tell = |progress: &Progress<'_>| {
                    let share = (done + progress.share) / legs;
                    watch(&Progress { share, ..*progress });
                };
                let leg = leg::Leg::of(self, &self.targets[at], round);
                measured[at].add(leg.run(stop, &mut tell)?);
                if stop.is_stopped() {
                    return Ok(Report { targets: measured, ending: Ending::Stopped });
                }
                done += 1.0;
            }
        }
        Ok(Report { targets: measured, ending: Ending::Complete })
    }
}
