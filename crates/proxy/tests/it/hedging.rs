//! Where an endpoint is slow, a second is asked the same, and whoever answers first is heard: only
//! what may be sent twice, within the budget of retries, and the other attempt leaves nothing.

use crate::bench::{Bench, Origin, Setup, with};
use crate::h2::{Ended, Frames};
use crate::talk::{Clock, Talk, get, ok, pass};
use gatehouse_core::breaker::{BreakerRule, Gate};
use gatehouse_core::concurrency::ConcurrencyRule;
use gatehouse_core::hedge::HedgeRule;
use gatehouse_core::plan::{Retry, RetryStatuses, Speaks, Timeouts};
use gatehouse_rig::frames::code;
use std::time::Duration;

const AFTER: Duration = Duration::from_millis(50);

fn setup() -> Setup {
    Setup { endpoints: 2, hedge: Some(HedgeRule::After(AFTER)), ..Setup::default() }
}

/// A request that the first endpoint has, and the second is asked for too.
struct Raced {
    client: Talk,
    first: Talk,
    second: Talk,
    _origins: (Origin, Origin),
}

async fn raced(bench: &Bench, request: &str) -> Raced {
    let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
    client.say(request).await;
    let mut first = one.accept().await;
    let clock = Clock::start();
    let seen = first.hear_head().await;
    let mut second = two.accept().await;
    clock.has_passed(AFTER);
    assert_eq!(second.hear_head().await, seen.replace("10.0.1.1", "10.0.1.2"));
    Raced { client, first, second, _origins: (one, two) }
}

fn in_flight(bench: &Bench) -> [u32; 3] {
    let at = |index: usize| bench.endpoints.list()[index].vitals.in_flight();
    [bench.endpoints.vitals().in_flight(), at(0), at(1)]
}

/// Waits until whoever lost has been given up.
async fn settle() {
    pass(Duration::from_millis(1)).await;
}

