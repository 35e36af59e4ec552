//! The relay and the closed-loop client, against the origin.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use gatehouse_rig::hold::{Held, Hold};
use gatehouse_rig::load::{Afterwards, End, Load, Question, Wrong};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::relay::Relay;
use gatehouse_rig::script::{Client, Ending, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;

const LIMIT: Duration = Duration::from_secs(10);
const FREE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A relay to `to`, which runs until the test process ends.
fn relay(to: SocketAddr) -> SocketAddr {
    let relay = Relay::bind(SocketAddr::from(FREE), to).expect("a free port");
    let address = relay.address();
    std::thread::spawn(move || relay.run());
    address
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

#[test]
fn bytes_pass_unchanged_in_both_directions() {
    let origin = Origin::start("red").expect("a free port");
    let mut direct = Client::connect(origin.address());
    let mut client = Client::connect(relay(origin.address()));
    for path in ["/", "/bytes/1024", "/bytes/5000000", "/chunked/300000"] {
        let through = client.send(request(path)).expect_status(200);
        assert!(through == direct.send(request(path)).expect_status(200), "{path}");
    }
    let upload = vec![b'u'; 1_000_000];
    let head = format!("PUT /sink HTTP/1.1\r\nContent-Length: {}\r\n\r\n", upload.len());
    let through = client.send(&head).send(&upload).expect_status(200);
    assert_eq!(through.body, direct.send(&head).send(&upload).expect_status(200).body);
}

#[test]
fn each_direction_ends_on_its_own() {
    let origin = Origin::start("red").expect("a free port");
    let mut client = Client::connect(relay(origin.address()));
    client.send(request("/slow/30")).half_close().expect_status(200);
    client.expect_close();
    wait_until(LIMIT, || origin.open_connections() == 0);
}

#[test]
fn a_reset_passes() {
    let origin = Origin::start("red").expect("a free port");
    let address = relay(origin.address());
    Client::connect(address).send(request("/reset")).expect_reset();
    let client = Client::connect(address);
    wait_until(LIMIT, || origin.open_connections() == 1);
    client.reset();
    wait_until(LIMIT, || origin.open_connections() == 0);
}

#[test]
fn an_upstream_that_refuses_resets_the_client() {
    let mut origin = Origin::start("red").expect("a free port");
    origin.stop();
    Client::connect(relay(origin.address())).expect_reset();
}

#[test]
fn a_reader_that_does_not_read_stops_the_sender() {
    let origin = Origin::start("red").expect("a free port");
    let mut client = Client::connect(relay(origin.address()));
    client.send(request("/bytes/30000000"));
    assert_eq!(client.expect_status(200).body.len(), 30_000_000);
}

fn load(to: SocketAddr, requests: u64) -> Load {
    let question = Question { answer_bytes: Some(1024), ..Question::get("/bytes/1024") };
    Load { to, question, connections: 8, end: End::Requests(requests) }
}

#[test]
fn the_load_asks_exactly_as_often_as_it_is_told() {
    let origin = Origin::start("red").expect("a free port");
    for (requests, connections) in [(1000, 8), (3, 3), (0, 0)] {
        let (asked, opened) = (origin.requests(), origin.connections());
        let outcome = load(relay(origin.address()), requests).run().expect("a run");
        assert_eq!((outcome.answered, outcome.errors.sum()), (requests, 0));
        assert_eq!((outcome.body_bytes, outcome.latency.count()), (requests * 1024, requests));
        assert_eq!(origin.requests() - asked, requests);
        assert_eq!(origin.connections() - opened, connections);
    }
}

#[test]
fn the_load_ends_after_a_time_with_every_request_answered() {
    let origin = Origin::start("red").expect("a free port");
    let time = Duration::from_millis(100);
    let load = Load { end: End::After(time), ..load(origin.address(), 0) };
    let outcome = load.run().expect("a run");
    assert!(outcome.elapsed >= time, "{outcome:?}");
    assert_eq!((outcome.answered, outcome.errors.sum()), (origin.requests(), 0));
}

#[test]
fn a_load_that_closes_opens_a_connection_for_each_request() {
    let origin = Origin::start("red").expect("a free port");
    let mut load = load(origin.address(), 20);
    load.question.afterwards = Afterwards::Close;
    assert_eq!(load.run().expect("a run").answered, 20);
    assert_eq!(origin.connections(), 20);
}

#[test]
fn a_load_opens_another_connection_where_the_server_closes() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(answer).close());
    let question = Question::get("/");
    let load = Load { question, ..load(origin.address(), 20) };
    assert_eq!(load.run().expect("a run").answered, 20);
}

