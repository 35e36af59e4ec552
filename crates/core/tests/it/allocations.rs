//! What the data path does for every request allocates nothing.

use crate::asking::{request, router, rule};
use crate::pool::{ALL, numbered, pool};
use allocation_counter::measure;
use gatehouse_core::route::{Found, Rewrite, RewriteScratch};
use regex::bytes::Regex;

#[test]
fn finding_a_route_allocates_nothing() {
    let router = router(&[
        rule("a.com", "/x").header("h", "1"),
        rule("a.com", "~ ^/v[0-9]+/"),
        rule("*.com", "/y/*").query("q", "1"),
        rule("", "/y/*").raw(),
        rule("", "/*").methods("POST"),
    ])
    .unwrap();
    let asked = [
        request("GET", "a.com", "/v12/items"),
        request("GET", "a.com", "/y/z?a=2&%71=%31"),
        request("GET", "b.a.com", "/%79/z"),
        request("GET", "b.a.com", "/none"),
        request("POST", "", "/x").header("h", "2"),
    ];
    let find = || asked.iter().filter(|own| router.find(&own.asked()) == Found::NoRoute).count();
    // A regex fills its working memory the first time.
    find();
    assert_eq!(measure(|| assert_eq!(find(), 0)).count_total, 0);
}

#[test]
fn picking_allocates_nothing() {
    for balance in ALL {
        for count in [1, 2, 9, 1_000] {
            let mut pool = pool(balance, numbered(count));
            let keys = ["", "a", "10.0.0.1", "a longer key than the others are"];
            let picks = measure(|| {
                for key in keys.iter().cycle().take(100) {
                    pool.pick(key.as_bytes());
                }
            });
            assert_eq!(picks.count_total, 0, "{balance:?} {count}");
        }
    }
}

#[test]
fn rewriting_allocates_nothing_once_a_pattern_was_used() {
    let replace = |pattern: &str, to: &str| Rewrite::Replace {
        pattern: Regex::new(pattern).unwrap(),
        to: to.as_bytes().into(),
    };
    let rewrites = [
        Rewrite::Strip("/v1".into()),
        replace("^/dir(/.*)?$", "$1"),
        replace("^/(?<user>[a-z]+)/", "/users/${user}/"),
    ];
    let (mut scratch, mut out) = (RewriteScratch::default(), Vec::with_capacity(256));
    let mut all = |out: &mut Vec<u8>| {
        for path in ["/v1/x", "/dir/abc", "/ann/cart", "/dir"] {
            out.clear();
            rewrites.iter().for_each(|own| own.apply_with(path.as_bytes(), &mut scratch, out));
        }
    };
    all(&mut out);
    assert_eq!(measure(|| all(&mut out)).count_total, 0);
}
