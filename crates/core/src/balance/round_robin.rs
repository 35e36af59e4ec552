//! `round-robin`: in order, starting at the first. Weights are not looked at.

use super::{Group, scan, takes};
use crate::endpoints::{Ask, EndpointId, Endpoints};

#[derive(Debug)]
pub(super) struct RoundRobin(Vec<EndpointId>);

impl RoundRobin {
    pub(super) fn new(group: Group<'_>) -> RoundRobin {
        RoundRobin(group.members)
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let turn = endpoints.vitals().next_turn() % self.0.len();
        scan(&self.0, turn, |id| takes(endpoints, &ask.tried, id))
    }
}
