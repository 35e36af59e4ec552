//! One line an exchange, that no client can break or forge, and counters that add up.

use crate::bench::{Bench, Setup, with};
use crate::talk::{get, ok};
use gatehouse_proxy::meters::RouteMeter;
use std::sync::Arc;

fn meter(bench: &Bench, route: &str) -> Arc<RouteMeter> {
    let routes = bench.gate.meters.routes();
    let found = routes.into_iter().find(|(name, _)| &**name == route);
    found.unwrap_or_else(|| panic!("no meter for {route}")).1
}

fn classes(meter: &RouteMeter) -> Vec<u64> {
    meter.classes.iter().map(|count| count.get()).collect()
}

#[test]
fn nothing_a_client_sends_can_break_or_forge_a_line() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let agent = "\",\"status\":200} \u{e9}\t\\ \"x";
        let request =
            format!("GET /\u{9b}31m\"%0a?\"\\ HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
        line.client.say(request).await;
        line.client.hear_head().await;
        for raw in ["GET /\x1b[31m HTTP/1.1\r\n\r\n", "\x1b[2J\r\n\r\n", "GET /\nforged\r\n\r\n"] {
            let mut client = bench.client();
            client.say(raw).await;
            client.hear_head().await;
        }
        let log = bench.log();
        assert_eq!(log.lines().count(), 4, "{log}");
        for own in log.lines() {
            assert!(own.starts_with("{\"time\":\"") && own.ends_with('}'), "{own}");
            assert!(own.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{own}");
            assert_eq!(own.matches("\"status\":").count(), 1, "{own}");
        }
    });
}

#[test]
fn a_request_that_is_refused_while_it_is_read_is_logged_with_what_was_understood() {
    with(Setup::default(), async |bench| {
        let shown = "\"method\":\"GET\",\"host\":\"h\",\"path\":\"/a\",\"query\":\"b\",";
        let long = "x".repeat(70_000);
        for (rest, failure) in [
            ("HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n", "framing"),
            ("HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n", "coding"),
            ("HTTP/1.1\r\nHost: h\r\nX : y\r\n", "malformed"),
            ("HTTP/1.1\r\nHost: h\r\nHost: i\r\n", "host"),
            ("HTTP/2.0\r\nHost: h\r\n", "version"),
            (&format!("HTTP/1.1\r\nHost: h\r\nX: {long}\r\n"), "head-too-large"),
        ] {
            let mut client = bench.client();
            client.say(format!("GET /a?b {rest}\r\n")).await;
            client.hear_end().await;
            let log = bench.log();
            assert!(log.contains(shown) && log.contains(failure), "{rest:.60}: {log}");
        }
        let mut client = bench.client();
        client.say("GET /a?b HTTP/1.1\r\nHost: h\r\nX: ").await;
        client.half_close().await;
        client.hear_end().await;
        let mut slow = bench.client();
        slow.say("GET /a?b HTTP/1.1\r\nHost: h\r\nX: ").await;
        slow.hear_end().await;
        let log = bench.log();
        assert_eq!(log.matches(shown).count(), 2, "{log}");
        assert!(log.contains("client-gone") && log.contains("head-timeout"), "{log}");
    });
}

#[test]
fn every_exchange_has_one_line() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        for index in 0..20 {
            line.fetch(get(&format!("/{index}")), ok("hello")).await;
        }
        line.client.say("rubbish\r\n\r\n").await;
        line.client.hear_end().await;
        let log = bench.log();
        assert_eq!(log.lines().count(), 21, "{log}");
        for index in 0..20 {
            assert_eq!(log.matches(&format!("\"path\":\"/{index}\"")).count(), 1);
        }
        assert_eq!(bench.gate.meters.log_lines_lost.get(), 0);
    });
}

#[test]
fn no_body_and_no_credential_is_ever_logged() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let fields = "Authorization: Bearer secret\r\nCookie: secret\r\nContent-Length: 6\r\n";
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nsecret");
        line.fetch(request, ok("secret")).await;
        let log = bench.log();
        assert!(log.contains("\"received\":6,\"sent\":6"), "{log}");
        assert!(!log.contains("secret"), "{log}");
    });
}

#[test]
fn the_counters_add_up_to_what_clients_saw() {
    with(Setup { endpoints: 2, ..Setup::default() }, async |bench| {
        let mut line = bench.line();
        for status in [200, 201, 301, 404, 500, 200] {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nhello");
            let mut client = bench.client();
            client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
            let at_origin = line.at_origin().await;
            at_origin.hear_until("abc").await;
            at_origin.say(answer).await;
            client.hear_message().await;
        }
        let route = meter(&bench, "all");
        assert_eq!(classes(&route), [0, 0, 3, 1, 1, 1]);
        assert_eq!((route.received_bytes.get(), route.sent_bytes.get()), (18, 30));
        assert_eq!(route.latency.buckets().sum::<u64>(), 6);
        // Every second pick was of the endpoint that refuses.
        assert!(route.retries.get() >= 1);
        assert_eq!(bench.gate.meters.accepted.get(), 7);
        let picked: u64 = bench.endpoints.list().iter().map(|one| one.vitals.picked()).sum();
        assert_eq!(picked, 6 + route.retries.get());
    });
}

#[test]
fn failures_are_counted_by_whose_fault_they_were() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        client.hear_head().await;
        let mut rubbish = bench.client();
        rubbish.say("rubbish\r\n\r\n").await;
        rubbish.hear_end().await;
        let mut line = bench.line();
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        line.client.reset();
        crate::talk::pass(crate::talk::SOON).await;
        let failures = |name| -> Vec<u64> {
            meter(&bench, name).failures.iter().map(|count| count.get()).collect()
        };
        assert_eq!(failures("all"), [1, 1, 0]);
        assert_eq!(failures("(none)"), [1, 0, 0]);
        assert_eq!(classes(&meter(&bench, "all")), [1, 0, 0, 0, 0, 1]);
        assert_eq!(classes(&meter(&bench, "(none)")), [0, 0, 0, 0, 1, 0]);
        line.client = bench.client();
    });
}

#[test]
fn a_failed_exchange_says_where_and_why() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        client.hear_head().await;
        let log = bench.log();
        let expected = "\"failure\":\"connect-refused\",\"step\":\"lease\",\"side\":\"upstream\"";
        assert!(log.contains(expected), "{log}");
        assert!(log.contains("\"attempts\":3,\"reused\":false"), "{log}");
    });
}
