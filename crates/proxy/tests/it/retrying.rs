//! A request is tried again only where that is safe, and never on the same endpoint while another
//! is ready.

use crate::bench::{Line, Setup, endpoints, origin_address, sticky_endpoints, with};
use crate::talk::{Talk, field, get, limited, ok, pass};
use gatehouse_core::breaker::{BreakerRule, Gate};
use gatehouse_core::plan::{Retry, RetryStatuses};
use std::sync::Arc;
use std::time::Duration;

fn setup(endpoints: u8) -> Setup {
    Setup { endpoints, ..Setup::default() }
}

fn with_method(method: &str) -> String {
    get("/").replace("GET", method)
}

const WITH_BODY: &str = "Host: a\r\nContent-Length: 5\r\n\r\nhello";

/// Makes the gateway keep a connection to the origin.
async fn warm(line: &mut Line) {
    line.fetch(get("/warm"), ok("warm")).await;
}

#[test]
fn a_refused_connection_moves_to_the_next_endpoint() {
    for request in [get("/"), with_method("POST"), format!("POST / HTTP/1.1\r\n{WITH_BODY}")] {
        with(setup(3), async |bench| {
            let (mut origin, mut client) = (bench.origin(3), bench.client());
            client.say(&request).await;
            let mut at_origin = origin.accept().await;
            let (_, body) = at_origin.hear_message().await;
            assert_eq!(body, if request.ends_with("hello") { "hello" } else { "" });
            at_origin.say(ok("three")).await;
            assert_eq!(client.hear_message().await.1, "three");
            assert!(bench.log().contains("\"attempts\":3"));
        });
    }
}

#[test]
fn the_same_endpoint_is_not_asked_again_while_another_is_ready() {
    let retry = Retry { attempts: 1, ..Retry::default() };
    let mut attempts = String::new();
    for ready in [1, 2] {
        with(Setup { retry, ..setup(2) }, async |bench| {
            bench.gate.set_endpoints(sticky_endpoints(2));
            let (mut origin, mut client) = (bench.origin(ready), bench.client());
            client.say(get("/")).await;
            let mut at_origin = limited(origin.accept(), "a request").await;
            at_origin.hear_head().await;
            at_origin.say(ok("ready")).await;
            assert_eq!(client.hear_message().await.1, "ready");
            attempts += &bench.log();
            bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
            bench.gate.drop_idle();
        });
    }
    assert!(attempts.contains("\"attempts\":1,") && attempts.contains("\"attempts\":2,"));
}

#[test]
fn a_connect_that_times_out_moves_to_the_next_endpoint() {
    with(setup(2), async |bench| {
        bench.net.swallow(origin_address(1));
        let (mut origin, mut client) = (bench.origin(2), bench.client());
        let clock = crate::talk::Clock::start();
        client.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        clock.has_passed(Duration::from_secs(3));
        at_origin.hear_head().await;
        at_origin.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
    });
}

#[test]
fn every_endpoint_that_refuses_is_asked_once_and_no_more() {
    for (attempts, asked) in [(0, 1), (1, 8), (4, 8)] {
        let retry = Retry { attempts, ..Retry::default() };
        with(Setup { retry, ..setup(8) }, async |bench| {
            let mut client = bench.client();
            client.say(get("/")).await;
            assert!(client.hear_message().await.0.starts_with("HTTP/1.1 502 "));
            assert!(bench.log().contains(&format!("\"attempts\":{asked}")));
            let picked = bench.endpoints.list().iter().map(|one| one.vitals.picked());
            assert!(picked.clone().all(|count| count <= 1), "one was asked twice");
            assert_eq!(picked.sum::<u64>(), asked);
        });
    }
}

#[test]
fn a_live_endpoint_behind_many_that_refuse_is_found() {
    with(setup(7), async |bench| {
        let (mut origin, mut client) = (bench.origin(7), bench.client());
        client.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok("seven")).await;
        assert_eq!(client.hear_message().await.1, "seven");
    });
}

