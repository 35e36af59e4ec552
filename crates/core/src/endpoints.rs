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
    /// Who it has to be, a host name or an address, where it is spoken to under TLS.
    pub tls: Option<Arc<str>>,
    /// What is put before the path: empty, or `/base` without a slash at the end.
    pub base_path: Arc<str>,
    /// Its share of the load, at least 1.
    pub weight: u16,
    /// Requests in flight at once; `None` is no limit.
    pub connections_max: Option<u32>,
    /// Whether it is used only when no other endpoint is ready.
    pub backup: bool,
    /// Whether it takes requests.
    pub standing: Standing,
    /// How much of its weight counts, in percent, 1 to 100: less while it warms up.
    pub warmth: u8,
    /// How it is doing; also its identity: what is published anew with the same vitals keeps its
    /// connections.
    pub vitals: Arc<EndpointVitals>,
}

impl Endpoint {
    /// Its weight, less what it lacks while it warms up; above 0.
    pub fn share(&self) -> f64 {
        f64::from(self.weight.max(1)) * f64::from(self.warmth.max(1))
    }
}

/// Whether an endpoint takes requests, and why not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    #[default]
    Ready,
    /// Its checks fail.
    Unhealthy,
    /// It failed too often, or answered too slowly.
    Ejected,
    /// It was ejected, and is given a few requests to show that it is well again.
    Probing,
    /// An operator has taken it out.
    Drained,
}

impl Standing {
    /// The word used in what is shown.
    pub const fn word(self) -> &'static str {
        match self {
            Standing::Ready => "ready",
            Standing::Unhealthy => "unhealthy",
            Standing::Ejected => "ejected",
            Standing::Probing => "probing",
            Standing::Drained => "drained",
        }
    }
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

    /// The same ones, as far as they are still there, by their places among others.
    pub fn moved(&self, from: &Endpoints, to: &Endpoints) -> Tried {
        let place = |vitals: &Arc<EndpointVitals>| {
            let same = |endpoint: &Endpoint| Arc::ptr_eq(&endpoint.vitals, vitals);
            Some(EndpointId(to.list.iter().position(same)? as u16))
        };
        let list = self.list.map(|tried| place(&from.get(tried?).vitals));
        Tried { list, next: self.next }
    }

    /// The one that was tried last, alone.
    pub fn last(&self) -> Tried {
        let mut last = Tried::default();
        let place = usize::from(self.next.wrapping_sub(1)) % self.list.len();
        self.list[place].into_iter().for_each(|endpoint| last.add(endpoint));
        last
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
    /// There is no endpoint, or all are drained.
    Empty,
    /// All are at their cap.
    AtCap,
}

/// Who can answer for an upstream right now.
#[derive(Debug)]
pub struct Endpoints {
    balance: Balance,
    list: Vec<Endpoint>,
    panic_below: f64,
    panics: bool,
    primary: Balancer,
    backup: Balancer,
    vitals: Arc<UpstreamVitals>,
}

impl Endpoints {
    /// Builds the balancer over those of these endpoints that are ready; those past
    /// [`ENDPOINTS_MAX`] are left out. Where none is ready, all but drained ones are taken: a try
    /// at an endpoint that seems to be down is better than a certain failure.
    pub fn new(balance: Balance, list: Vec<Endpoint>, vitals: Arc<UpstreamVitals>) -> Endpoints {
        Endpoints::panicking(balance, list, 0.0, vitals)
    }

