//! Which route wins, rule by rule. `oracle` proves the same for whatever a generator thinks of.

use crate::asking::{Request, Rule, find, request, router, rule, winner};
use gatehouse_core::message::{Method, MethodSet};
use gatehouse_core::plan::RouteId;
use gatehouse_core::route::{Found, Verdict};

fn get(host: &str, target: &str) -> Request {
    request("GET", host, target)
}

#[test]
fn an_exact_host_goes_before_the_longest_wildcard_and_that_before_none() {
    let rules = [
        rule("", "/*"),
        rule("*.com", "/*"),
        rule("*.example.com", "/*"),
        rule("a.example.com", "/*"),
    ];
    for (host, expected) in [
        ("a.example.com", 3),
        ("b.example.com", 2),
        ("c.b.example.com", 2),
        ("example.com", 1),
        ("com", 0),
        ("", 0),
        ("192.0.2.1", 0),
        ("[2001:db8::1]", 0),
    ] {
        assert_eq!(winner(&rules, &get(host, "/")), Some(expected), "{host}");
    }
}

#[test]
fn a_wildcard_needs_a_label_before_it() {
    let rules = [rule("*.example.com", "/*")];
    assert_eq!(winner(&rules, &get("example.com", "/")), None);
    assert_eq!(winner(&rules, &get(".example.com", "/")), None);
    assert_eq!(winner(&rules, &get("xexample.com", "/")), None);
    assert_eq!(winner(&rules, &get("x.example.com", "/")), Some(0));
}

#[test]
fn a_host_goes_before_any_path() {
    let rules = [rule("", "/a"), rule("*.com", "/a/*"), rule("x.com", "/*")];
    assert_eq!(winner(&rules, &get("x.com", "/a")), Some(2));
    assert_eq!(winner(&rules, &get("y.com", "/a")), Some(1));
}

#[test]
fn an_exact_path_goes_before_a_regex_and_that_before_the_longest_prefix() {
    let rules = [
        rule("", "/*"),
        rule("", "/a/*"),
        rule("", "/a/b/*"),
        rule("", "~ ^/a/b/[0-9]+$"),
        rule("", "~ ^/a/b/1"),
        rule("", "/a/b/1"),
    ];
    for (path, expected) in [
        ("/a/b/1", 5),
        ("/a/b/12", 3),
        ("/a/b/1x", 4),
        ("/a/b/x", 2),
        ("/a/b", 2),
        ("/a/bc", 1),
        ("/a/", 1),
        ("/a", 1),
        ("/ab", 0),
        ("/", 0),
    ] {
        assert_eq!(winner(&rules, &get("h", path)), Some(expected), "{path}");
    }
}

#[test]
fn a_prefix_ends_at_a_segment_boundary() {
    let rules = [rule("", "/dir/*")];
    assert_eq!(winner(&rules, &get("h", "/dir")), Some(0));
    assert_eq!(winner(&rules, &get("h", "/dir/")), Some(0));
    assert_eq!(winner(&rules, &get("h", "/directory/x")), None);
    assert_eq!(winner(&rules, &get("h", "/Dir")), None);
}

#[test]
fn an_exact_path_takes_nothing_but_itself() {
    let rules = [rule("", "/v1")];
    assert_eq!(winner(&rules, &get("h", "/v1")), Some(0));
    assert_eq!(winner(&rules, &get("h", "/v1/")), None);
    assert_eq!(winner(&rules, &get("h", "/v1/x")), None);
}

#[test]
fn the_asterisk_of_options_is_below_no_prefix() {
    let rules = [rule("", "/*"), rule("", "*")];
    let mut asterisk = request("OPTIONS", "h", "*");
    assert_eq!(find(&rules, &asterisk), Found::PathAmbiguous);
    asterisk.set_path(Some("*"));
    assert_eq!(find(&rules, &asterisk), Found::Route(RouteId(1)));
    assert_eq!(find(&rules[..1], &asterisk), Found::NoRoute);
}

#[test]
fn more_further_matchers_go_first_whatever_the_order() {
    let rules = [
        rule("", "/*"),
        rule("", "/*").methods("GET"),
        rule("", "/*").header("x", "1").query("a", "*"),
        rule("", "/*").header("x", "1").query("a", "1").methods("GET POST"),
    ];
    let with_header = |method: &str, target: &str| request(method, "h", target).header("X", "1");
    assert_eq!(winner(&rules, &with_header("GET", "/?a=1")), Some(3));
    assert_eq!(winner(&rules, &with_header("PUT", "/?a=1")), Some(2));
    assert_eq!(winner(&rules, &with_header("GET", "/?a=2")), Some(2));
    assert_eq!(winner(&rules, &get("h", "/?a=1")), Some(1));
    assert_eq!(winner(&rules, &request("POST", "h", "/")), Some(0));
}