#[test]
fn a_refused_connection_does_not_pass_over_kept_ones() {
    with(setup(2), async |bench| {
        let (mut origin, mut client) = (bench.origin(2), bench.client());
        let mut kept = None;
        for _ in 0..4 {
            client.say(get("/")).await;
            if kept.is_none() {
                kept = Some(origin.accept().await);
            }
            let at_origin = kept.as_mut().expect("it was accepted");
            at_origin.hear_head().await;
            at_origin.say(ok("two")).await;
            assert_eq!(client.hear_message().await.1, "two");
        }
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn retries_that_are_switched_off_do_not_happen() {
    let retry = Retry { attempts: 5, on_connect: false, on_reset: false, ..Retry::default() };
    with(Setup { retry, ..setup(2) }, async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        assert!(client.hear_message().await.0.starts_with("HTTP/1.1 502 "));
        assert!(bench.log().contains("\"attempts\":1"));
    });
}

/// Lets a kept connection die just as the request is sent on it. What the client hears.
async fn dies_under(line: &mut Line, request: &str) -> Option<Talk> {
    warm(line).await;
    line.client.say(request).await;
    line.at_origin().await.hear_head().await;
    line.hang_up();
    line.origin.accept_soon(Duration::from_secs(1)).await
}

#[test]
fn a_request_that_may_be_repeated_survives_a_kept_connection_that_dies() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "TRACE"] {
        with(setup(1), async |bench| {
            let mut line = bench.line();
            let again = dies_under(&mut line, &with_method(method)).await;
            let mut again = again.unwrap_or_else(|| panic!("{method} was not repeated"));
            assert!(again.hear_head().await.starts_with(method));
            again.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            assert!(line.client.hear_head().await.starts_with("HTTP/1.1 200 "));
            assert!(bench.log().contains("\"attempts\":2"));
        });
    }
}

#[test]
fn a_request_that_may_not_be_repeated_is_sent_once() {
    for request in [
        with_method("POST"),
        with_method("PATCH"),
        with_method("PURGE"),
        format!("PUT / HTTP/1.1\r\n{WITH_BODY}"),
        format!("GET / HTTP/1.1\r\n{WITH_BODY}"),
        get("/").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ] {
        with(setup(2), async |bench| {
            let mut line = bench.line();
            assert!(dies_under(&mut line, &request).await.is_none(), "{request} was repeated");
            assert!(line.client.hear_message().await.0.starts_with("HTTP/1.1 502 "));
        });
    }
}

#[test]
fn a_request_whose_answer_has_begun_is_not_repeated() {
    for begun in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nConte", "H"] {
        with(setup(2), async |bench| {
            let mut line = bench.line();
            line.client.say(get("/")).await;
            line.at_origin().await.hear_head().await;
            line.at_origin().await.say(begun).await;
            pass(Duration::from_millis(1)).await;
            line.hang_up();
            assert!(bench.origin(2).is_left_alone().await, "{begun}");
            line.client.hear_until("HTTP/1.1 502 Bad Gateway\r\n").await;
        });
    }
}

#[test]
fn a_new_connection_that_dies_moves_to_another_endpoint() {
    with(setup(2), async |bench| {
        let (mut line, mut second) = (bench.line(), bench.origin(2));
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        line.hang_up();
        let mut again = second.accept().await;
        again.hear_head().await;
        again.say(ok("two")).await;
        assert_eq!(line.client.hear_message().await.1, "two");
        assert!(line.origin.is_left_alone().await);
    });
}

