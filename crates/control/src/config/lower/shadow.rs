//! Routes that can never be taken, as far as that can be proved.
//!
//! A pattern outranks every prefix and later pattern of its host. Where it is `^` and plain text,
//! it is known which of them it takes everything from. Exact and prefix routes cannot shadow each
//! other without a tie, which is an error.

use super::super::problem::{Kind, Problem};
use super::Lower;
use gatehouse_core::route::{FieldRule, HostRule, PathRule, QueryRule, RouteRule, ValueRule};
use std::collections::HashMap;

/// The most patterns of one host that are compared with its other routes.
const PATTERNS_MAX: usize = 64;

/// A pattern, and what is known of it.
struct Pattern<'r> {
    route: usize,
    text: &'r str,
    /// Every path that starts with this is matched.
    start: Option<String>,
}

impl Lower<'_> {
    /// Warns of shadowed routes and gives the rules away.
    pub(super) fn shadowed(&mut self) -> Vec<RouteRule> {
        let rules = std::mem::take(&mut self.rules);
        for (hidden, by) in shadows(&rules) {
            let name = &self.route_plans[by].name;
            let reason =
                format!("this route is never taken: route {name} takes all it could match");
            let problem = Problem::warning(Kind::Shadowed, self.rule_places[hidden], reason);
            self.report.add(problem.related(self.rule_places[by], "this one goes first"));
        }
        rules
    }
}

/// Each shadowed route with one that shadows it.
fn shadows(rules: &[RouteRule]) -> Vec<(usize, usize)> {
    let mut patterns: HashMap<Option<&HostRule>, Vec<Pattern<'_>>> = HashMap::new();
    for (route, rule) in rules.iter().enumerate() {
        let PathRule::Regex(regex) = &rule.path else { continue };
        let any = rule.hosts.is_empty().then_some(None);
        for host in rule.hosts.iter().map(Some).chain(any) {
            let of_host = patterns.entry(host).or_default();
            if of_host.len() < PATTERNS_MAX {
                let text = regex.as_str();
                of_host.push(Pattern { route, text, start: plain_start(text) });
            }
        }
    }
    let hidden = |(route, rule): (usize, &RouteRule)| {
        let above = patterns.get(&rule.hosts.first())?;
        let by = above.iter().find(|pattern| {
            takes_paths(pattern, route, rule) && takes_rest(&rules[pattern.route], rule)
        })?;
        Some((route, by.route))
    };
    rules.iter().enumerate().filter_map(hidden).collect()
}

/// Whether the pattern goes before the route and matches every path of it.
fn takes_paths(pattern: &Pattern<'_>, route: usize, rule: &RouteRule) -> bool {
    match &rule.path {
        PathRule::Exact(_) => false,
        PathRule::Prefix(prefix) => pattern.start.as_ref().is_some_and(|start| match &**prefix {
            "" => start.is_empty() || start == "/",
            prefix => prefix.starts_with(start.as_str()),
        }),
        PathRule::Regex(regex) => {
            let own = || plain_start(regex.as_str());
            let wider = |start: &String| {
                start.is_empty() || own().is_some_and(|own| own.starts_with(start.as_str()))
            };
            pattern.route < route
                && (pattern.text == regex.as_str() || pattern.start.as_ref().is_some_and(wider))
        }
    }
}

/// Whether all that `rule` asks beside the path is enough for `above`.
fn takes_rest(above: &RouteRule, rule: &RouteRule) -> bool {
    let listeners = above.listeners;
    let all_listeners = (0..64)
        .map(gatehouse_core::plan::ListenerId)
        .all(|listener| listeners.contains(listener) || !rule.listeners.contains(listener));
    let hosts = match above.hosts.is_empty() || rule.hosts.is_empty() {
        true => above.hosts.is_empty() && rule.hosts.is_empty(),
        false => rule.hosts.iter().all(|host| above.hosts.contains(host)),
    };
    let methods = match (above.methods, rule.methods) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(above), Some(own)) => own.iter().all(|method| above.contains(method)),
    };
    let header = |wanted: &FieldRule| {
        rule.headers.iter().any(|own| own.name == wanted.name && implies(&own.value, &wanted.value))
    };
    let query = |wanted: &QueryRule| {
        rule.query.iter().any(|own| own.name == wanted.name && implies(&own.value, &wanted.value))
    };
    all_listeners
        && hosts
        && methods
        && above.path_mode == rule.path_mode
        && above.headers.iter().all(header)
        && above.query.iter().all(query)
}

fn implies(own: &ValueRule, wanted: &ValueRule) -> bool {
    *wanted == ValueRule::Any || own == wanted
}

/// The text a path has to start with for the pattern to match, where nothing else matters.
fn plain_start(pattern: &str) -> Option<String> {
    let (anchored, mut rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut start = String::new();
    while let Some(c) = rest.chars().next() {
        if matches!(rest, ".*" | ".*$") {
            break;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let escaped = rest.chars().next().filter(char::is_ascii_punctuation)?;
                start.push(escaped);
                rest = &rest[escaped.len_utf8()..];
            }
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                return None;
            }
            // What follows may make the last character optional or repeat it.
            c => start.push(c),
        }
    }
    (anchored || start.is_empty() || start == "/").then_some(start)
}

#[cfg(test)]
mod tests {
    use super::plain_start;

    #[test]
    fn only_plain_patterns_are_understood() {
        for (pattern, start) in [
            ("^/v1/", Some("/v1/")),
            ("^/", Some("/")),
            ("", Some("")),
            (".*", Some("")),
            ("^/a\\.b/.*$", Some("/a.b/")),
            ("/", Some("/")),
            ("/v1", None),
            ("^/v1$", None),
            ("^/v\\d", None),
            ("^/v1?", None),
            ("(?i)^/v1", None),
            ("^/a|^/b", None),
        ] {
            assert_eq!(plain_start(pattern).as_deref(), start, "{pattern}");
        }
    }
}
