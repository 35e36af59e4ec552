//! What a route asks of a request.

use crate::message::MethodSet;
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
