//! Bodies of any size: whole, in little memory, at whatever pace the slower side has.

use crate::front::{BINARY, LIMIT, config, get, request, scrape, start};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Ending, Gate, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const GIB: u64 = 1 << 30;
/// What the gateway may hold resident, whatever passes through it.
const RESIDENT_BYTES_MAX: u64 = 20 << 20;

/// How much passes in the long tests.
fn bytes() -> u64 {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { 5 * GIB } else { GIB }
}

/// Reads standard input to its end and prints its length and checksum.
const SUM: &str = "
import sys, zlib
count = crc = 0
while block := sys.stdin.buffer.read(1 << 20):
    count += len(block)
    crc = zlib.crc32(block, crc)
print(f'{count} {crc:08x}')
";

/// Writes so many bytes to standard output, and their length and checksum to standard error.
const POUR: &str = "
import random, sys, zlib
count, crc = int(sys.argv[1]), 0
block = random.Random(1).randbytes(1 << 20)
left = count
while left:
    piece = block[:left]
    sys.stdout.buffer.write(piece)
    crc = zlib.crc32(piece, crc)
    left -= len(piece)
sys.stdout.buffer.flush()
print(f'{count} {crc:08x}', file=sys.stderr)
";

/// Runs `first | second`; the output of both.
#[track_caller]
fn piped(first: &[&str], second: &[&str]) -> (Output, Output) {
    let command = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut from = command(first).spawn().expect("it starts");
    let pipe = from.stdout.take().expect("a pipe");
    let to = command(second).stdin(pipe).output().expect("it starts");
    (from.wait_with_output().expect("it ends"), to)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[track_caller]
fn stays_small(gateway: &Gateway) {
    let most = gateway.resident_bytes_max();
    println!("resident at most: {} KiB", most >> 10);
    assert!(most < RESIDENT_BYTES_MAX, "{} KiB resident", most >> 10);
}

#[test]
fn a_huge_download_through_curl_is_whole_and_held_nowhere() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let web = gateway.listener("web");
    let expected =
        format!("{} {}", bytes(), get(web, &format!("/checksum/{}", bytes())).text().trim());
    let url = format!("http://{web}/bytes/{}", bytes());
    let (_, sum) = piped(&["curl", "-sSf", &url], &["python3", "-c", SUM]);
    assert_eq!(text(&sum.stdout), expected);
    stays_small(&gateway);
}

#[test]
fn a_huge_upload_through_curl_is_whole_and_held_nowhere() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let url = format!("http://{}/sink", gateway.listener("web"));
    // Of unknown length: curl sends it in chunks, and asks for a 100 first.
    let pour = ["python3", "-c", POUR, &bytes().to_string()];
    let (poured, answer) = piped(&pour, &["curl", "-sSf", "-T", "-", &url]);
    let seen = Json::read(&text(&answer.stdout));
    let seen = format!("{} {}", seen.count("bytes"), seen.text("crc32"));
    assert_eq!(seen, text(&poured.stderr));
    stays_small(&gateway);
}

#[test]
fn every_framing_of_a_download_arrives_whole() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let web = gateway.listener("web");
    for size in [0, 1, 4095, 65_536, 1_000_003] {
        let direct = get(origin.address(), &format!("/bytes/{size}")).body;
        for path in ["bytes", "chunked", "trailers", "until-close"] {
            let answer = get(web, &format!("/{path}/{size}"));
            assert!(answer.body == direct, "{path}/{size}: {} bytes", answer.body.len());
        }
    }
}

#[test]
fn a_download_to_http_1_0_ends_with_its_connection() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    for path in ["bytes", "chunked", "until-close"] {
        let mut client = Client::connect(gateway.listener("web"));
        client.send(format!("GET /{path}/100000 HTTP/1.0\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(head.field("transfer-encoding"), None, "{path}");
        assert_eq!(client.read_rest().0.len(), 100_000, "{path}");
    }
}

#[test]
fn a_body_that_is_cut_by_the_origin_never_looks_whole() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", "/truncate/1000000", ""));
    assert_eq!(client.read_head().field("content-length"), Some("1000000"));
    let (body, _) = client.read_rest();
    assert!(body.len() <= 500_000, "{} bytes", body.len());
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(cut).close());
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", "/", ""));
    let (all, _) = client.read_rest();
    assert!(!all.ends_with(b"0\r\n\r\n"), "{}", all.escape_ascii());
}

