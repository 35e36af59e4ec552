//! Defects of the first generation that can be seen from outside. Each test is named by what must
//! hold now; the number is the defect's.

use crate::front::{BINARY, DOORS, LIMIT, config, get, get_over, request, routes, scrape, start};
use gatehouse_rig::load::{End, Load, Question};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Gate, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::time::{Duration, Instant};

#[test]
fn defect_3_every_status_passes_as_it_is() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    for status in [200, 201, 204, 206, 301, 304, 401, 404, 418, 429, 500, 503, 599] {
        let answer = get_over(&mut client, &format!("/status/{status}"));
        assert_eq!(answer.status, status);
        let body = if [204, 304].contains(&status) { String::new() } else { format!("{status}\n") };
        assert_eq!(answer.text(), body);
        assert_eq!(answer.field("proxy-status"), None, "{status} is the origin's own");
    }
}

#[test]
fn defect_3_a_failure_of_the_gateways_own_has_a_real_status() {
    let mut origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    assert_eq!(get(gateway.listener("web"), "/reset").status, 502);
    assert_eq!(get(gateway.listener("web"), "/%00").status, 400);
    origin.stop();
    let answer = get(gateway.listener("web"), "/");
    assert_eq!(answer.status, 502);
    assert!(answer.field("proxy-status").is_some_and(|value| value.contains("connection_refused")));
}

#[test]
fn defect_3_a_body_is_passed_on_while_it_is_still_being_written() {
    let gate = Gate::closed();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let script = Script::new().expect_head().send(head).await_gate(&gate).send("0\r\n\r\n");
    let origin = ScriptedOrigin::each(script);
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", "/", ""));
    assert_eq!(client.read_head().line, "HTTP/1.1 200 OK");
    assert_eq!(client.read_bytes(10), b"5\r\nfirst\r\n");
    gate.open();
    assert_eq!(client.read_bytes(5), b"0\r\n\r\n");
}

#[test]
fn defect_3_an_upload_is_passed_on_while_it_is_still_being_sent() {
    let script = Script::new().expect_head().expect_bytes(5).send("HTTP/1.1 200 OK\r\n");
    let origin = ScriptedOrigin::each(script.expect_bytes(5).send("Content-Length: 0\r\n\r\n"));
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nfirst");
    wait_until(LIMIT, || origin.connections() == 1 && origin.seen(0).ends_with(b"first"));
    client.send("other").expect_status(200);
    origin.expect_done(1);
}

#[test]
fn defect_4_head_204_and_304_have_no_body_and_keep_their_connection() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    let head = client.send(request("HEAD", "/bytes/1000", "")).read_response_to_head();
    assert_eq!((head.status, head.field("content-length")), (200, Some("1000")));
    for path in ["/status/204", "/status/304", "/bytes/3"] {
        assert_eq!(get_over(&mut client, path).field("connection"), None, "{path}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn defect_4_a_compressed_body_passes_byte_for_byte() {
    let body: Vec<u8> =
        [0x1f, 0x8b, 8, 0].into_iter().chain((0..=255).cycle().take(4000)).collect();
    let length = body.len();
    let fields = format!(
        "Content-Encoding: gzip\r\nETag: \"x\"\r\nVary: Accept-Encoding\r\nContent-Length: {length}"
    );
    let answer = [format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes(), &body].concat();
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(answer));
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    let answer = client.send(request("GET", "/", "Accept-Encoding: gzip\r\n")).expect_status(200);
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(answer.field("etag"), Some("\"x\""));
    assert!(answer.body == body);
    assert!(String::from_utf8_lossy(&origin.seen(0)).contains("Accept-Encoding: gzip\r\n"));
}

#[test]
fn defect_4_each_event_of_a_stream_arrives_when_it_is_sent() {
    let gates: Vec<Gate> = (0..5).map(|_| Gate::closed()).collect();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let script = gates.iter().fold(Script::new().expect_head().send(head), |script, gate| {
        script.await_gate(gate).send("data: x\n\n")
    });
    let origin = ScriptedOrigin::each(script.close());
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", "/", ""));
    assert_eq!(client.read_head().field("content-type"), Some("text/event-stream"));
    for gate in gates {
        gate.open();
        assert_eq!(client.read_bytes(14), b"9\r\ndata: x\n\n\r\n");
    }
    assert_eq!(client.read_bytes(5), b"0\r\n\r\n");
}

#[test]
fn defect_4_interim_answers_and_trailers_pass() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    let answer = get_over(&mut client, "/status/103");
    assert_eq!((answer.status, answer.interim.len()), (200, 1));
    let answer =
        client.send(request("GET", "/trailers/1000", "TE: trailers\r\n")).expect_status(200);
    assert_eq!(answer.trailers.first().map(|(name, _)| name.as_str()), Some("X-Checksum"));
}

#[test]
fn defect_5_an_empty_pool_is_503_and_not_a_request_to_nowhere() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{}", routes(&["absent.invalid:80"])));
    let answer = get(gateway.listener("web"), "/");
    assert_eq!(answer.status, 503);
    let reason = answer.field("proxy-status").unwrap_or_default();
    assert!(reason.contains("error=destination_unavailable"), "{reason}");
    assert_eq!(get(gateway.listener("web"), "/").status, 503, "and again");
}

