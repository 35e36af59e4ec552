//! PROXY headers: who may send one, what it changes, and what endpoints are told.

use crate::bench::{Bench, Setup, with};
use crate::talk::{Clock, End, SOON, Talk, field, get, ok, pass};
use gatehouse_core::plan::{Announced, Carries, Cidr, ClientLimits, Keepalive, ProxyVersion};
use std::time::Duration;

const V1: &str = "PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc6\x33\x64\x01\x9c\x40\x01\xbb";
/// What the gateway tells of the tests' clients: their one address, and what it thinks it is.
const TOLD: &str = "PROXY TCP4 192.0.2.1 192.0.2.80 40000 80\r\n";

/// A listener that takes PROXY headers from the tests' clients.
fn trusting() -> Setup {
    let range = Cidr { address: "192.0.2.0".parse().unwrap(), prefix: 24 };
    Setup { announced: Announced::ByProxyHeader, trusted: vec![range], ..Setup::default() }
}

fn telling(version: ProxyVersion) -> Setup {
    Setup { announce: Some(version), ..Setup::default() }
}

/// The head an origin is sent for what a client says.
async fn forwarded(bench: &Bench, parts: &[&[u8]]) -> String {
    let (mut origin, mut client) = (bench.origin(1), bench.client());
    for part in parts {
        client.say(part).await;
        pass(SOON).await;
    }
    let mut at_origin = origin.accept().await;
    let head = at_origin.hear_head().await;
    at_origin.say(ok("hello")).await;
    assert_eq!(client.hear_message().await.1, "hello");
    bench.gate.drop_idle();
    head
}

