//! What a half-open breaker, of an upstream or of an endpoint, learns from the few requests that it
//! lets pass; and that it never runs out of them.

use crate::bench::{Bench, Setup, with};
use crate::talk::{get, limited, ok, pass};
use gatehouse_core::breaker::{BreakerRule, Gate, Trial};
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::plan::{Balance, Carries, Retry};
use gatehouse_core::vitals::UpstreamVitals;
use std::sync::Arc;
use std::time::Duration;

fn setup(endpoints: u8) -> Setup {
    let retry = Retry { attempts: 0, ..Retry::default() };
    Setup { endpoints, retry, ..Setup::default() }
}

/// Publishes endpoints that stand so, of one upstream.
fn stand(bench: &Bench, upstream: &Arc<UpstreamVitals>, standing: Standing) {
    let each = bench.endpoints.list().iter().cloned();
    let list = each.map(|endpoint| Endpoint { standing, ..endpoint }).collect();
    let endpoints = Endpoints::new(Balance::RoundRobin, list, Arc::clone(upstream));
    bench.gate.set_endpoints(Arc::new(endpoints));
}

/// The gateway's answer to a request that no origin is asked.
async fn refusal(bench: &Bench) -> String {
    let mut client = bench.client();
    client.say(get("/")).await;
    client.hear_message().await.0
}

#[test]
fn a_probe_that_finds_no_endpoint_is_given_back() {
    with(setup(1), async |bench| {
        let (mut origin, upstream) = (bench.origin(1), Arc::default());
        stand(&bench, &upstream, Standing::Drained);
        upstream.probing().set(Gate::HalfOpen, 3);
        for _ in 0..4 {
            let head = refusal(&bench).await;
            assert!(head.contains("the upstream has no endpoint"), "{head}");
        }
        assert_eq!(upstream.probing().trial(), Trial::Idle);
        stand(&bench, &upstream, Standing::Ready);
        for path in ["/1", "/2", "/3", "/4"] {
            bench.gate.drop_idle();
            bench.serves(&mut origin, &mut None, path).await;
        }
        assert_eq!(upstream.probing().trial(), Trial::Passed);
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}

#[test]
fn a_probe_that_finds_no_place_is_given_back() {
    let breaker = BreakerRule { in_flight_max: Some(1), ..BreakerRule::default() };
    with(Setup { breaker: Some(breaker), ..setup(1) }, async |bench| {
        let (mut origin, mut first) = (bench.origin(1), bench.client());
        first.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        let probing = bench.endpoints.vitals().probing();
        probing.set(Gate::HalfOpen, 1);
        for _ in 0..2 {
            assert!(refusal(&bench).await.contains("connection_limit_reached"));
        }
        assert_eq!(probing.trial(), Trial::Idle);
        at_origin.say(ok("one")).await;
        assert_eq!(first.hear_message().await.1, "one");
        assert_eq!(probing.trial(), Trial::Idle, "it came before, and is no probe");
    });
}

#[test]
fn a_probe_whose_client_leaves_has_taught_nothing() {
    with(setup(1), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let probing = bench.endpoints.vitals().probing();
        probing.set(Gate::HalfOpen, 1);
        client.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        assert_eq!(probing.trial(), Trial::UnderWay);
        assert!(refusal(&bench).await.contains("destination_unavailable"));
        client.reset();
        pass(Duration::from_millis(100)).await;
        assert_eq!((probing.trial(), probing.gate()), (Trial::Idle, Gate::HalfOpen));
        bench.serves(&mut origin, &mut None, "/next").await;
        assert_eq!(probing.trial(), Trial::Passed);
    });
}

#[test]
fn a_probe_went_well_once_its_answer_begins_however_long_that_takes_to_end() {
    with(setup(1), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let probing = bench.endpoints.vitals().probing();
        probing.set(Gate::HalfOpen, 1);
        client.say(get("/events")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
        pass(Duration::from_millis(10)).await;
        assert_eq!((probing.trial(), probing.gate()), (Trial::Passed, Gate::Closed));
        bench.serves(&mut origin, &mut None, "/another").await;
        at_origin.say("cd").await;
        assert_eq!(client.hear_message().await.1, "abcd");
    });
}

#[test]
fn a_tcp_connection_went_well_once_it_is_there() {
    with(Setup { carries: Carries::Tcp, ..setup(1) }, async |bench| {
        let (mut origin, client) = (bench.origin(1), bench.client());
        let probing = bench.endpoints.vitals().probing();
        probing.set(Gate::HalfOpen, 1);
        let at_origin = limited(origin.accept(), "a connection").await;
        pass(Duration::from_secs(1)).await;
        assert_eq!((probing.trial(), probing.gate()), (Trial::Passed, Gate::Closed));
        drop((client, at_origin));
    });
}

#[test]
fn a_probe_that_fails_opens_the_breaker_at_once() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for answer in [Some(busy), Some("no HTTP\r\n\r\n"), None] {
        with(setup(1), async |bench| {
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            let probing = bench.endpoints.vitals().probing();
            probing.set(Gate::HalfOpen, 3);
            client.say(get("/")).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            match answer {
                Some(answer) => at_origin.say(answer).await,
                None => at_origin.reset(),
            }
            client.hear_message().await;
            assert_eq!((probing.trial(), probing.gate()), (Trial::Failed, Gate::Open));
            assert!(refusal(&bench).await.contains("destination_unavailable"));
        });
    }
}

