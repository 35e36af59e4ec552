//! An idle connection waits without a task, and costs nothing but its place.

use crate::bench::{Bench, Setup, with};
use crate::talk::{Clock, End, SOON, Talk, get, ok, pass};
use gatehouse_core::plan::ClientLimits;
use std::time::Duration;

const MANY: usize = 10_000;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn setup() -> Setup {
    let limits = ClientLimits {
        connections_max: 20_000,
        head_timeout: seconds(7),
        idle_timeout: seconds(17),
        ..ClientLimits::default()
    };
    Setup { limits, ..Setup::default() }
}

fn clients(bench: &Bench, count: usize) -> Vec<Talk> {
    (0..count).map(|_| bench.client()).collect()
}

#[test]
fn a_connection_is_parked_before_and_between_its_requests() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        pass(SOON).await;
        assert_eq!(bench.gate.parked(), 1);
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        assert_eq!(bench.gate.parked(), 0);
        line.at_origin().await.say(ok("hello")).await;
        line.client.hear_message().await;
        pass(SOON).await;
        assert_eq!(bench.gate.parked(), 1);
    });
}

#[test]
fn of_ten_thousand_only_the_one_that_speaks_is_looked_at() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        let _silent = clients(&bench, MANY);
        pass(SOON).await;
        assert_eq!(bench.gate.parked(), MANY + 1);
        let before = bench.gate.polls();
        line.fetch(get("/"), ok("hello")).await;
        let polls = bench.gate.polls() - before;
        assert!(polls < 20, "{polls} polls for one exchange");
    });
}

#[test]
fn each_of_many_is_closed_when_its_own_time_is_over() {
    with(setup(), async |bench| {
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push((bench.client(), Clock::start()));
            pass(seconds(1)).await;
        }
        for (client, clock) in &mut waiting {
            assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Closed));
            clock.has_passed(seconds(7));
        }
    });
}

#[test]
fn a_connection_that_spoke_in_between_is_closed_by_the_later_time() {
    with(setup(), async |bench| {
        let (mut first, mut clock) = (bench.client(), Clock::start());
        pass(seconds(5)).await;
        let mut line = bench.line();
        line.fetch(get("/"), ok("hello")).await;
        let idle = Clock::start();
        assert_eq!(first.hear_how_it_ends().await, (String::new(), End::Closed));
        clock.has_passed(seconds(7));
        clock = idle;
        assert_eq!(line.client.hear_how_it_ends().await, (String::new(), End::Closed));
        clock.has_passed(seconds(17));
    });
}

#[test]
fn a_drain_closes_all_that_are_parked_at_once() {
    with(setup(), async |bench| {
        let mut silent = clients(&bench, 1000);
        pass(SOON).await;
        let clock = Clock::start();
        bench.gate.drain();
        for client in &mut silent {
            assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Closed));
        }
        clock.has_passed(Duration::ZERO);
        assert_eq!((bench.gate.parked(), bench.gate.running()), (0, 0));
    });
}

#[test]
fn a_request_that_has_come_when_a_drain_begins_is_answered() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        pass(SOON).await;
        line.client.say(get("/")).await;
        bench.gate.drain();
        line.at_origin().await.hear_head().await;
        line.at_origin().await.say(ok("hello")).await;
        assert!(line.client.hear_end().await.ends_with("hello"));
    });
}

#[test]
fn more_than_one_round_of_requests_at_once_are_all_answered() {
    with(setup(), async |bench| {
        let mut origin = bench.origin(1);
        let mut asking = clients(&bench, 100);
        for (at, client) in asking.iter_mut().enumerate() {
            client.say(get(&format!("/{at}"))).await;
        }
        for _ in 0..asking.len() {
            let mut at_origin = origin.accept().await;
            let head = at_origin.hear_head().await;
            at_origin.say(ok(head.split(' ').nth(1).unwrap())).await;
            pass(SOON).await;
            drop(at_origin);
            pass(SOON).await;
        }
        for (at, client) in asking.iter_mut().enumerate() {
            assert_eq!(client.hear_message().await.1, format!("/{at}"));
        }
    });
}

#[test]
fn a_fault_in_one_exchange_ends_that_connection_alone() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("hello")).await;
        let mut unlucky = bench.client();
        pass(SOON).await;
        bench.gate.fail_next();
        unlucky.say(get("/")).await;
        assert_eq!(unlucky.hear_end().await, "");
        line.fetch(get("/"), ok("again")).await;
    });
}
