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

/// The member with the least cost that has room. The scan starts anywhere, so that equals share;
/// of those that have nothing to do one is drawn by weight, or the heaviest would have everything
/// for as long as one request comes at a time.
fn least(members: &[EndpointId], endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
    let start = ask.chance.below(members.len() as u32) as usize;
    let (before, behind) = members.split_at(start);
    let mut refused = [false; EXACT_MAX];
    for _ in 0..members.len() {
        let mut best: Option<(f64, usize, EndpointId)> = None;
        let mut idle = Idle::default();
        for (at, id) in behind.iter().chain(before).enumerate() {
            if refused[at] || ask.tried.contains(*id) {
                continue;
            }
            let endpoint = endpoints.get(*id);
            let cost = cost(endpoint);
            idle.note(endpoint);
            if best.is_none_or(|(least, _, _)| cost < least) {
                best = Some((cost, at, *id));
            }
        }
        let (_, mut at, mut id) = best?;
        if idle.are_unequal() && endpoints.get(id).vitals.in_flight() == 0 {
            let free = behind.iter().chain(before).enumerate().filter(|(at, id)| {
                let is_idle = endpoints.get(**id).vitals.in_flight() == 0;
                is_idle && !refused[*at] && !ask.tried.contains(**id)
            });
            let mut left = f64::from(ask.chance.below(1 << 24)) / f64::from(1 << 24) * idle.shares;
            for (other, member) in free {
                (at, id) = (other, *member);
                left -= endpoints.get(id).share();
                if left < 0.0 {
                    break;
                }
            }
        }
        if takes(endpoints, &ask.tried, id) {
            return Some(id);
        }
        refused[at] = true;
    }
    None
}

/// The members that have nothing to do.
#[derive(Debug, Default)]
struct Idle {
    /// The sum of their shares.
    shares: f64,
    last: Option<f64>,
    differ: bool,
}

impl Idle {
    fn note(&mut self, endpoint: &Endpoint) {
        if endpoint.vitals.in_flight() > 0 {
            return;
        }
        let share = endpoint.share();
        self.differ |= self.last.is_some_and(|last| last != share);
        self.last = Some(share);
        self.shares += share;
    }

    fn are_unequal(&self) -> bool {
        self.differ
    }
}
