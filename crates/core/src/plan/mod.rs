//! What the data plane obeys: immutable, valid by construction, swapped whole.
//!
//! A Plan is made from [`PlanParts`] by [`Plan::new`], which refuses what contradicts itself.
//! Nothing in it is text to be understood later: patterns are compiled, addresses parsed,
//! durations bounded.

mod changes;
mod edits;
mod listener;
mod route;
mod upstream;

pub use crate::address::{Address, Bind};
pub use changes::{Changes, Sorted};
pub use edits::{Edits, FieldEdit};
pub use listener::{
    Announced, Carries, Cidr, ClientLimits, HttpVersions, ListenerId, ListenerPlan, Transport,
};
pub use route::{
    Action, Forward, PathMode, Redirect, Respond, RouteId, RoutePlan, Split, Target, Template,
    TemplateFacts, TemplateFault, Timeouts,
};
pub use upstream::{
    Balance, Discovery, EndpointSpec, HashBy, Keepalive, ProxyVersion, Retry, RetryStatuses, Ring,
    Speaks, UpstreamId, UpstreamPlan,
};

use crate::overload::Ceilings;
use crate::route::{ListenerSet, RouteRule, RouteTie, Router};
use std::time::Duration;

/// Everything a Plan is made of.
#[derive(Debug, Default)]
pub struct PlanParts {
    /// The listeners; [`ListenerId`] is the place in this list. At most 64.
    pub listeners: Vec<ListenerPlan>,
    /// One rule a route, in the order of `routes`.
    pub rules: Vec<RouteRule>,
    /// The routes; [`RouteId`] is the place in this list.
    pub routes: Vec<RoutePlan>,
    /// The upstreams; [`UpstreamId`] is the place in this list.
    pub upstreams: Vec<UpstreamPlan>,
    /// How long a drain may take before what is left is cut.
    pub drain: Duration,
    /// How an exchange is written to the access log; `None` writes none.
    pub access_log: Option<LogFormat>,
    /// What the whole process may use.
    pub ceilings: Ceilings,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

/// What the data plane obeys.
#[derive(Debug)]
pub struct Plan {
    /// The listeners.
    pub listeners: Vec<ListenerPlan>,
    /// Finds a request's route.
    pub router: Router,
    /// The routes.
    pub routes: Vec<RoutePlan>,
    /// The upstreams.
    pub upstreams: Vec<UpstreamPlan>,
    /// How long a drain may take before what is left is cut.
    pub drain: Duration,
    /// How an exchange is written to the access log; `None` writes none.
    pub access_log: Option<LogFormat>,
    /// What the whole process may use.
    pub ceilings: Ceilings,
    /// Listeners of TCP whose routes ask for a host.
    named: ListenerSet,
}

impl Plan {
    /// Lowers the parts into a Plan.
    ///
    /// # Errors
    /// Every pair of routes that tie. Indices are the caller's own and must be in range.
    pub fn new(parts: PlanParts) -> Result<Plan, Vec<RouteTie>> {
        let mut named = ListenerSet::NONE;
        for rule in parts.rules.iter().filter(|rule| !rule.hosts.is_empty()) {
            let ids = (0..parts.listeners.len()).map(|at| ListenerId(at as u8));
            let tcp = |id: &ListenerId| parts.listeners[usize::from(id.0)].carries == Carries::Tcp;
            let own = ids.filter(tcp).filter(|id| rule.listeners.contains(*id));
            named = own.fold(named, ListenerSet::with);
        }
        Ok(Plan {
            named,
            router: Router::new(parts.rules)?,
            listeners: parts.listeners,
            routes: parts.routes,
            upstreams: parts.upstreams,
            drain: parts.drain,
            access_log: parts.access_log,
            ceilings: parts.ceilings,
        })
    }

    /// Whether a connection of this TCP listener needs a server name to find its route.
    pub fn asks_name(&self, id: ListenerId) -> bool {
        self.named.contains(id)
    }

    /// The route of this id.
    pub fn route(&self, id: RouteId) -> &RoutePlan {
        &self.routes[id.0 as usize]
    }

    /// The listener of this id.
    pub fn listener(&self, id: ListenerId) -> &ListenerPlan {
        &self.listeners[id.0 as usize]
    }

    /// The upstream of this id.
    pub fn upstream(&self, id: UpstreamId) -> &UpstreamPlan {
        &self.upstreams[id.0 as usize]
    }
}
