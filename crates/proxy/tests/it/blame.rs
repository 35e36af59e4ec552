//! An endpoint is blamed for its own failures alone: not for what its clients take or give of a
//! time, nor for what the gateway itself lacks. Who is blamed is ejected sooner or later.

use crate::bench::{Bench, Setup, origin_address, with};
use crate::talk::{Clock, get, ok, pass};
use crate::timeouts::{hears, seconds, setup, with_total};
use gatehouse_core::plan::Retry;
use std::time::Duration;

/// Failures that the endpoint was blamed for.
fn blamed(bench: &Bench) -> u64 {
    let vitals = &bench.endpoints.list()[0].vitals;
    vitals.failed() + vitals.connect_failed()
}

#[test]
fn one_try_may_take_no_longer_than_it_may_its_connecting_included() {
    let retry = |attempts| Retry {
        attempts,
        on_timeout: true,
        try_timeout: Some(Duration::from_millis(500)),
        backoff: Duration::ZERO,
        ..Retry::default()
    };
    let two = |attempts| Setup { endpoints: 2, retry: retry(attempts), ..setup() };
    with(two(1), async |bench| {
        let mut second = bench.origin(2);
        bench.net.swallow(origin_address(1));
        let (mut client, clock) = (bench.client(), Clock::start());
        client.say(get("/")).await;
        let mut at_origin = second.accept().await;
        clock.has_passed(Duration::from_millis(500));
        at_origin.hear_head().await;
        at_origin.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
    });
    // A body that is held whole, of which an endpoint takes nothing.
    with(Setup { buffer: 300_000, ..two(1) }, async |bench| {
        let (mut first, mut second) = (bench.origin(1), bench.origin(2));
        let (mut client, clock) = (bench.client(), Clock::start());
        client.say("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").await;
        client.say(vec![b'u'; 200_000]).await;
        let _deaf = first.accept().await;
        let mut at_origin = second.accept().await;
        clock.has_passed(Duration::from_millis(500));
        at_origin.hear_head().await;
        at_origin.hear_bytes(200_000).await;
        at_origin.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
    });
}

#[test]
fn an_upload_that_takes_longer_than_the_total_is_its_client_s_fault() {
    with(with_total(seconds(5)), async |bench| {
        let (mut line, clock) = (bench.line(), Clock::start());
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        line.at_origin().await.hear_head().await;
        while line.client.hears_nothing().await {
            line.client.say(&[b'u'; 1000]).await;
        }
        clock.has_passed(seconds(5));
        hears(&mut line.client, 408, "http_request_error").await;
        assert!(bench.log().contains("the time that the route allows was over"));
        assert_eq!(blamed(&bench), 0);
    });
    // An endpoint that had most of the time to itself has failed.
    with(with_total(seconds(5)), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nu").await;
        line.at_origin().await.hear_head().await;
        pass(seconds(2)).await;
        line.client.say("u").await;
        hears(&mut line.client, 504, "http_response_timeout").await;
        assert_eq!(blamed(&bench), 1);
    });
}

#[test]
fn a_reader_that_takes_longer_than_the_total_is_no_fault_of_its_endpoint() {
    with(with_total(seconds(5)), async |bench| {
        let (mut line, clock) = (bench.line(), Clock::start());
        line.ask(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        line.at_origin().await.pour(&vec![b'x'; 500_000]).await;
        line.at_origin().await.hear_end().await;
        clock.has_passed(seconds(5));
        assert!(bench.log().contains("client-too-slow"), "{}", bench.log());
        assert_eq!(blamed(&bench), 0);
    });
}

#[test]
fn a_buffered_body_that_takes_most_of_the_total_leaves_no_endpoint_to_blame() {
    let buffered = || Setup { buffer: 100, ..with_total(seconds(5)) };
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    with(buffered(), async |bench| {
        let mut client = bench.client();
        client.say(head).await;
        hears(&mut client, 408, "http_request_error").await;
    });
    for dials in [false, true] {
        with(buffered(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = bench.client();
            if dials {
                bench.net.swallow(origin_address(1));
            }
            client.say(head).await;
            pass(seconds(4)).await;
            client.say("uu").await;
            let at_origin = if dials { None } else { Some(origin.accept().await) };
            hears(&mut client, 504, "http_response_timeout").await;
            drop(at_origin);
            assert_eq!(blamed(&bench), 0);
        });
    }
}

#[test]
fn a_want_of_descriptors_is_no_fault_of_an_endpoint() {
    with(Setup { endpoints: 2, ..setup() }, async |bench| {
        let mut one = bench.origin(1);
        let mut client = bench.client();
        // Once, what is kept for later makes room.
        bench.net.exhaust(1);
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
        bench.gate.drop_idle();
        bench.net.exhaust(1000);
        for _ in 0..10 {
            client.say(get("/")).await;
            hears(&mut client, 503, "proxy_internal_error").await;
        }
        let log = bench.log();
        assert!(log.contains("\"failure\":\"out-of-sockets\""), "{log}");
        assert!(!log.contains("\"attempts\":2"), "{log}");
        assert_eq!(blamed(&bench), 0);
    });
}
