//! Routes that no request could tell apart are refused, all at once.

use crate::asking::{Rule, request, router, rule, winner};
use gatehouse_core::plan::RouteId;
use gatehouse_core::route::{RouteTie, TIES_MAX};
use std::time::{Duration, Instant};

fn ties(rules: &[Rule]) -> Vec<(u32, u32)> {
    let ties = router(rules).err().unwrap_or_default();
    ties.iter().map(|RouteTie { first, second }| (first.0, second.0)).collect()
}

#[test]
fn routes_of_one_host_path_and_number_of_matchers_tie() {
    let rules = [
        rule("a", "/x"),
        rule("b", "/x"),
        rule("b a", "/x"),
        rule("", "/y/*").header("one", "1"),
        rule("", "/y/*").header("two", "1"),
        rule("", "/y/*").query("two", "1"),
        rule("", "/y"),
    ];
    assert_eq!(ties(&rules), [(0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]);
}

#[test]
fn a_pair_is_reported_once_however_many_hosts_it_shares() {
    assert_eq!(ties(&[rule("a b *.c", "/"), rule("*.c b a", "/")]), [(0, 1)]);
}

#[test]
fn an_exact_and_a_prefix_route_of_one_path_do_not_tie() {
    assert_eq!(ties(&[rule("", "/x"), rule("", "/x/*"), rule("", "/x/")]), []);
}

#[test]
fn regex_routes_never_tie() {
    let rules = [rule("", "~ ^/a"), rule("", "~ ^/a")];
    assert_eq!(ties(&rules), []);
    assert_eq!(winner(&rules, &request("GET", "h", "/a")), Some(0));
}

#[test]
fn methods_tell_routes_apart_and_get_is_head_too() {
    let of = |methods| rule("", "/x").methods(methods);
    assert_eq!(ties(&[of("GET"), of("POST PUT"), of("DELETE")]), []);
    assert_eq!(ties(&[of("GET"), of("HEAD")]), [(0, 1)]);
    assert_eq!(ties(&[of("GET POST"), of("POST PUT")]), [(0, 1)]);
    assert_eq!(ties(&[of("GET"), rule("", "/x").header("a", "*")]), [(0, 1)]);
}

#[test]
fn listeners_tell_routes_apart() {
    let on = |listener| rule("", "/x").listener(listener);
    assert_eq!(ties(&[on(0), on(1)]), []);
    assert_eq!(ties(&[on(0), on(1), on(0).listener(1)]), [(0, 2), (1, 2)]);
    assert_eq!(ties(&[on(0), rule("", "/x")]), [(0, 1)]);
}

#[test]
fn forms_of_the_path_do_not_tell_routes_apart() {
    assert_eq!(ties(&[rule("", "/x"), rule("", "/x").raw()]), [(0, 1)]);
}

#[test]
fn exact_values_tell_routes_apart_and_the_first_takes_a_request_with_both() {
    let on = |value| rule("", "/x").header("x-version", value);
    let rules = [on("2"), on("1")];
    assert_eq!(ties(&rules), []);
    let asked = || request("GET", "h", "/x");
    assert_eq!(winner(&rules, &asked().header("X-Version", "1")), Some(1));
    let both = asked().header("X-Version", "1").header("X-Version", "2");
    assert_eq!(winner(&rules, &both), Some(0));
    assert_eq!(ties(&[on("1"), on("*")]), [(0, 1)]);
    let on = |value| rule("", "/x").query("v", value);
    assert_eq!(ties(&[on("2"), on("1")]), []);
    assert_eq!(ties(&[on("2"), on("*")]), [(0, 1)]);
}

#[test]
fn the_report_is_bounded() {
    let rules = vec![rule("", "/x"); 2_000];
    let ties = ties(&rules);
    assert_eq!(ties.len(), TIES_MAX);
    assert_eq!(ties[0], (0, 1));
    assert_eq!(RouteId(ties[999].1), RouteId(1_000));
}

#[test]
fn many_routes_told_apart_by_a_value_are_checked_quickly() {
    let route = |at: u32| rule("", "/x").header("x-tenant", &at.to_string()).methods("GET");
    let mut rules: Vec<Rule> = (0..20_000).map(route).collect();
    let before = Instant::now();
    assert_eq!(ties(&rules), []);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    let asked = request("GET", "h", "/x").header("X-Tenant", "4321");
    assert_eq!(winner(&rules, &asked), Some(4_321));
    rules.push(route(777));
    assert_eq!(ties(&rules), [(777, 20_000)]);
}
