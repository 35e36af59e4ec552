//! How one endpoint is doing.

use super::{Probe, Probing};
use crate::bell::Bell;
use crate::breaker::Trial;
use crate::moment::Moment;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
    error_statuses: AtomicU64,
    errors_in_a_row: AtomicU32,
    /// The error of a row at which the bell is rung; 0 rings for none.
    rings_at: AtomicU32,
    bell: OnceLock<Arc<Bell>>,
    /// Looked at while it returns from an ejection.
    probing: Probing,
}

/// After this long without an observation a latency average has decayed to about a third.
const EWMA_DECAY_NANOS: f64 = 10e9;

/// For less than this an average is taken as it stands.
const STEADY_NANOS: u64 = 100_000_000;

/// What is left of an average after so long. Between two answers that is most often too little for
/// the exponential to differ from the begin of its series.
fn left_after(nanos: u64) -> f64 {
    let spans = nanos as f64 / EWMA_DECAY_NANOS;
    if spans < 1.0 / 256.0 { 1.0 - spans + spans * spans / 2.0 } else { (-spans).exp() }
}

/// As [`Duration::as_nanos`], without a number of 128 bits in between.
fn nanos_of(wait: Duration) -> f64 {
    wait.as_secs() as f64 * 1e9 + f64::from(wait.subsec_nanos())
}

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
        self.lengthen_row();
    }

    /// A connection to this endpoint could not be opened.
    pub fn count_connect_failure(&self) {
        self.connect_failed.fetch_add(1, Relaxed);
        self.lengthen_row();
    }

    /// It answered, with this status. A status of 500 or more is an error of its own.
    pub fn count_answer(&self, status: u16) {
        if status >= 500 {
            self.error_statuses.fetch_add(1, Relaxed);
            self.lengthen_row();
        } else if self.errors_in_a_row.load(Relaxed) != 0 {
            // Read first: the line stays shared between the workers while all goes well.
            self.errors_in_a_row.store(0, Relaxed);
        }
    }

    fn lengthen_row(&self) {
        let row = self.errors_in_a_row.fetch_add(1, Relaxed).wrapping_add(1);
        if row == self.rings_at.load(Relaxed) {
            self.ring();
        }
    }

    fn ring(&self) {
        self.bell.get().into_iter().for_each(|bell| bell.ring());
    }

    /// Whom it is given while it returns from an ejection.
    pub fn probing(&self) -> &Probing {
        &self.probing
    }

    /// A probe went well. The last of them rings.
    pub fn went_well(&self, probe: Probe) {
        self.probing.went_well(probe);
        self.ring_if_decided();
    }

    /// A probe has failed, and rings.
    pub fn has_failed(&self, probe: Probe) {
        self.probing.has_failed(probe);
        self.ring_if_decided();
    }

    fn ring_if_decided(&self) {
        if matches!(self.probing.trial(), Trial::Passed | Trial::Failed) {
            self.ring();
        }
    }

    /// Has `bell` rung by the error that makes a row this long, until told otherwise; `None` by no
    /// error. The first bell stays.
    pub fn ring_at(&self, bell: &Arc<Bell>, row: Option<u32>) {
        self.bell.get_or_init(|| Arc::clone(bell));
        self.rings_at.store(row.unwrap_or(0), Relaxed);
    }

    /// Requests given to this endpoint so far, retries included.
    pub fn picked(&self) -> u64 {
        self.picked.load(Relaxed)
    }

    /// Exchanges that failed by this endpoint's fault so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Answers with a status of 500 or more so far.
    pub fn error_statuses(&self) -> u64 {
        self.error_statuses.load(Relaxed)
    }

    /// All errors so far: failed exchanges, failed connections, error statuses.
    pub fn errors(&self) -> u64 {
        self.failed() + self.connect_failed() + self.error_statuses()
    }

    /// Errors since its last good answer.
    pub fn errors_in_a_row(&self) -> u32 {
        self.errors_in_a_row.load(Relaxed)
    }

    /// Connections that could not be opened so far.
    pub fn connect_failed(&self) -> u64 {
        self.connect_failed.load(Relaxed)
    }

    /// Forgets how long answers took: what they take now is to be found out anew.
    pub fn forget_latency(&self) {
        self.ewma.store(0, Relaxed);
    }

    /// Takes one observed latency into the peak-sensitive average: a higher one counts at once, a
    /// lower one moves the average by the time that has passed (Finagle's Peak EWMA). Two workers
    /// may lose one observation to each other; the average stays one of theirs.
    pub fn observe(&self, latency: Duration, now: Moment) {
        let seen = nanos_of(latency);
        let average = f64::from_bits(self.ewma.load(Relaxed));
        let next = if seen > average {
            seen
        } else {
            let kept = left_after(now.nanos().saturating_sub(self.ewma_at.load(Relaxed)));
            average * kept + seen * (1.0 - kept)
        };
        self.ewma.store(next.to_bits(), Relaxed);
        self.ewma_at.store(now.nanos(), Relaxed);
    }

    /// Takes in that an answer was not there yet after so long. Says nothing of one that is usual.
    pub fn observe_at_least(&self, waited: Duration, now: Moment) {
        if nanos_of(waited) > self.latency_nanos(now) {
            self.observe(waited, now);
        }
    }

    /// The latency average in nanoseconds, decayed to `now`; 0 where nothing was observed.
    pub fn latency_nanos(&self, now: Moment) -> f64 {
        let average = f64::from_bits(self.ewma.load(Relaxed));
        let since = now.nanos().saturating_sub(self.ewma_at.load(Relaxed));
        if since < STEADY_NANOS { average } else { average * left_after(since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    #[test]
    fn the_error_that_fills_a_row_rings_and_no_other_does() {
        let (vitals, bell) = (EndpointVitals::default(), Arc::<Bell>::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut rings = |at: Option<u32>| -> Vec<bool> {
            vitals.count_answer(200);
            vitals.ring_at(&bell, at);
            let mut err = || {
                vitals.count_failure();
                bell.poll_heard(&mut cx).is_ready()
            };
            (0..4).map(|_| err()).collect()
        };
        assert_eq!(rings(Some(3)), [false, false, true, false]);
        assert_eq!(rings(None), [false; 4]);
        assert_eq!(rings(Some(1)), [true, false, false, false]);
    }

    #[test]
    fn a_good_answer_ends_a_row_of_errors() {
        let vitals = EndpointVitals::default();
        vitals.count_failure();
        vitals.count_connect_failure();
        vitals.count_answer(503);
        assert_eq!((vitals.errors_in_a_row(), vitals.errors()), (3, 3));
        vitals.count_answer(404);
        assert_eq!((vitals.errors_in_a_row(), vitals.errors()), (0, 3));
    }
}