#[test]
fn an_upload_arrives_whole() {
    let origin = Origin::start("red").expect("a free port");
    let answer_bytes = Some("{\"bytes\":1000000}\n".len() as u64);
    let question = Question { upload_bytes: 1_000_000, answer_bytes, ..Question::get("/drain") };
    let outcome = Load { question, ..load(origin.address(), 20) }.run().expect("a run");
    assert_eq!((outcome.answered, outcome.first), (20, None));
}

#[test]
fn the_load_counts_what_is_not_answered_whole_and_says_what_was_wrong() {
    let length = |found, expected| Wrong::Length { found, expected };
    let answers = [
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Wrong::Status(503)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\ncut", length(3, 1024)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", length(9, 1024)),
        ("HTTP/1.1 200 OK\r\n\r\n", Wrong::Malformed),
        ("HTTP/1.1 200 OK\r\n", Wrong::Broken),
    ];
    for (answer, wrong) in answers {
        let origin = ScriptedOrigin::each(Script::new().expect_head().send(answer).close());
        let outcome = load(origin.address(), 4).run().expect("a run");
        assert_eq!((outcome.answered, outcome.errors.sum()), (0, 4), "{answer:?}");
        assert_eq!(outcome.first, Some(wrong), "{answer:?}");
    }
}

#[test]
fn connections_are_held_until_the_server_closes_them() {
    let mut origin = Origin::start("red").expect("a free port");
    let (to, question) = (origin.address(), Question::get("/bytes/9"));
    let held = Held::open(&Hold { to, question, count: 20, sources: 3 }).expect("connections");
    assert_eq!((held.count(), held.still_open(), origin.open_connections()), (20, 20, 20));
    origin.stop();
    wait_until(LIMIT, || held.still_open() == 0);
}

#[test]
fn the_commands_serve_as_processes() {
    let rig = env!("CARGO_BIN_EXE_rig");
    let origin = Origin::start("red").expect("a free port");
    let to = origin.address().to_string();
    let output = Command::new(rig).args(["load", "--requests", "9", "--to", &to]).output();
    let output = output.expect("the binary of this crate");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("answered 9, errors 0, seconds "), "{text}");
    assert_eq!(origin.requests(), 9);
    let exits = |arguments: &[&str]| {
        let output = Command::new(rig).args(arguments).output().expect("the binary of this crate");
        output.status.code()
    };
    assert_eq!(exits(&["load", "--requests", "2", "--to", &to, "--path", "/status/404"]), Some(3));
    let short = ["load", "--requests", "2", "--to", &to, "--answer-bytes", "1023"];
    assert_eq!(exits(&short), Some(3));
    assert_eq!(exits(&["load", "--to", &to, "--requests", "1", "--format", "xml"]), Some(2));
    assert_eq!(exits(&["relay", "--listen", &to, "--to", &to]), Some(3));
    assert_eq!(exits(&["origin", "--listen", "nowhere"]), Some(2));
    assert_eq!(exits(&["origin", "--port", "1", "--listen", "127.0.0.1:0"]), Some(2));
    assert_eq!(exits(&[]), Some(2));
}

#[test]
fn a_truncated_answer_passes_as_truncated() {
    let origin = Origin::start("red").expect("a free port");
    let mut client = Client::connect(relay(origin.address()));
    client.send(request("/truncate/1000"));
    let _ = client.read_head();
    let (body, ending) = client.read_rest();
    assert_eq!((body.len(), ending), (500, Ending::End));
}
