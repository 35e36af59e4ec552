//! RFC 9113 section 3: starting HTTP/2.

use super::Frames;
use crate::bench::{Setup, with};
use crate::talk::{Clock, End, get, ok, pass};
use gatehouse_core::plan::HttpVersions;
use gatehouse_rig::frames::{Frame, PREFACE, ask, code, kind};
use std::time::Duration;

/// 3.3: a client that knows beforehand starts with the preface.
#[test]
fn a_client_that_knows_beforehand_is_answered() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/a/../b?q=1", &[])).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert!(head.starts_with("GET /b?q=1 HTTP/1.1\r\n"), "{head}");
        at_origin.say(ok("hello")).await;
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.body()), ("200", "hello"));
        assert_eq!(heard.field("content-length"), Some("5"));
        assert!(bench.log().contains("\"status\":200"));
    });
}

/// 3.4: "the server connection preface consists of a potentially empty SETTINGS frame that MUST
/// be the first frame the server sends".
#[test]
fn the_first_frame_is_settings() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let first = client.next_raw().await.unwrap();
        assert_eq!((first.kind, first.flags, first.stream), (kind::SETTINGS, 0, 0));
        let settings: Vec<(u16, u32)> = first
            .payload
            .chunks(6)
            .map(|six| {
                let id = u16::from_be_bytes(six[..2].try_into().unwrap());
                (id, u32::from_be_bytes(six[2..].try_into().unwrap()))
            })
            .collect();
        // Streams at once; the size of a head: what limits says, 32 bytes more a field; CONNECT.
        assert!(settings.contains(&(3, 100)), "{settings:?}");
        assert!(settings.contains(&(6, 32 * 1024 + 100 * 32)), "{settings:?}");
        assert!(settings.contains(&(8, 1)), "{settings:?}");
    });
}

#[test]
fn a_preface_that_comes_byte_by_byte_is_one() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        for byte in PREFACE {
            client.say([*byte]).await;
            pass(Duration::from_millis(10)).await;
        }
        assert_eq!(client.hear_raw(4).await[3], kind::SETTINGS);
    });
}

#[test]
fn a_request_of_http_1_1_is_one_where_both_are_spoken() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        // As far as `P` it could be a preface.
        let request = get("/").replace("GET", "PUT");
        line.client.say(&request[..1]).await;
        pass(Duration::from_millis(10)).await;
        let head = line.ask(&request[1..], ok("")).await;
        assert!(head.starts_with("PUT / HTTP/1.1\r\n"), "{head}");
    });
}

#[test]
fn a_preface_is_a_bad_request_where_only_http_1_1_is_spoken() {
    let setup = Setup { versions: HttpVersions::Http1, ..Setup::default() };
    with(setup, async |bench| {
        let mut client = bench.client();
        client.say(PREFACE).await;
        let answer = client.hear_end().await;
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    });
}

#[test]
fn http_1_1_is_closed_where_only_http_2_is_spoken() {
    let setup = Setup { versions: HttpVersions::Http2, ..Setup::default() };
    with(setup, async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        assert_eq!(client.hear_how_it_ends().await.0, "");
    });
}

#[test]
fn a_preface_that_does_not_come_ends_the_connection() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        let clock = Clock::start();
        client.say(&PREFACE[..10]).await;
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Closed));
        clock.has_passed(Duration::from_secs(10));
    });
}

/// 3.4: what follows the preface is SETTINGS.
#[test]
fn a_first_frame_that_is_not_settings_ends_the_connection() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::new(bench.client());
        client.talk.say(PREFACE).await;
        client.say(&Frame::headers(1, &ask("GET", "/", &[]), 1)).await;
        let end = client.hear_end().await;
        assert_eq!(end, Some(code::PROTOCOL_ERROR));
    });
}
