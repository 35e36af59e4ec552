//! What reaches an origin, and from whom it says it comes.

use crate::bench::{Setup, with};
use crate::talk::{field, get, ok};
use gatehouse_core::plan::{Cidr, Edits, FieldEdit};
use gatehouse_core::route::Rewrite;

#[test]
fn a_request_reaches_the_origin_and_its_answer_the_client() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/a/../b?q=1")).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert!(head.starts_with("GET /b?q=1 HTTP/1.1\r\nHost: example.com\r\n"), "{head}");
        assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("example.com"));
        assert_eq!(field(&head, "via"), Some("1.1 gatehouse"));
        at_origin.say(ok("hello")).await;
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, "hello");
        assert!(bench.log().contains("\"status\":200"));
    });
}

#[test]
fn a_kept_connection_carries_the_next_request() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/1")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok("1")).await;
        client.hear_message().await;
        assert_eq!(bench.gate.idle_connections(), 1);
        client.say(get("/2")).await;
        assert!(at_origin.hear_head().await.starts_with("GET /2 "));
        at_origin.say(ok("2")).await;
        assert_eq!(client.hear_message().await.1, "2");
    });
}

#[test]
fn no_endpoint_that_answers_is_a_502_with_its_reason() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        let status = field(&head, "proxy-status").unwrap();
        assert!(status.starts_with("gatehouse; error=connection_refused;"), "{status}");
        assert!(body.starts_with("502 Bad Gateway: the connection was refused"), "{body}");
        client.say(get("/again")).await;
        assert!(client.hear_head().await.starts_with("HTTP/1.1 502 "));
    });
}

/// The head an origin is sent for these fields.
fn forwarded(setup: Setup, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n");
    seen(setup, &request)
}

/// The head an origin is sent for this request.
fn seen(setup: Setup, request: &str) -> String {
    let mut head = String::new();
    with(setup, async |bench| {
        let mut line = bench.line();
        head = line.ask(request, ok("")).await;
        line.client.hear_head().await;
    });
    head
}

fn trusting() -> Setup {
    let range = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
    let trusted = vec![range("192.0.2.0", 24), range("10.0.0.0", 8)];
    Setup { trusted, ..Setup::default() }
}

fn every<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let own = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
    own.map(|(_, value)| value.trim()).collect()
}

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-FOR: 7.7.7.7\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
    X-Forwarded-Prefix: /x\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil\r\n";

