//! What a route asks of a request: hosts, path, methods, fields, query.

use super::super::near::nearest;
use super::super::problem::Kind;
use super::super::tree::{Named, Table, Text, Value};
use super::{Fault, Lower, edits};
use gatehouse_core::message::{Method, MethodSet, path};
use gatehouse_core::plan::{ListenerId, PathMode};
use gatehouse_core::route::{
    FieldRule, HostRule, ListenerSet, PathRule, QueryRule, RouteRule, ValueRule,
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The keys of what a route asks.
const MATCHERS: [&str; 7] =
    ["listeners", "host", "path", "path-mode", "methods", "headers", "query"];

impl Lower<'_> {
    /// What a route asks; `None` where something of it was wrong.
    pub(super) fn rule(&mut self, table: &Table) -> Option<RouteRule> {
        let before = self.report.errors();
        let path_mode = path_mode(table);
        let listeners = self.listener_set(table);
        let hosts = self.hosts(table);
        let path = self.path_rule(table, path_mode);
        let methods = self.methods(table);
        let headers = self.field_rules(table.map("headers"));
        let query = self.query_rules(table.map("query"));
        let broken = table.entries.iter().any(|entry| entry.item.value == Value::Broken);
        // With a matcher mistyped it asks less than was meant: nobody knows what it ties with.
        let mistyped = MATCHERS.iter().any(|key| table.mistyped.contains(key));
        if self.report.errors() > before || broken || mistyped {
            return None;
        }
        let path = path?;
        Some(RouteRule { listeners, hosts, path, path_mode, methods, headers, query })
    }

    fn listener_set(&mut self, table: &Table) -> ListenerSet {
        if !table.has("listeners") {
            return self.usual_listeners(table);
        }
        let mut set = ListenerSet::NONE;
        for Text { text, place } in table.texts("listeners") {
            if let Some(id) = self.listeners.find(text, place, self.report) {
                set = set.with(ListenerId(u8::try_from(id).unwrap_or(u8::MAX)));
            }
        }
        self.empty_list(table, "listeners", "no listener");
        set
    }

    fn hosts(&mut self, table: &Table) -> Vec<HostRule> {
        let mut hosts: Vec<HostRule> = Vec::new();
        for Text { text, place } in table.texts("host") {
            match parse_host(text) {
                Ok(host) if hosts.contains(&host) => {
                    let reason = format!("host {text} is listed twice");
                    self.error(Kind::Duplicate, place, reason);
                }
                Ok(host) => hosts.push(host),
                Err(fault) => self.fault(place, fault),
            }
        }
        self.empty_list(table, "host", "any host");
        hosts
    }

    fn methods(&mut self, table: &Table) -> Option<MethodSet> {
        if !table.has("methods") {
            return None;
        }
        let mut set = MethodSet::EMPTY;
        for Text { text, place } in table.texts("methods") {
            match Method::of(text.as_bytes()) {
                Method::Other => {
                    let names = Method::NAMED.map(Method::text);
                    let near = nearest(text, names);
                    let hint = match near {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("one of {}", names.join(", ")),
                    };
                    let reason = format!("\"{}\" is no method", text.escape_debug());
                    self.error_hint(Kind::BadValue, place, reason, hint);
                }
                Method::Get => set = set.with(Method::Get).with(Method::Head),
                method => set = set.with(method),
            }
        }
        self.empty_list(table, "methods", "any method");
        Some(set)
    }

    /// A list that is there and empty could be read as nothing or as everything.
    fn empty_list(&mut self, table: &Table, name: &str, all: &str) {
        let Some(item) = table.item(name) else { return };
        if matches!(&item.value, Value::List(items) if items.is_empty()) {
            let reason = format!("`{name}` is an empty list");
            let hint = format!("leave it out for {all}");
            let hint = if all == "no listener" { "leave it out for all".to_owned() } else { hint };
            self.error_hint(Kind::BadValue, item.place, reason, hint);
        }
    }

    fn path_rule(&mut self, table: &Table, mode: PathMode) -> Option<PathRule> {
        let Some(written) = table.text("path") else {
            return (!table.has("path")).then(|| PathRule::Prefix("".into()));
        };
        if let Some(pattern) = written.text.strip_prefix('~') {
            let offset = written.text.len() - pattern.trim_start().len();
            return self.pattern(written, offset).map(PathRule::Regex);
        }
        match parse_path(written.text, mode) {
            Ok(rule) => Some(rule),
            Err(fault) => {
                self.fault(written.place, fault);
                None
            }
        }
    }

    fn field_rules(&mut self, all: &[Named]) -> Vec<FieldRule> {
        let mut rules: Vec<FieldRule> = Vec::with_capacity(all.len());
        for named in all {
            let Some(value) = named.item.text() else { continue };
            let name = edits::field_name(&named.name);
            let wanted = edits::field_value(value.text);
            match (name, wanted) {
                (Ok(name), Ok(_)) if rules.iter().any(|rule| rule.name == name) => {
                    let reason = format!("`{name}` is given twice, in different case");
                    self.error(Kind::Duplicate, named.place, reason);
                }
                (Ok(name), Ok(_)) => rules.push(FieldRule { name, value: value_rule(value.text) }),
                (Err(fault), _) => self.fault(named.place, fault),
                (_, Err(fault)) => self.fault(value.place, fault),
            }
        }
        rules
    }

    fn query_rules(&mut self, all: &[Named]) -> Vec<QueryRule> {
        let mut rules = Vec::with_capacity(all.len());
        for named in all {
            let Some(value) = named.item.text() else { continue };
            if named.name.is_empty() {
                self.error(Kind::BadValue, named.place, "a query parameter without a name");
                continue;
            }
            rules.push(QueryRule { name: named.name.clone(), value: value_rule(value.text) });
        }
        rules
    }
}

