//! Request bodies whose framing breaks on the way: 400, the client's connection closed, the
//! endpoint's too and never used again.

use crate::front::{LIMIT, config, request, start};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
const OWN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown";
const HEAD: &str = "POST /broken HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

/// For each broken body a connection that is only read, then one for the request after it.
fn origin(bodies: usize) -> ScriptedOrigin {
    let own = || Script::new().expect_head().send(OWN);
    ScriptedOrigin::in_turn((0..bodies).flat_map(|_| [Script::new(), own()]))
}

/// Breaks each body after its head has reached the origin.
#[track_caller]
fn breaks(bodies: &[&str]) {
    let origin = origin(bodies.len());
    let gateway = start(&[origin.address()]);
    for (at, body) in bodies.iter().enumerate() {
        let shown = body.as_bytes()[..body.len().min(200)].escape_ascii();
        let mut client = Client::connect(gateway.listener("web"));
        client.send(HEAD);
        wait_until(LIMIT, || {
            origin.connections() == 2 * at + 1 && origin.seen(2 * at).ends_with(b"\r\n\r\n")
        });
        client.offer(body).offer(SMUGGLED);
        let answer = client.read_response();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        assert_eq!(answer.field("connection"), Some("close"), "{shown}");
        client.expect_close();
        wait_until(LIMIT, || origin.ending(2 * at).is_some());
        serves_another(&gateway, &origin, 2 * at + 1);
    }
}

/// The next request goes over connection `at`, a new one.
#[track_caller]
fn serves_another(gateway: &Gateway, origin: &ScriptedOrigin, at: usize) {
    let mut other = Client::connect(gateway.listener("web"));
    let answer = other.send(request("GET", "/own", "")).expect_status(200);
    assert_eq!(answer.text(), "own");
    assert!(origin.seen(at).starts_with(b"GET /own "));
    let seen = String::from_utf8_lossy(&origin.seen_in_all()).into_owned();
    assert!(!seen.contains("smuggled"), "the origin saw {seen:?}");
}

#[test]
fn a_chunk_size_that_is_not_exactly_hex_is_refused() {
    breaks(&[
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
    ]);
}

#[test]
fn a_chunk_size_beyond_all_bounds_is_refused() {
    breaks(&[
        "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    ]);
}

#[test]
fn a_chunk_line_that_does_not_end_in_crlf_is_refused() {
    breaks(&[
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a=b\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ]);
}

#[test]
fn chunk_data_that_is_not_followed_by_crlf_is_refused() {
    breaks(&[
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
    ]);
}

#[test]
fn trailers_that_carry_framing_routing_or_credentials_are_refused() {
    breaks(&[
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nHost: other\r\n\r\n",
        "0\r\nConnection: close\r\n\r\n",
        "0\r\nAuthorization: Basic eDp5\r\n\r\n",
        "0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    ]);
}

#[test]
fn trailers_that_break_the_grammar_are_refused() {
    breaks(&[
        "0\r\nX : y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nX: a\r\n b\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nno colon\r\n\r\n",
    ]);
}

#[test]
fn a_chunk_extension_without_end_is_refused() {
    let endless = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100 << 10));
    breaks(&[&endless]);
}

#[test]
fn a_body_that_is_broken_from_its_first_byte_is_refused_in_one_piece_too() {
    let origin = ScriptedOrigin::each(Script::new());
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    client.offer(format!("{HEAD}xyz\r\n{SMUGGLED}"));
    client.expect_status(400);
    client.expect_close();
    wait_until(LIMIT, || {
        (0..origin.connections()).all(|connection| origin.ending(connection).is_some())
    });
    let seen = String::from_utf8_lossy(&origin.seen_in_all()).into_owned();
    assert!(!seen.contains("smuggled") && !seen.contains("xyz"), "the origin saw {seen:?}");
}

fn came(origin: &ScriptedOrigin, bytes: &[u8]) -> bool {
    origin.seen(0).windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn a_body_cut_short_by_the_client_is_never_passed_on_as_whole() {
    for head in [HEAD, "POST /broken HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"] {
        let origin = origin(1);
        let gateway = start(&[origin.address()]);
        let mut client = Client::connect(gateway.listener("web"));
        client.send(head).send("5\r\nhe");
        wait_until(LIMIT, || origin.connections() == 1 && came(&origin, b"\nhe"));
        client.half_close();
        let _ = client.read_rest();
        wait_until(LIMIT, || origin.ending(0).is_some());
        let seen = String::from_utf8_lossy(&origin.seen(0)).into_owned();
        assert!(!seen.contains("0\r\n\r\n"), "the origin saw {seen:?}");
        serves_another(&gateway, &origin, 1);
    }
}

#[test]
fn a_body_beyond_its_limit_is_refused_and_its_rest_never_read_as_a_request() {
    let origin = origin(2);
    let limits = "[listeners.web.limits]\nbody-bytes = \"8B\"\n";
    let gateway = Gateway::start(
        crate::front::BINARY,
        &config(&[origin.address()]).replace("[log]", &format!("{limits}[log]")),
    );
    let known = format!(
        "POST /broken HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    );
    let mut client = Client::connect(gateway.listener("web"));
    client.offer(known).expect_status(413);
    client.expect_close();
    origin.expect_nothing_seen();
    let mut client = Client::connect(gateway.listener("web"));
    client
        .offer(format!("{HEAD}5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"))
        .expect_status(413);
    client.expect_close();
    let seen = String::from_utf8_lossy(&origin.seen_in_all()).into_owned();
    assert!(!seen.contains("smuggled") && !seen.contains("0\r\n\r\n"), "the origin saw {seen:?}");
}
