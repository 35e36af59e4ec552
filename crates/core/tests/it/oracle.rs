//! The router against a scan that reads the rules one by one, written from the contract and
//! sharing no code with it.

use crate::asking::{Request, Rule, find, request, router, rule};
use gatehouse_core::message::{Method, MethodSet};
use gatehouse_core::plan::{PathMode, RouteId};
use gatehouse_core::route::{Found, HostRule, PathRule, RouteRule, RouteTie, ValueRule, Verdict};
use proptest::prelude::*;
use std::cmp::Reverse;

/// What a route's precedence is made of: the least wins.
type Rank = (Reverse<(u8, usize)>, u8, Reverse<usize>, Reverse<usize>, usize);

fn host_rank(rule: &RouteRule, host: &str) -> Option<(u8, usize)> {
    if rule.hosts.is_empty() {
        return Some((0, 0));
    }
    let rank = |own: &HostRule| match own {
        HostRule::Exact(name) => (**name == *host).then_some((2, 0)),
        HostRule::Wildcard(suffix) => {
            (host.ends_with(&**suffix) && host.len() > suffix.len()).then_some((1, suffix.len()))
        }
    };
    rule.hosts.iter().filter_map(rank).max()
}

/// 0 exact, 1 regex, 2 prefix; and the prefix's length.
fn path_rank(rule: &RouteRule, request: &Request) -> Option<(u8, usize)> {
    let asked = request.asked();
    let path = match rule.path_mode {
        PathMode::Normal => asked.path?,
        PathMode::Raw => asked.raw_path,
    };
    match &rule.path {
        PathRule::Exact(own) => (own.as_bytes() == path).then_some((0, 0)),
        PathRule::Regex(pattern) => pattern.is_match(path).then_some((1, 0)),
        PathRule::Prefix(own) => {
            let below = path.starts_with(format!("{own}/").as_bytes());
            (below || own.as_bytes() == path).then_some((2, own.len()))
        }
    }
}

fn value_matches(rule: &ValueRule, value: &str) -> bool {
    match rule {
        ValueRule::Any => true,
        ValueRule::Exact(own) => **own == *value,
    }
}

fn further_match(rule: &RouteRule, request: &Request) -> bool {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = rule.headers.iter().all(|wanted| {
        let own = request.fields.iter().map(|(name, value)| (text(name), text(value)));
        own.filter(|(name, _)| name.eq_ignore_ascii_case(&wanted.name))
            .any(|(_, value)| value_matches(&wanted.value, &value))
    });
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let parameters = rule.query.iter().all(|wanted| {
        let own = query.split('&').filter(|pair| !pair.is_empty());
        own.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(name, _)| name.replace("%61", "a") == *wanted.name)
            .any(|(_, value)| value_matches(&wanted.value, &value.replace("%31", "1")))
    });
    headers && parameters
}

fn methods(rule: &RouteRule) -> Option<MethodSet> {
    let own = rule.methods?;
    Some(if own.contains(Method::Get) { own.with(Method::Head) } else { own })
}

fn matchers(rule: &RouteRule) -> usize {
    rule.headers.len() + rule.query.len() + rule.methods.iter().len()
}

fn expected(rules: &[Rule], request: &Request) -> Found {
    let asked = request.asked();
    let mut matching: Vec<(Rank, Option<MethodSet>)> = Vec::new();
    for (at, Rule(rule)) in rules.iter().enumerate() {
        let host = host_rank(rule, &request.host);
        let path = path_rank(rule, request);
        let here = rule.listeners.contains(asked.listener);
        if let (Some(host), Some((kind, len)), true) =
            (host, path, here && further_match(rule, request))
        {
            let further = if kind == 1 { 0 } else { matchers(rule) };
            let rank = (Reverse(host), kind, Reverse(len), Reverse(further), at);
            matching.push((rank, methods(rule)));
        }
    }
    matching.sort_by_key(|(rank, _)| *rank);
    let takes = |methods: &Option<MethodSet>| methods.is_none_or(|own| own.contains(asked.method));
    if let Some((rank, _)) = matching.iter().find(|(_, methods)| takes(methods)) {
        return Found::Route(RouteId(rank.4 as u32));
    }
    let all = matching.iter().filter_map(|(_, methods)| *methods);
    let allow = all.fold(MethodSet::EMPTY, MethodSet::union);
    match (allow.is_empty(), asked.path) {
        (false, _) => Found::MethodNotAllowed { allow },
        (true, None) => Found::PathAmbiguous,
        (true, Some(_)) => Found::NoRoute,
    }
}

/// Why a route lost, as far as it can be said of the route alone; `None` where it matches.
fn reason(rule: &RouteRule, request: &Request) -> Option<Verdict> {
    let asked = request.asked();
    if !rule.listeners.contains(asked.listener) {
        return Some(Verdict::Listener);
    }
    if host_rank(rule, &request.host).is_none() {
        return Some(Verdict::Host);
    }
    if path_rank(rule, request).is_none() {
        return Some(Verdict::Path);
    }
    let takes = methods(rule).is_none_or(|own| own.contains(asked.method));
    let mut alone = rule.clone();
    alone.query.clear();
    if let (false, Some(wanted)) = (further_match(&alone, request), rule.headers.first()) {
        return Some(Verdict::Header(wanted.name.clone()));
    }
    match (further_match(rule, request), rule.query.first()) {
        (false, Some(wanted)) => Some(Verdict::Query(wanted.name.clone())),
        _ => (!takes).then_some(Verdict::Method),
    }
}

