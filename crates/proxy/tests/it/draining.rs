//! A drain lets what is in flight end, and ends everything else at once.

use crate::bench::{Setup, with};
use crate::talk::{End, SOON, field, get, ok, pass};
use std::time::Duration;

#[test]
fn what_is_in_flight_ends_with_its_answer_and_says_so() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        bench.gate.drain();
        pass(Duration::from_secs(5)).await;
        assert_eq!(bench.gate.running(), 1);
        line.at_origin().await.say(ok("hello")).await;
        let (heard, end) = line.client.hear_how_it_ends().await;
        assert_eq!(field(&heard, "connection"), Some("close"));
        assert!(heard.ends_with("hello"), "{heard}");
        assert_eq!(end, End::Closed);
        drop(line.client);
        pass(SOON).await;
        assert_eq!(bench.gate.running(), 0);
    });
}

#[test]
fn an_answer_under_way_ends_whole() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        line.client.hear_until("hello").await;
        bench.gate.drain();
        pass(SOON).await;
        let clock = crate::talk::Clock::start();
        line.at_origin().await.say("world").await;
        assert_eq!(line.client.hear_how_it_ends().await, ("world".into(), End::Closed));
        clock.has_passed(Duration::ZERO);
    });
}

#[test]
fn idle_connections_on_both_sides_close_at_once() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("hello")).await;
        let mut fresh = bench.client();
        pass(SOON).await;
        let clock = crate::talk::Clock::start();
        bench.gate.drain();
        assert_eq!(line.client.hear_how_it_ends().await, (String::new(), End::Closed));
        assert_eq!(fresh.hear_how_it_ends().await, (String::new(), End::Closed));
        line.at_origin().await.hear_end().await;
        clock.has_passed(SOON);
        assert_eq!(bench.gate.running(), 0);
    });
}

#[test]
fn a_connection_that_is_queued_is_served_before_the_listener_closes() {
    with(Setup::default(), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        client.say(get("/")).await;
        bench.gate.drain();
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok("hello")).await;
        let heard = client.hear_end().await;
        assert!(heard.ends_with("hello"), "{heard}");
        assert_eq!(field(&heard, "connection"), Some("close"));
        assert!(bench.net.connect(crate::bench::GATEWAY.into()).is_err());
    });
}

#[test]
fn a_request_that_was_pipelined_is_answered_with_the_end_of_the_connection() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/1") + &get("/2"), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
        line.client.hear_until("ha").await;
        bench.gate.drain();
        line.at_origin().await.say("lf").await;
        line.client.hear_until("lf").await;
        assert!(line.at_origin().await.hear_head().await.starts_with("GET /2 "));
        line.at_origin().await.say(ok("two")).await;
        let heard = line.client.hear_end().await;
        assert_eq!(field(&heard, "connection"), Some("close"));
        assert!(heard.ends_with("two"), "{heard}");
    });
}

#[test]
fn a_drained_gateway_keeps_no_upstream_connection() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        bench.gate.drain();
        line.at_origin().await.say(ok("hello")).await;
        line.client.hear_message().await;
        pass(SOON).await;
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

#[test]
fn a_connection_that_is_left_to_another_process_may_ask_once_more() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("first")).await;
        let fresh = bench.line();
        pass(SOON).await;
        bench.gate.leave();
        pass(Duration::from_secs(4)).await;
        let mut client = fresh.client;
        for _ in 0..2 {
            client.say(get("/")).await;
            let origin = line.at_origin().await;
            origin.hear_head().await;
            origin.say(ok("last")).await;
            let (heard, end) = client.hear_how_it_ends().await;
            assert_eq!(field(&heard, "connection"), Some("close"));
            assert!(heard.ends_with("last"), "{heard}");
            assert_eq!(end, End::Closed);
            std::mem::swap(&mut client, &mut line.client);
        }
    });
}

#[test]
fn a_connection_that_is_left_and_says_nothing_is_closed_after_a_while() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("first")).await;
        pass(SOON).await;
        bench.gate.leave();
        let clock = crate::talk::Clock::start();
        assert_eq!(line.client.hear_how_it_ends().await, (String::new(), End::Closed));
        let passed = clock.passed();
        assert!((5_000..5_500).contains(&passed.as_millis()), "{passed:?}");
    });
}

#[test]
fn what_is_queued_on_a_listener_that_is_left_is_for_the_other_process() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        bench.gate.leave();
        client.say(get("/")).await;
        pass(Duration::from_secs(1)).await;
        assert_eq!(bench.gate.meters.accepted.get(), 0);
        assert_eq!(bench.gate.running(), 0);
    });
}
