//! A request body that fits a route's `buffer` is read whole before an endpoint is chosen, and can
//! be sent again.

use crate::bench::{Bench, Setup, with};
use crate::h2::{Ended, Frames, named};
use crate::talk::{Clock, field, get, ok, pass};
use gatehouse_core::plan::{Retry, RetryStatuses, Speaks, Timeouts};
use gatehouse_rig::frames::{Frame, flag, kind};
use std::time::Duration;

fn setup(buffer: u32) -> Setup {
    Setup { buffer, ..Setup::default() }
}

fn put(body: &str) -> String {
    format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn fields(length: &str) -> [(&str, &str); 5] {
    let path = (":path", "/");
    [(":method", "PUT"), (":scheme", "http"), (":authority", "a"), path, ("content-length", length)]
}

fn in_flight(bench: &Bench) -> u32 {
    bench.endpoints.vitals().in_flight()
}

#[test]
fn a_slow_upload_that_fits_holds_no_upstream() {
    with(setup(5), async |bench| {
        let (mut client, mut origin) = (bench.client(), bench.origin(1));
        client.say(&put("hello")[..put("hello").len() - 2]).await;
        assert!(origin.is_left_alone().await);
        assert_eq!(in_flight(&bench), 0);
        client.say("lo").await;
        let mut at_origin = origin.accept().await;
        let (head, body) = at_origin.hear_message().await;
        assert_eq!((field(&head, "content-length"), &*body), (Some("5"), "hello"));
        at_origin.say(ok("taken")).await;
        assert_eq!(client.hear_message().await.1, "taken");
        assert!(bench.log().contains("\"received\":5,"), "{}", bench.log());
    });
}

#[test]
fn a_slow_upload_that_does_not_fit_is_passed_on_as_it_comes() {
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n";
    for (buffer, request) in [(0, &put("hello")[..]), (4, &put("hello")), (1024, chunked)] {
        with(setup(buffer), async |bench| {
            let (mut client, mut origin) = (bench.client(), bench.origin(1));
            client.say(&request[..request.len() - 2]).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_until("hel").await;
            assert_eq!(in_flight(&bench), 1);
        });
    }
}

#[test]
fn a_body_as_long_as_the_buffer_fits_and_what_follows_it_is_the_next_request() {
    for size in [4_usize, 20_000, 300_000, 1 << 20] {
        with(setup(size as u32), async |bench| {
            let (mut client, mut origin) = (bench.client(), bench.origin(1));
            let body = "0123456789abcdef".repeat(size / 16 + 1)[..size].to_owned();
            let both = put(&body) + &put("next");
            let ((), mut at_origin) = crate::h2::join(client.say(&both), origin.accept()).await;
            for (expected, answer) in [(&*body, "one"), ("next", "two")] {
                assert!(at_origin.hear_message().await.1 == expected, "{answer}");
                at_origin.say(ok(answer)).await;
                assert_eq!(client.hear_message().await.1, answer);
            }
        });
    }
}

#[test]
fn a_request_that_may_be_repeated_is_tried_again_with_its_body() {
    let retry = Retry { on_statuses: RetryStatuses::NONE.with(503), ..Retry::default() };
    for buffer in [0, 1024] {
        for died in [true, false] {
            with(Setup { retry, endpoints: 2, ..setup(buffer) }, async |bench| {
                let (mut client, mut first) = (bench.client(), bench.origin(1));
                let mut second = bench.origin(2);
                client.say(put("hello")).await;
                let mut at_first = first.accept().await;
                assert_eq!(at_first.hear_message().await.1, "hello");
                if !died {
                    at_first.say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await;
                }
                drop(at_first);
                if buffer == 0 {
                    assert!(second.is_left_alone().await, "it was repeated without its body");
                    return;
                }
                let mut at_second = second.accept().await;
                let (head, body) = at_second.hear_message().await;
                assert_eq!((field(&head, "content-length"), &*body), (Some("5"), "hello"));
                at_second.say(ok("taken")).await;
                assert_eq!(client.hear_message().await.1, "taken");
            });
        }
    }
}

#[test]
fn a_request_that_may_not_be_repeated_is_sent_once_all_the_same() {
    with(Setup { endpoints: 2, ..setup(1024) }, async |bench| {
        let (mut line, mut second) = (bench.line(), bench.origin(2));
        line.client.say(put("hello").replace("PUT", "POST")).await;
        line.at_origin().await.hear_message().await;
        line.hang_up();
        assert!(second.is_left_alone().await);
        assert!(line.client.hear_message().await.0.starts_with("HTTP/1.1 502 "));
    });
}

#[test]
fn a_client_that_waits_for_it_is_told_to_go_on_and_the_endpoint_is_not() {
    with(setup(1024), async |bench| {
        let (mut client, mut origin) = (bench.client(), bench.origin(1));
        client.say(put("").replace("0\r\n", "5\r\nExpect: 100-continue\r\n")).await;
        assert_eq!(client.hear_head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(in_flight(&bench), 0);
        client.say("hello").await;
        let mut at_origin = origin.accept().await;
        let (head, body) = at_origin.hear_message().await;
        assert_eq!((field(&head, "expect"), &*body), (None, "hello"));
        at_origin.say(ok("taken")).await;
        assert!(client.hear_head().await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_client_that_is_too_slow_or_breaks_off_is_told_so_and_no_endpoint_is_asked() {
    let timeouts = Timeouts { idle: Duration::from_secs(5), ..Timeouts::default() };
    with(Setup { timeouts, ..setup(1024) }, async |bench| {
        let mut origin = bench.origin(1);
        let (mut client, clock) = (bench.client(), Clock::start());
        client.say(&put("hello")[..put("hello").len() - 2]).await;
        assert!(client.hear_message().await.0.starts_with("HTTP/1.1 408 "));
        clock.has_passed(Duration::from_secs(5));
        // 512 bytes at 128 a second, and 10 s of grace.
        let (mut client, clock) = (bench.client(), Clock::start());
        client.say(put(&" ".repeat(600)).split_at(58).0).await;
        let mut told = None;
        for _ in 0..20 {
            pass(Duration::from_secs(2)).await;
            if !client.try_say(b" ").await {
                told = Some(clock.passed());
                break;
            }
        }
        let told = told.expect("it was refused");
        assert!((10..15).contains(&told.as_secs()), "{told:?}");
        let mut client = bench.client();
        client.say(&put("hello")[..put("hello").len() - 2]).await;
        client.half_close().await;
        assert!(client.hear_message().await.0.starts_with("HTTP/1.1 400 "));
        assert!(origin.is_left_alone().await);
    });
}

#[test]
fn a_total_time_that_is_over_while_the_body_comes_ends_the_exchange() {
    let timeouts = Timeouts { total: Some(Duration::from_secs(3)), ..Timeouts::default() };
    with(Setup { timeouts, ..setup(1024) }, async |bench| {
        let (mut client, clock) = (bench.client(), Clock::start());
        client.say(&put("hello")[..put("hello").len() - 2]).await;
        assert!(client.hear_message().await.0.starts_with("HTTP/1.1 408 "));
        clock.has_passed(Duration::from_secs(3));
    });
}

#[test]
fn a_stream_of_http2_is_read_whole_too_and_repeated_with_its_trailers() {
    let retry = Retry { on_statuses: RetryStatuses::NONE.with(503), ..Retry::default() };
    let setup = Setup { retry, endpoints: 2, speaks: Speaks::Http2, ..setup(1024) };
    with(setup, async |bench| {
        let mut client = Frames::open(&bench).await;
        let (mut first, mut second) = (bench.origin(1), bench.origin(2));
        client.say(&Frame::headers(1, &fields("5"), 0)).await;
        client.say(&Frame::data(1, "hello", 0)).await;
        assert!(first.is_left_alone().await, "the stream has not ended");
        client.say(&Frame::headers(1, &[("x-sum", "7")], flag::END_STREAM)).await;
        for (origin, status) in [(&mut first, "503"), (&mut second, "200")] {
            let mut at_origin = Frames::serve(origin.accept().await).await;
            let (stream, head, ended) = at_origin.hear_request().await;
            assert_eq!((named(&head, "content-length"), ended), (Some("5"), false));
            let data = at_origin.next().await.expect("its body");
            assert_eq!((data.kind, &data.payload[..]), (kind::DATA, &b"hello"[..]));
            let (_, trailers, ended) = at_origin.hear_request().await;
            assert_eq!((named(&trailers, "x-sum"), ended), (Some("7"), true));
            at_origin.answer(stream, status, "done").await;
            if status == "200" {
                let heard = client.hear(1).await;
                assert_eq!(
                    (heard.status(), heard.body(), heard.ended),
                    ("200", "done", Ended::Whole)
                );
            }
            pass(Duration::from_secs(1)).await;
        }
        bench.gate.drop_idle();
    });
}

#[test]
fn a_stream_of_http2_reaches_an_endpoint_of_http1_whole() {
    with(setup(1024), async |bench| {
        let mut client = Frames::open(&bench).await;
        let mut origin = bench.origin(1);
        client.say(&Frame::headers(1, &fields("5"), 0)).await;
        client.say(&Frame::data(1, "hel", 0)).await;
        assert!(origin.is_left_alone().await);
        client.say(&Frame::data(1, "lo", flag::END_STREAM)).await;
        let mut at_origin = origin.accept().await;
        assert_eq!(at_origin.hear_message().await.1, "hello");
        at_origin.say(ok("taken")).await;
        assert_eq!(client.hear(1).await.body(), "taken");
    });
}

#[test]
fn a_body_is_no_part_of_the_request_that_follows() {
    with(setup(1024), async |bench| {
        let mut line = bench.line();
        line.client.say(put("hello")).await;
        assert_eq!(line.at_origin().await.hear_message().await.1, "hello");
        line.at_origin().await.say(ok("one")).await;
        assert_eq!(line.client.hear_message().await.1, "one");
        line.client.say(get("/next")).await;
        assert!(line.at_origin().await.hear_head().await.starts_with("GET /next "));
        assert!(line.at_origin().await.hears_nothing().await, "more than was asked");
        line.at_origin().await.say(ok("two")).await;
        assert_eq!(line.client.hear_message().await.1, "two");
    });
}