#[test]
fn further_matchers_of_a_regex_do_not_move_it() {
    let rules = [rule("", "~ ^/a"), rule("", "~ ^/a/b").header("x", "1")];
    assert_eq!(winner(&rules, &get("h", "/a/b").header("x", "1")), Some(0));
}

#[test]
fn what_does_not_match_falls_through_to_the_next_over_all_hosts() {
    let rules = [
        rule("a.x.com", "/v/1").header("h", "1"),
        rule("a.x.com", "~ ^/v").query("q", "*"),
        rule("a.x.com", "/v/*").methods("POST"),
        rule("a.x.com", "/*").listener(7),
        rule("*.x.com", "/v/1").header("h", "2"),
        rule("*.com", "/v/*").header("h", "3"),
        rule("", "/*"),
    ];
    let asked = || get("a.x.com", "/v/1");
    assert_eq!(winner(&rules, &asked().header("h", "1")), Some(0));
    assert_eq!(winner(&rules, &get("a.x.com", "/v/1?q")), Some(1));
    assert_eq!(winner(&rules, &request("POST", "a.x.com", "/v/1")), Some(2));
    assert_eq!(winner(&rules, &asked().listener(7)), Some(3));
    assert_eq!(winner(&rules, &asked().header("h", "2")), Some(4));
    assert_eq!(winner(&rules, &asked().header("h", "3")), Some(5));
    assert_eq!(winner(&rules, &asked()), Some(6));
}

#[test]
fn get_includes_head() {
    let rules = [rule("", "/*").methods("GET")];
    assert_eq!(winner(&rules, &request("HEAD", "h", "/")), Some(0));
    let rules = [rule("", "/*").methods("HEAD")];
    assert_eq!(winner(&rules, &get("h", "/")), None);
}

fn methods(names: &[Method]) -> MethodSet {
    names.iter().fold(MethodSet::EMPTY, |set, method| set.with(*method))
}

#[test]
fn a_method_that_alone_excludes_is_405_with_the_union_of_what_would_match() {
    let rules = [
        rule("h", "/a").methods("POST"),
        rule("h", "/a/*").methods("GET"),
        rule("", "/*").methods("PUT"),
        rule("", "/a").methods("DELETE").header("x", "1"),
        rule("", "/b").methods("PATCH"),
        rule("", "/a").methods("TRACE").listener(3),
    ];
    let allow = methods(&[Method::Post, Method::Get, Method::Head, Method::Put]);
    let found = find(&rules, &request("OPTIONS", "h", "/a"));
    assert_eq!(found, Found::MethodNotAllowed { allow });
    let found = find(&rules, &request("OPTIONS", "h", "/a").header("X", "1"));
    assert_eq!(found, Found::MethodNotAllowed { allow: allow.with(Method::Delete) });
    assert_eq!(find(&rules, &request("PURGE", "h", "/a")), Found::MethodNotAllowed { allow });
    assert_eq!(find(&rules[..2], &request("PUT", "h", "/b")), Found::NoRoute);
}

#[test]
fn a_method_of_no_name_takes_routes_for_any() {
    let rules = [rule("", "/*").methods("GET POST PUT"), rule("", "/*")];
    assert_eq!(winner(&rules, &request("PURGE", "h", "/")), Some(1));
}

#[test]
fn any_one_value_of_a_repeated_field_matches_and_a_list_is_one_value() {
    let rules = [rule("", "/*").header("x-beta", "1")];
    let wins = |request: Request| winner(&rules, &request).is_some();
    assert!(wins(get("h", "/").header("X-Beta", "0").header("x-BETA", "1")));
    assert!(!wins(get("h", "/").header("X-Beta", "0, 1")));
    assert!(!wins(get("h", "/").header("X-Beta", "0")));
    assert!(!wins(get("h", "/").header("X-Bet", "1")));
    assert!(!wins(get("h", "/")));
    let listed = [rule("", "/*").header("x-beta", "0, 1")];
    assert_eq!(winner(&listed, &get("h", "/").header("X-Beta", "0, 1")), Some(0));
    let any = [rule("", "/*").header("x-beta", "*")];
    assert_eq!(winner(&any, &get("h", "/").header("X-Beta", "")), Some(0));
}

