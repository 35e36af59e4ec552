//! RFC 8441: WebSocket over HTTP/2, to an origin that speaks HTTP/1.1.

use super::{Ended, Frames};
use crate::bench::{Setup, with};
use crate::talk::{Clock, End, field, pass};
use gatehouse_core::plan::Timeouts;
use gatehouse_rig::frames::{Frame, code, flag, kind};
use std::time::Duration;

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat?room=1"),
    (":authority", "example.com"),
    ("sec-websocket-version", "13"),
];

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// Sections 4 and 5: CONNECT becomes the handshake of HTTP/1.1, its 101 a 200.
#[test]
fn a_web_socket_passes_to_an_origin_of_http_1_1() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &CONNECT, 0)).await;
        // A client may speak before it was answered.
        client.say(&Frame::data(1, "early", 0)).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "connection"), Some("upgrade"));
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
        let key = field(&head, "sec-websocket-key").unwrap();
        assert!(key.len() == 24 && key.ends_with("=="), "{key}");
        assert_eq!(field(&head, "transfer-encoding"), None);
        // Nothing of what the client said before the origin has agreed (CVE-2026-2833).
        assert!(at_origin.hears_nothing().await);
        at_origin.say(SWITCHED).await;
        assert_eq!(at_origin.hear_bytes(5).await, "early");
        at_origin.say("hello").await;
        let head = client.next().await.unwrap();
        assert_eq!((head.kind, head.flags & flag::END_STREAM), (kind::HEADERS, 0));
        let fields = client.unpacker.unpack(&head.payload);
        assert_eq!(fields[0], (":status".to_owned(), "200".to_owned()));
        let has = |name: &str| fields.iter().any(|(own, _)| own == name);
        assert!(has("sec-websocket-protocol") && !has("upgrade") && !has("sec-websocket-accept"));
        assert_eq!(client.next().await.unwrap().payload, b"hello");
        client.say(&Frame::data(1, "more", 0)).await;
        assert_eq!(at_origin.hear_bytes(4).await, "more");
        client.say(&Frame::data(1, "", flag::END_STREAM)).await;
        assert_eq!(at_origin.hear_how_it_ends().await, (String::new(), End::Closed));
        drop(at_origin);
        assert_eq!(client.hear(1).await.ended, Ended::Whole);
    });
}

#[test]
fn an_origin_that_does_not_agree_is_passed_on() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &CONNECT, 0)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.body()), ("403", "no"));
    });
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends() {
    let timeouts = Timeouts { tunnel: Duration::from_secs(7), ..Timeouts::default() };
    with(Setup { timeouts, ..Setup::default() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &CONNECT, 0)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(SWITCHED).await;
        let clock = Clock::start();
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.ended), ("200", Ended::Whole));
        clock.has_passed(Duration::from_secs(7));
    });
}

/// A drain tells the client that the connection ends, leaves its tunnels alone for as long as it
/// lasts, and then ends them.
#[test]
fn a_drain_leaves_a_tunnel_alone_until_its_time_is_over() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &CONNECT, 0)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(SWITCHED).await;
        assert_eq!(client.next().await.unwrap().kind, kind::HEADERS);
        bench.gate.drain();
        let farewell = client.next().await.unwrap();
        assert_eq!((farewell.kind, farewell.code()), (kind::GOAWAY, Some(code::NO_ERROR)));
        for word in ["one", "two"] {
            pass(Duration::from_secs(60)).await;
            client.say(&Frame::data(1, word, 0)).await;
            assert_eq!(at_origin.hear_bytes(3).await, word);
            at_origin.say(word).await;
            let data = loop {
                let frame = client.next().await.unwrap();
                if frame.kind == kind::DATA {
                    break frame.payload;
                }
            };
            assert_eq!(data, word.as_bytes());
        }
        bench.gate.cut();
        drop(at_origin.hear_how_it_ends().await);
        assert_eq!(client.hear_end().await, None);
        assert!(bench.log().contains("drain-cut"));
    });
}

/// A listener that is left to a new plan or process keeps its tunnels too.
#[test]
fn a_tunnel_outlives_its_listener() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &CONNECT, 0)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(SWITCHED).await;
        assert_eq!(client.next().await.unwrap().kind, kind::HEADERS);
        bench.gate.leave();
        pass(Duration::from_secs(600)).await;
        client.say(&Frame::data(1, "still", 0)).await;
        assert_eq!(at_origin.hear_bytes(5).await, "still");
    });
}

#[test]
fn another_protocol_is_not_served() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let other = CONNECT.map(|(name, value)| match name {
            ":protocol" => (name, "connect-udp"),
            _ => (name, value),
        });
        client.say(&Frame::headers(1, &other, 0)).await;
        assert_eq!(client.hear(1).await.status(), "501");
    });
}
