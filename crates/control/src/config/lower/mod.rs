//! From a tree that agrees with the schema to a Plan.
//!
//! What only makes sense together is checked here: names, places where an option cannot apply,
//! patterns, ties. Everything wrong is reported; a Plan comes out only where nothing is.

mod acme;
mod action;
mod carried;
mod circle;
mod discovery;
mod edits;
mod endpoint;
mod expect;
mod http2;
mod listener;
mod matcher;
mod merge;
mod names;
mod pattern;
mod registries;
mod resilience;
mod route;
mod settings;
mod shadow;
mod tls;
mod upstream;
mod warn;
mod zookeeper;

pub(crate) use endpoint::endpoint_address;
pub use expect::{Expect, Expected};
pub(crate) use registries::registry_server;
pub use settings::AccessTo;

use super::discovery::DiscoverySpec;
use super::env::Env;
use super::problem::{Kind, Problem, Report};
use super::source::{Place, Sources};
use super::tls::TlsSpecs;
use super::tree::Table;
use super::{Lowered, Places};
use carried::Written;
use circle::OwnListener;
use gatehouse_core::plan::{Plan, PlanParts, RouteId, RoutePlan, UpstreamPlan};
use gatehouse_core::route::{ListenerSet, RouteRule, Router};
use listener::Bound;
use merge::Merged;
use names::Names;
use std::sync::Arc;

/// What is being built, and where problems go.
pub(crate) struct Lower<'a> {
    report: &'a mut Report,
    sources: &'a Sources,
    listeners: Names,
    bound: Vec<Bound>,
    routes: Names,
    upstreams: Names,
    /// Endpoints that are listeners too.
    own_listeners: Vec<OwnListener>,
    /// Which listeners carry TCP.
    tcp_listeners: ListenerSet,
    upstream_plans: Vec<UpstreamPlan>,
    /// Which certificates listeners and upstreams need, in the order of their ids.
    tls: TlsSpecs,
    /// Where the endpoints of each upstream come from, in the order of their ids.
    discovery: Vec<Option<Arc<DiscoverySpec>>>,
    /// What of it is asked for by ACME.
    wanted: Vec<acme::Wanted>,
    /// Where the service manager keeps state for the gateway.
    state_folder: Option<String>,
    /// Each of `upstream_plans` as it was written.
    upstreams_written: Vec<Written>,
    /// Whether a route sends to the upstream of this id.
    upstream_used: Vec<bool>,
    route_plans: Vec<RoutePlan>,
    rules: Vec<RouteRule>,
    /// Where each of `rules` stands. Routes that could not be lowered are in neither.
    rule_places: Vec<Place>,
}

/// Lowers the files of a configuration.
pub(crate) fn lower(
    trees: &[Table],
    sources: &Sources,
    env: &dyn Env,
    report: &mut Report,
) -> Option<Lowered> {
    let merged = Merged::of(trees, report);
    let mut lower = Lower {
        report,
        sources,
        listeners: Names::new("listener", merged.listeners_broken),
        bound: Vec::new(),
        routes: Names::new("route", merged.routes_broken),
        upstreams: Names::new("upstream", merged.upstreams_broken),
        own_listeners: Vec::new(),
        tcp_listeners: ListenerSet::NONE,
        upstream_plans: Vec::new(),
        tls: TlsSpecs::default(),
        discovery: Vec::new(),
        wanted: Vec::new(),
        state_folder: state_folder(env),
        upstreams_written: Vec::new(),
        upstream_used: Vec::new(),
        route_plans: Vec::new(),
        rules: Vec::new(),
        rule_places: Vec::new(),
    };
    let listeners = lower.listeners(&merged);
    lower.named_upstreams(&merged);
    lower.all_routes(&merged);
    lower.acme_names(&listeners);
    lower.spoken();
    let expects = lower.expects(&merged);
    let register = lower.registers(&merged);
    let settings = lower.settings(&merged);
    lower.emptiness(&merged);
    lower.unused_upstreams();
    lower.silent_listeners(&merged);
    lower.circles();
    let places = Places {
        listeners: lower.listeners.places(),
        routes: lower.rule_places.clone(),
        upstreams: lower.upstreams.places(),
        access_log: settings.access_log_place,
    };
    let rules = lower.shadowed();
    if lower.report.errors() > 0 {
        lower.ties(rules);
        return None;
    }
    let names: Vec<Box<str>> = lower.route_plans.iter().map(|route| route.name.clone()).collect();
    let parts = PlanParts {
        listeners,
        rules,
        routes: lower.route_plans,
        upstreams: lower.upstream_plans,
        drain: settings.drain,
        access_log: settings.log_format,
        ceilings: settings.ceilings,
    };
    match Plan::new(parts) {
        Ok(plan) => Some(Lowered {
            plan,
            tls: lower.tls,
            discovery: lower.discovery,
            register,
            workers: settings.workers,
            admin: settings.admin,
            access_log: settings.access_log,
            expects,
            places,
        }),
        Err(ties) => {
            let of = |id: RouteId| (&*names[id.0 as usize], places.routes[id.0 as usize]);
            ties.into_iter().for_each(|tie| report.add(tie_problem(of(tie.first), of(tie.second))));
            None
        }
    }
}

/// The folder that systemd has made for the gateway's state (systemd.exec(5)), the first of
/// several.
pub(crate) fn state_folder(env: &dyn Env) -> Option<String> {
    let folders = env.var("STATE_DIRECTORY")?;
    let first = folders.split(':').next().unwrap_or_default();
    first.starts_with('/').then(|| first.to_owned())
}

impl Lower<'_> {
    /// Reports ties among the routes that could be lowered, where others could not.
    fn ties(&mut self, rules: Vec<RouteRule>) {
        for tie in Router::new(rules).err().unwrap_or_default() {
            let at = |id: RouteId| id.0 as usize;
            let of = |id| (&*self.route_plans[at(id)].name, self.rule_places[at(id)]);
            self.report.add(tie_problem(of(tie.first), of(tie.second)));
        }
    }

    fn error(&mut self, kind: Kind, place: Place, reason: impl Into<String>) {
        self.report.add(Problem::error(kind, place, reason));
    }

    fn error_hint(
        &mut self,
        kind: Kind,
        place: Place,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report.add(Problem::error(kind, place, reason).hint(hint));
    }

    fn fault(&mut self, place: Place, fault: Fault) {
        self.report.add(Problem::error(fault.kind, place, fault.reason).hint_if(fault.hint));
    }
}

/// Why a text cannot be lowered; whoever reads it knows the place.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    reason: String,
    hint: Option<String>,
}

impl Fault {
    fn bad(reason: impl Into<String>) -> Fault {
        Fault { kind: Kind::BadValue, reason: reason.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Fault {
        Fault { hint: Some(hint.into()), ..self }
    }
}

fn tie_problem(first: (&str, Place), second: (&str, Place)) -> Problem {
    let reason = format!("routes {} and {} tie: no request tells them apart", first.0, second.0);
    Problem::error(Kind::Tie, second.1, reason)
        .related(first.1, format!("route {}", first.0))
        .hint("give one of them another host, path or further matcher")
}
