//! What a reload changes: two configurations compared by names.

use gatehouse_control::config::load_text;
use gatehouse_core::plan::{Changes, Plan, Sorted};
use proptest::prelude::*;
use proptest::sample::subsequence;

fn plan(text: &str) -> Plan {
    let loaded = load_text("test.toml", text, &[]);
    let problems: Vec<_> = loaded.problems.iter().map(|problem| &problem.reason).collect();
    loaded.lowered.unwrap_or_else(|| panic!("{problems:?} in\n{text}")).plan
}

const DOOR: &str = "[listeners.web]\nbind = \":80\"\n";

fn changes(old: &str, new: &str) -> Changes {
    let (old, new) = (format!("{DOOR}{old}"), format!("{DOOR}{new}"));
    Changes::between(&plan(&old), &plan(&new))
}

/// Kinds that are different, and how: `routes changed all`.
fn different(changes: &Changes) -> Vec<String> {
    let Changes { listeners, routes, upstreams, endpoints, upstream_of: _ } = changes;
    let kinds = [
        ("listeners", listeners),
        ("routes", routes),
        ("upstreams", upstreams),
        ("endpoints", endpoints),
    ];
    let mut lines = Vec::new();
    for (kind, sorted) in kinds {
        let Sorted { kept: _, added, changed, drained } = sorted;
        for (word, names) in [("added", added), ("changed", changed), ("drained", drained)] {
            lines.extend(names.iter().map(|name| format!("{kind} {word} {name}")));
        }
    }
    lines
}

#[test]
fn every_key_of_a_route_or_an_upstream_counts_as_a_change_of_it() {
    let route = "[[routes]]\nname = \"all\"\nupstream = \"a\"\n";
    let upstream = "[upstreams.a]\nendpoints = [\"10.0.0.1:80\"]\n";
    for key in [
        "host = \"a.example\"",
        "path = \"/a/*\"",
        "path = \"/a\"",
        "path = \"~ ^/a\"",
        "path-mode = \"raw\"",
        "methods = [\"GET\"]",
        "headers = { x = \"1\" }",
        "query = { x = \"1\" }",
        "listeners = [\"web\"]",
        "rewrite = { strip = \"/a\" }",
        "rewrite = { match = \"a\", to = \"b\" }",
        "request-headers = { set = { x = \"1\" } }",
        "response-headers = { remove = [\"x\"] }",
        "timeout = { idle = \"1s\" }",
        "body-bytes = \"1KiB\"",
    ] {
        let new = format!("{}{key}\n{upstream}", route);
        let changes = changes(&format!("{route}{upstream}"), &new);
        assert_eq!(different(&changes), ["routes changed all"], "{key}");
    }
    for key in [
        "balance = \"random\"",
        "retry = 1",
        "keepalive = { idle-per-worker = 1 }",
        "balance = \"maglev\"\nhash = { by = \"path\" }",
    ] {
        let changes = changes(&format!("{route}{upstream}"), &format!("{route}{upstream}{key}\n"));
        assert_eq!(different(&changes), ["upstreams changed a"], "{key}");
    }
    // Said in both: the default follows the weights.
    let balanced = |endpoint: &str| {
        format!("{route}[upstreams.a]\nbalance = \"random\"\nendpoints = [{endpoint}]\n")
    };
    for facts in ["weight = 2", "max-connections = 3", "backup = true"] {
        let new = balanced(&format!("{{ address = \"10.0.0.1:80\", {facts} }}"));
        let changes = changes(&balanced("\"10.0.0.1:80\""), &new);
        assert_eq!(different(&changes), ["endpoints changed a 10.0.0.1:80"], "{facts}");
    }
}

#[test]
fn listeners_are_compared_by_name_wherever_they_stand() {
    let door =
        |name: &str, more: &str| format!("[listeners.{name}]\nbind = \"unix:/{name}\"\n{more}\n");
    let routes = "[[routes]]\nname = \"x\"\npath = \"/x\"\nlisteners = [\"b\"]\nrespond = {}\n\
                  [[routes]]\nname = \"all\"\nrespond = {}\n";
    let old = plan(&format!("{}{}{routes}", door("a", ""), door("b", "")));
    let new =
        plan(&format!("{}{}{routes}", door("b", "limits = { connections = 5 }"), door("c", "")));
    assert_eq!(
        different(&Changes::between(&old, &new)),
        ["listeners added c", "listeners changed b", "listeners drained a"]
    );
}

#[test]
fn what_a_derived_name_belongs_to_is_found_by_what_it_is() {
    let route = |path: &str, endpoint: &str| {
        format!("[[routes]]\npath = \"{path}\"\nupstream = {{ endpoints = [\"{endpoint}\"] }}\n")
    };
    let [a, b, c] = [route("/a", "a:1"), route("/b", "b:1"), route("/c", "c:1")];
    let added = changes(&[a.clone(), b.clone()].concat(), &[c, a.clone(), b.clone()].concat());
    assert_eq!(
        different(&added),
        ["routes added route-1", "upstreams added route-1", "endpoints added route-1 c:1"]
    );
    let gone = changes(&[a, b.clone()].concat(), &b);
    assert_eq!(
        different(&gone),
        ["routes drained route-1", "upstreams drained route-1", "endpoints drained route-1 a:1"]
    );
}

fn text(routes: &[usize], endpoints: &[usize], seed: usize) -> String {
    let mut text = DOOR.to_owned();
    for route in routes {
        let to = (route * seed) % 3;
        text.push_str(&format!(
            "[[routes]]\nname = \"r{route}\"\npath = \"/{}\"\nupstream = \"u{to}\"\n",
            route + 100 * (route * seed % 2)
        ));
    }
    for upstream in 0..3 {
        let list: Vec<String> = endpoints
            .iter()
            .map(|at| format!("\"10.0.{upstream}.{at}:{}\"", 80 + at * seed % 2))
            .collect();
        text.push_str(&format!("[upstreams.u{upstream}]\nendpoints = [{}]\n", list.join(", ")));
    }
    text
}

fn some(of: usize) -> impl Strategy<Value = Vec<usize>> {
    subsequence((1..=of).collect::<Vec<_>>(), 1..=of).prop_shuffle()
}

proptest! {
    #[test]
    fn everything_old_and_everything_new_is_named_once(
        (a, b, c, d) in (some(8), some(8), some(5), some(5)),
        (s, t) in (1_usize..4, 1_usize..4),
    ) {
        let (old, new) = (plan(&text(&a, &c, s)), plan(&text(&b, &d, t)));
        let changes = Changes::between(&old, &new);
        let counted = |sorted: &Sorted| {
            let (kept, changed) = (sorted.kept.len(), sorted.changed.len());
            (kept + changed + sorted.drained.len(), kept + changed + sorted.added.len())
        };
        let endpoints = |plan: &Plan| plan.upstreams.iter().map(|u| u.endpoints.len()).sum();
        prop_assert_eq!(counted(&changes.listeners), (1, 1));
        prop_assert_eq!(counted(&changes.routes), (old.routes.len(), new.routes.len()));
        prop_assert_eq!(counted(&changes.upstreams), (3, 3));
        prop_assert_eq!(counted(&changes.endpoints), (endpoints(&old), endpoints(&new)));
        let mut taken: Vec<_> = changes.upstream_of.iter().flatten().collect();
        taken.sort();
        taken.dedup();
        prop_assert_eq!(taken.len(), changes.upstream_of.iter().flatten().count());
        prop_assert!(Changes::between(&new, &new).is_same());
        let back = Changes::between(&new, &old);
        prop_assert_eq!(changes.is_same(), back.is_same());
    }
}