    /// The same, where all but drained ones are taken already when less than `panic_below` of them,
    /// 0.0 to 1.0, are ready: the few that are would fail under the load of all.
    pub fn panicking(
        balance: Balance,
        mut list: Vec<Endpoint>,
        panic_below: f64,
        vitals: Arc<UpstreamVitals>,
    ) -> Endpoints {
        list.truncate(ENDPOINTS_MAX);
        let of = |standing| list.iter().filter(|endpoint| endpoint.standing == standing).count();
        let (ready, drained) = (of(Standing::Ready), of(Standing::Drained));
        let few = (ready as f64) < (list.len() - drained) as f64 * panic_below;
        let panics = ready == 0 || few;
        let takes = |endpoint: &Endpoint| match endpoint.standing {
            Standing::Ready | Standing::Probing => true,
            Standing::Unhealthy | Standing::Ejected => panics,
            Standing::Drained => false,
        };
        let members = |backup| -> Vec<EndpointId> {
            let of = |id: &EndpointId| &list[usize::from(id.0)];
            let all = (0..list.len() as u16).map(EndpointId);
            all.filter(|id| of(id).backup == backup && takes(of(id))).collect()
        };
        let panics = panics && list.iter().any(takes);
        let primary = Balancer::new(balance, &list, members(false));
        let backup = Balancer::new(balance, &list, members(true));
        Endpoints { balance, primary, backup, list, panic_below, panics, vitals }
    }

    /// How one is chosen.
    pub fn balance(&self) -> Balance {
        self.balance
    }

    /// All endpoints, in the order given.
    pub fn list(&self) -> &[Endpoint] {
        &self.list
    }

    /// The endpoint of this id.
    pub fn get(&self, id: EndpointId) -> &Endpoint {
        &self.list[usize::from(id.0)]
    }

    /// Below which share of ready ones the others are asked too.
    pub fn panic_below(&self) -> f64 {
        self.panic_below
    }

    /// Whether none or too few are ready, and those that are not are asked all the same.
    pub fn panics(&self) -> bool {
        self.panics
    }

    /// Whether somebody can be asked at all.
    pub fn has_members(&self) -> bool {
        !(self.primary.is_empty() && self.backup.is_empty())
    }

    /// How the upstream as a whole is doing.
    pub fn vitals(&self) -> &UpstreamVitals {
        &self.vitals
    }

    /// Chooses an endpoint and takes a place in flight on it; whoever asked gives the place back
    /// with [`EndpointVitals::leave`], and counts the request in and out of the upstream with
    /// [`UpstreamVitals::try_enter`] and [`UpstreamVitals::leave`]: a bounded load is a share of
    /// that. Untried primaries first, then untried backups, then tried ones; the one tried last
    /// only where nobody else has room.
    ///
    /// # Errors
    /// [`NoPick`] where there is nobody, or nobody with room.
    pub fn pick(&self, ask: &mut Ask<'_>) -> Result<EndpointId, NoPick> {
        match self.pick_in_turn(ask) {
            Some(id) => Ok(id),
            None => self.pick_tried(ask),
        }
    }

    #[cold]
    fn pick_tried(&self, ask: &mut Ask<'_>) -> Result<EndpointId, NoPick> {
        if !self.has_members() {
            return Err(NoPick::Empty);
        }
        if ask.tried.is_empty() {
            return Err(NoPick::AtCap);
        }
        for less in [ask.tried.last(), Tried::default()] {
            ask.tried = less;
            if let Some(id) = self.pick_in_turn(ask) {
                return Ok(id);
            }
        }
        Err(NoPick::AtCap)
    }

    fn pick_in_turn(&self, ask: &mut Ask<'_>) -> Option<EndpointId> {
        self.primary.pick(self, ask).or_else(|| self.backup.pick(self, ask))
    }

    /// Takes a place in flight on an endpoint that is given probes only, where one is left for it.
    /// Where all are asked that may be, it is asked beyond that too.
    #[cold]
    pub(crate) fn probes(&self, endpoint: &Endpoint) -> bool {
        let vitals = &endpoint.vitals;
        let probe = vitals.probing().pass();
        if probe.is_none() && !self.panics {
            return false;
        }
        let enters = vitals.try_enter(endpoint.connections_max);
        if let Some(probe) = probe.filter(|_| !enters) {
            vitals.probing().give_back(probe);
        }
        enters
    }

    /// Chooses an endpoint that was not tried, or nobody: for somebody who asks a second one while
    /// the first is still busy. A backup is not asked for that, as long as there is another. The
    /// rest is as with [`Endpoints::pick`].
    pub fn pick_untried(&self, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let balancer = if self.primary.is_empty() { &self.backup } else { &self.primary };
        balancer.pick(self, ask)
    }
}
