//! What becomes of a path on its way: base paths, rewrites, and spellings that must not cross a
//! route. The names and numbers of the first generation are in the comments.

use crate::front::{BINARY, DOORS, get};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;

/// The target an origin behind this base path and these further lines of its route is asked for.
struct Joined {
    gateway: Gateway,
    _origin: Origin,
}

impl Joined {
    fn new(base: &str, lines: &str) -> Joined {
        let origin = Origin::start("a").expect("a port");
        let route = format!(
            "[[routes]]\n{lines}\nupstream = {{ endpoints = [\"http://{}{base}\"] }}\n",
            origin.address()
        );
        let gateway = Gateway::start(BINARY, &format!("{DOORS}{route}"));
        Joined { gateway, _origin: origin }
    }

    #[track_caller]
    fn asks(&self, target: &str, expected: &str) {
        let answer = get(self.gateway.listener("web"), target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        // Only `/echo…` echoes, so every base path here begins with it.
        let seen = Json::read(&answer.text());
        assert_eq!(seen.text("target"), expected, "for {target}");
    }
}

#[test]
fn a_base_path_is_joined_with_one_slash_and_the_query_kept() {
    // The simple proxy: `:2000` before `http://127.0.0.1:2003/base`.
    for base in ["/echo/base", "/echo/base/"] {
        let joined = Joined::new(base, "");
        joined.asks("/abc", "/echo/base/abc");
        joined.asks("/abc/", "/echo/base/abc/");
        joined.asks("/abc?q=1&r=%20", "/echo/base/abc?q=1&r=%20");
        joined.asks("/", "/echo/base/");
        joined.asks("/?q", "/echo/base/?q");
    }
    Joined::new("", "").asks("/echo", "/echo");
    Joined::new("/", "").asks("/echo", "/echo");
}

#[test]
fn the_step_proxys_rewrite_ends_at_a_segment_boundary() {
    // `^/dir(.*)` -> `$1` made `/base/ectory/x` of `/directory/x`.
    let rewrite = r#"rewrite = { match = "^/dir(/.*)?$", to = "$1" }"#;
    let joined = Joined::new("/echo/base", rewrite);
    joined.asks("/dir/abc", "/echo/base/abc");
    joined.asks("/abc", "/echo/base/abc");
    joined.asks("/dir", "/echo/base/");
    joined.asks("/dir/", "/echo/base/");
    joined.asks("/dir?q=1", "/echo/base/?q=1");
    joined.asks("/directory/x", "/echo/base/directory/x");
}

#[test]
fn a_stripped_prefix_ends_at_a_segment_boundary() {
    let joined = Joined::new("/echo", "path = \"/v1/*\"\nrewrite = { strip = \"/v1\" }");
    joined.asks("/v1/items?a=1", "/echo/items?a=1");
    joined.asks("/v1", "/echo/");
    let other = get(joined.gateway.listener("web"), "/v10");
    assert_eq!(other.status, 404);
}

#[test]
fn no_spelling_of_a_path_crosses_a_route() {
    let origin = Origin::start("a").expect("a port");
    let config = format!(
        "{DOORS}[[routes]]\npath = \"/admin/*\"\nrespond = {{ status = 403 }}\n\
         [[routes]]\nupstream = {{ endpoints = [\"http://{}/echo\"] }}\n",
        origin.address()
    );
    let gateway = Gateway::start(BINARY, &config);
    let web = gateway.listener("web");
    for path in ["/admin", "/x/../admin", "/%61dmin", "/./admin/", "/%2e/admin", "/x/%2E%2e/admin"]
    {
        assert_eq!(get(web, path).status, 403, "{path}");
    }
    for (path, sent) in [("/a/../b", "/echo/b"), ("/%7Eme", "/echo/~me"), ("/../../b", "/echo/b")] {
        let seen = Json::read(&get(web, path).text());
        assert_eq!(seen.text("target"), sent, "{path}");
    }
}

#[test]
fn a_raw_route_sends_what_the_client_wrote() {
    let joined = Joined::new("/echo", "path-mode = \"raw\"");
    joined.asks("/a%2Fb/../c", "/echo/a%2Fb/../c");
    joined.asks("/%61", "/echo/%61");
}
