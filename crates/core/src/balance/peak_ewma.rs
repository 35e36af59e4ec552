//! `peak-ewma`: latency times requests in flight by weight, power of two choices (Finagle's Peak
//! EWMA). The latency average rises at once and falls slowly.

use super::Group;
use super::draw::Draw;
use crate::endpoints::{Ask, Endpoint, EndpointId, Endpoints};
use crate::moment::Moment;

/// What a request in flight costs on an endpoint that has not answered yet, in nanoseconds: more
/// than any latency, so that its first request is waited for before it is given a second.
const UNOBSERVED_NANOS: f64 = 1e15;

#[derive(Debug)]
pub(super) struct PeakEwma(Draw);

impl PeakEwma {
    pub(super) fn new(group: Group<'_>) -> PeakEwma {
        PeakEwma(Draw::new(group))
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let now = ask.now;
        self.0.cheaper(endpoints, ask, |endpoint| cost(endpoint, now))
    }
}

/// An endpoint that was never observed and has nothing in flight costs nothing: it is tried.
fn cost(endpoint: &Endpoint, now: Moment) -> f64 {
    let in_flight = f64::from(endpoint.vitals.in_flight());
    let latency = endpoint.vitals.latency_nanos(now);
    let cost =
        if latency > 0.0 { latency * (in_flight + 1.0) } else { UNOBSERVED_NANOS * in_flight };
    cost / endpoint.share()
}
