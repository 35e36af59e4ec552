//! Leaving HTTP: only when both sides say so, and nothing behind the head before that.

use crate::bench::{Setup, with};
use crate::talk::{End, field, get, ok};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

#[test]
fn a_websocket_is_a_tunnel_in_both_directions_until_both_have_ended() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let head = line.ask(UPGRADE, SWITCH).await;
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "connection"), Some("upgrade"));
        assert_eq!(field(&head, "sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        let head = line.client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "connection"), Some("upgrade"));
        assert_eq!(field(&head, "sec-websocket-accept"), Some("x"));
        for round in 0..3 {
            let (ping, pong) = (format!("\0ping {round}\r\n\r\n"), format!("\0pong {round}\r\n"));
            line.client.say(&ping).await;
            assert_eq!(line.at_origin().await.hear_bytes(ping.len()).await, ping);
            line.at_origin().await.say(&pong).await;
            assert_eq!(line.client.hear_bytes(pong.len()).await, pong);
        }
        line.client.half_close().await;
        let at_origin = line.at_origin().await;
        assert_eq!(at_origin.hear_how_it_ends().await, (String::new(), End::Closed));
        at_origin.say("still here").await;
        at_origin.half_close().await;
        assert_eq!(line.client.hear_how_it_ends().await, ("still here".into(), End::Closed));
        assert!(bench.log().contains("\"status\":101"));
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

#[test]
fn an_origin_may_end_its_half_of_a_tunnel_first() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(UPGRADE, format!("{SWITCH}at once")).await;
        line.client.hear_head().await;
        line.at_origin().await.half_close().await;
        assert_eq!(line.client.hear_how_it_ends().await, ("at once".into(), End::Closed));
        line.client.say("still here").await;
        line.client.half_close().await;
        let heard = line.at_origin().await.hear_how_it_ends().await;
        assert_eq!(heard, ("still here".into(), End::Closed));
    });
}

#[test]
fn a_tunnel_whose_one_end_breaks_ends_at_the_other() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(UPGRADE, SWITCH).await;
        line.client.hear_head().await;
        line.client.reset();
        line.client = bench.client();
        line.at_origin().await.hear_end().await;
        line.ask(UPGRADE, SWITCH).await;
        line.client.hear_head().await;
        line.hang_up();
        assert_eq!(line.client.hear_end().await, "");
    });
}

#[test]
fn nothing_behind_an_upgrade_reaches_the_origin_before_it_has_answered_101() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(format!("{UPGRADE}frame")).await;
        let at_origin = line.at_origin().await;
        at_origin.hear_head().await;
        assert!(at_origin.hears_nothing().await);
        line.client.say(" and more").await;
        assert!(line.at_origin().await.hears_nothing().await);
        line.at_origin().await.say(SWITCH).await;
        line.client.hear_head().await;
        assert_eq!(line.at_origin().await.hear_bytes(14).await, "frame and more");
    });
}

#[test]
fn what_is_behind_an_upgrade_that_is_declined_is_a_request_of_its_own() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(format!("{UPGRADE}{}", get("/next").replace("GET", "POST"))).await;
        let at_origin = line.at_origin().await;
        at_origin.hear_head().await;
        assert!(at_origin.hears_nothing().await);
        at_origin.say(ok("no")).await;
        assert_eq!(line.client.hear_message().await.1, "no");
        let seen = line.at_origin().await.hear_head().await;
        assert!(seen.starts_with("POST /next "), "{seen}");
        assert_eq!(field(&seen, "x-forwarded-for"), Some("192.0.2.1"));
        line.at_origin().await.say(ok("next")).await;
        assert_eq!(line.client.hear_message().await.1, "next");
    });
}

#[test]
fn frames_behind_an_upgrade_that_is_declined_reach_nobody() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(format!("{UPGRADE}\u{1}\u{2}frame\r\n\r\n")).await;
        line.at_origin().await.hear_head().await;
        line.at_origin().await.say(ok("no")).await;
        assert_eq!(line.client.hear_message().await.1, "no");
        assert!(line.client.hear_end().await.starts_with("HTTP/1.1 400 "));
        assert!(line.at_origin().await.hears_nothing().await);
    });
}

#[test]
fn an_upgrade_that_could_carry_a_request_past_the_rules_is_not_passed_on() {
    let body = "Content-Length: 5\r\n\r\nhello";
    let h2c = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    for (request, rest) in [
        (UPGRADE.replace("websocket", "h2c").replace("\r\n\r\n", &format!("\r\n{h2c}")), ""),
        (UPGRADE.replace("websocket", "websocket, H2C"), ""),
        (UPGRADE.replace("websocket", "h2"), ""),
        (UPGRADE.replace("\r\n\r\n", &format!("\r\n{body}")), "hello"),
        (UPGRADE.replace("GET", "POST"), ""),
        (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), ""),
        (UPGRADE.replace("keep-alive, Upgrade", "keep-alive"), ""),
    ] {
        for answer in [ok("plain"), SWITCH.to_owned()] {
            with(Setup::default(), async |bench| {
                let mut line = bench.line();
                let head = line.ask(&request, &answer).await;
                assert_eq!(field(&head, "upgrade"), None, "{request}");
                assert_eq!(field(&head, "connection"), None, "{request}");
                assert_eq!(field(&head, "http2-settings"), None, "{request}");
                assert_eq!(line.at_origin().await.hear_bytes(rest.len()).await, rest);
                let seen = line.client.hear_head().await;
                let expected = if answer == SWITCH { "502" } else { "200" };
                assert!(seen.starts_with(&format!("HTTP/1.1 {expected} ")), "{request}{seen}");
            });
        }
    }
}

#[test]
fn a_switch_nobody_asked_for_is_a_502() {
    for (request, answer) in [
        (get("/"), SWITCH.to_owned()),
        (UPGRADE.to_owned(), SWITCH.replace("websocket", "h2c")),
        (UPGRADE.to_owned(), SWITCH.replace("websocket", "websocket, other")),
        (UPGRADE.to_owned(), SWITCH.replace("Upgrade: websocket\r\n", "")),
    ] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            let (head, _) = line.fetch(&request, &answer).await;
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
            assert!(field(&head, "proxy-status").unwrap().contains("http_upgrade_failed"));
            line.at_origin().await.hear_end().await;
            assert_eq!(bench.gate.idle_connections(), 0);
        });
    }
}
