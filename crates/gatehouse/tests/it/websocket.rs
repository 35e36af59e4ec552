//! WebSocket (RFC 6455) end to end: the switch, frames both ways, and each way of ending.

use crate::front::{BINARY, DOORS, LIMIT, config, get, request, routes, start};
use crate::tls::Authority;
use gatehouse_rig::process::{Gateway, Signal};
use gatehouse_rig::script::{Client, Ending, Gate, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// What a browser sends.
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
                   Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                      Sec-WebSocket-Protocol: chat\r\n\r\n";
/// "Hello", masked, and the same unmasked (RFC 6455 section 5.7).
const MASKED: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const PLAIN: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
/// Bytes that are no text and no HTTP.
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// Switches, and checks what the client is told.
#[track_caller]
fn switch(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    let head = client.send(ASK).read_head();
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert!(head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert_eq!(head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.field("content-length"), None);
    client
}

#[test]
fn frames_pass_both_ways_unchanged_after_the_switch() {
    let script = Script::new().expect_head().send(SWITCH);
    let script =
        script.expect_bytes(MASKED.len()).send(PLAIN).expect_bytes(CLOSE.len()).send(CLOSE);
    let origin = ScriptedOrigin::each(script.close());
    let gateway = start(&[origin.address()]);
    let mut client = switch(gateway.listener("web"));
    assert_eq!(client.send(MASKED).read_bytes(PLAIN.len()), PLAIN);
    assert_eq!(client.send(CLOSE).read_bytes(CLOSE.len()), CLOSE);
    client.expect_close();
    origin.expect_done(1);
    let seen = origin.seen(0);
    let text = String::from_utf8_lossy(&seen).to_lowercase();
    for line in ["upgrade: websocket\r\n", "sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(text.contains("\r\nconnection: upgrade\r\n"), "{text}");
    assert!(seen.ends_with(&[MASKED, CLOSE].concat()));
}

#[test]
fn an_origin_may_speak_first_and_in_one_piece_with_its_101() {
    let first = [SWITCH.as_bytes(), PLAIN].concat();
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(first));
    let gateway = start(&[origin.address()]);
    let mut client = switch(gateway.listener("web"));
    assert_eq!(client.read_bytes(PLAIN.len()), PLAIN);
}

#[test]
fn a_clients_half_close_reaches_the_origin_and_the_answer_still_comes() {
    let script = Script::new().expect_head().send(SWITCH).expect_bytes(MASKED.len()).expect_end();
    let origin = ScriptedOrigin::each(script.send(PLAIN).close());
    let gateway = start(&[origin.address()]);
    let mut client = switch(gateway.listener("web"));
    client.send(MASKED).half_close();
    let (rest, ending) = client.read_rest();
    assert_eq!((rest.as_slice(), ending), (PLAIN, Ending::End));
    origin.expect_done(1);
}

#[test]
fn an_origins_half_close_reaches_the_client_and_its_last_words_still_arrive() {
    let script = Script::new().expect_head().send(SWITCH).send(PLAIN).half_close();
    let origin = ScriptedOrigin::each(script.expect_bytes(MASKED.len()));
    let gateway = start(&[origin.address()]);
    let mut client = switch(gateway.listener("web"));
    let (rest, ending) = client.read_rest();
    assert_eq!((rest.as_slice(), ending), (PLAIN, Ending::End));
    client.send(MASKED).half_close();
    origin.expect_done(1);
}

#[test]
fn a_reset_of_either_side_ends_the_other() {
    let origin = ScriptedOrigin::in_turn([
        Script::new().expect_head().send(SWITCH),
        Script::new().expect_head().send(SWITCH).expect_bytes(MASKED.len()).reset(),
    ]);
    let gateway = start(&[origin.address()]);
    switch(gateway.listener("web")).reset();
    wait_until(LIMIT, || origin.ending(0).is_some());
    let mut client = switch(gateway.listener("web"));
    client.send(MASKED).expect_close();
}

#[test]
fn nothing_behind_the_head_reaches_an_origin_that_has_not_switched() {
    let gate = Gate::closed();
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let origin = ScriptedOrigin::each(Script::new().expect_head().await_gate(&gate).send(refusal));
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.send(ASK).send(MASKED);
    wait_until(LIMIT, || origin.connections() == 1 && origin.seen(0).ends_with(b"\r\n\r\n"));
    gate.open();
    assert_eq!(client.expect_status(403).text(), "no");
    wait_until(LIMIT, || origin.ending(0).is_some() || origin.seen(0).ends_with(b"\r\n\r\n"));
    let seen = origin.seen_in_all();
    assert!(!seen.windows(MASKED.len()).any(|window| window == MASKED));
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(SWITCH));
    let gateway = start(&[origin.address()]);
    assert_eq!(get(gateway.listener("web"), "/").status, 502);
    wait_until(LIMIT, || origin.ending(0).is_some());
}

#[test]
fn a_tunnel_that_is_silent_for_too_long_is_ended_on_both_sides() {
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(SWITCH));
    let route = "[[routes]]\nname = \"all\"\n";
    let idle = format!("{route}timeout = {{ tunnel = \"200ms\" }}\n");
    let text = config(&[origin.address()]).replace(route, &idle);
    let gateway = Gateway::start(BINARY, &text);
    switch(gateway.listener("web")).expect_close();
    wait_until(LIMIT, || origin.ending(0).is_some());
}

