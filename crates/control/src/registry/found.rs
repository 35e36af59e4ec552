//! Endpoints that were found rather than written.

use super::{Known, Registry, Upstream};
use crate::resolver::Name;
use gatehouse_core::address::Address;
use gatehouse_core::plan::{EndpointSpec, Plan, UpstreamId, UpstreamPlan};
use gatehouse_proxy::gate::Handle;
use gatehouse_wire::timer::now;
use std::collections::HashSet;
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

    /// The names that the plan in force needs resolved.
    pub(crate) fn names(&self, handle: &Handle) -> Vec<Name> {
        self.lock().names_of(&handle.observe().plan)
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
