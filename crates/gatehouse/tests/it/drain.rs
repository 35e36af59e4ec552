//! The end of a gateway: what is in flight ends well within the limit, and what does not is cut
//! and reported.

use crate::front::{BINARY, DOORS, LIMIT, config, get_over, request, routes, scrape, start};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Signal};
use gatehouse_rig::script::{Client, Ending, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::net::TcpStream;

/// Waits until so many requests are with the endpoint.
fn under_way(gateway: &Gateway, count: u64) {
    wait_until(LIMIT, || scrape(gateway).sum("endpoint_requests_in_flight", &[]) == count);
}

#[track_caller]
fn ends_well(gateway: &mut Gateway) {
    assert_eq!(gateway.wait(LIMIT).code(), Some(0));
    assert_eq!(gateway.errors().last().map(String::as_str), Some("drained"));
}

#[test]
fn a_request_in_flight_completes_and_its_connection_closes() {
    for signal in [Signal::Term, Signal::Int] {
        let origin = Origin::start("a").expect("a port");
        let mut gateway = start(&[origin.address()]);
        let mut slow = Client::connect(gateway.listener("web"));
        slow.send(request("GET", "/slow/300", ""));
        under_way(&gateway, 1);
        gateway.signal(signal);
        let answer = slow.expect_status(200);
        assert_eq!(answer.text(), "a\n");
        assert_eq!(answer.field("connection"), Some("close"));
        slow.expect_close();
        drop(slow);
        ends_well(&mut gateway);
    }
}

#[test]
fn an_idle_connection_closes_at_once() {
    let origin = Origin::start("a").expect("a port");
    let mut gateway = start(&[origin.address()]);
    let mut kept = Client::connect(gateway.listener("web"));
    assert_eq!(get_over(&mut kept, "/").field("connection"), None);
    let mut silent = Client::connect(gateway.listener("web"));
    gateway.signal(Signal::Term);
    kept.expect_close();
    silent.expect_close();
    ends_well(&mut gateway);
}

#[test]
fn new_connections_are_refused_while_it_drains() {
    let origin = Origin::start("a").expect("a port");
    let mut gateway = start(&[origin.address()]);
    let web = gateway.listener("web");
    let mut slow = Client::connect(web);
    slow.send(request("GET", "/slow/1000", ""));
    under_way(&gateway, 1);
    gateway.signal(Signal::Term);
    wait_until(LIMIT, || TcpStream::connect(web).is_err());
    assert!(!gateway.has_ended(), "it was to be draining still");
    slow.expect_status(200);
    drop(slow);
    ends_well(&mut gateway);
}

#[test]
fn a_download_under_way_is_passed_on_to_its_last_byte() {
    let origin = Origin::start("a").expect("a port");
    let mut gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", "/bytes/20000000", ""));
    let head = client.read_head();
    assert_eq!(head.field("content-length"), Some("20000000"));
    gateway.signal(Signal::Term);
    let (body, ending) = client.read_rest();
    assert_eq!((body.len(), ending), (20_000_000, Ending::End));
    ends_well(&mut gateway);
}

#[test]
fn an_upload_under_way_is_taken_to_its_last_byte() {
    let origin = Origin::start("a").expect("a port");
    let mut gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send("POST /drain HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    under_way(&gateway, 1);
    gateway.signal(Signal::Term);
    let web = gateway.listener("web");
    wait_until(LIMIT, || TcpStream::connect(web).is_err());
    let answer = client.send("hello").expect_status(200);
    assert_eq!(answer.text(), "{\"bytes\":10}\n");
    drop(client);
    ends_well(&mut gateway);
}

#[test]
fn what_takes_longer_than_the_limit_is_cut_and_reported() {
    let origin = Origin::start("a").expect("a port");
    let text = format!("drain = \"300ms\"\n{}", config(&[origin.address()]));
    let mut gateway = Gateway::start(BINARY, &text);
    let mut slow = Client::connect(gateway.listener("web"));
    slow.send(request("GET", "/slow/9000", ""));
    under_way(&gateway, 1);
    gateway.signal(Signal::Term);
    slow.expect_close();
    assert_eq!(gateway.wait(LIMIT).code(), Some(0));
    let said = gateway.errors().join("\n");
    let report = "warn: drained; 1 connection took longer than the drain limit and was cut";
    assert!(said.contains(report), "{said}");
}

#[test]
fn what_is_cut_has_its_line_in_the_access_log() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(part));
    let text = format!("drain = \"300ms\"\n{DOORS}{}", routes(&[origin.address()]));
    let mut gateway = Gateway::start(BINARY, &text);
    let [mut begun, mut silent] = [(); 2].map(|()| Client::connect(gateway.listener("web")));
    begun.send(request("GET", "/begun", ""));
    let _ = begun.read_head();
    silent.send("GET /silent HTTP/1.1\r\nHost: test\r\n");
    gateway.signal(Signal::Term);
    gateway.wait(LIMIT);
    let lines = gateway.output();
    let line = |path: &str| {
        let mut own = lines.iter().filter(|line| line.contains(&format!("\"path\":\"{path}\"")));
        let found = own.next().unwrap_or_else(|| panic!("no line of {path} in {lines:?}")).clone();
        assert_eq!(own.next(), None);
        assert!(found.contains("\"failure\":\"drain-cut\""), "{found}");
        found
    };
    let begun = line("/begun");
    assert!(begun.contains("\"status\":200,") && begun.contains("\"sent\":5,"), "{begun}");
    assert!(begun.contains("\"step\":\"respond\""), "{begun}");
    let silent = line("/silent");
    assert!(silent.contains("\"status\":0,") && silent.contains("\"step\":\"read\""), "{silent}");
}

#[test]
fn a_cut_answer_does_not_look_whole() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(part));
    let text = format!("drain = \"300ms\"\n{}", config(&[origin.address()]));
    let mut gateway = Gateway::start(BINARY, &text);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", "/", ""));
    assert_eq!(client.read_head().field("content-length"), Some("10"));
    gateway.signal(Signal::Term);
    let (body, _) = client.read_rest();
    assert_eq!(body, b"hello");
    gateway.wait(LIMIT);
}

#[test]
fn pipelined_requests_that_were_sent_before_the_signal_are_not_lost_in_silence() {
    let origin = Origin::start("a").expect("a port");
    let mut gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(format!("{}{}", request("GET", "/slow/300", ""), request("GET", "/", "")));
    under_way(&gateway, 1);
    gateway.signal(Signal::Term);
    // The first is answered and tells that the second will not be: the client may send it again.
    let answer = client.expect_status(200);
    assert_eq!(answer.field("connection"), Some("close"));
    client.expect_close();
    drop(client);
    ends_well(&mut gateway);
}
