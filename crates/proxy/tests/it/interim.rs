//! Interim answers, expectations, and answers that come before the request has ended.

use crate::bench::{Setup, with};
use crate::talk::{Clock, answers, field, get, ok, pass};
use gatehouse_core::plan::{Retry, RetryStatuses, Timeouts};
use std::time::Duration;

const EXPECT: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

#[test]
fn interim_answers_are_passed_on_in_order_before_the_final_one() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/"), "HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(line.client.hear_head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n";
        line.at_origin().await.say(format!("{hints}Connection: x\r\nX: y\r\n\r\n")).await;
        assert_eq!(line.client.hear_head().await, format!("{hints}\r\n"));
        line.at_origin().await.say(format!("{hints}\r\n{}", ok("final"))).await;
        assert_eq!(line.client.hear_head().await, format!("{hints}\r\n"));
        assert_eq!(line.client.hear_message().await.1, "final");
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn an_http_1_0_client_is_never_sent_an_interim_answer() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        line.ask("GET / HTTP/1.0\r\n\r\n", format!("{interim}{}", ok("final"))).await;
        let heard = line.client.hear_end().await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
        assert_eq!(answers(&heard), 1, "{heard}");
    });
}

#[test]
fn an_origin_that_sends_interim_answers_without_end_is_a_502() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/"), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(1000)).await;
        let heard = line.client.hear_until("HTTP/1.1 502 Bad Gateway\r\n").await;
        assert!(answers(&heard) < 20, "{}", answers(&heard));
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

#[test]
fn attempts_share_the_interim_answers_that_one_exchange_may_have() {
    let retry = Retry {
        attempts: 3,
        on_statuses: RetryStatuses::NONE.with(503),
        backoff: Duration::ZERO,
        ..Retry::default()
    };
    with(Setup { retry, ..Setup::default() }, async |bench| {
        let mut line = bench.line();
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(9);
        let answer = format!("{hints}HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        line.ask(get("/"), &answer).await;
        line.hang_up();
        let at_origin = line.at_origin().await;
        at_origin.hear_head().await;
        at_origin.say(&answer).await;
        let heard = line.client.hear_until("HTTP/1.1 502 Bad Gateway\r\n").await;
        assert_eq!(answers(&heard), 17, "{heard}");
    });
}

#[test]
fn a_body_that_waits_for_100_is_sent_after_the_origin_says_so() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let head = line.ask(EXPECT, "HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        assert_eq!(line.client.hear_head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        line.client.say("hello").await;
        let at_origin = line.at_origin().await;
        assert_eq!(at_origin.hear_until("hello").await, "hello");
        at_origin.say(ok("thanks")).await;
        assert_eq!(line.client.hear_message().await.1, "thanks");
        assert_eq!(line.fetch(get("/"), ok("again")).await.1, "again");
    });
}

#[test]
fn a_body_that_waits_for_100_and_is_refused_is_never_a_request() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(line.fetch(EXPECT, refused).await.1, "no");
        line.client.say("hello").await;
        assert_eq!(line.fetch(get("/"), ok("again")).await.1, "again");
        assert_eq!(line.connections, 2);
    });
}

#[test]
fn a_client_that_keeps_its_body_after_a_refusal_is_closed() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(line.fetch(EXPECT, refused).await.1, "no");
        let clock = Clock::start();
        assert_eq!(line.client.hear_end().await, "");
        clock.has_passed(Duration::from_secs(1));
    });
}

#[test]
fn an_origin_that_says_neither_100_nor_anything_else_is_a_504() {
    let first_byte = Duration::from_secs(20);
    let timeouts = Timeouts { first_byte, ..Timeouts::default() };
    with(Setup { timeouts, ..Setup::default() }, async |bench| {
        let (mut line, clock) = (bench.line(), Clock::start());
        line.client.say(EXPECT).await;
        line.at_origin().await.hear_head().await;
        let head = line.client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        clock.has_passed(first_byte);
    });
}

#[test]
fn an_early_answer_is_delivered_while_the_upload_goes_on() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(UPLOAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        line.client.hear_head().await;
        for _ in 0..10 {
            line.client.say(&[b'u'; 100_000]).await;
            let at_origin = line.at_origin().await;
            at_origin.hear_raw(100_000).await;
            at_origin.say("5\r\nheard\r\n").await;
            line.client.hear_until("5\r\nheard\r\n").await;
        }
        line.at_origin().await.say("0\r\n\r\n").await;
        line.client.hear_until("0\r\n\r\n").await;
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn an_upload_that_goes_on_behind_an_early_answer_is_not_idle() {
    let timeouts = Timeouts { idle: Duration::from_secs(5), ..Timeouts::default() };
    with(Setup { timeouts, ..Setup::default() }, async |bench| {
        let mut line = bench.line();
        line.ask(UPLOAD, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nea").await;
        line.client.hear_until("ea").await;
        for _ in 0..10 {
            pass(Duration::from_secs(3)).await;
            line.client.say(&[b'u'; 100_000]).await;
            line.at_origin().await.hear_raw(100_000).await;
        }
        line.at_origin().await.say("rl").await;
        line.client.hear_until("rl").await;
    });
}

#[test]
fn an_origin_that_answers_and_closes_without_reading_is_heard() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(UPLOAD).await;
        line.client.pour(&[b'u'; 1_000_000]).await;
        let at_origin = line.at_origin().await;
        at_origin.hear_head().await;
        let refused = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
        at_origin.say(refused).await;
        at_origin.half_close().await;
        assert_eq!(line.client.hear_message().await.1, "no");
        line.hang_up();
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

#[test]
fn an_origin_that_closes_without_reading_or_answering_is_a_502() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(UPLOAD).await;
        line.at_origin().await.hear_head().await;
        line.hang_up();
        line.client.pour(&[b'u'; 1_000_000]).await;
        assert!(line.client.hear_head().await.starts_with("HTTP/1.1 502 "));
    });
}
