//! A gateway that has no descriptor left: it waits, spends nothing, and goes on when it can.

use crate::front::{BINARY, LIMIT, config, get, request};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const DESCRIPTORS: usize = 64;

struct Poor {
    gateway: Gateway,
    _origin: Origin,
    /// Open since before the descriptors went.
    admin: Client,
}

impl Poor {
    fn start() -> Poor {
        Poor::start_with("")
    }

    /// One whose upstream has these settings.
    fn start_with(settings: &str) -> Poor {
        let origin = Origin::start("a").expect("a port");
        let script = format!("ulimit -n {DESCRIPTORS}; exec '{BINARY}' run -c gatehouse.toml");
        let config = format!("{}{settings}\n", config(&[origin.address()]));
        let launch = Launch::new("sh", &config).arguments(["-c", &script]);
        let gateway = launch.start();
        let mut poor = Poor { admin: Client::connect(gateway.admin()), gateway, _origin: origin };
        poor.count("accept_errors_total");
        poor
    }

    /// A counter, asked for over the connection that is open. A name may go on with labels.
    fn count(&mut self, name: &str) -> u64 {
        let text = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let text = self.admin.send(text).expect_status(200).text();
        let is_it = |line: &str| {
            let rest = line.strip_prefix("gatehouse_").and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let line = text.lines().find(|line| is_it(line)).expect("a counter");
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }

    /// Processor time it has used, in ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.gateway.pid());
        let stat = fs::read_to_string(path).expect("it runs");
        let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
        // Fields 14 and 15 of proc(5); the state behind the name is the third.
        let fields = rest.split(' ').skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }
}

/// More connections than it has descriptors. The kernel takes them; the gateway cannot.
fn crowd(gateway: &Gateway) -> Vec<TcpStream> {
    let web = gateway.listener("web");
    (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(web).expect("room in the queue")).collect()
}

#[test]
fn without_descriptors_it_neither_dies_nor_spins() {
    let mut poor = Poor::start();
    let crowd = crowd(&poor.gateway);
    wait_until(LIMIT, || poor.count("accept_errors_total") > 0);
    let (begun, ticks) = (Instant::now(), poor.ticks());
    let errors = poor.count("accept_errors_total");
    // It tries again about every 50 ms a worker: a second or so.
    wait_until(LIMIT, || poor.count("accept_errors_total") >= errors + 20);
    let (elapsed, used) = (begun.elapsed(), Duration::from_millis(10 * (poor.ticks() - ticks)));
    assert!(elapsed > Duration::from_millis(300), "20 errors within {elapsed:?}");
    assert!(used * 2 < elapsed, "it used {used:?} of {elapsed:?}");
    drop(crowd);
}

#[test]
fn with_descriptors_back_it_serves_as_before() {
    let mut poor = Poor::start();
    let crowd = crowd(&poor.gateway);
    wait_until(LIMIT, || poor.count("accept_errors_total") > 0);
    drop(crowd);
    for _ in 0..20 {
        assert_eq!(get(poor.gateway.listener("web"), "/bytes/1000").body.len(), 1000);
    }
    wait_until(LIMIT, || poor.count("client_connections") == 0);
    assert!(!poor.gateway.has_ended());
}

#[test]
fn a_client_that_is_inside_is_answered_while_others_wait() {
    let mut poor = Poor::start();
    let mut inside = Client::connect(poor.gateway.listener("web"));
    inside.send(request("GET", "/", "")).expect_status(200);
    let crowd = crowd(&poor.gateway);
    wait_until(LIMIT, || poor.count("accept_errors_total") > 0);
    // Without a descriptor for a connection to the endpoint the answer is a failure, but one, and
    // the gateway's own.
    for _ in 0..10 {
        let answer = inside.send(request("GET", "/", "")).read_response();
        assert!([200, 503].contains(&answer.status), "{:?}", answer.head);
    }
    assert_eq!(poor.count("endpoint_connect_failures_total"), 0);
    drop(crowd);
    wait_until(LIMIT, || inside.send(request("GET", "/", "")).read_response().status == 200);
}

#[test]
fn a_check_that_no_descriptor_is_left_for_is_not_held_against_the_endpoint() {
    let mut poor = Poor::start_with("health = { path = \"/\", interval = \"50ms\" }");
    let checks = |result| format!("upstream_checks_total{{upstream=\"all\",result=\"{result}\"}}");
    wait_until(LIMIT, || poor.count(&checks("passed")) > 0);
    let crowd = crowd(&poor.gateway);
    wait_until(LIMIT, || poor.count(&checks("skipped")) + poor.count(&checks("failed")) >= 5);
    assert_eq!(poor.count(&checks("failed")), 0);
    assert_eq!(poor.count("endpoint_ready"), 1);
    drop(crowd);
    let passed = poor.count(&checks("passed"));
    wait_until(LIMIT, || poor.count(&checks("passed")) > passed);
}