#[test]
fn defect_6_the_timeouts_of_a_route_are_used() {
    let origin = Origin::start("a").expect("a port");
    let lines = "[[routes]]\npath = \"/slow/*\"\nupstream = \"all\"\n";
    for timeout in ["first-byte = \"200ms\"", "total = \"200ms\""] {
        let lines = format!("{lines}timeout = {{ {timeout} }}\n");
        let gateway = Gateway::start(BINARY, &format!("{}{lines}", config(&[origin.address()])));
        let begun = Instant::now();
        assert_eq!(get(gateway.listener("web"), "/slow/5000").status, 504, "{timeout}");
        let took = begun.elapsed();
        assert!((200..2000).contains(&took.as_millis()), "{timeout}: {took:?}");
        assert_eq!(get(gateway.listener("web"), "/slow/1").status, 200, "{timeout}");
    }
}

/// Asks for a slow answer over so many connections at once.
fn at_once(gateway: &Gateway, count: usize) {
    let connect = |_| {
        let mut client = Client::connect(gateway.listener("web"));
        client.send(request("GET", "/slow/150", ""));
        client
    };
    let clients: Vec<Client> = (0..count).map(connect).collect();
    for mut client in clients {
        client.expect_status(200);
    }
}

#[test]
fn defect_6_as_many_idle_connections_are_kept_as_the_operator_wrote() {
    let origin = Origin::start("a").expect("a port");
    let all = "workers = 1\n".to_owned() + &config(&[origin.address()]);
    let gateway = Gateway::start(BINARY, &all);
    at_once(&gateway, 20);
    at_once(&gateway, 20);
    assert_eq!(origin.connections(), 20, "two idle connections per host were the first's");
    let two = Origin::start("b").expect("a port");
    let text = "workers = 1\n".to_owned() + &config(&[two.address()]);
    let gateway = Gateway::start(BINARY, &format!("{text}keepalive = {{ idle-per-worker = 2 }}\n"));
    at_once(&gateway, 6);
    wait_until(LIMIT, || two.open_connections() == 2);
    let none = Origin::start("c").expect("a port");
    let text = config(&[none.address()]);
    let gateway = Gateway::start(BINARY, &format!("{text}keepalive = {{ idle-per-worker = 0 }}\n"));
    at_once(&gateway, 3);
    wait_until(LIMIT, || none.connections() == 3 && none.open_connections() == 0);
}

#[test]
fn defect_6_an_idle_connection_is_kept_no_longer_than_the_operator_wrote() {
    let origin = Origin::start("a").expect("a port");
    let text = config(&[origin.address()]);
    let text = format!("{text}keepalive = {{ idle-timeout = \"100ms\" }}\n");
    let gateway = Gateway::start(BINARY, &text);
    assert_eq!(get(gateway.listener("web"), "/").status, 200);
    wait_until(LIMIT, || origin.open_connections() == 0);
    assert_eq!(scrape(&gateway).sum("endpoint_connections", &[]), 0);
}

#[test]
fn defect_7_the_longest_prefix_wins_whatever_the_order_and_ends_at_a_segment() {
    let rows = [("/a/*", "a"), ("/a/b/*", "ab"), ("/*", "rest"), ("/a/b/c", "exact")];
    let route = |(path, body): &(&str, &str)| {
        format!("[[routes]]\npath = \"{path}\"\nrespond = {{ body = \"{body}\" }}\n")
    };
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
    for order in orders {
        let routes: String = order.iter().map(|at| route(&rows[*at])).collect();
        let gateway = Gateway::start(BINARY, &format!("{DOORS}{routes}"));
        let web = gateway.listener("web");
        for (path, body) in
            [("/a", "a"), ("/ab", "rest"), ("/a/b", "ab"), ("/a/bc", "a"), ("/a/b/c", "exact")]
        {
            assert_eq!(get(web, path).text(), body, "{path} in order {order:?}");
        }
    }
}

#[test]
fn defect_7_a_host_with_without_port_and_none_at_all_is_served() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    for host in ["example.com", "example.com:8080", "EXAMPLE.com.", "[::1]", "[::1]:80", "1.2.3.4"]
    {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Client::connect(gateway.listener("web")).send(text).expect_status(200);
    }
    Client::connect(gateway.listener("web")).send("GET / HTTP/1.0\r\n\r\n").expect_status(200);
}

#[test]
fn defect_18_a_load_that_is_answered_with_error_pages_counts_errors() {
    let mut origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let load = |path: &str| Load {
        to: gateway.listener("web"),
        question: Question { answer_bytes: Some(100), ..Question::get(path) },
        connections: 4,
        end: End::Requests(200),
    };
    let good = load("/bytes/100").run().expect("a run");
    assert_eq!((good.answered, good.errors.sum()), (200, 0));
    let absent = load("/status/404").run().expect("a run");
    assert_eq!((absent.answered, absent.errors.status), (0, 200));
    let short = load("/bytes/99").run().expect("a run");
    assert_eq!((short.answered, short.errors.length), (0, 200));
    origin.stop();
    let dead = load("/bytes/100").run().expect("a run");
    assert_eq!((dead.answered, dead.errors.status), (0, 200));
    assert!(good.elapsed > Duration::ZERO);
}