#[test]
fn a_connection_that_is_refused_is_a_probe_that_fails() {
    with(setup(1), async |bench| {
        let probing = bench.endpoints.vitals().probing();
        probing.set(Gate::HalfOpen, 3);
        assert!(refusal(&bench).await.contains("connection_refused"));
        assert_eq!(probing.trial(), Trial::Failed);
    });
}

#[test]
fn a_probing_endpoint_is_given_its_probes_and_the_others_the_rest() {
    with(setup(2), async |bench| {
        let mut list = bench.endpoints.list().to_vec();
        list[0].standing = Standing::Probing;
        let vitals = Arc::clone(&list[0].vitals);
        let endpoints = Endpoints::new(Balance::RoundRobin, list, Arc::default());
        bench.gate.set_endpoints(Arc::new(endpoints));
        vitals.probing().set(Gate::HalfOpen, 1);
        let (mut one, mut two, mut client) = (bench.origin(1), bench.origin(2), bench.client());
        client.say(get("/")).await;
        let mut at_one = limited(one.accept(), "the first turn is its").await;
        at_one.hear_head().await;
        let mut kept = None;
        for path in ["/1", "/2", "/3", "/4"] {
            bench.serves(&mut two, &mut kept, path).await;
        }
        at_one.say(ok("well")).await;
        assert_eq!(client.hear_message().await.1, "well");
        assert_eq!(vitals.probing().gate(), Gate::Closed);
        let mut kept_by_one = Some(at_one);
        for at in 0..4 {
            let (origin, kept) =
                if at % 2 == 0 { (&mut two, &mut kept) } else { (&mut one, &mut kept_by_one) };
            bench.serves(origin, kept, "/in-turn").await;
        }
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}

#[test]
fn a_probe_at_an_endpoint_whose_client_leaves_makes_way_for_another() {
    with(setup(2), async |bench| {
        let mut list = bench.endpoints.list().to_vec();
        list[0].standing = Standing::Probing;
        let vitals = Arc::clone(&list[0].vitals);
        let endpoints = Endpoints::new(Balance::RoundRobin, list, Arc::default());
        bench.gate.set_endpoints(Arc::new(endpoints));
        vitals.probing().set(Gate::HalfOpen, 1);
        let (mut one, mut client) = (bench.origin(1), bench.client());
        client.say(get("/")).await;
        let mut at_one = one.accept().await;
        at_one.hear_head().await;
        client.reset();
        pass(Duration::from_millis(100)).await;
        assert_eq!(vitals.probing().trial(), Trial::Idle);
        bench.gate.set_endpoints(Arc::clone(&bench.endpoints));
        bench.gate.drop_idle();
    });
}