#[test]
fn a_query_parameter_is_compared_decoded() {
    let rules = [rule("", "/*").query("name", "a b+c")];
    for (query, expected) in [
        ("?name=a%20b+c", Some(0)),
        ("?x=1&n%61me=%61%20b%2Bc", Some(0)),
        ("?name=1&name=a%20b+c", Some(0)),
        ("?name=a+b+c", None),
        ("?name", None),
        ("?", None),
        ("", None),
    ] {
        assert_eq!(winner(&rules, &get("h", &format!("/{query}"))), expected, "{query}");
    }
}

#[test]
fn no_spelling_of_a_path_crosses_a_route() {
    let rules = [rule("", "/*"), rule("", "/admin/*")];
    for path in ["/admin", "/x/../admin", "/%61dmin/", "//admin//x", "/./admin/x"] {
        assert_eq!(winner(&rules, &get("h", path)), Some(1), "{path}");
    }
}

#[test]
fn a_raw_route_sees_the_path_as_sent() {
    let rules = [
        rule("", "/a/b"),
        rule("", "/a%2Fb").raw(),
        rule("", "/x/*"),
        rule("", "/a//b/*").raw(),
        rule("", "~ %2e").raw(),
    ];
    for (path, expected) in [
        ("/a/b", Some(0)),
        ("/a%2Fb", Some(1)),
        ("/%61/b", Some(0)),
        ("/x/a%2Fb", None),
        ("/a//b/c", Some(3)),
        ("/a/b/c", None),
        ("/x/%2e/y", Some(4)),
        ("/x/./y", Some(2)),
    ] {
        assert_eq!(winner(&rules, &get("h", path)), expected, "{path}");
    }
}

#[test]
fn a_path_that_reads_two_ways_is_for_raw_routes_only() {
    let rules = [rule("", "/*"), rule("raw.com", "/s/*").raw().methods("GET")];
    assert_eq!(find(&rules, &get("h", "/s/a%2Fb")), Found::PathAmbiguous);
    assert_eq!(find(&rules, &get("raw.com", "/s/a%2Fb")), Found::Route(RouteId(1)));
    assert_eq!(find(&rules, &get("raw.com", "/t/a%2Fb")), Found::PathAmbiguous);
    let allow = methods(&[Method::Get, Method::Head]);
    let post = request("POST", "raw.com", "/s/a%2Fb");
    assert_eq!(find(&rules, &post), Found::MethodNotAllowed { allow });
}

#[test]
fn both_forms_of_a_path_are_ranked_together() {
    let rules = [
        rule("", "/a/*"),
        rule("", "/a//b/*").raw(),
        rule("", "/a/b/c/d/*"),
        rule("", "/*").raw().header("x", "1"),
    ];
    assert_eq!(winner(&rules, &get("h", "/a//b/c")), Some(1));
    assert_eq!(winner(&rules, &get("h", "/a//b/c/d")), Some(2));
    assert_eq!(winner(&rules, &get("h", "/z/").header("x", "1")), Some(3));
}

#[test]
fn every_route_is_told_why_it_lost() {
    let rules = [
        rule("h", "/a/*"),
        rule("h", "/a").methods("GET"),
        rule("h", "/a/*").listener(5).header("z", "1"),
        rule("x", "/a").listener(5).header("z", "1"),
        rule("x", "/a"),
        rule("h x", "/b"),
        rule("", "/a").methods("POST"),
        rule("", "/a/*").header("x-a", "1"),
        rule("", "/a/*").query("q", "*").methods("PUT"),
        rule("", "~ ^/a"),
        rule("", "~ ^/b"),
        rule("h *.h h", "/*"),
    ];
    let verdicts = router(&rules).unwrap().explain(&get("h", "/a").asked());
    let by = RouteId(1);
    let expected = [
        Verdict::Outranked { by },
        Verdict::Wins,
        Verdict::Listener,
        Verdict::Listener,
        Verdict::Host,
        Verdict::Path,
        Verdict::Method,
        Verdict::Header("x-a".into()),
        Verdict::Query("q".into()),
        Verdict::Outranked { by },
        Verdict::Path,
        Verdict::Outranked { by },
    ];
    assert_eq!(verdicts, expected);
}

#[test]
fn no_route_at_all_finds_none() {
    let none: [Rule; 0] = [];
    assert_eq!(find(&none, &get("h", "/")), Found::NoRoute);
    assert_eq!(find(&none, &get("", "/%2F")), Found::PathAmbiguous);
}
