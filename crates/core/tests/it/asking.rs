//! Rules and requests in a few words.

use gatehouse_core::message::{Fields, Method, MethodSet, path};
use gatehouse_core::plan::{ListenerId, PathMode, RouteId};
use gatehouse_core::route::{
    Asked, FieldRule, Found, HostRule, ListenerSet, PathRule, QueryRule, RouteRule, RouteTie,
    Router, ValueRule, Verdict,
};
use regex::bytes::Regex;

/// A route as an operator writes it: `/a/*` is a prefix, `~ ^/a` a pattern, the rest exact.
#[derive(Clone, Debug)]
pub struct Rule(pub RouteRule);

pub fn rule(host: &str, path: &str) -> Rule {
    let hosts = host.split(' ').filter(|host| !host.is_empty()).map(host_rule).collect();
    Rule(RouteRule {
        listeners: ListenerSet::ALL,
        hosts,
        path: path_rule(path),
        path_mode: PathMode::Normal,
        methods: None,
        headers: Vec::new(),
        query: Vec::new(),
    })
}

fn host_rule(host: &str) -> HostRule {
    match host.strip_prefix('*') {
        Some(suffix) => HostRule::Wildcard(suffix.into()),
        None => HostRule::Exact(host.into()),
    }
}

fn path_rule(path: &str) -> PathRule {
    match (path.strip_prefix("~ "), path.strip_suffix("/*")) {
        (Some(pattern), _) => PathRule::Regex(Regex::new(pattern).unwrap()),
        (None, Some(prefix)) => PathRule::Prefix(prefix.into()),
        (None, None) => PathRule::Exact(path.into()),
    }
}

fn value_rule(value: &str) -> ValueRule {
    match value {
        "*" => ValueRule::Any,
        value => ValueRule::Exact(value.into()),
    }
}

impl Rule {
    pub fn methods(mut self, methods: &str) -> Rule {
        let named = methods.split(' ').map(|name| Method::of(name.as_bytes()));
        self.0.methods = Some(named.fold(MethodSet::EMPTY, MethodSet::with));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Rule {
        self.0.headers.push(FieldRule { name: name.into(), value: value_rule(value) });
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Rule {
        self.0.query.push(QueryRule { name: name.into(), value: value_rule(value) });
        self
    }

    pub fn listener(mut self, listener: u8) -> Rule {
        let before = match self.0.listeners == ListenerSet::ALL {
            true => ListenerSet::NONE,
            false => self.0.listeners,
        };
        self.0.listeners = before.with(ListenerId(listener));
        self
    }

    pub fn raw(mut self) -> Rule {
        self.0.path_mode = PathMode::Raw;
        self
    }
}

pub fn router(rules: &[Rule]) -> Result<Router, Vec<RouteTie>> {
    Router::new(rules.iter().map(|rule| rule.0.clone()).collect())
}

/// A request as a client writes it.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub host: String,
    pub target: String,
    pub listener: u8,
    pub fields: Fields,
    normal: Option<Vec<u8>>,
}

pub fn request(method: &str, host: &str, target: &str) -> Request {
    let mut normal = Vec::new();
    let path = target.split('?').next().unwrap_or("");
    let normal = path::normalize(path.as_bytes(), &mut normal).ok().map(|()| normal);
    Request {
        method: method.into(),
        host: host.into(),
        target: target.into(),
        listener: 0,
        fields: Fields::default(),
        normal,
    }
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.fields.append(name.as_bytes(), value.as_bytes());
        self
    }

    /// Says what the normal form is, whatever the target.
    pub fn set_path(&mut self, path: Option<&str>) {
        self.normal = path.map(|path| path.as_bytes().to_vec());
    }

    pub fn listener(mut self, listener: u8) -> Request {
        self.listener = listener;
        self
    }

    pub fn asked(&self) -> Asked<'_> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (&*self.target, None),
        };
        Asked {
            listener: ListenerId(self.listener),
            host: self.host.as_bytes(),
            path: self.normal.as_deref(),
            raw_path: path.as_bytes(),
            query,
            method: Method::of(self.method.as_bytes()),
            method_text: self.method.as_bytes(),
            fields: &self.fields,
        }
    }
}

/// Finds the route, and checks that `explain` says the same.
pub fn find(rules: &[Rule], request: &Request) -> Found {
    let router = router(rules).expect("no route ties");
    let found = router.find(&request.asked());
    let verdicts = router.explain(&request.asked());
    assert_eq!(verdicts.len(), rules.len());
    let winners = verdicts.iter().enumerate().filter(|(_, verdict)| **verdict == Verdict::Wins);
    let winners: Vec<RouteId> = winners.map(|(at, _)| RouteId(at as u32)).collect();
    match found {
        Found::Route(id) => assert_eq!(winners, [id]),
        _ => assert_eq!(winners, []),
    }
    found
}

/// The route that wins.
pub fn winner(rules: &[Rule], request: &Request) -> Option<u32> {
    match find(rules, request) {
        Found::Route(id) => Some(id.0),
        _ => None,
    }
}
