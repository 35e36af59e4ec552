//! What a reload changes: two plans compared by the names an operator wrote.
//!
//! Structures are taken apart field by field, so that one more field does not compile until
//! somebody has said whether it makes a change.

use super::{
    Action, EndpointSpec, Forward, ListenerId, ListenerPlan, Plan, Redirect, Respond, RouteId,
    RoutePlan, Split, Target, UpstreamId, UpstreamPlan,
};
use crate::route::{ListenerSet, PathRule, Rewrite, RouteRule};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Names of one kind of thing, by what becomes of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// As it was.
    pub kept: Vec<String>,
    /// New.
    pub added: Vec<String>,
    /// The same thing with other settings.
    pub changed: Vec<String>,
    /// Gone: what it still does ends in its own time.
    pub drained: Vec<String>,
}

impl Sorted {
    /// Whether nothing is different.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.drained.is_empty()
    }

    fn add(&mut self, name: impl Into<String>, before: Option<bool>) {
        match before {
            None => self.added.push(name.into()),
            Some(true) => self.kept.push(name.into()),
            Some(false) => self.changed.push(name.into()),
        }
    }
}

/// What a reload changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The listeners, by name.
    pub listeners: Sorted,
    /// The routes, by name.
    pub routes: Sorted,
    /// The upstreams, by name. Endpoints are not counted here.
    pub upstreams: Sorted,
    /// The endpoints, as `UPSTREAM ENDPOINT`.
    pub endpoints: Sorted,
    /// For each upstream of the new plan the one of the old whose state it takes over.
    pub upstream_of: Vec<Option<UpstreamId>>,
}

impl Changes {
    /// Compares what is in force with what is to be.
    pub fn between(old: &Plan, new: &Plan) -> Changes {
        let mut changes = Changes { upstream_of: upstreams_of(old, new), ..Changes::default() };
        changes.listeners(old, new);
        changes.routes(old, new);
        changes.upstreams(old, new);
        changes
    }

    /// Whether the two plans say the same.
    pub fn is_same(&self) -> bool {
        self.listeners.is_same()
            && self.routes.is_same()
            && self.upstreams.is_same()
            && self.endpoints.is_same()
    }

    fn listeners(&mut self, old: &Plan, new: &Plan) {
        let before: HashMap<&str, &ListenerPlan> =
            old.listeners.iter().map(|listener| (&*listener.name, listener)).collect();
        for listener in &new.listeners {
            let same = before.get(&*listener.name).map(|before| *before == listener);
            self.listeners.add(&*listener.name, same);
        }
        let gone = |name: &str| !new.listeners.iter().any(|listener| *listener.name == *name);
        let names = old.listeners.iter().map(|listener| &*listener.name);
        self.listeners.drained = names.filter(|name| gone(name)).map(str::to_owned).collect();
    }

    fn routes(&mut self, old: &Plan, new: &Plan) {
        let names = |plan: &Plan| -> Vec<Box<str>> {
            plan.routes.iter().map(|route| route.name.clone()).collect()
        };
        let same = |before: usize, after: usize| same_route((old, before), (new, after));
        let of = pair(&names(old), &names(new), same);
        for (at, route) in new.routes.iter().enumerate() {
            self.routes.add(&*route.name, of[at].map(|before| same(before, at)));
        }
        let gone = left(old.routes.len(), &of);
        self.routes.drained = gone.map(|at| old.routes[at].name.to_string()).collect();
    }

    fn upstreams(&mut self, old: &Plan, new: &Plan) {
        for (upstream, of) in new.upstreams.iter().zip(&self.upstream_of) {
            let before = of.map(|id| old.upstream(id));
            let same = before.map(|before| same_upstream(before, upstream));
            self.upstreams.add(&*upstream.name, same);
            let known: HashMap<&str, &EndpointSpec> = before
                .into_iter()
                .flat_map(|before| &before.endpoints)
                .map(|endpoint| (&*endpoint.text, endpoint))
                .collect();
            for endpoint in &upstream.endpoints {
                let same = known.get(&*endpoint.text).map(|before| *before == endpoint);
                self.endpoints.add(format!("{} {}", upstream.name, endpoint.text), same);
            }
            let gone = |text: &str| !upstream.endpoints.iter().any(|new| *new.text == *text);
            for endpoint in before.into_iter().flat_map(|before| &before.endpoints) {
                if gone(&endpoint.text) {
                    self.endpoints.drained.push(format!("{} {}", upstream.name, endpoint.text));
                }
            }
        }
        let of: Vec<Option<usize>> =
            self.upstream_of.iter().map(|of| of.map(|id| id.0 as usize)).collect();
        for gone in left(old.upstreams.len(), &of).map(|at| &old.upstreams[at]) {
            self.upstreams.drained.push(gone.name.to_string());
            let endpoints = gone.endpoints.iter();
            let lines = endpoints.map(|endpoint| format!("{} {}", gone.name, endpoint.text));
            self.endpoints.drained.extend(lines);
        }
    }
}