#[test]
fn a_request_that_may_not_be_repeated_never_takes_a_connection_that_shows_its_end() {
    for method in ["POST", "GET"] {
        with(setup(1), async |bench| {
            let mut line = bench.line();
            warm(&mut line).await;
            assert_eq!(bench.gate.idle_connections(), 1);
            line.at_origin().await.half_close().await;
            let (_, body) = line.fetch(with_method(method), ok("fresh")).await;
            assert_eq!((body.as_str(), line.connections), ("fresh", 2));
            assert!(bench.log().contains("\"attempts\":1,\"reused\":false"));
        });
    }
}

#[test]
fn what_kills_its_connection_is_not_tried_for_ever() {
    with(setup(1), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/")).await;
        for _ in 0..3 {
            line.origin.accept().await.hear_head().await;
        }
        let (head, _) = line.client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        assert!(field(&head, "proxy-status").unwrap().contains("connection_terminated"));
        assert!(line.origin.is_left_alone().await);
    });
}

#[test]
fn an_upstream_without_endpoints_is_a_503() {
    with(setup(1), async |bench| {
        bench.gate.set_endpoints(endpoints(0));
        let mut client = bench.client();
        client.say(get("/")).await;
        let (head, _) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(field(&head, "proxy-status").unwrap().contains("destination_unavailable"));
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.serves(&mut bench.origin(1), &mut None, "/back").await;
    });
}

