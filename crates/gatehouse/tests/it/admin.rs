//! The admin interface of a running gateway: what it shows is true, can be read by machines, and is
//! shown to nobody from elsewhere.

use crate::exposition;
use crate::front::{BINARY, DOORS, LIMIT, ask_admin, config, get, request, routes, scrape, start};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Signal};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use std::net::{SocketAddr, TcpStream};

#[test]
fn health_is_200_while_there_is_somebody_to_forward_to() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let answer = ask_admin(gateway.admin(), "/healthz");
    assert_eq!((answer.status, answer.text().as_str()), (200, "serving\n"));
}

#[test]
fn health_is_503_where_no_upstream_has_an_endpoint() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{}", routes(&["absent.invalid:80"])));
    let answer = ask_admin(gateway.admin(), "/healthz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text(), "not serving: no upstream has an endpoint\n");
    assert_eq!(get(gateway.listener("web"), "/").status, 503);
}

#[test]
fn health_names_the_upstream_that_has_nobody_while_another_serves() {
    let origin = Origin::start("a").expect("a port");
    let empty = "[[routes]]\nname = \"lost\"\npath = \"/lost\"\n\
                 upstream = { endpoints = [\"absent.invalid:80\"] }\n";
    let gateway = Gateway::start(BINARY, &format!("{}{empty}", config(&[origin.address()])));
    let answer = ask_admin(gateway.admin(), "/healthz");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), "serving; without endpoints: lost\n");
}

#[test]
fn health_needs_no_upstream_where_nothing_is_forwarded() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    assert_eq!(ask_admin(gateway.admin(), "/healthz").status, 200);
}

#[test]
fn metrics_can_be_scraped_before_during_and_after_traffic() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    exposition::check(&scrape(&gateway).0);
    let web = gateway.listener("web");
    let mut slow = Client::connect(web);
    slow.send(request("GET", "/slow/300", ""));
    for path in ["/status/204", "/status/404", "/status/500", "/bytes/1000", "/close", "/a%00"] {
        get(web, path);
    }
    exposition::check(&scrape(&gateway).0);
    slow.expect_status(200);
    wait_until(LIMIT, || scrape(&gateway).sum("requests_in_flight", &[]) == 0);
    let samples = scrape(&gateway);
    exposition::check(&samples.0);
    let answer = ask_admin(gateway.admin(), "/metrics");
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn metrics_count_what_the_clients_saw() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let web = gateway.listener("web");
    for path in ["/", "/status/204", "/status/301", "/status/404", "/status/404", "/status/503"] {
        get(web, path);
    }
    Client::connect(web).send("rubbish\r\n\r\n").expect_status(400);
    wait_until(LIMIT, || scrape(&gateway).sum("requests_total", &[]) == 7);
    let samples = scrape(&gateway);
    for (class, count) in [("2xx", 2), ("3xx", 1), ("4xx", 3), ("5xx", 1)] {
        let label = format!("status=\"{class}\"");
        assert_eq!(samples.sum("requests_total", &[&label]), count, "{}", samples.0);
    }
    assert_eq!(samples.sum("requests_total", &["route=\"all\""]), 6);
    assert_eq!(samples.sum("request_duration_seconds_count", &[]), 7);
    assert_eq!(samples.sum("endpoint_requests_total", &["upstream=\"all\""]), 6);
    assert_eq!(samples.sum("failures_total", &["side=\"client\""]), 1);
    assert_eq!(samples.sum("endpoint_requests_in_flight", &[]), 0);
}

#[test]
fn hostile_names_of_routes_and_hosts_add_no_series() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    get(gateway.listener("web"), "/");
    wait_until(LIMIT, || scrape(&gateway).sum("requests_total", &[]) == 1);
    let before = scrape(&gateway).0.lines().count();
    let mut client = Client::connect(gateway.listener("web"));
    for number in 0..200 {
        let text = format!("GET /{number} HTTP/1.1\r\nHost: h{number}.example\r\n\r\n");
        client.send(text).expect_status(200);
    }
    wait_until(LIMIT, || scrape(&gateway).sum("requests_total", &[]) == 201);
    assert_eq!(scrape(&gateway).0.lines().count(), before);
}

#[test]
fn status_is_json_that_says_who_carried_what() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    get(gateway.listener("web"), "/");
    get(gateway.listener("web"), "/status/500");
    let answer = ask_admin(gateway.admin(), "/status");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let status = Json::read(&answer.text());
    assert_eq!(status.text("health"), "serving");
    let listener = &status.list("listeners")[0];
    assert_eq!(listener.text("name"), "web");
    assert_eq!(listener.text("bind"), gateway.listener("web").to_string());
    let endpoint = &status.list("upstreams")[0].list("endpoints")[0];
    assert_eq!(endpoint.text("address"), origin.address().to_string());
    assert_eq!(endpoint.count("requests"), 2);
    assert_eq!(status.list("routes")[0].text("name"), "all");
}

#[test]
fn nothing_is_changed_by_a_post_nor_answered() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    let host = gateway.admin();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let text =
            format!("{method} /status HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}");
        let answer = Client::connect(host).send(text).expect_status(405);
        assert_eq!(answer.field("allow"), Some("GET, HEAD"), "{method}");
    }
}

