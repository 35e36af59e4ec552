//! What a route asks of a request.

use super::{Asked, query};
use crate::message::{Fields, Method, MethodSet};
use crate::plan::{ListenerId, PathMode};
use regex::bytes::Regex;

/// Which listeners a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerSet(u64);

impl ListenerSet {
    /// All of them.
    pub const ALL: ListenerSet = ListenerSet(u64::MAX);
    /// None of them.
    pub const NONE: ListenerSet = ListenerSet(0);

    /// This set and one more.
    #[must_use]
    pub const fn with(self, listener: ListenerId) -> ListenerSet {
        ListenerSet(self.0 | 1 << (listener.0 & 63))
    }

    /// Whether it is in the set.
    pub const fn contains(self, listener: ListenerId) -> bool {
        self.0 & 1 << (listener.0 & 63) != 0
    }

    /// Whether the two share a member.
    pub const fn meets(self, other: ListenerSet) -> bool {
        self.0 & other.0 != 0
    }
}

/// Which hosts a route is for: lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostRule {
    /// This one.
    Exact(Box<str>),
    /// All names that end in this suffix, which keeps its leading dot: `.example.com` for
    /// `*.example.com`. One label or more stands before it.
    Wildcard(Box<str>),
}

/// Which paths a route is for.
#[derive(Clone, Debug)]
pub enum PathRule {
    /// Exactly this one.
    Exact(Box<str>),
    /// This one and everything below it, at a segment boundary: `/v1` for `/v1/*`; empty for `/*`.
    Prefix(Box<str>),
    /// Whatever this pattern finds.
    Regex(Regex),
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueRule {
    /// Present, with any value.
    Any,
    /// Exactly this, case and all.
    Exact(Box<str>),
}

/// A request field a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Its name in lower case.
    pub name: Box<str>,
    /// What one of its values must be.
    pub value: ValueRule,
}

/// A query parameter a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRule {
    /// Its name, percent-decoded.
    pub name: Box<str>,
    /// What one of its values must be, percent-decoded.
    pub value: ValueRule,
}

/// What a route asks of a request.
#[derive(Clone, Debug)]
pub struct RouteRule {
    /// Which listeners it is for.
    pub listeners: ListenerSet,
    /// Which hosts; none is any.
    pub hosts: Vec<HostRule>,
    /// Which paths.
    pub path: PathRule,
    /// Which form of the path it sees.
    pub path_mode: PathMode,
    /// Which methods; `None` is any. GET includes HEAD.
    pub methods: Option<MethodSet>,
    /// Which fields.
    pub headers: Vec<FieldRule>,
    /// Which query parameters.
    pub query: Vec<QueryRule>,
}

/// What a request lacks that a route asks for beside host and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss<'r> {
    /// It came in elsewhere.
    Listener,
    /// No field of this name has the value.
    Header(&'r str),
    /// No parameter of this name has the value.
    Query(&'r str),
    /// Everything matches but the method; these would have.
    Method(MethodSet),
}

impl RouteRule {
    /// Judges everything but host and path. The method comes last, so that [`Miss::Method`] means
    /// that only the method excluded.
    pub(super) fn judge(&self, asked: &Asked<'_>) -> Result<(), Miss<'_>> {
        if !self.listeners.contains(asked.listener) {
            return Err(Miss::Listener);
        }
        if let Some(rule) = self.headers.iter().find(|rule| !rule.takes(asked.fields)) {
            return Err(Miss::Header(&rule.name));
        }
        let query = asked.query.unwrap_or(b"");
        if let Some(rule) = self.query.iter().find(|rule| !rule.takes(query)) {
            return Err(Miss::Query(&rule.name));
        }
        match self.methods_taken() {
            Some(methods) if !methods.contains(asked.method) => Err(Miss::Method(methods)),
            _ => Ok(()),
        }
    }

    /// The methods with HEAD wherever GET is; `None` is any.
    pub(super) fn methods_taken(&self) -> Option<MethodSet> {
        self.methods.map(|methods| match methods.contains(Method::Get) {
            true => methods.with(Method::Head),
            false => methods,
        })
    }

    /// How many further matchers it has: the methods count as one.
    pub(super) fn matchers(&self) -> usize {
        usize::from(self.methods.is_some()) + self.headers.len() + self.query.len()
    }

    /// Whether one of its hosts is this one.
    pub(super) fn takes_host(&self, host: &[u8]) -> bool {
        self.hosts.is_empty()
            || self.hosts.iter().any(|rule| match rule {
                HostRule::Exact(name) => name.as_bytes() == host,
                HostRule::Wildcard(suffix) => {
                    host.len() > suffix.len() && host.ends_with(suffix.as_bytes())
                }
            })
    }
}

impl FieldRule {
    /// Whether one of the field's values is what it must be. A field may occur several times, and
    /// each occurrence is one value, commas and all.
    fn takes(&self, fields: &Fields) -> bool {
        let mut values = fields.named(self.name.as_bytes());
        match &self.value {
            ValueRule::Any => values.next().is_some(),
            ValueRule::Exact(wanted) => values.any(|value| value == wanted.as_bytes()),
        }
    }
}

impl QueryRule {
    fn takes(&self, query: &[u8]) -> bool {
        query::has(query, self.name.as_bytes(), |value| match &self.value {
            ValueRule::Any => true,
            ValueRule::Exact(wanted) => query::decodes_to(value, wanted.as_bytes()),
        })
    }
}