#[test]
fn a_large_stream_passes_both_ways_at_once() {
    const BYTES: usize = 4 << 20;
    let piece: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let script = Script::new().expect_head().send(SWITCH).send(&piece).expect_bytes(BYTES);
    let origin = ScriptedOrigin::each(script.close());
    let gateway = start(&[origin.address()]);
    let mut client = switch(gateway.listener("web"));
    assert!(client.read_bytes(BYTES) == piece);
    client.send(&piece).expect_close();
    origin.expect_done(1);
    assert!(origin.seen(0).ends_with(&piece));
}

#[test]
fn a_tunnel_is_logged_once_with_what_it_carried() {
    let script = Script::new().expect_head().send(SWITCH).expect_bytes(MASKED.len()).send(PLAIN);
    let origin = ScriptedOrigin::each(script.close());
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{}", routes(&[origin.address()])));
    let mut client = switch(gateway.listener("web"));
    let _ = client.send(MASKED).read_rest();
    drop(client);
    gateway.expect_output_line("\"status\":101");
    let lines = gateway.output();
    let carried = format!("\"received\":{},\"sent\":{}", MASKED.len(), PLAIN.len());
    assert!(lines.len() == 1 && lines[0].contains(&carried), "{lines:?}");
}

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/websocket_peer.py");

/// Messages of all kinds and sizes that go both ways; some in several frames, PINGs between them.
const MESSAGES: &str = "100000";

fn peer(arguments: &[&str]) -> Command {
    let has = Command::new("python3").args(["-c", "import websockets, h2"]).output();
    let has = has.is_ok_and(|output| output.status.success());
    assert!(has, "python3 has no websockets, or no h2: run .ci/setup, which installs them");
    let mut command = Command::new("python3");
    command.arg(PEER).args(arguments);
    command
}

/// A server of other people's that echoes, killed when the test ends.
struct Echo {
    child: Child,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Echo {
        let mut child = peer(&["serve"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a port");
        let port: u16 = line.trim().parse().expect("a port");
        Echo { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client of other people's sends messages without waiting for each, and checks every echo.
/// `ask` speaks HTTP/1.1, `ask2` HTTP/2.
#[track_caller]
fn talks(ask: &str, scheme: &str) {
    let echo = Echo::start();
    let authority = Authority::new();
    authority.sign("site", &["example.com"]);
    let tls = match scheme {
        "wss" => format!("tls = [{}]\n", authority.entry("site", "")),
        _ => String::new(),
    };
    let listener =
        format!("[listeners.web]\nbind = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h2\"]\n{tls}");
    let gateway = Gateway::start(BINARY, &format!("{listener}{}", routes(&[echo.address])));
    let url = format!("{scheme}://{}/", gateway.listener("web"));
    let ca = authority.path("ca.pem");
    let more: &[&str] = if scheme == "wss" { &[&ca] } else { &[] };
    let output = peer(&[&[ask, &url, MESSAGES], more].concat()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("done {MESSAGES}\n"), "{said}");
}

#[test]
fn a_real_client_and_a_real_server_talk() {
    talks("ask", "ws");
}

#[test]
fn a_real_client_and_a_real_server_talk_under_tls() {
    talks("ask", "wss");
}

/// RFC 8441: the tunnel is a stream of HTTP/2 to the client, and HTTP/1.1 to the server.
#[test]
fn a_real_client_and_a_real_server_talk_over_http_2() {
    talks("ask2", "ws");
}

#[test]
fn a_real_client_and_a_real_server_talk_over_http_2_under_tls() {
    talks("ask2", "wss");
}

#[test]
fn a_drain_leaves_a_tunnel_alone_until_its_time_is_over() {
    let script = Script::new().expect_head().send(SWITCH);
    let script = script.expect_bytes(MASKED.len()).send(PLAIN).expect_end();
    let origin = ScriptedOrigin::each(script);
    let text = format!("drain = \"1500ms\"\n{DOORS}{}", routes(&[origin.address()]));
    let mut gateway = Gateway::start(BINARY, &text);
    let web = gateway.listener("web");
    let mut client = switch(web);
    gateway.signal(Signal::Term);
    wait_until(LIMIT, || TcpStream::connect(web).is_err());
    assert_eq!(client.send(MASKED).read_bytes(PLAIN.len()), PLAIN);
    client.expect_close();
    assert!(gateway.wait(LIMIT).success());
    origin.expect_done(1);
    let lines = gateway.output();
    assert!(lines.len() == 1 && lines[0].contains("\"failure\":\"drain-cut\""), "{lines:?}");
}

#[test]
fn a_plain_request_passes_beside_it() {
    let origin = ScriptedOrigin::in_turn([
        Script::new().expect_head().send(SWITCH),
        Script::new().expect_head().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ]);
    let gateway = start(&[origin.address()]);
    let _open = switch(gateway.listener("web"));
    let mut other = Client::connect(gateway.listener("web"));
    assert_eq!(other.send(request("GET", "/", "")).expect_status(200).text(), "ok");
}