#[test]
fn an_upload_in_tiny_pieces_arrives_whole() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send("POST /sink HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..200 {
        client.dribble("3\r\nabc\r\n");
    }
    let answer = Json::read(&client.send("0\r\n\r\n").expect_status(200).text());
    assert_eq!(answer.count("bytes"), 600);
}

/// More than all buffers between two sides hold.
const MUCH: u64 = 64 << 20;

#[test]
fn a_reader_that_stands_still_makes_the_origin_wait_and_costs_little() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(request("GET", &format!("/bytes/{MUCH}"), ""));
    let _ = client.read_head();
    // Others are served meanwhile.
    for _ in 0..50 {
        assert_eq!(get(gateway.listener("web"), "/bytes/10000").body.len(), 10_000);
    }
    stays_small(&gateway);
    assert_eq!(client.read_bytes(MUCH as usize).len() as u64, MUCH);
    stays_small(&gateway);
}

#[test]
fn an_origin_that_stands_still_makes_the_writer_wait_and_costs_little() {
    let gate = Gate::closed();
    let script = Script::new().expect_head().await_gate(&gate).expect_body();
    let script = script.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let origin = ScriptedOrigin::each(script);
    let gateway = start(&[origin.address()]);
    let web = gateway.listener("web");
    let writer = std::thread::spawn(move || {
        let mut client = Client::connect(web);
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {MUCH}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..MUCH >> 20 {
            client.send(&piece);
        }
        client.expect_status(200);
    });
    wait_until(LIMIT, || origin.connections() == 1);
    assert!(!writer.is_finished());
    stays_small(&gateway);
    gate.open();
    assert!(writer.join().is_ok());
    stays_small(&gateway);
}

#[test]
fn an_upload_without_progress_is_ended_and_the_client_told() {
    let origin = Origin::start("a").expect("a port");
    let route = "[[routes]]\nname = \"all\"\n";
    let idle = format!("{route}timeout = {{ idle = \"300ms\" }}\n");
    let text = config(&[origin.address()]).replace(route, &idle);
    let gateway = Gateway::start(BINARY, &text);
    let mut client = Client::connect(gateway.listener("web"));
    client.limit(Duration::from_secs(30));
    client.send("POST /sink HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    client.expect_status(408);
    client.expect_close();
    wait_until(LIMIT, || scrape(&gateway).sum("endpoint_connections", &[]) == 0);
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send("POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nhello");
    assert_eq!(client.expect_status(200).text(), "a\n");
    // What it sends now is never taken for a request.
    client.offer(request("GET", "/smuggled", ""));
    client.expect_close();
}

#[test]
fn a_hundred_clients_with_a_body_each_way_cost_little() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let web = gateway.listener("web");
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(web)).collect();
    for client in &mut clients {
        client.send(request("GET", &format!("/bytes/{}", 1 << 20), ""));
    }
    for client in &mut clients {
        assert_eq!(client.read_response().body.len(), 1 << 20);
    }
    stays_small(&gateway);
}

#[test]
fn what_follows_a_large_answer_is_no_answer_to_the_next_request() {
    // Large enough to be moved by the kernel, which the gateway does not see.
    let body = "x".repeat(1 << 20);
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let large = Script::new().expect_head().send(head + &body + evil);
    let own = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown";
    let origin = ScriptedOrigin::in_turn([large, Script::new().expect_head().send(own)]);
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    let answer = client.send(request("GET", "/large", "")).expect_status(200);
    assert_eq!(answer.body.len(), body.len());
    assert_eq!(client.send(request("GET", "/own", "")).expect_status(200).text(), "own");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_large_answer_that_is_cut_does_not_look_whole() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 4 << 20);
    let cut = Script::new().expect_head().send(head + &"x".repeat(3 << 20)).close();
    let origin = ScriptedOrigin::each(cut);
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    let head = client.send(request("GET", "/cut", "")).read_head();
    assert!(head.line.contains("200"), "{head:?}");
    let (rest, _) = client.read_rest();
    assert_eq!(rest.len(), 3 << 20);
}

#[test]
fn a_large_answer_that_ends_with_its_connection_is_whole() {
    let head = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    let script = Script::new().expect_head().send(head + &"x".repeat(3 << 20)).close();
    let origin = ScriptedOrigin::each(script);
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send("GET /ended HTTP/1.0\r\nHost: test\r\n\r\n");
    assert!(client.read_head().line.contains("200"));
    let (rest, ending) = client.read_rest();
    assert_eq!((rest.len(), ending), (3 << 20, Ending::End));
}