#[test]
fn a_request_comes_from_whom_the_header_tells() {
    for header in [V1.as_bytes(), V2] {
        with(trusting(), async |bench| {
            let request = get("/");
            let together = [header, request.as_bytes()].concat();
            let head = forwarded(&bench, &[&together]).await;
            assert_eq!(field(&head, "x-forwarded-for"), Some("203.0.113.9"), "{head}");
            assert!(field(&head, "forwarded").unwrap().starts_with("for=203.0.113.9;"));
            let single: Vec<&[u8]> = together.chunks(1).collect();
            let head = forwarded(&bench, &single).await;
            assert_eq!(field(&head, "x-forwarded-for"), Some("203.0.113.9"));
            assert!(bench.log().contains(r#""client":"203.0.113.9""#));
        });
    }
}

#[test]
fn the_client_that_a_header_tells_of_is_not_believed_for_that() {
    with(trusting(), async |bench| {
        let request = get("/").replace("\r\n\r\n", "\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n");
        let head = forwarded(&bench, &[V1.as_bytes(), request.as_bytes()]).await;
        assert_eq!(field(&head, "x-forwarded-for"), Some("203.0.113.9"));
    });
}

#[test]
fn a_header_that_tells_of_nobody_leaves_the_peers_own_address() {
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        with(trusting(), async |bench| {
            let head = forwarded(&bench, &[header, get("/").as_bytes()]).await;
            assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.1"));
        });
    }
}

#[test]
fn a_peer_that_is_no_trusted_proxy_is_not_taken_header_or_not() {
    let other = vec![Cidr { address: "10.0.0.0".parse().unwrap(), prefix: 8 }];
    with(Setup { trusted: other, ..trusting() }, async |bench| {
        let mut origin = bench.origin(1);
        for text in [format!("{V1}{}", get("/")), get("/")] {
            let mut client = bench.client();
            client.try_say(text.as_bytes()).await;
            assert_eq!(client.hear_end().await, "");
        }
        assert!(origin.is_left_alone().await);
        assert_eq!(bench.gate.meters.proxy_headers_refused.get(), 2);
    });
}

#[test]
fn a_connection_without_a_sound_header_is_closed_unanswered() {
    with(trusting(), async |bench| {
        let mut origin = bench.origin(1);
        let request = get("/");
        for text in [
            request.as_str(),
            "PROXY TCP4 203.0.113.9\r\n\r\n",
            "PROXY UDP4 203.0.113.9 198.51.100.1 40000 443\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n",
        ] {
            let mut client = bench.client();
            client.try_say(text.as_bytes()).await;
            assert_eq!(client.hear_end().await, "", "{text}");
        }
        drop(bench.client());
        assert!(origin.is_left_alone().await);
        assert_eq!(bench.gate.meters.proxy_headers_refused.get(), 5);
    });
}

#[test]
fn a_header_is_waited_for_no_longer_than_a_head() {
    with(trusting(), async |bench| {
        let (mut silent, mut slow) = (bench.client(), bench.client());
        let clock = Clock::start();
        slow.say(&V1[..20]).await;
        assert_eq!(silent.hear_end().await, "");
        assert_eq!(slow.hear_end().await, "");
        clock.has_passed(ClientLimits::default().head_timeout);
    });
}

#[test]
fn without_proxy_protocol_a_header_is_no_request() {
    with(Setup { announced: Announced::No, ..trusting() }, async |bench| {
        let mut client = bench.client();
        client.say(format!("{V1}{}", get("/"))).await;
        assert!(client.hear_end().await.starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn an_endpoint_is_told_whose_connection_it_is_before_anything_else() {
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x50\x9c\x40\0\x50";
    for (version, told) in [(ProxyVersion::V1, TOLD.as_bytes()), (ProxyVersion::V2, binary)] {
        with(telling(version), async |bench| {
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            client.say(get("/")).await;
            let mut at_origin = origin.accept().await;
            assert_eq!(at_origin.hear_raw(told.len()).await, told);
            assert!(at_origin.hear_head().await.starts_with("GET / HTTP/1.1\r\n"));
            at_origin.say(ok("hello")).await;
            client.hear_message().await;
        });
    }
}

#[test]
fn an_endpoint_is_told_what_the_gateway_was_told() {
    let setup = Setup { announce: Some(ProxyVersion::V1), ..trusting() };
    for carries in [Carries::Http, Carries::Tcp] {
        let setup = Setup {
            carries,
            trusted: setup.trusted.clone(),
            announce: setup.announce,
            ..trusting()
        };
        with(setup, async |bench| {
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            client.say(V1.to_owned() + &get("/")).await;
            let mut at_origin = origin.accept().await;
            assert_eq!(at_origin.hear_raw(V1.len()).await, V1.as_bytes());
            assert!(at_origin.hear_head().await.starts_with("GET / HTTP/1.1\r\n"));
            at_origin.say(ok("hello")).await;
            client.hear_message().await;
        });
    }
}

/// Asks for `path`; the connection it comes on, which starts with a header where it is new.
async fn asked(
    client: &mut Talk,
    origin: &mut crate::bench::Origin,
    kept: Option<Talk>,
    path: &str,
) -> Talk {
    client.say(get(path)).await;
    let mut at_origin = match origin.accept_soon(SOON).await {
        Some(mut new) => {
            assert_eq!(new.hear_raw(TOLD.len()).await, TOLD.as_bytes());
            new
        }
        None => kept.expect("the connection before"),
    };
    let head = at_origin.hear_head().await;
    assert!(head.starts_with(&format!("GET {path} ")), "{head}");
    at_origin.say(ok(path)).await;
    assert_eq!(client.hear_message().await.1, path);
    at_origin
}

#[test]
fn a_connection_told_of_one_client_carries_nobody_elses_requests() {
    with(telling(ProxyVersion::V1), async |bench| {
        let mut origin = bench.origin(1);
        let (mut one, mut two) = (bench.client(), bench.client());
        let of_one = asked(&mut one, &mut origin, None, "/1").await;
        // Its next request comes on the same connection; another client's does not.
        let mut of_one = asked(&mut one, &mut origin, Some(of_one), "/2").await;
        let of_two = asked(&mut two, &mut origin, None, "/3").await;
        assert_eq!(bench.gate.idle_connections(), 0);
        drop(one);
        assert_eq!(of_one.hear_how_it_ends().await, (String::new(), End::Closed));
        drop(asked(&mut two, &mut origin, Some(of_two), "/4").await);
        // One that the endpoint has closed is replaced, and the new one is told as well.
        asked(&mut two, &mut origin, None, "/5").await;
        drop(two);
        pass(SOON).await;
        assert_eq!(bench.endpoints.list()[0].vitals.connections(), 0);
    });
}

#[test]
fn a_connection_told_of_one_client_is_not_used_again_with_bytes_left_over() {
    with(telling(ProxyVersion::V1), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        client.say(get("/1")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_raw(TOLD.len()).await;
        at_origin.hear_head().await;
        at_origin.say(ok("/1") + &ok("poison")).await;
        assert_eq!(client.hear_message().await.1, "/1");
        asked(&mut client, &mut origin, None, "/2").await;
    });
}

#[test]
fn a_connection_told_of_one_client_is_not_used_again_after_its_idle_time() {
    with(telling(ProxyVersion::V1), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let idle = Keepalive::default().idle_timeout;
        assert!(idle < ClientLimits::default().idle_timeout);
        let at_origin = asked(&mut client, &mut origin, None, "/1").await;
        pass(idle - 2 * SOON).await;
        let _old = asked(&mut client, &mut origin, Some(at_origin), "/2").await;
        pass(idle + SOON).await;
        asked(&mut client, &mut origin, None, "/3").await;
    });
}

#[test]
fn a_kept_connection_goes_with_the_idle_time_of_its_client() {
    with(telling(ProxyVersion::V1), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let mut at_origin = asked(&mut client, &mut origin, None, "/1").await;
        let clock = Clock::start();
        assert_eq!(at_origin.hear_how_it_ends().await, (String::new(), End::Closed));
        clock.has_passed(ClientLimits::default().idle_timeout);
        assert_eq!(client.hear_end().await, "");
        assert_eq!(Duration::from_secs(60), ClientLimits::default().idle_timeout);
    });
}
