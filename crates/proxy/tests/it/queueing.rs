//! Where all places at an upstream are taken, requests wait for one: the more important first, and
//! no more and no longer than may be.

use crate::bench::{Bench, Line, Setup, endpoints_at_most, plan, with};
use crate::h2::{Ended, Frames};
use crate::talk::{Clock, SOON, Talk, field, get, ok, pass, within};
use gatehouse_core::breaker::BreakerRule;
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::hedge::HedgeRule;
use gatehouse_core::plan::{Balance, Timeouts};
use gatehouse_core::queue::{Priority, QueueRule};
use gatehouse_core::vitals::UpstreamVitals;
use std::sync::Arc;
use std::time::Duration;

fn setup(waiting_max: u32) -> Setup {
    let breaker = BreakerRule { in_flight_max: Some(1), ..BreakerRule::default() };
    let queue = QueueRule { waiting_max, timeout: Duration::from_secs(3) };
    Setup { breaker: Some(breaker), queue: Some(queue), ..Setup::default() }
}

/// A request that has taken the only place.
async fn taken(bench: &Bench) -> Line {
    let mut line = bench.line();
    line.client.say(get("/taken")).await;
    line.at_origin().await.hear_head().await;
    line
}

/// Asks for `path` on a new connection, and lets it come to wait.
async fn asks(bench: &Bench, path: &str) -> Talk {
    let mut client = bench.client();
    client.say(get(path)).await;
    pass(Duration::from_millis(1)).await;
    client
}

/// Answers what is under way, and says which path is asked for next.
async fn next(line: &mut Line) -> Option<String> {
    let at_origin = line.at_origin().await;
    at_origin.say(ok("done")).await;
    let head = within(SOON, at_origin.hear_head()).await?;
    head.split(' ').nth(1).map(str::to_owned)
}

fn waiting(bench: &Bench) -> u32 {
    bench.endpoints.vitals().waiting()
}

async fn is_turned_away(client: &mut Talk, why: &str, after: &str) {
    let (head, body) = client.hear_message().await;
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains(why), "{head}{body}");
    assert_eq!(field(&head, "retry-after"), Some(after));
}

#[test]
fn whoever_waits_is_served_in_the_order_they_came() {
    with(setup(9), async |bench| {
        let mut line = taken(&bench).await;
        let mut clients = Vec::new();
        for path in ["/1", "/2", "/3"] {
            clients.push(asks(&bench, path).await);
        }
        assert_eq!((waiting(&bench), bench.endpoints.vitals().in_flight()), (3, 1));
        for path in ["/1", "/2", "/3"] {
            assert_eq!(next(&mut line).await.as_deref(), Some(path));
        }
        assert_eq!(next(&mut line).await, None);
        for client in &mut clients {
            assert_eq!(client.hear_message().await.1, "done");
        }
        assert_eq!(bench.endpoints.vitals().queue_counts().joined, 3);
    });
}

