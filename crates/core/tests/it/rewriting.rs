//! What becomes of a path.

use gatehouse_core::route::{Rewrite, RewriteScratch};
use proptest::prelude::*;
use regex::bytes::Regex;

fn strip(prefix: &str) -> Rewrite {
    Rewrite::Strip(prefix.into())
}

fn replace(pattern: &str, to: &str) -> Rewrite {
    Rewrite::Replace { pattern: Regex::new(pattern).unwrap(), to: to.as_bytes().into() }
}

fn rewritten(rewrite: &Rewrite, path: &str) -> String {
    let mut out = b"kept".to_vec();
    rewrite.apply(path.as_bytes(), &mut out);
    String::from_utf8(out.split_off(4)).unwrap()
}

#[test]
fn a_prefix_is_stripped_at_a_segment_boundary() {
    for (prefix, path, expected) in [
        ("/v1", "/v1", "/"),
        ("/v1", "/v1/", "/"),
        ("/v1", "/v1/items", "/items"),
        ("/v1", "/v1x", "/v1x"),
        ("/v1", "/v1x/items", "/v1x/items"),
        ("/v1", "/V1/items", "/V1/items"),
        ("/v1", "/a/v1/items", "/a/v1/items"),
        ("/v1", "/v1/v1/x", "/v1/x"),
        ("/v1/", "/v1/items", "/items"),
        ("/v1/", "/v1", "/"),
        ("/a/b", "/a/b/c", "/c"),
        ("", "/a", "/a"),
        ("/", "/a", "/a"),
        ("/", "/", "/"),
    ] {
        assert_eq!(rewritten(&strip(prefix), path), expected, "{prefix} {path}");
    }
}

#[test]
fn nothing_is_rewritten_unless_asked() {
    assert_eq!(rewritten(&Rewrite::Keep, "/a%20b"), "/a%20b");
}

#[test]
fn the_first_generations_rewrite_keeps_to_segments() {
    let rewrite = replace("^/dir(/.*)?$", "$1");
    for (path, expected) in [
        ("/dir/abc", "/abc"),
        ("/abc", "/abc"),
        ("/dir", "/"),
        ("/dir/", "/"),
        ("/directory/x", "/directory/x"),
    ] {
        assert_eq!(rewritten(&rewrite, path), expected, "{path}");
    }
}

#[test]
fn only_the_first_find_is_replaced() {
    assert_eq!(rewritten(&replace("a", "b"), "/a/a"), "/b/a");
}

#[test]
fn groups_are_named_by_number_and_by_name() {
    for (pattern, to, path, expected) in [
        ("^/(?<user>[^/]+)/(.*)$", "/u/${user}/$2", "/ann/x/y", "/u/ann/x/y"),
        ("^/(\\d+)", "/${1}a", "/12/x", "/12a/x"),
        ("^/(\\d+)", "/$1a", "/12/x", "//x"),
        ("^/(\\d+)", "/$$1", "/12", "/$1"),
        ("^/(\\d+)", "/$", "/12", "/$"),
        ("^/(\\d+)", "/${1", "/12", "/${1"),
        ("^/(\\d+)", "/$9$none", "/12", "/"),
        ("/x(y)?", "/[$1]", "/x", "/[]"),
        ("^.*$", "", "/x", "/"),
    ] {
        assert_eq!(rewritten(&replace(pattern, to), path), expected, "{pattern} {to}");
    }
}

#[test]
fn one_scratch_serves_all_patterns() {
    let mut scratch = RewriteScratch::default();
    for round in 0..3 {
        for groups in 0..1_500 {
            let pattern = format!("^/({groups})/{}(x)$", "(a)?".repeat(groups % 3));
            let rewrite = replace(&pattern, &format!("/$1-${}", groups % 3 + 2));
            let mut out = Vec::new();
            rewrite.apply_with(format!("/{groups}/x").as_bytes(), &mut scratch, &mut out);
            assert_eq!(out, format!("/{groups}-x").as_bytes(), "round {round}");
        }
    }
}

proptest! {
    #[test]
    fn replacing_is_the_regex_crates_own(
        to in "[$a-b{}1-2_/é]{0,12}",
        path in "/[a-b/]{0,8}",
        pattern in prop::sample::select(vec!["^/(a+)(b)?", "(?<a>a)|(?<b>b)", "/", "x", "$", ""]),
    ) {
        let regex = Regex::new(pattern).unwrap();
        let expected = regex.replace(path.as_bytes(), to.as_bytes()).into_owned();
        let expected = if expected.is_empty() { b"/".to_vec() } else { expected };
        let mut out = Vec::new();
        replace(pattern, &to).apply(path.as_bytes(), &mut out);
        prop_assert_eq!(out, expected);
    }
}