#[test]
fn the_second_to_be_asked_is_heard_where_it_answers_first() {
    with(setup(), async |bench| {
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
        assert_eq!(in_flight(&bench), [2, 1, 1]);
        second.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
        assert_eq!(first.hear_end().await, "", "the connection of the slower one is closed");
        assert_eq!(in_flight(&bench), [0, 0, 0]);
        let (log, vitals) = (bench.log(), bench.endpoints.vitals());
        assert!(log.contains("\"endpoint\":\"10.0.1.2:80\",\"attempts\":2,"), "{log}");
        assert!(log.contains("\"hedge\":\"won\""), "{log}");
        assert_eq!((vitals.hedges(), vitals.hedges_won(), vitals.retries()), (1, 1, 1));
        // The connection that carried the answer is kept, and the other is not.
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn the_first_is_heard_where_it_answers_first_after_all() {
    with(setup(), async |bench| {
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
        first.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
        assert_eq!(second.hear_end().await, "");
        assert_eq!(in_flight(&bench), [0, 0, 0]);
        let (log, vitals) = (bench.log(), bench.endpoints.vitals());
        assert!(log.contains("\"endpoint\":\"10.0.1.1:80\",\"attempts\":2,"), "{log}");
        assert!(log.contains("\"hedge\":\"lost\""), "{log}");
        assert_eq!((vitals.hedges(), vitals.hedges_won()), (1, 0));
    });
}

#[test]
fn nobody_else_is_asked_where_the_first_answers_in_time() {
    with(setup(), async |bench| {
        let mut two = bench.origin(2);
        let mut line = bench.line();
        assert_eq!(line.fetch(get("/"), ok("one")).await.1, "one");
        assert!(two.is_left_alone().await);
        assert!(!bench.log().contains("hedge"));
        assert_eq!((bench.endpoints.vitals().hedges(), in_flight(&bench)), (0, [0, 0, 0]));
    });
}

#[test]
fn what_may_not_be_sent_twice_is_sent_once() {
    let long = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned();
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (buffer, request) in [
        (0, get("/").replace("GET", "POST")),
        (0, long.clone()),
        (4, long.clone()),
        (9, long.replace("PUT", "POST")),
        (9, upgrade.to_owned()),
    ] {
        with(Setup { buffer, ..setup() }, async |bench| {
            let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
            client.say(&request).await;
            let mut at_origin = one.accept().await;
            at_origin.hear_head().await;
            assert!(two.is_left_alone().await, "{request}");
            assert_eq!(in_flight(&bench), [1, 1, 0]);
        });
    }
}

#[test]
fn a_body_that_is_held_whole_is_sent_to_both() {
    with(Setup { buffer: 5, ..setup() }, async |bench| {
        let request = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, request).await;
        assert_eq!(first.hear_bytes(5).await, "hello");
        assert_eq!(second.hear_bytes(5).await, "hello");
        second.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
        assert!(bench.log().contains("\"received\":5,"));
    });
}

#[test]
fn hedges_are_paid_for_from_the_budget_of_retries() {
    with(setup(), async |bench| {
        bench.endpoints.vitals().allow_retries(0);
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        assert!(two.is_left_alone().await);
        assert_eq!(in_flight(&bench), [1, 1, 0]);
        let vitals = bench.endpoints.vitals();
        assert_eq!((vitals.retries(), vitals.retries_denied(), vitals.hedges()), (0, 1, 0));
        assert_eq!(bench.endpoints.list()[1].vitals.picked(), 0);
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
        assert!(bench.log().contains("\"attempts\":1,"));
    });
}

#[test]
fn the_same_endpoint_is_never_asked_twice_at_once() {
    with(Setup { endpoints: 1, ..setup() }, async |bench| {
        let (mut one, mut client) = (bench.origin(1), bench.client());
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        assert!(one.is_left_alone().await);
        let vitals = bench.endpoints.vitals();
        assert_eq!((vitals.in_flight(), vitals.hedges(), vitals.retries_denied()), (1, 0, 0));
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
}

#[test]
fn a_limit_on_what_is_in_flight_holds_for_hedges_too() {
    let breaker = BreakerRule { in_flight_max: Some(1), ..BreakerRule::default() };
    with(Setup { breaker: Some(breaker), ..setup() }, async |bench| {
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        assert!(two.is_left_alone().await);
        assert_eq!(in_flight(&bench), [1, 1, 0]);
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
}

#[test]
fn a_half_open_breaker_lets_no_hedge_pass() {
    let breaker = BreakerRule { error_rate: Some(0.5), ..BreakerRule::default() };
    with(Setup { breaker: Some(breaker), ..setup() }, async |bench| {
        bench.endpoints.vitals().probing().set(Gate::HalfOpen, 3);
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        assert!(two.is_left_alone().await);
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
}

#[test]
fn an_error_is_not_heard_while_the_other_may_still_do_better() {
    let bad = "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad";
    for errs_first in [true, false] {
        with(setup(), async |bench| {
            let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
            let (errs, does_well) =
                if errs_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
            errs.say(bad).await;
            assert!(client.hears_nothing().await);
            does_well.say(ok("good")).await;
            assert_eq!(client.hear_message().await.1, "good");
        });
    }
    with(setup(), async |bench| {
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
        second.say(bad).await;
        first.say(bad.replace("bad", "all")).await;
        assert_eq!(client.hear_message().await.1, "all", "of two errors the first's is heard");
    });
}

#[test]
fn a_connection_that_dies_leaves_the_other_to_answer() {
    for first_dies in [true, false] {
        with(setup(), async |bench| {
            let Raced { mut client, first, second, .. } = raced(&bench, &get("/")).await;
            let (dead, mut alive) = if first_dies { (first, second) } else { (second, first) };
            drop(dead);
            settle().await;
            assert_eq!(in_flight(&bench)[0], 1);
            alive.say(ok("alive")).await;
            assert_eq!(client.hear_message().await.1, "alive");
            assert!(bench.log().contains("\"attempts\":2,"));
        });
    }
}

#[test]
fn where_both_fail_a_retry_goes_to_a_third() {
    with(Setup { endpoints: 3, ..setup() }, async |bench| {
        let mut three = bench.origin(3);
        let Raced { mut client, first, second, .. } = raced(&bench, &get("/")).await;
        // It is the third's turn for this one, and then that of the other two.
        let mut other = bench.client();
        other.say(get("/other")).await;
        let mut third = three.accept().await;
        third.hear_head().await;
        third.say(ok("other")).await;
        assert_eq!(other.hear_message().await.1, "other");
        drop((first, second));
        // Where a connection has died, no kept one is taken.
        let mut third = three.accept().await;
        third.hear_head().await;
        third.say(ok("three")).await;
        assert_eq!(client.hear_message().await.1, "three");
        let log = bench.log();
        assert!(log.contains("\"attempts\":3,") && log.contains("\"hedge\":\"lost\""), "{log}");
        assert_eq!(bench.endpoints.vitals().hedges(), 1, "one hedge a request");
    });
}

#[test]
fn a_client_that_leaves_ends_both() {
    for first_dies in [false, true] {
        with(setup(), async |bench| {
            let Raced { client, first, mut second, _origins: (mut one, mut two) } =
                raced(&bench, &get("/")).await;
            second.say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
            let mut first = Some(first);
            if first_dies {
                first = None;
                settle().await;
            }
            client.reset();
            settle().await;
            assert_eq!(in_flight(&bench), [0, 0, 0]);
            if let Some(mut first) = first {
                assert_eq!(first.hear_end().await, "");
            }
            assert_eq!(second.hear_end().await, "");
            let log = bench.log();
            assert!(log.contains("client-gone") && log.contains("\"attempts\":2,"), "{log}");
            // Nothing that it would have been told is told to the next.
            let mut next = bench.client();
            next.say(get("/")).await;
            let mut at_origin = match one.accept_soon(Duration::from_millis(1)).await {
                Some(at_origin) => at_origin,
                None => two.accept().await,
            };
            at_origin.hear_head().await;
            at_origin.say(ok("next")).await;
            let (head, _) = next.hear_message().await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        });
    }
}

#[test]
fn who_has_passed_on_an_interim_answer_is_heard_alone() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    with(setup(), async |bench| {
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        at_origin.say(hint).await;
        client.hear_until("\r\n\r\n").await;
        assert!(two.is_left_alone().await, "an answer has begun");
        at_origin.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
    with(setup(), async |bench| {
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
        first.say(hint).await;
        assert_eq!(second.hear_end().await, "", "the other is given up");
        assert_eq!(in_flight(&bench), [1, 1, 0]);
        assert!(client.hear_until("\r\n\r\n").await.starts_with("HTTP/1.1 103 "));
        first.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
    with(setup(), async |bench| {
        let Raced { mut client, first: _first, mut second, .. } = raced(&bench, &get("/")).await;
        second.say(hint).await;
        settle().await;
        second.say(hint.replace("</x>", "</y>")).await;
        settle().await;
        assert!(client.hears_nothing().await, "the other may still be heard");
        second.say(ok("two")).await;
        for link in ["</x>", "</y>"] {
            let interim = client.hear_until("\r\n\r\n").await;
            assert!(interim.starts_with("HTTP/1.1 103 ") && interim.contains(link), "{interim}");
        }
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "two", "{head}");
    });
}

#[test]
fn of_whom_is_not_heard_no_interim_answer_is_passed_on() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    with(setup(), async |bench| {
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
        second.say(hint).await;
        settle().await;
        first.say(ok("one")).await;
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "one", "{head}");
    });
    // An answer that is thrown away for another attempt takes its interim ones with it.
    let retry =
        Retry { on_statuses: RetryStatuses::NONE.with(503), attempts: 3, ..Retry::default() };
    with(Setup { endpoints: 3, retry, ..setup() }, async |bench| {
        let mut three = bench.origin(3);
        let Raced { mut client, first, mut second, .. } = raced(&bench, &get("/")).await;
        second.say(hint).await;
        second.say(ok("no").replace("200 OK", "503 No")).await;
        settle().await;
        first.reset();
        let mut third = three.accept().await;
        third.hear_head().await;
        third.say(ok("three")).await;
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "three", "{head}");
    });
}

#[test]
fn an_endpoint_that_is_not_waited_for_does_not_look_quick() {
    with(setup(), async |bench| {
        let Raced { mut client, first: _first, mut second, .. } = raced(&bench, &get("/")).await;
        pass(Duration::from_millis(950)).await;
        second.say(ok("two")).await;
        client.hear_message().await;
        let at = |index: usize| {
            let vitals = &bench.endpoints.list()[index].vitals;
            vitals.latency_nanos(gatehouse_wire::timer::now()) / 1e6
        };
        assert!(at(0) >= 1_000.0 && (950.0..1_000.0).contains(&at(1)), "{} {}", at(0), at(1));
    });
}

#[test]
fn a_percentile_that_is_not_known_yet_hedges_nothing() {
    let setup = || Setup { hedge: Some(HedgeRule::Percentile(0.95)), ..setup() };
    with(setup(), async |bench| {
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_origin = one.accept().await;
        at_origin.hear_head().await;
        assert!(two.is_left_alone().await);
        at_origin.say(ok("one")).await;
        client.hear_message().await;
        let counted = bench.endpoints.vitals().latencies().snapshot();
        assert_eq!(counted.total(), 1, "it was counted how long it took");
    });
    with(setup(), async |bench| {
        bench.endpoints.vitals().set_hedge_after(Some(AFTER));
        let Raced { mut client, first: _first, mut second, .. } = raced(&bench, &get("/")).await;
        second.say(ok("two")).await;
        assert_eq!(client.hear_message().await.1, "two");
        let counted = bench.endpoints.vitals().latencies().snapshot();
        assert_eq!(counted.total(), 2, "the one that was not waited for counts too");
        assert!(counted.quantile(1.0) >= Some(AFTER));
    });
}

#[test]
fn the_time_of_a_route_ends_both_attempts() {
    let timeouts = Timeouts { total: Some(Duration::from_secs(2)), ..Timeouts::default() };
    with(Setup { timeouts, ..setup() }, async |bench| {
        let Raced { mut client, first: _first, second: _second, .. } =
            raced(&bench, &get("/")).await;
        let (head, _) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        assert_eq!(in_flight(&bench), [0, 0, 0]);
    });
}

#[test]
fn a_status_that_is_tried_again_is_not_heard_from_a_hedge() {
    let on_statuses = RetryStatuses::NONE.with(429);
    let retry = Retry { on_statuses, ..Retry::default() };
    with(Setup { retry, ..setup() }, async |bench| {
        let Raced { mut client, mut first, mut second, .. } = raced(&bench, &get("/")).await;
        second.say("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n").await;
        assert!(client.hears_nothing().await);
        first.say(ok("one")).await;
        assert_eq!(client.hear_message().await.1, "one");
    });
}

#[test]
fn streams_of_http2_are_raced_and_the_loser_is_reset() {
    let setup = Setup { speaks: Speaks::Http2, ..setup() };
    with(setup, async |bench| {
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut first = Frames::serve(one.accept().await).await;
        let (stream, ..) = first.hear_request().await;
        let mut second = Frames::serve(two.accept().await).await;
        let (other, ..) = second.hear_request().await;
        second.answer(other, "200", "two").await;
        assert!(client.hear_until("two").await.starts_with("HTTP/1.1 200 "));
        assert_eq!(first.hear(stream).await.ended, Ended::Reset(code::CANCEL));
        assert_eq!(in_flight(&bench), [0, 0, 0]);
        drop((first, second));
        bench.gate.drop_idle();
    });
}

#[test]
fn what_was_found_out_limits_what_is_in_flight() {
    let rule = ConcurrencyRule { min: 1, max: 9, tolerance: 1.5 };
    let setup = Setup { concurrency: Some(rule), ..Setup::default() };
    with(setup, async |bench| {
        bench.endpoints.vitals().set_concurrency(1);
        let (mut origin, mut taken) = (bench.origin(1), bench.client());
        taken.say(get("/taken")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        let mut refused = bench.client();
        refused.say(get("/refused")).await;
        let (head, _) = refused.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        bench.endpoints.vitals().set_concurrency(2);
        let mut client = bench.client();
        client.say(get("/second")).await;
        let mut second = origin.accept().await;
        second.hear_head().await;
        second.say(ok("second")).await;
        assert_eq!(client.hear_message().await.1, "second");
        at_origin.say(ok("taken")).await;
        assert_eq!(taken.hear_message().await.1, "taken");
    });
}
