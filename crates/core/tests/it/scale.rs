//! Many routes and hosts: built quickly, found right.

use crate::asking::{Rule, request, router, rule};
use gatehouse_core::chance::Chance;
use gatehouse_core::plan::RouteId;
use gatehouse_core::route::{Found, Router};
use std::time::{Duration, Instant};

/// What building may take; a build without optimisation is many times slower.
const BUILD_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

fn built(rules: &[Rule]) -> Router {
    let rules: Vec<_> = rules.iter().map(|rule| rule.0.clone()).collect();
    let before = Instant::now();
    let router = Router::new(rules).expect("no route ties");
    assert!(before.elapsed() < BUILD_MAX, "{:?}", before.elapsed());
    router
}

fn assert_finds(router: &Router, host: &str, path: &str, expected: u32) {
    let asked = request("GET", host, path);
    assert_eq!(router.find(&asked.asked()), Found::Route(RouteId(expected)), "{host}{path}");
}

#[test]
fn twenty_thousand_paths_of_one_host_are_built_quickly_and_found() {
    let path = |at: u32| match at % 2 {
        0 => format!("/team-{}/service-{at}/*", at % 100),
        _ => format!("/team-{}/service-{at}/status", at % 100),
    };
    let rules: Vec<Rule> = (0..20_000).map(|at| rule("", &path(at))).collect();
    let router = built(&rules);
    let mut chance = Chance::seeded(3);
    for _ in 0..2_000 {
        let at = chance.below(10_000) * 2;
        assert_finds(&router, "any", &format!("/team-{}/service-{at}/x/y", at % 100), at);
        let at = at + 1;
        assert_finds(&router, "any", &format!("/team-{}/service-{at}/status", at % 100), at);
    }
    let asked = request("GET", "any", "/team-1/service-0");
    assert_eq!(router.find(&asked.asked()), Found::NoRoute);
}

#[test]
fn ten_thousand_hosts_of_ten_routes_are_built_quickly_and_found() {
    let rules: Vec<Rule> = (0..100_000)
        .map(|at| match at % 100_000 / 10 {
            host if host % 2 == 0 => rule(&format!("shop-{host}.example.com"), &path(at % 10)),
            host => rule(&format!("*.shop-{host}.example.com"), &path(at % 10)),
        })
        .collect();
    fn path(at: u32) -> String {
        if at == 0 { "/*".into() } else { format!("/part-{at}/*") }
    }
    let router = built(&rules);
    let mut chance = Chance::seeded(4);
    for _ in 0..2_000 {
        let (host, part) = (chance.below(10_000), chance.below(10));
        let label = if host % 2 == 0 { "" } else { "www." };
        let name = format!("{label}shop-{host}.example.com");
        assert_finds(&router, &name, &format!("/part-{part}/x"), host * 10 + part);
    }
}

#[test]
fn a_host_of_many_labels_and_a_path_of_many_segments_cost_no_more_than_the_rules() {
    let router = router(&[rule("*.example.com", "/*"), rule("", "/a/b/*")]).unwrap();
    let host = "a.".repeat(16_000) + "example.com";
    let path = "/a/b".repeat(16_000);
    let asked = request("GET", &host, &path);
    let before = Instant::now();
    for _ in 0..100 {
        assert_eq!(router.find(&asked.asked()), Found::Route(RouteId(0)));
    }
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}
