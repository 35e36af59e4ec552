//! `least-request`: fewest in flight by weight, the request to come included.

use super::draw::Draw;
use super::{Group, takes};
use crate::endpoints::{Ask, Endpoint, EndpointId, Endpoints};

/// Up to this many members all are looked at.
const EXACT_MAX: usize = 8;

#[derive(Debug)]
pub(super) enum LeastRequest {
    Few(Vec<EndpointId>),
    Many(Draw),
}

impl LeastRequest {
    pub(super) fn new(group: Group<'_>) -> LeastRequest {
        match group.members.len() {
            0..=EXACT_MAX => LeastRequest::Few(group.members),
            _ => LeastRequest::Many(Draw::new(group)),
        }
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        match self {
            LeastRequest::Few(members) => least(members, endpoints, ask),
            LeastRequest::Many(draw) => draw.cheaper(endpoints, ask, cost),
        }
    }
}

/// Requests in flight a unit of weight if this endpoint took one more.
fn cost(endpoint: &Endpoint) -> f64 {
    (f64::from(endpoint.vitals.in_flight()) + 1.0) / endpoint.share()
}

/// The member with the least cost that has room. The scan starts anywhere, so that equals share.
fn least(members: &[EndpointId], endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
    let start = ask.chance.below(members.len() as u32) as usize;
    let (before, behind) = members.split_at(start);
    let mut refused = [false; EXACT_MAX];
    for _ in 0..members.len() {
        let mut best: Option<(f64, usize, EndpointId)> = None;
        for (at, id) in behind.iter().chain(before).enumerate() {
            if refused[at] || ask.tried.contains(*id) {
                continue;
            }
            let cost = cost(endpoints.get(*id));
            if best.is_none_or(|(least, _, _)| cost < least) {
                best = Some((cost, at, *id));
            }
        }
        let (_, at, id) = best?;
        if takes(endpoints, &ask.tried, id) {
            return Some(id);
        }
        refused[at] = true;
    }
    None
}
