//! Every limit holds at its number and not one below; the statuses of what is over are proved
//! with the framing.

use crate::bench::{Setup, endpoints_at_most, with};
use crate::talk::{field, get, ok, pass};
use gatehouse_core::plan::ClientLimits;
use std::time::Duration;

fn status(head: &str) -> &str {
    head.get(9..12).unwrap_or("")
}

#[test]
fn no_more_connections_are_open_than_allowed() {
    let limits = ClientLimits { connections_max: 3, ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut clients: Vec<_> = (0..3).map(|_| bench.client()).collect();
        pass(Duration::from_millis(1)).await;
        let mut over = bench.client();
        assert_eq!(over.hear_end().await, "");
        assert_eq!(bench.gate.meters.refused.get(), 1);
        assert_eq!(bench.gate.meters.accepted.get(), 4);
        clients.pop();
        pass(Duration::from_millis(1)).await;
        bench.serves(&mut bench.origin(1), &mut None, "/room-again").await;
    });
}

#[test]
fn a_head_of_exactly_the_limit_is_taken() {
    let base = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let limits = ClientLimits { head_bytes_max: 500, ..ClientLimits::default() };
    for (more, expected) in [(500 - base, "200"), (501 - base, "431")] {
        with(Setup { limits: limits.clone(), ..Setup::default() }, async |bench| {
            let mut line = bench.line();
            let value = "x".repeat(more);
            line.client.say(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n")).await;
            if expected == "200" {
                line.at_origin().await.say(ok("")).await;
            }
            assert_eq!(status(&line.client.hear_head().await), expected);
        });
    }
}

#[test]
fn as_many_fields_as_allowed_are_taken() {
    let limits = ClientLimits { fields_max: 5, ..ClientLimits::default() };
    for (more, expected) in [(4, "200"), (5, "431")] {
        with(Setup { limits: limits.clone(), ..Setup::default() }, async |bench| {
            let mut line = bench.line();
            let fields = "X: y\r\n".repeat(more);
            line.client.say(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
            if expected == "200" {
                line.at_origin().await.say(ok("")).await;
            }
            assert_eq!(status(&line.client.hear_head().await), expected);
        });
    }
}

#[test]
fn a_target_of_exactly_the_limit_is_taken() {
    let limits = ClientLimits { target_bytes_max: 50, ..ClientLimits::default() };
    for (length, expected) in [(50, "200"), (51, "414")] {
        with(Setup { limits: limits.clone(), ..Setup::default() }, async |bench| {
            let mut line = bench.line();
            line.client.say(get(&format!("/{}", "x".repeat(length - 1)))).await;
            if expected == "200" {
                line.at_origin().await.say(ok("")).await;
            }
            assert_eq!(status(&line.client.hear_head().await), expected);
        });
    }
}

#[test]
fn a_body_of_exactly_the_limit_is_taken() {
    let limits = ClientLimits { body_bytes_max: Some(10), ..ClientLimits::default() };
    let chunked = |body: &str| format!("Transfer-Encoding: chunked\r\n\r\n{body}\r\n0\r\n\r\n");
    for (rest, expected) in [
        ("Content-Length: 10\r\n\r\n0123456789".to_owned(), "200"),
        ("Content-Length: 11\r\n\r\n0123456789a".to_owned(), "413"),
        (chunked("a\r\n0123456789"), "200"),
        (chunked("5\r\n01234\r\n5\r\n56789"), "200"),
        (chunked("5\r\n01234\r\n6\r\n56789a"), "413"),
        (chunked("b\r\n0123456789a"), "413"),
    ] {
        with(Setup { limits: limits.clone(), ..Setup::default() }, async |bench| {
            let mut line = bench.line();
            line.client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}")).await;
            if expected == "200" {
                assert!(line.at_origin().await.hear_request().await.is_some());
                line.at_origin().await.say(ok("")).await;
            }
            assert_eq!(status(&line.client.hear_head().await), expected, "{rest}");
        });
    }
}

#[test]
fn an_endpoint_at_its_cap_is_a_503_until_it_has_room() {
    with(Setup::default(), async |bench| {
        bench.gate.set_endpoints(endpoints_at_most(1, 1));
        let mut line = bench.line();
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        let mut other = bench.client();
        other.say(get("/other")).await;
        let (head, _) = other.hear_message().await;
        assert_eq!(status(&head), "503");
        assert!(field(&head, "proxy-status").unwrap().contains("connection_limit_reached"));
        line.at_origin().await.say(ok("")).await;
        line.client.hear_head().await;
        other.say(get("/other")).await;
        line.at_origin().await.hear_head().await;
        line.at_origin().await.say(ok("room")).await;
        assert_eq!(other.hear_message().await.1, "room");
        bench.gate.set_endpoints(std::sync::Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}