pub(super) fn path_mode(table: &Table) -> PathMode {
    match table.word("path-mode") {
        Some("raw") => PathMode::Raw,
        _ => PathMode::Normal,
    }
}

fn value_rule(text: &str) -> ValueRule {
    match text {
        "*" => ValueRule::Any,
        text => ValueRule::Exact(text.into()),
    }
}

fn parse_host(text: &str) -> Result<HostRule, Fault> {
    let bad = || Fault::bad(format!("\"{}\" is no host name", text.escape_debug()));
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    if let Some(rest) = lower.strip_prefix('*') {
        return match rest.strip_prefix('.') {
            Some(name) if is_host_name(name) => Ok(HostRule::Wildcard(rest.into())),
            None if rest.is_empty() => Err(bad().hint("leave `host` out for any host")),
            _ => Err(bad().hint("a wildcard is \"*.\" and a name: \"*.example.com\"")),
        };
    }
    let v6 = lower.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if is_host_name(lower) || v6.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok()) {
        return Ok(HostRule::Exact(lower.into()));
    }
    Err(match lower.rsplit_once(':') {
        _ if lower.parse::<Ipv6Addr>().is_ok() => bad().hint(format!("write \"[{lower}]\"")),
        _ if lower.contains("://") => bad().hint("leave the scheme out"),
        _ if lower.contains('/') => bad().hint("a path belongs into `path`"),
        Some((host, port)) if port.parse::<u16>().is_ok() => bad().hint(format!(
            "hosts are matched without port: write \"{host}\", and `listeners` for the port"
        )),
        _ if lower.contains('*') => bad().hint("a wildcard stands first: \"*.example.com\""),
        _ if !lower.is_ascii() => bad().hint("write its ASCII form, which starts with `xn--`"),
        _ => bad().hint("write \"example.com\" or \"*.example.com\""),
    })
}

/// Whether a text is a host name or an IPv4 address. Underscores are in use and allowed.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<Ipv4Addr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

fn parse_path(text: &str, mode: PathMode) -> Result<PathRule, Fault> {
    let bad = |reason: &str| Fault::bad(format!("\"{}\" {reason}", text.escape_debug()));
    if !text.starts_with('/') {
        let hint = match text {
            "" | "*" => "leave `path` out for any path".to_owned(),
            _ if text.starts_with('^') => format!("a pattern starts with \"~ \": \"~ {text}\""),
            _ => format!("write \"/{text}\""),
        };
        return Err(bad("does not start with a slash").hint(hint));
    }
    if let Some((path, _)) = text.split_once('?') {
        return Err(bad("has a query in it").hint(format!("write \"{path}\", and `query`")));
    }
    let (path, prefix) = match text.strip_suffix("/*") {
        Some(prefix) => (prefix, true),
        None => (text, false),
    };
    if path.contains('*') {
        let bare = path.split('*').next().unwrap_or("").trim_end_matches('/');
        let hint = format!("`*` stands at the end behind a slash: \"{bare}/*\"; else use \"~ \"");
        return Err(bad("has a `*` that is no prefix").hint(hint));
    }
    if let Some(byte) = path.bytes().find(|byte| !(0x21..=0x7e).contains(byte)) {
        let reason = format!("has the byte 0x{byte:02x}, which no path on the wire has");
        return Err(bad(&reason).hint(format!("write it as %{byte:02X}")));
    }
    if mode == PathMode::Normal && !path.is_empty() {
        normal_path(path)?;
    }
    Ok(if prefix { PathRule::Prefix(path.into()) } else { PathRule::Exact(path.into()) })
}

/// Refuses a path that is not its own normal form: no request would ever show it.
pub(super) fn normal_path(text: &str) -> Result<(), Fault> {
    let mut normal = Vec::new();
    match path::normalize(text.as_bytes(), &mut normal) {
        Ok(()) if normal == text.as_bytes() => Ok(()),
        Ok(()) => {
            let normal = String::from_utf8_lossy(&normal).into_owned();
            let reason = format!("\"{}\" is never seen: paths are normalised", text.escape_debug());
            Err(Fault::bad(reason).hint(format!("write \"{normal}\"")))
        }
        Err(fault) => {
            let reason = format!("\"{}\" is no path: {}", text.escape_debug(), fault.text());
            Err(Fault::bad(reason).hint("path-mode = \"raw\" matches the bytes as sent"))
        }
    }
}
