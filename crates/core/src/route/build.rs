//! Building the tables of the router, and finding the routes that tie.

use super::tree::{self, Labels, NONE, Node, labels_of};
use super::walk::precedence;
use super::{HostRule, PathRule, RouteRule, RouteTie, Router, Site, ValueRule, WildcardBounds};
use crate::plan::{PathMode, RouteId};

/// The most ties that are reported at once; nobody reads more.
pub const TIES_MAX: usize = 1_000;

/// Which group of a row a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exact,
    Prefix,
}

/// A route's place in the tree.
type Place = (u32, Kind, (usize, RouteId));

/// Builds the router, or says which routes tie.
pub(super) fn router(rules: Vec<RouteRule>) -> Result<Router, Vec<RouteTie>> {
    let mut labels = Labels::default();
    let sites_of: Vec<Vec<u32>> = rules.iter().map(|rule| hosts(rule, &mut labels)).collect();
    let mut sites = vec![Site::default(); labels.len() as usize];
    let mut places = Vec::with_capacity(rules.len());
    for (at, (rule, own)) in rules.iter().zip(&sites_of).enumerate() {
        let id = RouteId(at as u32);
        for &site in own {
            let beside = &mut sites[site as usize];
            beside.has_raw |= rule.path_mode == PathMode::Raw;
            let (kind, path) = match &rule.path {
                PathRule::Regex(_) => {
                    beside.regexes.push(id);
                    continue;
                }
                PathRule::Exact(path) => (Kind::Exact, path),
                PathRule::Prefix(path) => (Kind::Prefix, path),
            };
            let row = labels_of(path.as_bytes()).fold(site, |row, label| labels.insert(row, label));
            places.push((row, kind, precedence(&id, rule)));
        }
    }
    places.sort_unstable();
    labels.shrink();
    let any_host = labels.find(tree::ANY_HOST, b"");
    let exact_hosts =
        (0..sites.len() as u32).filter(|row| labels.parent(*row) == tree::EXACT_HOST).count();
    let wildcard = wildcard_bounds(&rules);
    let mut router = Router {
        nodes: nodes(&labels, sites.len()),
        groups: Vec::new(),
        grouped: places.iter().map(|(_, _, (_, id))| *id).collect(),
        rules,
        labels,
        sites,
        exact_hosts,
        any_host,
        wildcard,
    };
    group(&mut router, &places);
    let ties = ties(&router);
    if ties.is_empty() { Ok(router) } else { Err(ties) }
}

/// The rows of a route's hosts, each once.
fn hosts(rule: &RouteRule, labels: &mut Labels) -> Vec<u32> {
    if rule.hosts.is_empty() {
        return vec![labels.insert(tree::ANY_HOST, b"")];
    }
    let row = |host: &HostRule| match host {
        HostRule::Exact(name) => labels.insert(tree::EXACT_HOST, name.as_bytes()),
        HostRule::Wildcard(suffix) => labels.insert(tree::WILDCARD_HOST, suffix.as_bytes()),
    };
    let mut rows: Vec<u32> = rule.hosts.iter().map(row).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn wildcard_bounds(rules: &[RouteRule]) -> WildcardBounds {
    let mut bounds = WildcardBounds::default();
    for host in rules.iter().flat_map(|rule| &rule.hosts) {
        if let HostRule::Wildcard(suffix) = host {
            let labels = suffix.bytes().filter(|byte| *byte == b'.').count();
            bounds.bytes_max = bounds.bytes_max.max(suffix.len());
            bounds.labels_max = bounds.labels_max.max(labels);
        }
    }
    bounds
}

/// One node a row, without groups. The first `sites` rows are hosts.
fn nodes(labels: &Labels, sites: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::with_capacity(labels.len() as usize);
    for row in 0..labels.len() {
        let path_len = match row as usize {
            host if host < sites => 0,
            _ => nodes[labels.parent(row) as usize].path_len + labels.label_len(row),
        };
        nodes.push(Node { exact: NONE, prefix: NONE, up: NONE, path_len });
    }
    nodes
}

/// Cuts the sorted places into groups and hangs those into the tree.
fn group(router: &mut Router, places: &[Place]) {
    let mut start = 0;
    for chunk in places.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let number = router.groups.len() as u32;
        router.groups.push(start);
        start += chunk.len() as u32;
        let node = &mut router.nodes[chunk[0].0 as usize];
        match chunk[0].1 {
            Kind::Exact => node.exact = number,
            Kind::Prefix => node.prefix = number,
        }
    }
    router.groups.push(start);
    for row in router.sites.len()..router.nodes.len() {
        let parent = router.labels.parent(row as u32);
        let above = router.nodes[parent as usize];
        router.nodes[row].up = if above.prefix == NONE { above.up } else { parent };
    }
}

