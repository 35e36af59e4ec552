//! Every limit holds at its number and not one below; the statuses of what is over are proved
//! with the framing.

use crate::bench::{Setup, endpoints_at_most, with};
use crate::talk::{field, get, ok, pass};
use gatehouse_core::overload::Pressure;
use gatehouse_core::plan::{Cidr, ClientLimits};
use gatehouse_core::queue::Priority;
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

#[test]
fn no_more_connections_are_open_from_one_address_than_allowed() {
    let limits = ClientLimits { address_connections_max: Some(2), ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut clients: Vec<_> = (0..2).map(|_| bench.client()).collect();
        pass(Duration::from_millis(1)).await;
        let mut over = bench.client();
        assert_eq!(over.hear_end().await, "");
        assert_eq!(bench.gate.meters.refused.get(), 1);
        clients.pop();
        pass(Duration::from_millis(1)).await;
        bench.serves(&mut bench.origin(1), &mut None, "/room-again").await;
    });
}

#[test]
fn trusted_proxies_may_have_more_connections_than_an_address() {
    let limits = ClientLimits { address_connections_max: Some(1), ..ClientLimits::default() };
    let trusted = vec![Cidr { address: [0, 0, 0, 0].into(), prefix: 0 }];
    with(Setup { limits, trusted, ..Setup::default() }, async |bench| {
        let _clients: Vec<_> = (0..5).map(|_| bench.client()).collect();
        pass(Duration::from_millis(1)).await;
        assert_eq!(bench.gate.meters.clients.get(), 5);
    });
}

#[test]
fn no_more_connections_are_open_than_the_process_may_have() {
    with(Setup::default(), async |bench| {
        bench.gate.set_load(Pressure::None, 2);
        let mut clients: Vec<_> = (0..2).map(|_| bench.client()).collect();
        pass(Duration::from_millis(1)).await;
        let mut over = bench.client();
        pass(Duration::from_millis(1)).await;
        assert_eq!((bench.gate.meters.clients.get(), bench.gate.meters.refused.get()), (2, 1));
        assert_eq!(over.hear_end().await, "");
        clients.pop();
        pass(Duration::from_millis(1)).await;
        bench.serves(&mut bench.origin(1), &mut None, "/room-again").await;
        bench.gate.set_load(Pressure::All, 9);
        let _over = bench.client();
        pass(Duration::from_millis(1)).await;
        assert_eq!(bench.gate.meters.refused.get(), 2);
    });
}

/// What is under way goes on; what comes is turned away, the least important first.
#[test]
fn requests_are_turned_away_by_their_priority_while_memory_is_short() {
    for (priority, least) in [
        (Priority::Low, Pressure::Low),
        (Priority::Normal, Pressure::Normal),
        (Priority::High, Pressure::All),
    ] {
        with(Setup { also: Some(("/also", priority)), ..Setup::default() }, async |bench| {
            for pressure in Pressure::ALL {
                bench.gate.set_load(Pressure::None, 9);
                let mut running = bench.line();
                running.client.say(get("/running")).await;
                running.at_origin().await.hear_head().await;
                let mut client = bench.client();
                let mut frames = crate::h2::Frames::open(&bench).await;
                pass(Duration::from_millis(1)).await;
                bench.gate.set_load(pressure, 9);
                let shed = pressure >= least;
                running.at_origin().await.say(ok("done")).await;
                assert_eq!(running.client.hear_message().await.1, "done");
                client.say(get("/also")).await;
                if shed {
                    let (head, body) = client.hear_message().await;
                    assert!(body.contains("the gateway is short of memory"), "{body}");
                    let told = (status(&head), field(&head, "retry-after"));
                    assert_eq!(told, ("503", Some("1")));
                    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/also")];
                    let heard = frames.fetch(1, &[&get[..], &[(":authority", "a")]].concat()).await;
                    assert_eq!((heard.status(), heard.field("retry-after")), ("503", Some("1")));
                } else {
                    running.at_origin().await.say(ok("served")).await;
                    assert_eq!(client.hear_message().await.1, "served");
                }
                assert_eq!(bench.gate.meters.shed.get() > 0, shed);
            }
            bench.gate.drop_idle();
        });
    }
}
