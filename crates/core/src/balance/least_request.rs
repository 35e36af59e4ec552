//! `least-request`: fewest in flight by weight; those that have none share by weight.

use super::draw::Draw;
use super::{Group, takes};
use crate::endpoints::{Ask, Endpoint, EndpointId, Endpoints};

/// Up to this many members all are looked at.
const EXACT_MAX: usize = 8;

/// How often somebody who has nothing to do is drawn by weight before the next in order is.
const DRAWS_MAX: usize = 4;

#[derive(Debug)]
pub(super) enum LeastRequest {
    /// All have the same weight.
    Few(Vec<EndpointId>),
    FewUnequal(Draw),
    Many(Draw),
}

impl LeastRequest {
    pub(super) fn new(group: Group<'_>) -> LeastRequest {
        let count = group.members.len();
        let draw = Draw::new(group);
        match count {
            0..=EXACT_MAX if draw.is_even() => LeastRequest::Few(draw.into_members()),
            0..=EXACT_MAX => LeastRequest::FewUnequal(draw),
            _ => LeastRequest::Many(draw),
        }
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        match self {
            LeastRequest::Few(members) => {
                let start = ask.chance.below(members.len() as u32) as usize;
                least(members, start, endpoints, ask, |endpoint| endpoint.vitals.in_flight())
            }
            LeastRequest::FewUnequal(draw) => {
                let members = draw.members();
                let is_idle = |at: usize| endpoints.get(members[at]).vitals.in_flight() == 0;
                let mut start = draw.place(ask.chance);
                for _ in 1..DRAWS_MAX {
                    if is_idle(start) {
                        break;
                    }
                    start = draw.place(ask.chance);
                }
                least(members, start, endpoints, ask, cost)
            }
            LeastRequest::Many(draw) => draw.cheaper(endpoints, ask, cost),
        }
    }
}

/// Requests in flight a unit of weight. Those that have none are equal, whatever their weight: it
/// is in the draw, and the heaviest would have everything while one request comes at a time.
fn cost(endpoint: &Endpoint) -> f64 {
    f64::from(endpoint.vitals.in_flight()) / endpoint.share()
}

/// The member with the least cost that has room; of equals the first from `start` on.
fn least<Cost: PartialOrd + Copy>(
    members: &[EndpointId],
    start: usize,
    endpoints: &Endpoints,
    ask: &Ask<'_>,
    cost: impl Fn(&Endpoint) -> Cost,
) -> Option<EndpointId> {
    let (before, behind) = members.split_at(start);
    let mut refused = [false; EXACT_MAX];
    for _ in 0..members.len() {
        let mut best: Option<(Cost, usize, EndpointId)> = None;
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
