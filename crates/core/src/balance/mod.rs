//! Choosing one endpoint of many. Balancers are built when endpoints are published; a pick takes
//! no lock and allocates nothing.
//!
//! Every balance has its own file and falls forward in its own way when a member was tried or is
//! at its cap: the next turn, the next point, another draw. Each of these is bounded, and a scan of
//! all members ends the search, so whoever has room is found.

mod consistent_hash;
mod draw;
mod hash;
mod least_request;
mod maglev;
mod peak_ewma;
mod random;
mod ring;
mod round_robin;
mod weighted_round_robin;

pub use consistent_hash::{POINTS_MAX, POINTS_MEAN_MIN};
pub use hash::{crc32, hash64};
pub use maglev::TABLE_SIZES;
pub use weighted_round_robin::CYCLE_SLOTS_MAX;

use crate::endpoints::{Ask, Endpoint, EndpointId, Endpoints, Standing, Tried};
use crate::plan::{Balance, Ring};
use consistent_hash::{ConsistentHash, CrcHash};
use least_request::LeastRequest;
use maglev::Maglev;
use peak_ewma::PeakEwma;
use random::Random;
use round_robin::RoundRobin;
use weighted_round_robin::WeightedRoundRobin;

/// A balancer over some of an upstream's endpoints.
#[derive(Debug)]
pub struct Balancer(Kind);

/// With fewer than two members there is nothing to balance, and nothing is built.
#[derive(Debug)]
enum Kind {
    Nobody,
    One(EndpointId),
    Random(Random),
    RoundRobin(RoundRobin),
    WeightedRoundRobin(WeightedRoundRobin),
    LeastRequest(LeastRequest),
    PeakEwma(PeakEwma),
    ConsistentHash(ConsistentHash),
    CrcHash(CrcHash),
    Maglev(Maglev),
}

impl Balancer {
    /// Builds the balancer over `members` of `list`.
    pub fn new(balance: Balance, list: &[Endpoint], members: Vec<EndpointId>) -> Balancer {
        let group = Group { list, members };
        Balancer(match (group.members.as_slice(), balance) {
            ([], _) => Kind::Nobody,
            ([one], _) => Kind::One(*one),
            (_, Balance::Random) => Kind::Random(Random::new(group)),
            (_, Balance::RoundRobin) if !group.warms_up() => {
                Kind::RoundRobin(RoundRobin::new(group))
            }
            (_, Balance::RoundRobin) => Kind::WeightedRoundRobin(WeightedRoundRobin::new(group)),
            (_, Balance::WeightedRoundRobin) => {
                Kind::WeightedRoundRobin(WeightedRoundRobin::new(group))
            }
            (_, Balance::LeastRequest) => Kind::LeastRequest(LeastRequest::new(group)),
            (_, Balance::PeakEwma) => Kind::PeakEwma(PeakEwma::new(group)),
            (_, Balance::ConsistentHash(Ring::Default { load_bound })) => {
                Kind::ConsistentHash(ConsistentHash::new(group, load_bound))
            }
            (_, Balance::ConsistentHash(Ring::Crc32)) => Kind::CrcHash(CrcHash::new(group)),
            (_, Balance::Maglev) => Kind::Maglev(Maglev::new(group)),
        })
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Nobody)
    }

    /// Chooses an untried member with room and takes a place in flight on it. `endpoints` are those
    /// the balancer was built over.
    pub fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        match &self.0 {
            Kind::Nobody => None,
            Kind::One(id) => takes(endpoints, &ask.tried, *id).then_some(*id),
            Kind::Random(random) => random.pick(endpoints, ask),
            Kind::RoundRobin(turns) => turns.pick(endpoints, ask),
            Kind::WeightedRoundRobin(cycle) => cycle.pick(endpoints, ask),
            Kind::LeastRequest(least) => least.pick(endpoints, ask),
            Kind::PeakEwma(peak) => peak.pick(endpoints, ask),
            Kind::ConsistentHash(ring) => ring.pick(endpoints, ask),
            Kind::CrcHash(ring) => ring.pick(endpoints, ask),
            Kind::Maglev(table) => table.pick(endpoints, ask),
        }
    }
}

/// What a balancer is built from: at least two members.
#[derive(Debug)]
struct Group<'a> {
    list: &'a [Endpoint],
    members: Vec<EndpointId>,
}

impl Group<'_> {
    fn endpoint(&self, id: EndpointId) -> &Endpoint {
        &self.list[usize::from(id.0)]
    }

    /// Whether a member has not its whole share yet.
    fn warms_up(&self) -> bool {
        self.members.iter().any(|id| self.endpoint(*id).warmth < 100)
    }

    /// The weight of each member, in order; at least 1 whatever was written.
    fn weights(&self) -> Vec<u32> {
        self.members.iter().map(|id| u32::from(self.endpoint(*id).weight.max(1))).collect()
    }

    /// The same, less what those lack that warm up: hundredfold while there is one. Tables of
    /// hashes do not follow it: keys would move with every step.
    fn shares(&self) -> Vec<u32> {
        if !self.warms_up() {
            return self.weights();
        }
        let warmth = |id: &EndpointId| u32::from(self.endpoint(*id).warmth.clamp(1, 100));
        let weights = self.weights();
        self.members.iter().zip(weights).map(|(id, weight)| weight * warmth(id)).collect()
    }
}

/// Takes a place in flight on `id`, unless it was tried, is at its cap, or has its probes.
fn takes(endpoints: &Endpoints, tried: &Tried, id: EndpointId) -> bool {
    let endpoint = endpoints.get(id);
    if tried.contains(id) {
        return false;
    }
    if endpoint.standing == Standing::Probing {
        return endpoints.probes(endpoint);
    }
    endpoint.vitals.try_enter(endpoint.connections_max)
}

/// The first member from place `start` on, wrapping, that `takes`.
fn scan(
    members: &[EndpointId],
    start: usize,
    mut takes: impl FnMut(EndpointId) -> bool,
) -> Option<EndpointId> {
    let (before, behind) = members.split_at(start.min(members.len()));
    behind.iter().chain(before).copied().find(|id| takes(*id))
}