/// For each upstream of `new` the one of `old` it continues. Names that were derived from a
/// route's place move when a route is put before it, so endpoints count before names.
fn upstreams_of(old: &Plan, new: &Plan) -> Vec<Option<UpstreamId>> {
    let names = |plan: &Plan| -> Vec<Arc<str>> {
        plan.upstreams.iter().map(|upstream| upstream.name.clone()).collect()
    };
    let same = |before: usize, after: usize| {
        let (before, after) = (&old.upstreams[before], &new.upstreams[after]);
        before.discovery == after.discovery
            && before.endpoints.len() == after.endpoints.len()
            && before.endpoints.iter().zip(&after.endpoints).all(|(a, b)| a.text == b.text)
    };
    let of = pair(&names(old), &names(new), same);
    of.into_iter().map(|of| of.map(|at| UpstreamId(at as u32))).collect()
}

/// Finds for each new thing the old one it continues: the same thing under the same name, then the
/// same thing under a neighbouring place's name, then the same name. No old one is given twice.
fn pair<N: Eq + Hash>(
    old: &[N],
    new: &[N],
    same: impl Fn(usize, usize) -> bool,
) -> Vec<Option<usize>> {
    let by_name: HashMap<&N, usize> = old.iter().enumerate().map(|(at, n)| (n, at)).collect();
    let named = |at: usize| by_name.get(&new[at]).copied();
    let mut of: Vec<Option<usize>> =
        (0..new.len()).map(|at| named(at).filter(|before| same(*before, at))).collect();
    let mut taken: Vec<bool> = vec![false; old.len()];
    of.iter().flatten().for_each(|before| taken[*before] = true);
    // What moved kept its order: one walk along both finds it.
    let mut from = 0;
    for (at, of) in of.iter_mut().enumerate() {
        if let Some(before) = *of {
            from = from.max(before + 1);
            continue;
        }
        let mut window = from..old.len().min(from + MOVED_MAX);
        if let Some(before) = window.find(|before| !taken[*before] && same(*before, at)) {
            taken[before] = true;
            *of = Some(before);
            from = before + 1;
        }
    }
    for (at, of) in of.iter_mut().enumerate().filter(|(_, of)| of.is_none()) {
        let before = named(at).filter(|before| !taken[*before]);
        before.into_iter().for_each(|before| taken[before] = true);
        *of = before;
    }
    of
}

/// How far a thing without a name of its own is looked for: a comparison costs, and there may be
/// ten thousand on both sides.
const MOVED_MAX: usize = 64;

/// The old ones that nothing new continues.
fn left(old: usize, of: &[Option<usize>]) -> impl Iterator<Item = usize> {
    let mut taken = vec![false; old];
    of.iter().flatten().for_each(|before| taken[*before] = true);
    (0..old).filter(move |at| !taken[*at])
}

/// Settings of an upstream beside its name and its endpoints.
fn same_upstream(old: &UpstreamPlan, new: &UpstreamPlan) -> bool {
    let UpstreamPlan {
        name: _,
        endpoints: _,
        discovery,
        balance,
        hash,
        retry,
        keepalive,
        health,
        outlier,
        panic_below,
        breaker,
        concurrency,
        hedge,
        queue,
        slow_start,
        speaks,
        announce,
    } = new;
    *discovery == old.discovery
        && *balance == old.balance
        && *hash == old.hash
        && *retry == old.retry
        && *keepalive == old.keepalive
        && *health == old.health
        && *outlier == old.outlier
        && *panic_below == old.panic_below
        && *breaker == old.breaker
        && *concurrency == old.concurrency
        && *hedge == old.hedge
        && *queue == old.queue
        && *slow_start == old.slow_start
        && *speaks == old.speaks
        && *announce == old.announce
}

