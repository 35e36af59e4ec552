//! Finding the route of a request.
//!
//! Which route wins: host first (exact, then longest wildcard, then none), then path (exact, then
//! regex in file order, then longest prefix), then the number of further matchers. A route whose
//! further matchers do not agree falls through to the next, over all host levels.
//!
//! **Ties.** Two exact or two prefix routes tie when they have the same host, the same path, a
//! listener in common and as many further matchers, and one request could satisfy both. Two such
//! routes are told apart by method sets without a common member (GET includes HEAD), or by two
//! exact values for the same field or query parameter. The latter is a decision: a request may
//! carry both values, for a rule sees every occurrence, and then the route that stands first in
//! the file wins. Refusing such pairs would forbid the commonest use of a field rule
//! (`x-version = 1` beside `x-version = 2`) and protect nothing, because whoever sends both values
//! could have sent either alone. Regex routes never tie: they are tried in file order.

mod build;
mod query;
mod rewrite;
mod rule;
mod tree;
mod walk;

pub use build::TIES_MAX;
pub use rewrite::{Rewrite, RewriteScratch, SCRATCH_PATTERNS_MAX};
pub use rule::{FieldRule, HostRule, ListenerSet, PathRule, QueryRule, RouteRule, ValueRule};

use crate::message::{Fields, Method, MethodSet};
use crate::plan::{ListenerId, RouteId};
use rule::Miss;
use std::ops::ControlFlow;
use tree::{Labels, Node};

/// Two routes that no request could tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTie {
    /// The one that stands first.
    pub first: RouteId,
    /// The other.
    pub second: RouteId,
}

/// A request as the router sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where it came in.
    pub listener: ListenerId,
    /// Its host: lower case, no port, no trailing dot; empty where there is none.
    pub host: &'a [u8],
    /// Its path in normal form; `None` where it could be read two ways.
    pub path: Option<&'a [u8]>,
    /// Its path as sent: what routes of [`PathMode::Raw`](crate::plan::PathMode::Raw) match.
    pub raw_path: &'a [u8],
    /// Its query without `?`.
    pub query: Option<&'a [u8]>,
    /// Its method.
    pub method: Method,
    /// Its method's text, for methods without a name of their own.
    pub method_text: &'a [u8],
    /// Its fields.
    pub fields: &'a Fields,
}

/// What the router found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This route.
    Route(RouteId),
    /// Routes match all but the method; `allow` are the methods that would have matched.
    MethodNotAllowed {
        /// Methods with names of their own.
        allow: MethodSet,
    },
    /// Nothing matches.
    NoRoute,
    /// Only a route that takes the path as sent could match, and none does.
    PathAmbiguous,
}

/// Why a route did not win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It won.
    Wins,
    /// It matches too, but another takes precedence.
    Outranked {
        /// The winner.
        by: RouteId,
    },
    /// It is for other listeners.
    Listener,
    /// The host does not match.
    Host,
    /// The path does not match.
    Path,
    /// The method does not match.
    Method,
    /// The field of this name does not match.
    Header(Box<str>),
    /// The query parameter of this name does not match.
    Query(Box<str>),
}

/// Finds the route of a request. Built once; a lookup reads flat tables.
#[derive(Debug)]
pub struct Router {
    rules: Vec<RouteRule>,
    labels: Labels,
    nodes: Vec<Node>,
    /// What the rows of hosts have beside their trees; they are the first rows.
    sites: Vec<Site>,
    /// How many rows are exact hosts.
    exact_hosts: usize,
    /// The row of routes without a host.
    any_host: Option<u32>,
    /// Where each group starts in `grouped`; one more entry ends the last.
    groups: Vec<u32>,
    /// Routes, group by group, each group in order of precedence.
    grouped: Vec<RouteId>,
    wildcard: WildcardBounds,
}

/// A host's regex routes, and whether it has routes that match the path as sent.
#[derive(Clone, Debug, Default)]
struct Site {
    regexes: Vec<RouteId>,
    has_raw: bool,
}

/// How much of a host any wildcard can match, so that a host of a thousand dots costs no more
/// than the operator's own longest suffix.
#[derive(Clone, Copy, Debug, Default)]
struct WildcardBounds {
    bytes_max: usize,
    labels_max: usize,
}

impl Router {
    /// Builds the tables.
    ///
    /// # Errors
    /// Every pair of exact or prefix routes that tie, the first [`TIES_MAX`] of them.
    pub fn new(rules: Vec<RouteRule>) -> Result<Router, Vec<RouteTie>> {
        build::router(rules)
    }

    /// The rule of a route.
    pub fn rule(&self, id: RouteId) -> &RouteRule {
        &self.rules[id.0 as usize]
    }

    /// Finds the route. Allocates nothing and waits for nobody; a regex route borrows its working
    /// memory from the regex's own pool.
    pub fn find(&self, asked: &Asked<'_>) -> Found {
        let mut found = None;
        let mut allow = MethodSet::EMPTY;
        let _ = self.walk(asked, &mut |id| match self.rule(id).judge(asked) {
            Ok(()) => {
                found = Some(id);
                ControlFlow::Break(())
            }
            Err(Miss::Method(methods)) => {
                allow = allow.union(methods);
                ControlFlow::Continue(())
            }
            Err(Miss::Listener | Miss::Header(_) | Miss::Query(_)) => ControlFlow::Continue(()),
        });
        match found {
            Some(id) => Found::Route(id),
            None if !allow.is_empty() => Found::MethodNotAllowed { allow },
            None if asked.path.is_none() => Found::PathAmbiguous,
            None => Found::NoRoute,
        }
    }

    /// What became of every route, in file order, by the same walk as [`Router::find`]. Of several
    /// reasons the first of listener, host, path, header, query, method is given.
    pub fn explain(&self, asked: &Asked<'_>) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; self.rules.len()];
        let mut winner = None;
        let _ = self.walk(asked, &mut |id| {
            let seen = &mut verdicts[id.0 as usize];
            if seen.is_none() {
                let verdict = self.verdict(id, asked, winner);
                winner = winner.or((verdict == Verdict::Wins).then_some(id));
                *seen = Some(verdict);
            }
            ControlFlow::Continue(())
        });
        let unseen = |rule: &RouteRule| match rule.listeners.contains(asked.listener) {
            false => Verdict::Listener,
            true if rule.takes_host(asked.host) => Verdict::Path,
            true => Verdict::Host,
        };
        let rows = verdicts.into_iter().zip(&self.rules);
        rows.map(|(verdict, rule)| verdict.unwrap_or_else(|| unseen(rule))).collect()
    }

    /// What becomes of a route whose host and path match.
    fn verdict(&self, id: RouteId, asked: &Asked<'_>, winner: Option<RouteId>) -> Verdict {
        match self.rule(id).judge(asked) {
            Ok(()) => winner.map_or(Verdict::Wins, |by| Verdict::Outranked { by }),
            Err(Miss::Listener) => Verdict::Listener,
            Err(Miss::Header(name)) => Verdict::Header(name.into()),
            Err(Miss::Query(name)) => Verdict::Query(name.into()),
            Err(Miss::Method(_)) => Verdict::Method,
        }
    }
}
