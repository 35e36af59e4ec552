//! Who can answer for an upstream right now, with the balancer already built over them.
//!
//! Built off the data path and published whole; the data path only reads.

use crate::balance::Balancer;
use crate::chance::Chance;
use crate::moment::Moment;
use crate::plan::{Address, Balance};
use crate::vitals::{EndpointVitals, UpstreamVitals};
use std::sync::Arc;

/// The most endpoints one upstream may have.
pub const ENDPOINTS_MAX: usize = 10_000;

/// One endpoint that can be dialled.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its identity in logs, metrics and hash rings: what the operator wrote.
    pub text: Arc<str>,
    /// Where it is; never [`Address::Name`].
    pub address: Address,
    /// The `Host` of a request that came without one.
    pub authority: Arc<str>,
    /// What is put before the path: empty, or `/base` without a slash at the end.
    pub base_path: Arc<str>,
    /// Its share of the load, at least 1.
    pub weight: u16,
    /// Requests in flight at once; `None` is no limit.
    pub connections_max: Option<u32>,
    /// Whether it is used only when no other endpoint is ready.
    pub backup: bool,
    /// How it is doing.
    pub vitals: Arc<EndpointVitals>,
}

/// An endpoint's place in its [`Endpoints`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u16);

/// Endpoints this exchange has tried already. Holds the last eight: more attempts than that have
/// all failed somewhere anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    list: [Option<EndpointId>; 8],
    next: u8,
}

impl Tried {
    /// Remembers one more.
    pub fn add(&mut self, endpoint: EndpointId) {
        self.list[usize::from(self.next) % self.list.len()] = Some(endpoint);
        self.next = self.next.wrapping_add(1);
    }

    /// Whether this one was tried.
    pub fn contains(&self, endpoint: EndpointId) -> bool {
        self.next > 0 && self.list.contains(&Some(endpoint))
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }
}

/// What a pick is asked with.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Now.
    pub now: Moment,
    /// Where chance comes from.
    pub chance: &'a mut Chance,
    /// What a hash is taken of; empty where there is nothing.
    pub key: &'a [u8],
    /// Endpoints to avoid while another is ready.
    pub tried: Tried,
}

/// Why nobody could be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPick {
    /// There is no endpoint.
    Empty,
    /// All are at their cap.
    AtCap,
}

/// Who can answer for an upstream right now.
#[derive(Debug)]
pub struct Endpoints {
    list: Vec<Endpoint>,
    primary: Balancer,
    backup: Balancer,
    vitals: Arc<UpstreamVitals>,
}

impl Endpoints {
    /// Builds the balancer over these endpoints; those past [`ENDPOINTS_MAX`] are left out.
    pub fn new(
        balance: Balance,
        mut list: Vec<Endpoint>,
        vitals: Arc<UpstreamVitals>,
    ) -> Endpoints {
        list.truncate(ENDPOINTS_MAX);
        let members = |backup| -> Vec<EndpointId> {
            (0..list.len() as u16)
                .map(EndpointId)
                .filter(|id| list[usize::from(id.0)].backup == backup)
                .collect()
        };
        let primary = Balancer::new(balance, &list, members(false));
        let backup = Balancer::new(balance, &list, members(true));
        Endpoints { primary, backup, list, vitals }
    }

    /// All endpoints, in the order given.
    pub fn list(&self) -> &[Endpoint] {
        &self.list
    }

    /// The endpoint of this id.
    pub fn get(&self, id: EndpointId) -> &Endpoint {
        &self.list[usize::from(id.0)]
    }

    /// How the upstream as a whole is doing.
    pub fn vitals(&self) -> &UpstreamVitals {
        &self.vitals
    }

    /// Chooses an endpoint and takes a place in flight on it; whoever asked gives the place back
    /// with [`EndpointVitals::leave`], and counts the request in and out of the upstream with
    /// [`UpstreamVitals::enter`] and [`UpstreamVitals::leave`]: a bounded load is a share of that.
    /// Untried primaries first, then untried backups, then tried ones.
    ///
    /// # Errors
    /// [`NoPick`] where there is nobody, or nobody with room.
    pub fn pick(&self, ask: &mut Ask<'_>) -> Result<EndpointId, NoPick> {
        if self.list.is_empty() {
            return Err(NoPick::Empty);
        }
        let mut picked = self.primary.pick(self, ask).or_else(|| self.backup.pick(self, ask));
        if picked.is_none() && !ask.tried.is_empty() {
            ask.tried = Tried::default();
            picked = self.primary.pick(self, ask).or_else(|| self.backup.pick(self, ask));
        }
        picked.ok_or(NoPick::AtCap)
    }
}