/// Every pair of routes that tie, in file order, each once.
fn ties(router: &Router) -> Vec<RouteTie> {
    let mut ties = Vec::new();
    for bounds in router.groups.windows(2) {
        let routes = &router.grouped[bounds[0] as usize..bounds[1] as usize];
        let matchers = |id: &RouteId| router.rule(*id).matchers();
        for equals in routes.chunk_by(|a, b| matchers(a) == matchers(b)) {
            ties_among(router, equals, &mut ties);
        }
        if ties.len() >= TIES_MAX {
            break;
        }
    }
    ties.sort_unstable_by_key(|tie| (tie.first, tie.second));
    ties.dedup();
    ties
}

/// Beyond this many routes of one rank, those with different values of one field or parameter are
/// set apart before pairs are compared: thousands of tenants may share a path.
const PAIRED_MAX: usize = 64;

fn ties_among(router: &Router, routes: &[RouteId], ties: &mut Vec<RouteTie>) {
    let mut names = exact_values(router.rule(routes[0])).map(|(name, _)| name);
    let split = match routes.len() {
        0..=PAIRED_MAX => None,
        _ => names.find_map(|name| by_value(router, routes, name)),
    };
    let Some(split) = split else { return ties_of_pairs(router, routes, ties) };
    for equals in split.chunk_by(|a, b| a.0 == b.0) {
        let routes: Vec<RouteId> = equals.iter().map(|(_, id)| *id).collect();
        ties_of_pairs(router, &routes, ties);
    }
}

/// A field or a query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name<'r> {
    Field(&'r str),
    Parameter(&'r str),
}

/// What a rule asks to be exactly so.
fn exact_values(rule: &RouteRule) -> impl Iterator<Item = (Name<'_>, &str)> {
    let fields = rule.headers.iter().map(|own| (Name::Field(&own.name), &own.value));
    let parameters = rule.query.iter().map(|own| (Name::Parameter(&own.name), &own.value));
    fields.chain(parameters).filter_map(|(name, value)| match value {
        ValueRule::Exact(value) => Some((name, &**value)),
        ValueRule::Any => None,
    })
}

/// The routes in order of the value they ask of `name`, where each asks for one. Any two with
/// different values are disjoint.
fn by_value<'r>(
    router: &'r Router,
    routes: &[RouteId],
    name: Name<'_>,
) -> Option<Vec<(&'r str, RouteId)>> {
    let value = |id: &RouteId| {
        let mut own = exact_values(router.rule(*id)).filter(|(own, _)| *own == name);
        let (_, value) = own.next()?;
        own.next().is_none().then_some((value, *id))
    };
    let mut split: Vec<(&str, RouteId)> = routes.iter().map(value).collect::<Option<_>>()?;
    split.sort_unstable();
    Some(split)
}

fn ties_of_pairs(router: &Router, routes: &[RouteId], ties: &mut Vec<RouteTie>) {
    for (at, first) in routes.iter().enumerate() {
        for second in &routes[at + 1..] {
            if ties.len() >= TIES_MAX {
                return;
            }
            if !disjoint(router.rule(*first), router.rule(*second)) {
                ties.push(RouteTie { first: *first, second: *second });
            }
        }
    }
}

/// Whether no request with each field and parameter once satisfies both: see the module's text.
fn disjoint(left: &RouteRule, right: &RouteRule) -> bool {
    let methods = match (left.methods_taken(), right.methods_taken()) {
        (Some(left), Some(right)) => !left.meets(right),
        (None, _) | (_, None) => false,
    };
    let values = exact_values(left).any(|(name, value)| {
        exact_values(right).any(|(other, wanted)| name == other && value != wanted)
    });
    methods || values || !left.listeners.meets(right.listeners)
}
