//! Upstreams that are slow: another endpoint is asked beside a slow one, and an upstream is given
//! no more at once than was found out. What clients, operators and the access log see of it.

use crate::front::{BINARY, DOORS, LIMIT, ask_admin, get, post, request, scrape};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Gate, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::net::SocketAddr;
use std::time::Duration;

/// Whose one upstream, `all`, has these endpoints and these settings.
fn start(endpoints: &[SocketAddr], settings: &str) -> Gateway {
    let list: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
    let list = list.join(", ");
    let routes = "[[routes]]\nupstream = \"all\"\n[upstreams.all]\n";
    Gateway::start(BINARY, &format!("{DOORS}{routes}endpoints = [{list}]\n{settings}\n"))
}

fn answer(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// Answers one request a connection, once the gate is open.
fn held(gate: &Gate, body: &str) -> ScriptedOrigin {
    let script = Script::new().expect_head().await_gate(gate).send(answer(body));
    ScriptedOrigin::each(script.close())
}

fn open() -> Gate {
    let gate = Gate::closed();
    gate.open();
    gate
}

fn upstream(gateway: &Gateway) -> Json {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    status.list("upstreams").first().cloned().expect("an upstream")
}

/// The line of the exchange with this path.
#[track_caller]
fn logged(gateway: &Gateway, path: &str) -> Json {
    let path = format!("\"{path}\"");
    let find = || gateway.output().into_iter().find(|line| line.contains(&path));
    wait_until(LIMIT, || find().is_some());
    find().map(|line| Json::read(&line)).expect("a line")
}

/// The first endpoint does not answer at all: that the client has an answer proves the second.
#[test]
fn a_second_endpoint_answers_where_the_first_is_slow_and_that_is_counted_and_logged() {
    let slow = ScriptedOrigin::each(Script::new().expect_head().expect_end());
    let quick = held(&open(), "quick");
    let settings = "balance = \"round-robin\"\nhedge = \"50ms\"";
    let gateway = start(&[slow.address(), quick.address()], settings);
    let mut client = Client::connect(gateway.listener("web"));
    let text = client.send(request("GET", "/hedged", "")).expect_status(200).text();
    assert_eq!(text, "quick");
    let line = logged(&gateway, "/hedged");
    assert_eq!(line.count("attempts"), 2);
    assert_eq!(line.text("hedge"), "won");
    assert_eq!(line.text("endpoint"), quick.address().to_string());
    let samples = scrape(&gateway);
    assert_eq!(samples.sum("upstream_hedges_total", &["upstream=\"all\""]), 1);
    assert_eq!(samples.sum("upstream_hedges_won_total", &["upstream=\"all\""]), 1);
    assert_eq!(upstream(&gateway).count("hedges_won"), 1);
    // Who has lost is not waited for: its connection is closed, and nothing is in flight there.
    wait_until(LIMIT, || slow.ending(0).is_some());
    wait_until(LIMIT, || upstream(&gateway).count("in_flight") == 0);
}

/// What may not be sent twice waits for the first, however long that takes.
#[test]
fn a_request_that_may_not_be_sent_twice_is_not_hedged() {
    let gate = Gate::closed();
    let (slow, quick) = (held(&gate, "slow"), held(&open(), "quick"));
    let settings = "balance = \"round-robin\"\nhedge = \"50ms\"";
    let gateway = start(&[slow.address(), quick.address()], settings);
    let mut posting = Client::connect(gateway.listener("web"));
    posting.send(request("POST", "/posted", "Content-Length: 0\r\n"));
    wait_until(LIMIT, || upstream(&gateway).count("in_flight") == 1);
    let mut other = Client::connect(gateway.listener("web"));
    other.send(request("POST", "/other", "Content-Length: 0\r\n"));
    assert_eq!(other.expect_status(200).text(), "quick", "it is there to be asked");
    // Four times as long as a hedge would wait.
    posting.expect_silence(Duration::from_millis(200));
    gate.open();
    assert_eq!(posting.expect_status(200).text(), "slow");
    let line = logged(&gateway, "/posted");
    assert_eq!(line.count("attempts"), 1);
    assert!(line.find("hedge").is_none(), "{line:?}");
    assert_eq!(scrape(&gateway).sum("upstream_hedges_total", &[]), 0);
    assert_eq!(quick.connections(), 1);
}

/// Clients that ask one after the other; each has a connection of its own.
fn asking(gateway: &Gateway, count: usize, path: &str) -> Vec<Client> {
    let ask = |number| {
        let mut client = Client::connect(gateway.listener("web"));
        client.send(request("GET", &format!("/{path}{number}"), ""));
        client
    };
    (0..count).map(ask).collect()
}

/// Nothing is answered before the gate opens, so that nothing is found out: the limit is where it
/// begins, within `min` and `max`.
#[test]
fn requests_beyond_an_adaptive_limit_wait_in_the_queue_or_get_503() {
    for (queue, waiting) in [("", 0), ("queue = { max = 2, timeout = \"1h\" }", 2)] {
        let gate = Gate::closed();
        let origin = held(&gate, "late");
        let settings = format!("concurrency = {{ min = 2, max = 3 }}\n{queue}");
        let gateway = start(&[origin.address()], &settings);
        // It is known a moment after the start.
        wait_until(LIMIT, || upstream(&gateway).find("in_flight_max").is_some_and(is_known));
        assert_eq!(upstream(&gateway).count("in_flight_max"), 3);
        assert_eq!(limit(&gateway), 3, "20 to begin with, but no more than `max`");
        let mut served = asking(&gateway, 3, "served");
        wait_until(LIMIT, || upstream(&gateway).count("in_flight") == 3);
        served.extend(asking(&gateway, waiting, "waiting"));
        wait_until(LIMIT, || upstream(&gateway).count("waiting") == waiting as u64);
        let refused = get(gateway.listener("web"), "/refused");
        assert_eq!(refused.status, 503, "{queue}");
        assert!(refused.field("retry-after").is_some(), "{queue}");
        assert_eq!(upstream(&gateway).count("in_flight"), 3);
        wait_until(LIMIT, || origin.connections() == 3);
        gate.open();
        for client in &mut served {
            assert_eq!(client.expect_status(200).text(), "late");
        }
        assert!((2..=3).contains(&limit(&gateway)), "{}", limit(&gateway));
        assert_eq!(logged(&gateway, "/refused").count("status"), 503);
    }
}

fn limit(gateway: &Gateway) -> u64 {
    scrape(gateway).sum("upstream_requests_in_flight_max", &["upstream=\"all\""])
}

fn is_known(most: &Json) -> bool {
    !matches!(most, Json::Null)
}

/// It begins at 20, and falls where answers are 503.
#[test]
fn what_was_found_out_of_an_upstream_lives_through_a_reload() {
    let origin = Origin::start("a").expect("a port");
    let settings = "concurrency = \"adaptive\"\nretry = 0\noutlier = false\n\
                    health = { check = \"connect\", interval = \"50ms\" }";
    let gateway = start(&[origin.address()], settings);
    let mut client = Client::connect(gateway.listener("web"));
    wait_until(LIMIT, || {
        for number in 0..20 {
            // One in five is refused.
            let status = if number % 5 == 0 { 503 } else { 200 };
            client.send(request("GET", &format!("/status/{status}"), "")).expect_status(status);
        }
        limit(&gateway) <= 10
    });
    let before = limit(&gateway);
    let config = gateway.folder().join("gatehouse.toml");
    let text = std::fs::read_to_string(config).expect("it is there");
    gateway.reconfigure(&text.replace("retry = 0", "retry = 1"));
    let answer = post(gateway.admin(), "/reload", "");
    assert!(answer.text().contains("1 changed (all)"), "{}", answer.text());
    // Whoever begins a check has judged the upstream before.
    let checks = || scrape(&gateway).sum("upstream_checks_total", &[]);
    let reloaded = checks();
    wait_until(LIMIT, || checks() >= reloaded + 3);
    assert!(limit(&gateway) <= before, "{} of {before}", limit(&gateway));
}
