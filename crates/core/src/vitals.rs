//! How endpoints are doing, counted where it happens and kept across reloads.
//!
//! Everything here is a relaxed atomic that all workers share, so that a number an operator
//! writes holds for the process. Readers take no lock and see each number by itself.

mod endpoint;
mod probing;

pub use endpoint::EndpointVitals;
pub use probing::{PROBES_MAX, Probe, Probing};

use crate::latencies::Latencies;
use crate::queue::{Joined, Line, Priority, Ticket, Turn};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Keeps what it holds on a cache line of its own (two, for adjacent-line prefetch).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

/// What an upstream's balancer remembers between picks and across republished endpoints.
#[derive(Debug, Default)]
pub struct UpstreamVitals {
    cursor: Padded<AtomicUsize>,
    in_flight: Padded<AtomicU32>,
    /// Read by every exchange, written when something goes wrong.
    gate: Padded<Way>,
    retries: Padded<Retries>,
    queue: Padded<Queue>,
    hedges: Padded<Hedges>,
    /// How long answers take; counted where somebody wants to know.
    latencies: Latencies,
}

/// What stands in the way of a request.
#[derive(Debug, Default)]
struct Way {
    /// The breaker's.
    gate: Probing,
    /// Requests in the queue.
    waiting: AtomicU32,
    /// Requests that may be in flight, where that is found out; 0 before it is.
    concurrency: AtomicU32,
}

/// Second endpoints that were asked the same.
#[derive(Debug, Default)]
struct Hedges {
    /// After so many nanoseconds; 0 where that is not known.
    after: AtomicU64,
    made: AtomicU64,
    won: AtomicU64,
}

/// Those that wait for a place. The lock is taken only while somebody does.
#[derive(Debug, Default)]
struct Queue {
    line: Mutex<Line<Waker>>,
    full: AtomicU64,
    timeouts: AtomicU64,
    joined: AtomicU64,
}

/// What retries there were, and how many more there may be.
#[derive(Debug)]
struct Retries {
    allowance: AtomicU32,
    made: AtomicU64,
    denied: AtomicU64,
}

/// Retries allowed before anybody has computed how many may be.
const RETRIES_AT_START: u32 = 100;

impl Default for Retries {
    fn default() -> Retries {
        let allowance = AtomicU32::new(RETRIES_AT_START);
        Retries { allowance, made: AtomicU64::new(0), denied: AtomicU64::new(0) }
    }
}

/// What has become of those that had to wait for a place, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// They waited.
    pub joined: u64,
    /// They were turned away because the queue was full, some of them after they had waited.
    pub full: u64,
    /// They waited in vain.
    pub timeouts: u64,
}

impl UpstreamVitals {
    /// The next turn: 0, 1, 2, … over all workers; wraps.
    pub fn next_turn(&self) -> usize {
        self.cursor.0.fetch_add(1, Relaxed)
    }