/// Whether two routes ask and do the same; their names are looked at by whoever pairs them.
fn same_route(old: (&Plan, usize), new: (&Plan, usize)) -> bool {
    let RoutePlan { name: _, path_mode, action, response_edits, body_bytes_max, priority } =
        &new.0.routes[new.1];
    let before = &old.0.routes[old.1];
    *path_mode == before.path_mode
        && *response_edits == before.response_edits
        && *body_bytes_max == before.body_bytes_max
        && *priority == before.priority
        && same_action((old.0, &before.action), (new.0, action))
        && same_rule((old.0, rule(old)), (new.0, rule(new)))
}

fn rule((plan, at): (&Plan, usize)) -> &RouteRule {
    plan.router.rule(RouteId(at as u32))
}

fn same_rule((was, old): (&Plan, &RouteRule), (is, new): (&Plan, &RouteRule)) -> bool {
    let RouteRule { listeners, hosts, path, path_mode, methods, headers, query } = new;
    *hosts == old.hosts
        && *path_mode == old.path_mode
        && *methods == old.methods
        && *headers == old.headers
        && *query == old.query
        && same_path(&old.path, path)
        && names_of(was, old.listeners) == names_of(is, *listeners)
}

fn names_of(plan: &Plan, set: ListenerSet) -> Option<Vec<&str>> {
    if set == ListenerSet::ALL {
        return None;
    }
    let each = plan.listeners.iter().enumerate();
    let members = each.filter(|(at, _)| set.contains(ListenerId(*at as u8)));
    let mut names: Vec<&str> = members.map(|(_, listener)| &*listener.name).collect();
    names.sort_unstable();
    Some(names)
}

fn same_path(old: &PathRule, new: &PathRule) -> bool {
    match (old, new) {
        (PathRule::Exact(old), PathRule::Exact(new)) => old == new,
        (PathRule::Prefix(old), PathRule::Prefix(new)) => old == new,
        (PathRule::Regex(old), PathRule::Regex(new)) => old.as_str() == new.as_str(),
        (PathRule::Exact(_) | PathRule::Prefix(_) | PathRule::Regex(_), _) => false,
    }
}

fn same_action((was, old): (&Plan, &Action), (is, new): (&Plan, &Action)) -> bool {
    match (old, new) {
        (Action::Forward(old), Action::Forward(new)) => {
            let Forward {
                target,
                rewrite,
                request_edits,
                timeouts,
                buffer_bytes_max,
                deadline_field,
            } = new;
            *request_edits == old.request_edits
                && *timeouts == old.timeouts
                && *buffer_bytes_max == old.buffer_bytes_max
                && *deadline_field == old.deadline_field
                && same_rewrite(&old.rewrite, rewrite)
                && same_target((was, &old.target), (is, target))
        }
        (Action::Redirect(old), Action::Redirect(Redirect { to, status })) => {
            *to == old.to && *status == old.status
        }
        (Action::Respond(old), Action::Respond(Respond { status, body, content_type })) => {
            *status == old.status && *body == old.body && *content_type == old.content_type
        }
        (Action::Forward(_) | Action::Redirect(_) | Action::Respond(_), _) => false,
    }
}

fn same_rewrite(old: &Rewrite, new: &Rewrite) -> bool {
    match (old, new) {
        (Rewrite::Keep, Rewrite::Keep) => true,
        (Rewrite::Strip(old), Rewrite::Strip(new)) => old == new,
        (Rewrite::Replace { pattern: old, to: old_to }, Rewrite::Replace { pattern, to }) => {
            old.as_str() == pattern.as_str() && old_to == to
        }
        (Rewrite::Keep | Rewrite::Strip(_) | Rewrite::Replace { .. }, _) => false,
    }
}

/// Whether both go to upstreams that continue each other; places in the lists say nothing.
fn same_target((was, old): (&Plan, &Target), (is, new): (&Plan, &Target)) -> bool {
    let same = |old: UpstreamId, new: UpstreamId| {
        let (old, new) = (was.upstream(old), is.upstream(new));
        let texts = |upstream: &UpstreamPlan| -> Vec<Arc<str>> {
            upstream.endpoints.iter().map(|endpoint| endpoint.text.clone()).collect()
        };
        old.name == new.name || old.discovery == new.discovery && texts(old) == texts(new)
    };
    let parts = |split: &Split| -> Vec<(UpstreamId, u32)> { split.parts().collect() };
    match (old, new) {
        (Target::One(old), Target::One(new)) => same(*old, *new),
        (Target::Split(old), Target::Split(new)) => {
            let (old, new) = (parts(old), parts(new));
            old.len() == new.len()
                && old.iter().zip(&new).all(|(a, b)| a.1 == b.1 && same(a.0, b.0))
        }
        (Target::One(_) | Target::Split(_), _) => false,
    }
}
