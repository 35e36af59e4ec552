//! gRPC end to end: a client and servers of other people's (grpcio), the gateway between them.

use crate::front::{BINARY, LIMIT};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/grpc_peer.py");

fn peer(arguments: &[&str]) -> Command {
    let has = Command::new("python3").args(["-c", "import grpc"]).output();
    let has = has.is_ok_and(|output| output.status.success());
    assert!(has, "python3 has no grpc: run .ci/setup, which installs it");
    let mut command = Command::new("python3");
    command.arg(PEER).args(arguments);
    command
}

/// A server, killed when the test ends.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(name: &str) -> Server {
        let mut child = peer(&["serve", name]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a port");
        Server { port: line.trim().parse().expect("a port"), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A gateway in front of these servers.
fn gateway(servers: &[&Server], more: &str) -> Gateway {
    let endpoints: Vec<String> =
        servers.iter().map(|server| format!("\"127.0.0.1:{}\"", server.port)).collect();
    let config = format!(
        "[listeners.web]\nbind = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h2\"]\n\
         [[routes]]\nupstream = \"all\"\n\
         [upstreams.all]\nprotocol = \"grpc\"\nendpoints = [{}]\n{more}",
        endpoints.join(", ")
    );
    Gateway::start(BINARY, &config)
}

/// What the client says, which must end well.
#[track_caller]
fn said(arguments: &[&str]) -> String {
    let output = peer(arguments).output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn calls_of_all_kinds_pass_with_their_metadata_deadlines_and_statuses() {
    let server = Server::start("one");
    let gateway = gateway(&[&server], "");
    let shown = said(&["ask", &gateway.listener("web").to_string()]);
    let expected = [
        "unary",
        "initial metadata",
        "trailing metadata",
        "server streaming",
        "client streaming",
        "conversation",
        "status",
        "message",
        "unknown method",
        "deadline",
        "deadline in time",
        "time passed on",
        "cancellation",
        "64 MiB",
        "a thousand at once",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

/// Defect 11: one endpoint chosen at start-up for ever.
#[test]
fn every_call_of_one_channel_is_balanced_by_itself() {
    let servers = ["a", "b", "c"].map(Server::start);
    let gateway = gateway(&servers.each_ref(), "");
    let shown = said(&["balance", &gateway.listener("web").to_string(), "30"]);
    assert_eq!(shown, "a 10\nb 10\nc 10\n");
}

/// Nobody is asked twice to no avail: calls that were not begun move to another server, and one
/// that was on the server that died is the most that may fail.
#[test]
fn one_of_three_servers_is_killed_and_calls_go_on() {
    let [a, b, mut c] = ["a", "b", "c"].map(Server::start);
    let gateway = gateway(&[&a, &b, &c], "");
    let address = gateway.listener("web").to_string();
    let mut client = peer(&["killed", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    let before = said(&["balance", &address, "60"]);
    c.child.kill().expect("it was alive");
    let after = said(&["balance", &address, "60"]);
    client.stdin.take().expect("a pipe").write_all(b"stop\n").expect("it listens");
    let told = lines.next().expect("a line").expect("text");
    client.wait().expect("it ends");
    assert!(before.contains("c "), "{before}");
    assert!(!after.contains("c "), "{after}");
    let numbers: Vec<u32> =
        told.split(' ').take(2).map(|number| number.parse().expect("a number")).collect();
    assert!(numbers[0] > 50 && numbers[1] <= 1, "calls, failed calls, how: {told}");
}

/// grpc.health.v1: whoever says that it is not serving is given no calls.
#[test]
fn a_server_that_says_it_is_not_serving_is_left_out() {
    let servers = ["a", "sick", "c"].map(Server::start);
    let health = "health = { interval = \"100ms\", start = \"unhealthy\" }\n";
    let gateway = gateway(&servers.each_ref(), health);
    let address = gateway.listener("web").to_string();
    let served = || said(&["balance", &address, "30"]) == "a 15\nc 15\n";
    wait_until(LIMIT, served);
}

/// UNAVAILABLE is passed on, and asked elsewhere where somebody says that calls may be repeated.
#[test]
fn a_call_that_a_server_has_no_time_for_is_made_elsewhere_where_that_is_asked_for() {
    let servers = ["busy", "one"].map(Server::start);
    for (retry, expected) in [
        ("", "OK 10\nUNAVAILABLE 10\n"),
        ("retry = { on = [\"unavailable\"], budget = \"100%\" }\n", "OK 20\n"),
    ] {
        let gateway = gateway(&servers.each_ref(), retry);
        assert_eq!(said(&["codes", &gateway.listener("web").to_string(), "20"]), expected);
    }
}

/// GOAWAY, as real servers send it (RFC 9113 section 6.8): what is under way ends there, what comes
/// goes elsewhere, and nobody notices.
#[test]
fn connections_that_servers_end_politely_fail_no_call() {
    let server = Server::start("aging");
    let gateway = gateway(&[&server], "retry = { attempts = 0 }\n");
    let shown = said(&["codes", &gateway.listener("web").to_string(), "4000"]);
    assert_eq!(shown, "OK 4000\n");
}

/// gRPC-Web over HTTP/1.1, as a browser writes it, binary and as text; the servers speak gRPC.
#[test]
fn browsers_calls_are_translated_in_both_encodings() {
    let server = Server::start("one");
    let gateway = gateway(&[&server], "");
    let shown = said(&["web", &gateway.listener("web").to_string()]);
    let kinds = ["unary", "metadata", "stream", "status", "large"];
    let expected = ["grpc-web", "grpc-web-text"]
        .iter()
        .flat_map(|name| kinds.map(|kind| format!("{name} {kind}")))
        .collect::<Vec<_>>();
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

/// What the gateway itself cannot do is a status of gRPC too.
#[test]
fn a_gateway_without_servers_says_unavailable() {
    let server = Server::start("one");
    let gateway = gateway(&[&server], "");
    drop(server);
    let code = "import sys, grpc\n\
        call = grpc.insecure_channel(sys.argv[1]).unary_unary('/test.Service/Name')\n\
        try: call(b'')\n\
        except grpc.RpcError as error: print(error.code().name, error.details())";
    let output = Command::new("python3")
        .args(["-c", code, &gateway.listener("web").to_string()])
        .output()
        .expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.starts_with("UNAVAILABLE the connection was refused"), "{shown}");
}