    /// Requests in flight over all endpoints.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.0.load(Relaxed)
    }

    /// Counts a request in unless `most` are in flight already.
    pub fn try_enter(&self, most: Option<u32>) -> bool {
        let Some(most) = most else {
            self.in_flight.0.fetch_add(1, Relaxed);
            return true;
        };
        let enter = |taken: u32| (taken < most).then_some(taken + 1);
        self.in_flight.0.fetch_update(SeqCst, SeqCst, enter).is_ok()
    }

    /// A request's answer ended, and its place at its endpoint was given back. Calls the first that
    /// waits for one.
    pub fn leave(&self) {
        // One order for all: either this sees who has joined the queue, or that one, which tries
        // once it has, sees the place.
        self.in_flight.0.fetch_sub(1, SeqCst);
        self.call_waiting();
    }

    /// Calls the first that waits, if somebody does: there may be places that nobody gave back.
    /// Whoever publishes new endpoints or a higher limit says so after that, and whoever waits
    /// looks at them after it has joined: one of them sees the other.
    pub fn call_waiting(&self) {
        if self.waiting() > 0 {
            self.call_next();
        }
    }

    /// A request that was counted in found no endpoint. Nobody is called for that: no place came
    /// free.
    pub fn withdraw(&self) {
        self.in_flight.0.fetch_sub(1, SeqCst);
    }

    /// Requests that wait for a place.
    pub fn waiting(&self) -> u32 {
        self.gate.0.waiting.load(SeqCst)
    }

    fn line(&self) -> MutexGuard<'_, Line<Waker>> {
        self.queue.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many wait now, and ends the use of the line.
    fn note(&self, line: MutexGuard<'_, Line<Waker>>) {
        self.gate.0.waiting.store(u32::try_from(line.len()).unwrap_or(u32::MAX), SeqCst);
    }

    fn call_next(&self) {
        let first = self.line().call().cloned();
        first.inspect(Waker::wake_by_ref);
    }

    /// Joins the queue for a place; `None` where `most` of at least this importance wait already.
    pub fn join_queue(&self, priority: Priority, most: u32, waker: &Waker) -> Option<Ticket> {
        let mut line = self.line();
        let joined = line.join(priority, most as usize, waker.clone());
        self.note(line);
        let ticket = match joined {
            Joined::Waits(ticket) => ticket,
            Joined::Instead(ticket, displaced) => {
                displaced.wake();
                ticket
            }
            Joined::Full => return None,
        };
        self.queue.0.joined.fetch_add(1, Relaxed);
        Some(ticket)
    }

    /// How the holder of this ticket stands; it is woken when that changes.
    pub fn turn(&self, ticket: Ticket, waker: &Waker) -> Turn {
        self.line().turn(ticket, |bell| bell.clone_from(waker))
    }

    /// Leaves the queue, with a place or without one, and calls the next.
    pub fn leave_queue(&self, ticket: Ticket) {
        let mut line = self.line();
        line.leave(ticket);
        self.note(line);
        self.call_next();
    }

    /// Somebody was turned away because the queue was full.
    pub fn count_queue_full(&self) {
        self.queue.0.full.fetch_add(1, Relaxed);
    }

    /// Somebody has waited for too long.
    pub fn count_queue_timeout(&self) {
        self.queue.0.timeouts.fetch_add(1, Relaxed);
    }

    /// Requests that have waited so far, those turned away because the queue was full, and those
    /// that have waited in vain.
    pub fn queue_counts(&self) -> QueueCounts {
        let Queue { full, timeouts, joined, .. } = &self.queue.0;
        QueueCounts {
            joined: joined.load(Relaxed),
            full: full.load(Relaxed),
            timeouts: timeouts.load(Relaxed),
        }
    }

    /// Whether its breaker lets exchanges pass.
    pub fn probing(&self) -> &Probing {
        &self.gate.0.gate
    }

    /// How long its answers take.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Says how many requests may be in flight from now on, where that is found out. More than
    /// before is told to whoever waits.
    pub fn set_concurrency(&self, most: u32) {
        let before = self.gate.0.concurrency.swap(most, SeqCst);
        if most > before {
            self.call_waiting();
        }
    }

    /// How many requests may be in flight, as far as that was found out.
    pub fn concurrency(&self) -> Option<u32> {
        Some(self.gate.0.concurrency.load(Relaxed)).filter(|most| *most > 0)
    }

    /// Says after how long a second endpoint is asked; `None` where that is not known.
    pub fn set_hedge_after(&self, after: Option<Duration>) {
        let nanos = after.map_or(0, |after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.hedges.0.after.store(nanos, Relaxed);
    }

    /// After how long a second endpoint is asked, where that is found out and known.
    pub fn hedge_after(&self) -> Option<Duration> {
        let nanos = self.hedges.0.after.load(Relaxed);
        (nanos > 0).then_some(Duration::from_nanos(nanos))
    }

    /// A second endpoint was asked.
    pub fn count_hedge(&self) {
        self.hedges.0.made.fetch_add(1, Relaxed);
    }

    /// Its answer was the first.
    pub fn count_hedge_won(&self) {
        self.hedges.0.won.fetch_add(1, Relaxed);
    }

    /// Second endpoints asked so far.
    pub fn hedges(&self) -> u64 {
        self.hedges.0.made.load(Relaxed)
    }

    /// Those whose answer was the first.
    pub fn hedges_won(&self) -> u64 {
        self.hedges.0.won.load(Relaxed)
    }

    /// Says how many retries are allowed from now on.
    pub fn allow_retries(&self, count: u32) {
        self.retries.0.allowance.store(count, Relaxed);
    }

    /// Takes one retry from the allowance, and counts it, or counts that it was denied.
    pub fn try_retry(&self) -> bool {
        let retries = &self.retries.0;
        let take = |left: u32| left.checked_sub(1);
        let allowed = retries.allowance.fetch_update(Relaxed, Relaxed, take).is_ok();
        let counter = if allowed { &retries.made } else { &retries.denied };
        counter.fetch_add(1, Relaxed);
        allowed
    }

    /// Retries made so far that the budget counts.
    pub fn retries(&self) -> u64 {
        self.retries.0.made.load(Relaxed)
    }

    /// Retries the budget denied so far.
    pub fn retries_denied(&self) -> u64 {
        self.retries.0.denied.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_beyond_the_allowance_are_denied_and_counted() {
        let vitals = UpstreamVitals::default();
        vitals.allow_retries(2);
        let made: Vec<bool> = (0..4).map(|_| vitals.try_retry()).collect();
        assert_eq!(made, [true, true, false, false]);
        assert_eq!((vitals.retries(), vitals.retries_denied()), (2, 2));
    }
}
