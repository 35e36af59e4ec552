//! Counters of the data path. Each is written by one worker alone and read by anyone, so that
//! counting is a load and a store; sums are made when somebody looks.

use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds. Only the worker that owns the counter may.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Takes away. Only the worker that owns the counter may.
    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(less), Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the latency buckets, in microseconds; one more bucket holds the rest.
pub const LATENCY_BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// A latency histogram with fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Count; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Count,
}

impl Histogram {
    pub(crate) fn observe(&self, us: u64) {
        let at = LATENCY_BOUNDS_US.iter().position(|bound| us <= *bound);
        self.buckets[at.unwrap_or(LATENCY_BOUNDS_US.len())].add(1);
        self.sum_us.add(us);
    }

    /// Observations in each bucket, not summed up.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Count::get)
    }

    /// The sum of all observations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// What one worker counted on one route.
#[derive(Debug, Default)]
pub struct RouteMeter {
    /// Exchanges by status class: `[0]` those without a status, `[1]` 1xx (tunnels), … `[5]`.
    pub classes: [Count; 6],
    /// Exchanges by failure side: client, upstream, gateway.
    pub failures: [Count; 3],
    /// Exchanges that failed because their upstream's breaker was open.
    pub breaker_refused: Count,
    /// From the first byte of a request to the last of its answer.
    pub latency: Histogram,
    /// Request body bytes, and what TCP connections have brought.
    pub received_bytes: Count,
    /// Answer body bytes, and what TCP connections were given.
    pub sent_bytes: Count,
    /// Attempts after the first.
    pub retries: Count,
    /// TCP connections that have ended.
    pub connections: Count,
}

/// What one worker counted.
#[derive(Debug, Default)]
pub struct WorkerMeters {
    /// Connections accepted.
    pub accepted: Count,
    /// Connections refused because of a limit.
    pub refused: Count,
    /// Requests turned away because memory is short.
    pub shed: Count,
    /// Connections closed because no trusted proxy said whose they are.
    pub proxy_headers_refused: Count,
    /// Accepts that failed.
    pub accept_errors: Count,
    /// Client connections open.
    pub clients: Count,
    /// TLS handshakes of clients by what became of them, in the order of
    /// [`HandshakeEnd::ALL`](crate::handshake::HandshakeEnd::ALL).
    pub handshakes: [Count; 10],
    /// Exchanges running.
    pub in_flight: Count,
    /// Log lines that could not be written in time.
    pub log_lines_lost: Count,
    beat: AtomicU64,
    routes: Mutex<HashMap<Box<str>, Arc<RouteMeter>>>,
}

/// The name under which exchanges are counted that found no route.
pub const NO_ROUTE: &str = "(none)";

impl WorkerMeters {
    /// The worker is alive at this moment.
    pub(crate) fn beat(&self, now: Moment) {
        self.beat.store(now.nanos(), Relaxed);
    }

    /// How long ago the worker was last seen alive.
    pub fn beat_age(&self) -> Duration {
        now().since(Moment::from_nanos(self.beat.load(Relaxed)))
    }

    /// The meter of a route; the same for the same name, across reloads. Off the hot path.
    pub(crate) fn route(&self, name: &str) -> Arc<RouteMeter> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(name.into()).or_default())
    }

    /// All routes' meters.
    pub fn routes(&self) -> Vec<(Box<str>, Arc<RouteMeter>)> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().map(|(name, meter)| (name.clone(), Arc::clone(meter))).collect()
    }
}