#[test]
fn endpoints_that_come_and_go_under_load_never_give_a_wrong_answer() {
    with(setup(3), async |bench| {
        for index in 1..=3 {
            let mut origin = bench.origin(index);
            gatehouse_proxy::gate::memory::spawn(async move {
                while let Some(mut at_origin) = origin.accept_soon(Duration::from_secs(60)).await {
                    gatehouse_proxy::gate::memory::spawn(async move {
                        while let Some((head, _)) = at_origin.hear_request().await {
                            let path = head.split(' ').nth(1).unwrap_or("").to_owned();
                            at_origin.say(ok(&path)).await;
                        }
                    });
                }
            });
        }
        let mut client = bench.client();
        for round in 0..300_u32 {
            bench.gate.set_endpoints(endpoints((round % 4) as u8));
            let path = format!("/{round}");
            client.say(get(&path)).await;
            let (head, body) = client.hear_message().await;
            if round % 4 == 0 {
                assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            } else {
                assert_eq!(body, path);
            }
        }
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}

/// A retry rule after this status, which waits for nothing.
fn after_503() -> Retry {
    let on_statuses = RetryStatuses::NONE.with(503);
    Retry { on_statuses, backoff: Duration::ZERO, ..Retry::default() }
}

const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

#[test]
fn a_status_the_rule_names_moves_to_the_next_endpoint() {
    with(Setup { retry: after_503(), ..setup(2) }, async |bench| {
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut first = limited(one.accept(), "a request").await;
        first.hear_head().await;
        first.say(BUSY).await;
        let mut second = limited(two.accept(), "a second try").await;
        second.hear_head().await;
        second.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
        assert!(bench.log().contains("\"attempts\":2"));
    });
}

#[test]
fn a_status_is_passed_on_where_no_further_try_is_allowed() {
    for (request, retry, budget) in [
        (get("/"), Retry { attempts: 0, ..after_503() }, 100),
        (get("/"), Retry { on_statuses: RetryStatuses::NONE, ..after_503() }, 100),
        (get("/"), after_503(), 0),
        (with_method("POST"), after_503(), 100),
    ] {
        with(Setup { retry, ..setup(2) }, async |bench| {
            bench.endpoints.vitals().allow_retries(budget);
            let (mut one, mut client) = (bench.origin(1), bench.client());
            client.say(&request).await;
            let mut first = limited(one.accept(), "a request").await;
            first.hear_head().await;
            first.say(BUSY).await;
            let (head, body) = client.hear_message().await;
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            assert_eq!(body, "busy");
        });
    }
}

#[test]
fn a_refused_connection_needs_no_budget() {
    with(setup(2), async |bench| {
        bench.endpoints.vitals().allow_retries(0);
        let (mut origin, mut client) = (bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_origin = limited(origin.accept(), "a request").await;
        at_origin.hear_head().await;
        at_origin.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
        assert_eq!(bench.endpoints.vitals().retries(), 0);
    });
}

#[test]
fn an_attempt_that_is_silent_for_too_long_moves_on_where_the_rule_says_so() {
    for (on_timeout, expected) in [(true, "HTTP/1.1 200 "), (false, "HTTP/1.1 504 ")] {
        let try_timeout = Some(Duration::from_millis(500));
        let retry = Retry { on_timeout, try_timeout, ..Retry::default() };
        with(Setup { retry, ..setup(2) }, async |bench| {
            let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
            let clock = crate::talk::Clock::start();
            client.say(get("/")).await;
            let mut first = limited(one.accept(), "a request").await;
            first.hear_head().await;
            if on_timeout {
                let mut second = limited(two.accept(), "a second try").await;
                second.hear_head().await;
                second.say(ok("two")).await;
            }
            let (head, _) = client.hear_message().await;
            clock.has_passed(Duration::from_millis(500));
            assert!(head.starts_with(expected), "{head}");
        });
    }
}

#[test]
fn the_second_retry_waits_and_twice_as_long_as_the_first() {
    let retry = Retry { backoff: Duration::from_millis(400), attempts: 3, ..after_503() };
    with(Setup { retry, ..setup(1) }, async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        client.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        for most in [400, 800, 1600].map(Duration::from_millis) {
            at_origin.hear_head().await;
            at_origin.say(BUSY).await;
            let clock = crate::talk::Clock::start();
            at_origin = origin.accept().await;
            let waited = clock.passed();
            assert!(waited >= most / 2 && waited <= most + Duration::from_millis(3), "{waited:?}");
        }
        at_origin.hear_head().await;
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
}

#[test]
fn a_client_that_leaves_during_a_backoff_ends_its_exchange() {
    let retry = Retry { backoff: Duration::from_secs(9), ..after_503() };
    with(Setup { retry, ..setup(1) }, async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        client.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(BUSY).await;
        pass(Duration::from_secs(1)).await;
        client.reset();
        pass(Duration::from_millis(100)).await;
        assert!(bench.log().contains("client-gone"));
    });
}

#[test]
fn an_upstream_at_its_limit_or_with_an_open_breaker_is_not_asked() {
    let breaker = BreakerRule { in_flight_max: Some(1), ..BreakerRule::default() };
    with(Setup { breaker: Some(breaker), ..setup(2) }, async |bench| {
        let (mut origin, mut first) = (bench.origin(1), bench.client());
        first.say(get("/")).await;
        let mut at_origin = limited(origin.accept(), "a request").await;
        at_origin.hear_head().await;
        let mut second = bench.client();
        second.say(get("/")).await;
        let (head, _) = second.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("connection_limit_reached"), "{head}");
        at_origin.say(ok("one")).await;
        assert_eq!(first.hear_message().await.1, "one");
        bench.endpoints.vitals().probing().set(Gate::Open, 0);
        first.say(get("/")).await;
        let (head, _) = first.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("destination_unavailable"));
        assert_eq!(bench.endpoints.vitals().in_flight(), 0);
    });
}

#[test]
fn a_broken_connection_is_tried_again_within_the_budget_only() {
    for (allowed, status) in [(1, "200"), (0, "502")] {
        with(setup(2), async |bench| {
            bench.endpoints.vitals().allow_retries(allowed);
            let (mut line, mut second) = (bench.line(), bench.origin(2));
            line.client.say(get("/")).await;
            line.at_origin().await.hear_head().await;
            line.hang_up();
            if allowed > 0 {
                let mut again = second.accept().await;
                again.hear_head().await;
                again.say(ok("again")).await;
            } else {
                assert!(second.is_left_alone().await);
            }
            let (head, _) = line.client.hear_message().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        });
    }
}