#[test]
fn what_a_client_says_of_itself_never_reaches_an_origin() {
    let head = forwarded(Setup::default(), SPOOFED);
    assert_eq!(every(&head, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(every(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(every(&head, "x-forwarded-host"), ["example.com"]);
    assert_eq!(every(&head, "forwarded"), ["for=192.0.2.1;proto=http;host=\"example.com\""]);
    for evil in ["6.6.6.6", "7.7.7.7", "evil", "X-Forwarded-Port", "Prefix", "X-Real-IP"] {
        assert!(!head.contains(evil), "{evil}: {head}");
    }
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let head = forwarded(trusting(), SPOOFED);
    assert_eq!(every(&head, "x-forwarded-for"), ["6.6.6.6, 7.7.7.7, 192.0.2.1"]);
    assert_eq!(every(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(every(&head, "x-forwarded-host"), ["evil"]);
    assert_eq!(every(&head, "x-real-ip"), ["6.6.6.6"]);
    let own = "for=192.0.2.1;proto=http;host=\"example.com\"";
    assert_eq!(every(&head, "forwarded"), [format!("for=6.6.6.6;host=evil, {own}")]);
    let head = forwarded(trusting(), "");
    assert_eq!(every(&head, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(every(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(every(&head, "x-forwarded-host"), ["example.com"]);
}

#[test]
fn the_client_behind_trusted_proxies_is_the_nearest_hop_that_is_none_of_them() {
    for (fields, client) in [
        ("", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1, 10.2.2.2\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.9:5123\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, [2001:db8::9]:5123, 10.1.1.1:80\r\n", "2001:db8::9"),
        ("X-Forwarded-For: 6.6.6.6, 2001:db8::9\r\n", "2001:db8::9"),
        ("X-Forwarded-For: 10.1.1.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6, unknown\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6, unknown, 10.1.1.1\r\n", "192.0.2.1"),
    ] {
        with(trusting(), async |bench| {
            let mut line = bench.line();
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            line.fetch(request, ok("")).await;
            let log = bench.log();
            assert!(log.contains(&format!("\"client\":\"{client}\"")), "{fields}{log}");
        });
    }
}

#[test]
fn spellings_with_an_underscore_of_fields_that_the_gateway_sets_are_dropped() {
    let mut setup = Setup::default();
    setup.request_edits.set.push(edit("x-env", "prod"));
    setup.request_edits.remove.push("x-debug".into());
    let head = forwarded(
        setup,
        "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\nX_REAL_IP: 6.6.6.6\r\n\
         Content_Length: 5\r\nTransfer_Encoding: chunked\r\nHost_: a\r\nX_Env: test\r\n\
         X_Debug: 1\r\nX_Other: kept\r\n",
    );
    for gone in ["6.6.6.6", "Content_", "Transfer_", "X_Env", "X_Debug"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    assert_eq!(field(&head, "x_other"), Some("kept"));
    assert_eq!(field(&head, "x-env"), Some("prod"));
}

#[test]
fn connection_takes_out_what_it_names_but_nothing_end_to_end() {
    let head = forwarded(
        Setup::default(),
        "Connection: close, X-Foo, Host, Authorization, X-Forwarded-For, X-Forwarded-Proto, \
         X-Forwarded-Host, Forwarded, Via, Cookie, Content-Length\r\nConnection: x-BAR\r\n\
         X-Foo: 1\r\nX-Bar: 2\r\nX-Baz: 3\r\nAuthorization: Basic eA==\r\nCookie: c=1\r\n",
    );
    assert_eq!(field(&head, "x-foo"), None);
    assert_eq!(field(&head, "x-bar"), None);
    assert_eq!(field(&head, "x-baz"), Some("3"));
    assert_eq!(field(&head, "host"), Some("example.com"));
    assert_eq!(field(&head, "authorization"), Some("Basic eA=="));
    assert_eq!(field(&head, "cookie"), Some("c=1"));
    assert_eq!(every(&head, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(every(&head, "x-forwarded-host"), ["example.com"]);
    assert_eq!(field(&head, "connection"), None);
    let body = "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\n\
                Content-Length: 5\r\n\r\nhello";
    assert_eq!(field(&seen(Setup::default(), body), "content-length"), Some("5"));
}

#[test]
fn hop_by_hop_fields_end_at_the_gateway() {
    let hop = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
               TE: trailers\r\nUpgrade: foo\r\n";
    let head = forwarded(Setup::default(), hop);
    for name in ["connection", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(field(&head, name), None, "{name}");
    }
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let named = "Connection: x-foo\r\nX-Foo: 1\r\nX-Bar: 2\r\nSet-Cookie: a\r\n";
        let answer = format!("HTTP/1.1 200 OK\r\n{hop}{named}Content-Length: 0\r\n\r\n");
        let (head, _) = line.fetch(get("/"), answer).await;
        for name in ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "x-foo"] {
            assert_eq!(field(&head, name), None, "{name}");
        }
        assert_eq!(field(&head, "x-bar"), Some("2"));
        assert_eq!(field(&head, "set-cookie"), Some("a"));
    });
}

fn edit(name: &str, value: &str) -> FieldEdit {
    FieldEdit { name: name.into(), value: value.into() }
}

#[test]
fn edits_are_applied_in_both_directions() {
    let edits = || Edits {
        remove: vec!["x-gone".into(), "user-agent".into()],
        set: vec![edit("x-set", "new"), edit("via", "mine")],
        add: vec![edit("x-add", "2")],
    };
    let setup = Setup { request_edits: edits(), response_edits: edits(), ..Setup::default() };
    with(setup, async |bench| {
        let mut line = bench.line();
        let fields = "X-Gone: 1\r\nx-set: old\r\nX-SET: older\r\nX-Add: 1\r\nUser-Agent: u\r\n";
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        let at_origin = line.ask(request, answer).await;
        let at_client = line.client.hear_head().await;
        for head in [at_origin, at_client] {
            assert_eq!(field(&head, "x-gone"), None);
            assert_eq!(field(&head, "user-agent"), None);
            assert_eq!(every(&head, "x-set"), ["new"]);
            assert_eq!(every(&head, "x-add"), ["1", "2"]);
            assert_eq!(every(&head, "via"), ["mine"]);
        }
    });
}

#[test]
fn the_host_is_the_clients_unless_the_route_says_otherwise() {
    let plain = Setup::default;
    for (request, host) in [
        ("GET / HTTP/1.1\r\nHost: Example.COM:81\r\n\r\n", "Example.COM:81"),
        ("GET http://Example.com:81/ HTTP/1.1\r\nHost: example.com:81\r\n\r\n", "example.com:81"),
        ("GET http://Example.com/ HTTP/1.0\r\n\r\n", "Example.com"),
        ("GET / HTTP/1.0\r\n\r\n", "10.0.1.1:80"),
    ] {
        assert_eq!(every(&seen(plain(), request), "host"), [host], "{request}");
    }
    let mut setup = Setup::default();
    setup.request_edits.set.push(edit("host", "api.internal"));
    let head = forwarded(setup, "");
    assert_eq!(every(&head, "host"), ["api.internal"]);
    assert_eq!(field(&head, "x-forwarded-host"), Some("example.com"));
}

#[test]
fn every_form_of_a_target_is_sent_as_a_path() {
    for (target, sent) in [
        ("/", "/"),
        ("/a/b?c=d&e=%2F..", "/a/b?c=d&e=%2F.."),
        ("/?", "/?"),
        ("/a?b?c", "/a?b?c"),
        ("http://example.com/a?b", "/a?b"),
        ("http://example.com?b", "/?b"),
        ("HTTP://example.com", "/"),
        ("/x/../admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("//admin", "/admin"),
        ("/./admin/.", "/admin/"),
        ("/a%c3%a9%20b", "/a%C3%A9%20b"),
        ("/a;v=1", "/a;v=1"),
    ] {
        let head = seen(Setup::default(), &get(target));
        assert!(head.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{target}: {head}");
    }
    for target in ["*", "http://example.com"] {
        let head = seen(Setup::default(), &get(target).replace("GET", "OPTIONS"));
        assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{target}: {head}");
    }
}

#[test]
fn a_path_that_could_be_read_two_ways_is_refused() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        for path in [
            "/a%2Fb", "/a%2fb", "/%00", "/a%5Cb", "/a\\b", "/a#b", "/%", "/%zz", "/a/..;/b",
            "/a?b#c",
        ] {
            let mut client = bench.client();
            client.say(get(path)).await;
            let (head, _) = client.hear_message().await;
            assert!(head.starts_with("HTTP/1.1 400 "), "{path}: {head}");
        }
        assert!(origin.is_left_alone().await);
    });
}

#[test]
fn a_prefix_is_stripped_at_a_segment_boundary() {
    for (path, sent) in [
        ("/v1/items?x=1", "/items?x=1"),
        ("/v1", "/"),
        ("/v1?x", "/?x"),
        ("/v1x/items", "/v1x/items"),
        ("/a/../v1/items", "/items"),
        ("/v1//items", "/items"),
        ("/v1/../admin", "/admin"),
    ] {
        let setup = Setup { rewrite: Rewrite::Strip("/v1".into()), ..Setup::default() };
        let head = seen(setup, &get(path));
        assert!(head.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{path}: {head}");
    }
}

#[test]
fn a_rewrite_never_sends_what_is_no_path() {
    let replace = |pattern: &str, to: &str| Setup {
        rewrite: Rewrite::Replace {
            pattern: regex::bytes::Regex::new(pattern).unwrap(),
            to: to.as_bytes().into(),
        },
        ..Setup::default()
    };
    let head = seen(replace("^/dir(/.*)?$", "$1"), &get("/dir/abc?q"));
    assert!(head.starts_with("GET /abc?q HTTP/1.1\r\n"), "{head}");
    let head = seen(replace("^/dir(/.*)?$", "/base$1"), &get("/dir/a/b"));
    assert!(head.starts_with("GET /base/a/b HTTP/1.1\r\n"), "{head}");
    let head = seen(replace("^/x", "/a/../y"), &get("/x/z"));
    assert!(head.starts_with("GET /y/z HTTP/1.1\r\n"), "{head}");
    for to in ["x", "http://evil/", "/a b", "/a?b", "/%2F", "/\\"] {
        with(replace("^/dir", to), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = bench.client();
            client.say(get("/dir")).await;
            assert!(client.hear_head().await.starts_with("HTTP/1.1 400 "), "{to}");
            assert!(origin.is_left_alone().await);
        });
    }
}

#[test]
fn methods_fields_and_their_order_pass_unchanged() {
    let fields = "A: 1\r\nb:2\r\nC:   3 \t\r\nA: 4\r\nD:\r\nE: \u{e9}\r\n";
    let request = format!("BREW /pot HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let head = seen(Setup::default(), &request);
    assert!(head.starts_with(&format!("BREW /pot HTTP/1.1\r\nHost: a\r\n{fields}")), "{head}");
}