#[test]
fn a_page_that_reaches_it_by_a_name_of_its_own_is_refused() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    let admin = gateway.admin();
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", "10.0.0.1"]
    {
        let text = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = Client::connect(admin).send(text).expect_status(421);
        assert!(!answer.text().contains("gatehouse_"), "{host}");
    }
    for host in ["localhost", "localhost:9", "127.0.0.1", "[::1]:9", "LOCALHOST"] {
        let text = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Client::connect(admin).send(text).expect_status(200);
    }
}

#[test]
fn a_page_in_a_browser_cannot_read_it_across_origins() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    let admin = gateway.admin();
    let text =
        format!("GET /status HTTP/1.1\r\nHost: {admin}\r\nOrigin: http://evil.example\r\n\r\n");
    let answer = Client::connect(admin).send(text).read_response();
    assert_eq!(answer.field("access-control-allow-origin"), None);
}

#[test]
fn it_cannot_be_reached_at_any_other_address() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    let port = gateway.admin().port();
    let elsewhere = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    // A machine without a network has loopback only.
    let own = elsewhere.map(|address| address.ip()).ok();
    let others = own.into_iter().chain(["127.0.0.2".parse().expect("an address")]);
    for ip in others.filter(|ip| *ip != gateway.admin().ip()) {
        assert!(TcpStream::connect(SocketAddr::new(ip, port)).is_err(), "{ip} answers");
    }
}

#[test]
fn it_is_not_found_on_the_listeners_of_the_gateway() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    for path in ["/metrics", "/healthz", "/status"] {
        assert_eq!(get(gateway.listener("web"), path).field("x-origin"), Some("a"), "{path}");
    }
}

#[test]
fn what_it_cannot_read_or_does_not_have_harms_nobody() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    let admin = gateway.admin();
    assert_eq!(ask_admin(admin, "/absent").status, 404);
    let mut broken = Client::connect(admin);
    broken.offer("GET /metrics HTTP/1.1\nHost: localhost\n\n");
    let (said, _) = broken.read_rest();
    assert!(!String::from_utf8_lossy(&said).contains("gatehouse_"));
    let mut head = Client::connect(admin);
    let text = format!("HEAD /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    assert_eq!(head.send(text).read_response_to_head().status, 200);
    assert_eq!(ask_admin(admin, "/healthz").status, 200);
}

#[test]
fn it_answers_while_the_gateway_stands_under_a_slow_request_and_ends_with_it() {
    let origin = Origin::start("a").expect("a port");
    let mut gateway = start(&[origin.address()]);
    let admin = gateway.admin();
    let mut slow = Client::connect(gateway.listener("web"));
    slow.send(request("GET", "/slow/400", ""));
    wait_until(LIMIT, || scrape(&gateway).sum("endpoint_requests_in_flight", &[]) == 1);
    assert_eq!(scrape(&gateway).sum("requests_in_flight", &[]), 1);
    slow.expect_status(200);
    gateway.signal(Signal::Term);
    gateway.wait(LIMIT);
    assert!(TcpStream::connect(admin).is_err());
}

/// The entry of a name in `/status`.
#[track_caller]
fn name(gateway: &Gateway, wanted: &str) -> Json {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    let names = status.list("names");
    let found = names.iter().find(|name| name.text("name") == wanted);
    found.unwrap_or_else(|| panic!("no {wanted} in {names:?}")).clone()
}

#[test]
fn a_written_name_that_does_not_resolve_is_shown_with_the_reason() {
    let origin = Origin::start("a").expect("a port");
    let here = format!("localhost:{}", origin.address().port());
    let gateway =
        Gateway::start(BINARY, &format!("{DOORS}{}", routes(&["absent.invalid:80", &here])));
    gateway.expect_error_line("warn: endpoint absent.invalid:80: ");
    let absent = name(&gateway, "absent.invalid:80");
    let failing = absent.at("failing");
    let message = failing.text("message").to_owned();
    assert!(!message.is_empty() && failing.count("for_seconds") < 60, "{absent:?}");
    gateway.expect_error_line(&format!("{message}; it has no address yet"));
    assert_eq!((absent.count("addresses"), absent.count("failures")), (0, 1));
    assert_eq!(absent.at("good_seconds_ago"), &Json::Null, "{absent:?}");
    let here = name(&gateway, &here);
    assert!(here.count("addresses") >= 1 && here.count("good_seconds_ago") < 60, "{here:?}");
    assert_eq!((here.at("failing"), here.count("failures")), (&Json::Null, 0), "{here:?}");
    let label = "name=\"absent.invalid:80\"";
    let samples = scrape(&gateway);
    assert_eq!(samples.sum("name_failing", &[label]), 1);
    assert_eq!(samples.sum("name_failing", &[]), 1);
    assert_eq!(samples.sum("name_addresses", &[label]), 0);
    assert_eq!(get(gateway.listener("web"), "/").text().trim(), "a");
    gateway.reconfigure(&format!("{DOORS}{}", routes(&[origin.address()])));
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("generation 2");
    let gone = || {
        let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
        status.list("names").is_empty()
    };
    wait_until(LIMIT, gone);
}
