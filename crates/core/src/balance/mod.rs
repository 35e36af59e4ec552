//! Choosing one endpoint of many. Balancers are built when endpoints are published; a pick takes
//! no lock and allocates nothing.

use crate::endpoints::{Ask, Endpoint, EndpointId, Endpoints};
use crate::plan::Balance;

/// A balancer over some of an upstream's endpoints.
#[derive(Debug)]
pub struct Balancer {
    members: Vec<EndpointId>,
}

impl Balancer {
    /// Builds the balancer over `members` of `list`.
    pub fn new(_balance: Balance, _list: &[Endpoint], members: Vec<EndpointId>) -> Balancer {
        Balancer { members }
    }

    /// Chooses an untried member with room and takes a place in flight on it.
    pub fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let count = self.members.len();
        let turn = endpoints.vitals().next_turn();
        (0..count)
            .map(|step| self.members[turn.wrapping_add(step) % count])
            .filter(|id| !ask.tried.contains(*id))
            .find(|id| {
                let endpoint = endpoints.get(*id);
                endpoint.vitals.try_enter(endpoint.connections_max)
            })
    }
}