#[test]
fn an_endpoint_at_its_cap_is_waited_for_too() {
    let queue = QueueRule { waiting_max: 9, timeout: Duration::from_secs(3) };
    with(Setup { queue: Some(queue), ..Setup::default() }, async |bench| {
        let capped = endpoints_at_most(1, 1);
        bench.gate.set_endpoints(Arc::clone(&capped));
        let mut line = taken(&bench).await;
        let mut client = asks(&bench, "/waits").await;
        assert_eq!(capped.vitals().waiting(), 1);
        assert_eq!(next(&mut line).await.as_deref(), Some("/waits"));
        line.at_origin().await.say(ok("done")).await;
        assert_eq!(client.hear_message().await.1, "done");
        assert_eq!((capped.vitals().waiting(), capped.vitals().in_flight()), (0, 0));
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}

#[test]
fn the_more_important_go_first() {
    let also = Some(("/high", Priority::High));
    with(Setup { also, ..setup(9) }, async |bench| {
        let mut line = taken(&bench).await;
        let _clients = [
            asks(&bench, "/1").await,
            asks(&bench, "/high").await,
            asks(&bench, "/2").await,
            asks(&bench, "/high").await,
        ];
        for path in ["/high", "/high", "/1", "/2"] {
            assert_eq!(next(&mut line).await.as_deref(), Some(path));
        }
        assert_eq!(next(&mut line).await, None);
    });
}

#[test]
fn a_full_queue_turns_away_the_newest_of_the_least_important() {
    let also = Some(("/high", Priority::High));
    with(Setup { also, ..setup(1) }, async |bench| {
        let mut line = taken(&bench).await;
        let mut waits = asks(&bench, "/1").await;
        let clock = Clock::start();
        let mut late = asks(&bench, "/2").await;
        is_turned_away(&mut late, "the queue for the upstream is full", "3").await;
        let mut high = asks(&bench, "/high").await;
        is_turned_away(&mut waits, "the queue for the upstream is full", "3").await;
        assert!(clock.passed() < Duration::from_millis(10));
        assert_eq!(next(&mut line).await.as_deref(), Some("/high"));
        assert_eq!(next(&mut line).await, None);
        assert_eq!(high.hear_message().await.1, "done");
        assert_eq!(bench.endpoints.vitals().queue_counts().full, 2);
    });
}

#[test]
fn whoever_waits_for_too_long_is_told_so_and_when_to_come_again() {
    for (total, status, wait) in [(None, "503", 3), (Some(Duration::from_secs(2)), "504", 2)] {
        let timeouts = Timeouts { total, ..Timeouts::default() };
        with(Setup { timeouts, ..setup(9) }, async |bench| {
            let _line = taken(&bench).await;
            let clock = Clock::start();
            let mut client = bench.client();
            client.say(get("/waits")).await;
            let (head, _) = client.hear_message().await;
            clock.has_passed(Duration::from_secs(wait));
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert_eq!(field(&head, "retry-after").is_some(), total.is_none());
            let counts = bench.endpoints.vitals().queue_counts();
            assert_eq!((waiting(&bench), counts.timeouts), (0, u64::from(total.is_none())));
        });
    }
}

#[test]
fn whoever_leaves_does_not_keep_the_place_it_was_called_to() {
    with(setup(9), async |bench| {
        let mut line = taken(&bench).await;
        let (first, _second) = (asks(&bench, "/1").await, asks(&bench, "/2").await);
        first.reset();
        pass(Duration::from_millis(1)).await;
        assert_eq!(waiting(&bench), 1);
        assert_eq!(next(&mut line).await.as_deref(), Some("/2"));
        assert_eq!(next(&mut line).await, None);
    });
}

#[test]
fn whoever_comes_does_not_go_before_those_that_wait() {
    with(setup(9), async |bench| {
        let mut line = taken(&bench).await;
        let _first = asks(&bench, "/1").await;
        line.at_origin().await.say(ok("done")).await;
        // It is there as the place comes free, and before anybody who was called has run.
        let mut late = bench.client();
        late.say(get("/late")).await;
        let head = line.at_origin().await.hear_head().await;
        assert!(head.starts_with("GET /1 "), "{head}");
        assert_eq!(next(&mut line).await.as_deref(), Some("/late"));
        assert_eq!(next(&mut line).await, None);
    });
}

#[test]
fn streams_of_http2_wait_as_well() {
    let also = Some(("/2", Priority::Low));
    with(Setup { also, ..setup(1) }, async |bench| {
        let mut line = taken(&bench).await;
        let mut client = Frames::open(&bench).await;
        let get =
            |path| [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")];
        client.ask(1, &get("/1")).await;
        client.ask(3, &get("/2")).await;
        let heard = client.hear(3).await;
        assert_eq!((heard.status(), heard.field("retry-after")), ("503", Some("3")));
        assert_eq!(next(&mut line).await.as_deref(), Some("/1"));
        assert_eq!(next(&mut line).await, None);
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.ended), ("200", Ended::Whole));
    });
}

/// Publishes these endpoints of one upstream.
fn publish(bench: &Bench, upstream: &Arc<UpstreamVitals>, list: &[Endpoint]) {
    let endpoints = Endpoints::new(Balance::RoundRobin, list.to_vec(), Arc::clone(upstream));
    bench.gate.set_endpoints(Arc::new(endpoints));
}

fn waits_long() -> Setup {
    let queue = QueueRule { waiting_max: 9, timeout: Duration::from_secs(60) };
    Setup { queue: Some(queue), ..Setup::default() }
}

#[test]
fn an_endpoint_that_comes_back_is_given_to_whoever_waits() {
    for away in [None, Some(Standing::Unhealthy), Some(Standing::Ejected), Some(Standing::Drained)]
    {
        with(waits_long(), async |bench| {
            let (upstream, list) = (Arc::default(), endpoints_at_most(2, 1).list().to_vec());
            let second = away.map(|standing| Endpoint { standing, ..list[1].clone() });
            let before: Vec<_> = [list[0].clone()].into_iter().chain(second).collect();
            publish(&bench, &upstream, &before);
            let (mut line, mut other) = (taken(&bench).await, bench.origin(2));
            let mut clients = [asks(&bench, "/1").await, asks(&bench, "/2").await];
            assert_eq!(upstream.waiting(), 2);
            let clock = Clock::start();
            publish(&bench, &upstream, &list);
            let mut at_other = other.accept_soon(SOON).await.expect("it is there again");
            assert!(at_other.hear_head().await.starts_with("GET /1 "));
            assert!(clock.passed() < Duration::from_millis(10));
            at_other.say(ok("one")).await;
            assert_eq!(clients[0].hear_message().await.1, "one");
            assert!(at_other.hear_head().await.starts_with("GET /2 "));
            at_other.say(ok("two")).await;
            assert_eq!(clients[1].hear_message().await.1, "two");
            line.at_origin().await.say(ok("taken")).await;
            line.client.hear_message().await;
            assert_eq!((upstream.waiting(), upstream.in_flight()), (0, 0));
            assert_eq!(bench.log().matches("\"endpoint\":\"10.0.1.2:80\"").count(), 2);
            bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
            bench.gate.drop_idle();
        });
    }
}

#[test]
fn a_higher_limit_holds_for_whoever_waits_as_well() {
    with(setup(9), async |bench| {
        let mut line = taken(&bench).await;
        let mut clients = [asks(&bench, "/1").await, asks(&bench, "/2").await];
        let breaker = BreakerRule { in_flight_max: Some(3), ..BreakerRule::default() };
        let higher = Setup { breaker: Some(breaker), ..setup(9) };
        bench.gate.publish(plan(higher), vec![Arc::clone(&bench.endpoints)]);
        for (client, path) in clients.iter_mut().zip(["/1", "/2"]) {
            let mut at_origin = line.origin.accept_soon(SOON).await.expect("there is room now");
            assert!(at_origin.hear_head().await.starts_with(&format!("GET {path} ")));
            at_origin.say(ok(path)).await;
            assert_eq!(client.hear_message().await.1, path);
        }
        line.at_origin().await.say(ok("taken")).await;
        line.client.hear_message().await;
    });
}

#[test]
fn whoever_waited_for_an_endpoint_that_came_is_hedged_among_those_that_are_there() {
    let hedge = Some(HedgeRule::After(Duration::from_millis(100)));
    with(Setup { hedge, ..waits_long() }, async |bench| {
        let (upstream, list) = (Arc::default(), endpoints_at_most(3, 1).list().to_vec());
        publish(&bench, &upstream, &list[..1]);
        let mut line = taken(&bench).await;
        let mut client = asks(&bench, "/1").await;
        let mut others = [bench.origin(2), bench.origin(3)];
        publish(&bench, &upstream, &list[1..]);
        let mut first = others[0].accept_soon(SOON).await.expect("it has come");
        first.hear_head().await;
        let mut second = others[1].accept().await;
        assert!(second.hear_head().await.starts_with("GET /1 "));
        second.say(ok("second")).await;
        assert_eq!(client.hear_message().await.1, "second");
        line.at_origin().await.say(ok("taken")).await;
        line.client.hear_message().await;
        assert!(bench.log().contains("\"endpoint\":\"10.0.1.3:80\""));
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}