fn ties(rules: &[Rule]) -> Vec<RouteTie> {
    let mut ties = Vec::new();
    for (first, Rule(left)) in rules.iter().enumerate() {
        for (second, Rule(right)) in rules.iter().enumerate().skip(first + 1) {
            if tie(left, right) {
                let (first, second) = (RouteId(first as u32), RouteId(second as u32));
                ties.push(RouteTie { first, second });
            }
        }
    }
    ties
}

fn tie(left: &RouteRule, right: &RouteRule) -> bool {
    let path = match (&left.path, &right.path) {
        (PathRule::Exact(left), PathRule::Exact(right)) => left == right,
        (PathRule::Prefix(left), PathRule::Prefix(right)) => left == right,
        _ => false,
    };
    let host = match (left.hosts.is_empty(), right.hosts.is_empty()) {
        (true, true) => true,
        _ => left.hosts.iter().any(|host| right.hosts.contains(host)),
    };
    let methods = match (methods(left), methods(right)) {
        (Some(left), Some(right)) => left.meets(right),
        _ => true,
    };
    let header = left.headers.iter().any(|own| {
        let same = right.headers.iter().filter(|other| other.name == own.name);
        same.filter(|other| other.value != own.value).any(|other| {
            matches!((&own.value, &other.value), (ValueRule::Exact(_), ValueRule::Exact(_)))
        })
    });
    let query = left.query.iter().any(|own| {
        let same = right.query.iter().filter(|other| other.name == own.name);
        same.filter(|other| other.value != own.value).any(|other| {
            matches!((&own.value, &other.value), (ValueRule::Exact(_), ValueRule::Exact(_)))
        })
    });
    let further = matchers(left) == matchers(right) && methods && !header && !query;
    path && host && further && left.listeners.meets(right.listeners)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let host = prop::sample::select(vec![
        "",
        "",
        "a.com",
        "b.a.com",
        "*.com",
        "*.a.com",
        "*.b.a.com",
        "a.com *.a.com",
        "c.com b.com",
    ]);
    let path = prop::sample::select(vec![
        "/*", "/a/*", "/a", "/a/b/*", "/a/b", "/a/", "/", "/a/b/c", "~ ^/a", "~ b$", "/a%2Fb",
        "/b/*", "/a//b/*", "/../*", "*",
    ]);
    let methods = prop::sample::select(vec!["", "", "GET", "POST", "GET POST", "HEAD", "PUT"]);
    let header = prop::sample::select(vec![("", ""), ("", ""), ("x", "1"), ("x", "2"), ("x", "*")]);
    let query = prop::sample::select(vec![("", ""), ("", ""), ("a", "1"), ("a", "*"), ("b", "2")]);
    let place = (prop::sample::select(vec![0_u8, 0, 0, 1, 2]), any::<bool>());
    (host, path, methods, header, query, place).prop_map(
        |(host, path, methods, header, query, (listener, raw))| {
            let mut own = rule(host, path);
            if !methods.is_empty() {
                own = own.methods(methods);
            }
            if !header.0.is_empty() {
                own = own.header(header.0, header.1);
            }
            if !query.0.is_empty() {
                own = own.query(query.0, query.1);
            }
            if listener > 0 {
                own = own.listener(listener);
            }
            if raw { own.raw() } else { own }
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PURGE"]);
    let host = prop::sample::select(vec![
        "",
        "a.com",
        "b.a.com",
        "c.b.a.com",
        "d.c.b.a.com",
        "com",
        ".com",
        "x.com",
        "b.com",
    ]);
    let path = prop::sample::select(vec![
        "/", "/a", "/a/", "/a/b", "/a/b/c", "/a/b/c/d", "/ab", "/%61/b", "/a%2Fb", "/a//b",
        "/a/../b", "/x", "/../a", "*", "",
    ]);
    let query = prop::sample::select(vec!["", "?", "?a=1", "?a", "?%61=%31&b=2", "?a=2&a=1"]);
    let values = prop::collection::vec(prop::sample::select(vec!["1", "2", "3", "1, 2"]), 0..3);
    (method, host, path, query, values, 0..3_u8).prop_map(
        |(method, host, path, query, values, listener)| {
            let asked = request(method, host, &format!("{path}{query}")).listener(listener);
            values.iter().fold(asked, |asked, value| asked.header("X", value))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_router_finds_what_a_scan_of_the_rules_finds(
        rules in prop::collection::vec(any_rule(), 0..16),
        requests in prop::collection::vec(any_request(), 1..16),
    ) {
        // Routes that tie are taken out: the first of each pair stays.
        let mut kept: Vec<Rule> = Vec::new();
        for own in rules {
            if !kept.iter().any(|before| tie(&before.0, &own.0)) {
                kept.push(own);
            }
        }
        for request in &requests {
            let found = find(&kept, request);
            prop_assert_eq!(&found, &expected(&kept, request), "{}", request.target);
            let explained = router(&kept).unwrap().explain(&request.asked());
            for (at, verdict) in explained.into_iter().enumerate() {
                let lost = reason(&kept[at].0, request);
                let expected = match (&found, lost) {
                    (_, Some(reason)) => reason,
                    (Found::Route(id), None) if id.0 as usize == at => Verdict::Wins,
                    (Found::Route(by), None) => Verdict::Outranked { by: *by },
                    (other, None) => panic!("{other:?} although route {at} matches"),
                };
                prop_assert_eq!(verdict, expected, "{}: route {}", request.target, at);
            }
        }
    }

    #[test]
    fn every_pair_that_ties_is_reported_once(
        rules in prop::collection::vec(any_rule(), 0..24),
    ) {
        prop_assert_eq!(router(&rules).err().unwrap_or_default(), ties(&rules));
    }
}
