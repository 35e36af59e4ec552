//! Endpoints that were found rather than written.

use super::{Known, Name, Registry, Upstream};
use crate::succession::NameBefore;
use gatehouse_core::address::Address;
use gatehouse_core::plan::{EndpointSpec, Plan, UpstreamId, UpstreamPlan};
use gatehouse_proxy::gate::Handle;
use gatehouse_wire::timer::now;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of an upstream, as they were written or found.
pub(super) enum Specs<'a> {
    Written(&'a [EndpointSpec]),
    Found(Arc<[EndpointSpec]>),
}

impl std::ops::Deref for Specs<'_> {
    type Target = [EndpointSpec];

    fn deref(&self) -> &[EndpointSpec] {
        match self {
            Specs::Written(specs) => specs,
            Specs::Found(specs) => specs,
        }
    }
}

impl Registry {
    /// Takes what the source of this id has found for an upstream, and publishes it where the plan
    /// in force has that upstream with that source.
    pub(crate) fn set_found(
        &self,
        handle: Option<&Handle>,
        upstream: &Arc<str>,
        source: u64,
        found: Arc<[EndpointSpec]>,
    ) {
        let mut known = self.lock();
        known.sets.insert((Arc::clone(upstream), source), found);
        let Some(handle) = handle else { return };
        let plan = handle.observe().plan;
        let at = plan.upstreams.iter().position(|other| other.name == *upstream);
        let Some(at) = at.filter(|at| source_of(&plan.upstreams[*at]) == Some(source)) else {
            return;
        };
        let endpoints = known.build(&plan.upstreams[at], now());
        handle.set_endpoints(&plan, UpstreamId(at as u32), endpoints);
    }

    /// Takes the addresses of a name, and publishes the upstreams that have it. The last good ones
    /// are whatever came here last.
    pub(crate) fn set_addresses(
        &self,
        handle: Option<&Handle>,
        name: &Name,
        addresses: Vec<SocketAddr>,
    ) {
        let mut known = self.lock();
        let slot = known.names.entry(name.clone()).or_default();
        if *slot == addresses {
            return;
        }
        *slot = addresses;
        let Some(handle) = handle else { return };
        let plan = handle.observe().plan;
        for (index, upstream) in plan.upstreams.iter().enumerate() {
            let has = |spec: &EndpointSpec| match &spec.address {
                Address::Name { host, port } => *host == name.0 && *port == name.1,
                Address::Ip(_) | Address::Unix(_) => false,
            };
            if known.specs(upstream).iter().any(has) {
                let endpoints = known.build(upstream, now());
                handle.set_endpoints(&plan, UpstreamId(index as u32), endpoints);
            }
        }
    }

    /// Begins with the addresses that a process before this one has found.
    pub(crate) fn inherit(&self, names: Vec<NameBefore>) {
        let each = names.into_iter();
        let each =
            each.map(|NameBefore { host, port, addresses }| ((host.into(), port), addresses));
        self.lock().names.extend(each);
    }

    /// The last good addresses of all names.
    pub(crate) fn addresses(&self) -> Vec<NameBefore> {
        let known = self.lock();
        let each = known.names.iter().map(|((host, port), addresses)| NameBefore {
            host: host.to_string(),
            port: *port,
            addresses: addresses.clone(),
        });
        each.collect()
    }

    /// How many good addresses are known of a name.
    pub(crate) fn address_count(&self, name: &Name) -> usize {
        self.lock().names.get(name).map_or(0, Vec::len)
    }

    /// The names that a plan needs resolved.
    pub(crate) fn names(&self, plan: &Plan) -> Vec<Name> {
        self.lock().names_of(plan)
    }

    /// Those of them that no address is known of.
    pub(crate) fn new_names(&self, plan: &Plan) -> Vec<Name> {
        let known = self.lock();
        let mut names = known.names_of(plan);
        names.retain(|name| !known.names.contains_key(name));
        names
    }

    /// The texts of an upstream's endpoints, as they were written or found; some of them.
    pub(crate) fn some_texts(&self, upstream: &UpstreamPlan, most: usize) -> Vec<Arc<str>> {
        let known = self.lock();
        known.specs(upstream).iter().take(most).map(|spec| Arc::clone(&spec.text)).collect()
    }
}

impl Known {
    /// The endpoints of an upstream. What was found by another source before counts until this one
    /// has found something.
    pub(super) fn specs<'a>(&self, upstream: &'a UpstreamPlan) -> Specs<'a> {
        let Some(source) = source_of(upstream) else { return Specs::Written(&upstream.endpoints) };
        let own = self.sets.get(&(Arc::clone(&upstream.name), source));
        let before = || self.upstreams.get(&upstream.name).map(|kept| &kept.found);
        Specs::Found(own.or_else(before).cloned().unwrap_or_default())
    }

    /// Forgets what sources have found that a plan does not have.
    pub(super) fn keep_sets_of(&mut self, plan: &Plan) {
        let wanted: HashSet<(&Arc<str>, u64)> = plan
            .upstreams
            .iter()
            .filter_map(|upstream| Some((&upstream.name, source_of(upstream)?)))
            .collect();
        self.sets.retain(|(upstream, source), _| wanted.contains(&(upstream, *source)));
    }

    /// The names that a plan needs resolved, sorted, each once.
    pub(super) fn names_of(&self, plan: &Plan) -> Vec<Name> {
        let mut names = Vec::new();
        for upstream in &plan.upstreams {
            names.extend(self.specs(upstream).iter().filter_map(|spec| match &spec.address {
                Address::Name { host, port } => Some((Arc::clone(host), *port)),
                Address::Ip(_) | Address::Unix(_) => None,
            }));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Upstream {
    /// Remembers what was found.
    pub(super) fn note(&mut self, upstream: &UpstreamPlan, specs: &Specs<'_>) {
        if let (Some(_), Specs::Found(found)) = (&upstream.discovery, specs) {
            self.found = Arc::clone(found);
        }
    }
}

fn source_of(upstream: &UpstreamPlan) -> Option<u64> {
    upstream.discovery.as_ref().map(|discovery| discovery.id)
}
