//! How endpoints are doing, counted where it happens and kept across reloads.
//!
//! Everything here is a relaxed atomic that all workers share, so that a number an operator
//! writes holds for the process. Readers take no lock and see each number by itself.

use crate::moment::Moment;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Keeps what it holds on a cache line of its own (two, for adjacent-line prefetch).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

/// How one endpoint is doing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointVitals {
    in_flight: AtomicU32,
    connections: AtomicU32,
    ewma: AtomicU64,
    ewma_at: AtomicU64,
    picked: AtomicU64,
    failed: AtomicU64,
    connect_failed: AtomicU64,
}

/// After this long without an observation a latency average has decayed to about a third.
const EWMA_DECAY: Duration = Duration::from_secs(10);

impl EndpointVitals {
    /// Requests in flight at this moment, over all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Open connections, idle ones included, over all workers.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Takes a place in flight unless `cap` are taken. With a cap no other asker ever sees a place
    /// that is not kept, so the last free place cannot be refused to two at once.
    pub fn try_enter(&self, cap: Option<u32>) -> bool {
        let Some(cap) = cap else {
            self.in_flight.fetch_add(1, Relaxed);
            return true;
        };
        let enter = |taken: u32| (taken < cap).then_some(taken + 1);
        self.in_flight.fetch_update(Relaxed, Relaxed, enter).is_ok()
    }

    /// Gives a place in flight back.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// A connection was opened.
    pub fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// A request was given to this endpoint.
    pub fn count_pick(&self) {
        self.picked.fetch_add(1, Relaxed);
    }

    /// An exchange failed by this endpoint's fault.
    pub fn count_failure(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// A connection to this endpoint could not be opened.
    pub fn count_connect_failure(&self) {
        self.connect_failed.fetch_add(1, Relaxed);
    }

    /// Requests given to this endpoint so far, retries included.
    pub fn picked(&self) -> u64 {
        self.picked.load(Relaxed)
    }

    /// Exchanges that failed by this endpoint's fault so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Connections that could not be opened so far.
    pub fn connect_failed(&self) -> u64 {
        self.connect_failed.load(Relaxed)
    }

    /// Takes one observed latency into the peak-sensitive average: a higher one counts at once, a
    /// lower one moves the average by the time that has passed (Finagle's Peak EWMA). Two workers
    /// may lose one observation to each other; the average stays one of theirs.
    pub fn observe(&self, latency: Duration, now: Moment) {
        let seen = latency.as_nanos() as f64;
        let average = f64::from_bits(self.ewma.load(Relaxed));
        let since = now.since(Moment::from_nanos(self.ewma_at.load(Relaxed)));
        let next = if seen > average {
            seen
        } else {
            let kept = (-since.as_secs_f64() / EWMA_DECAY.as_secs_f64()).exp();
            average * kept + seen * (1.0 - kept)
        };
        self.ewma.store(next.to_bits(), Relaxed);
        self.ewma_at.store(now.nanos(), Relaxed);
    }

    /// The latency average in nanoseconds, decayed to `now`; 0 where nothing was observed.
    pub fn latency_nanos(&self, now: Moment) -> f64 {
        let average = f64::from_bits(self.ewma.load(Relaxed));
        let since = now.since(Moment::from_nanos(self.ewma_at.load(Relaxed)));
        if since < Duration::from_millis(100) {
            return average;
        }
        average * (-since.as_secs_f64() / EWMA_DECAY.as_secs_f64()).exp()
    }
}

/// What an upstream's balancer remembers between picks and across republished endpoints.
#[derive(Debug, Default)]
pub struct UpstreamVitals {
    cursor: Padded<AtomicUsize>,
    in_flight: Padded<AtomicU32>,
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

    /// A request was given to an endpoint.
    pub fn enter(&self) {
        self.in_flight.0.fetch_add(1, Relaxed);
    }

    /// A request's answer ended.
    pub fn leave(&self) {
        self.in_flight.0.fetch_sub(1, Relaxed);
    }
}
