//! Scripted peers against each other.

use std::time::{Duration, Instant};

use gatehouse_rig::script::{Client, Ending, Gate, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;

const LIMIT: Duration = Duration::from_secs(10);
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_script_answers_and_keeps_every_byte_it_saw() {
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(ANSWER).times(2));
    let mut client = Client::connect(origin.address());
    client.send(REQUEST).expect_status(200);
    assert_eq!(client.send(REQUEST).expect_status(200).text(), "ok");
    client.send("more");
    origin.expect_done(1);
    let expected = [REQUEST, REQUEST, "more"].concat().into_bytes();
    wait_until(LIMIT, || origin.seen(0) == expected);
}

#[test]
fn each_connection_has_its_script_in_turn() {
    let scripts = [Script::new().expect_head().reset(), Script::new().expect_head().send(ANSWER)];
    let origin = ScriptedOrigin::in_turn(scripts);
    Client::connect(origin.address()).send(REQUEST).expect_reset();
    Client::connect(origin.address()).send(REQUEST).expect_status(200);
    let mut third = Client::connect(origin.address());
    third.send(REQUEST).expect_silence(Duration::from_millis(20));
    origin.expect_done(3);
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_connection_without_a_byte_saw_nothing() {
    let origin = ScriptedOrigin::each(Script::new().expect_end());
    let mut client = Client::connect(origin.address());
    client.half_close();
    origin.expect_done(1);
    origin.expect_nothing_seen();
    wait_until(LIMIT, || origin.ending(0) == Some(Ending::End));
    client.expect_close();
}

#[test]
#[should_panic(expected = "the origin saw 3 bytes \"a\\r\\n\"")]
fn a_byte_that_was_seen_is_told() {
    let origin = ScriptedOrigin::each(Script::new());
    let mut client = Client::connect(origin.address());
    client.send("a\r\n").half_close().expect_close();
    origin.expect_nothing_seen();
}

#[test]
#[should_panic(
    expected = "connection 0: step 1, ExpectHead: expected \"\\r\\n\\r\\n\", the connection ended"
)]
fn a_script_that_goes_wrong_says_where() {
    let origin = ScriptedOrigin::each(Script::new().expect_head());
    Client::connect(origin.address()).send("GET").half_close().expect_close();
    origin.expect_done(1);
}

#[test]
fn a_body_is_read_as_its_head_frames_it() {
    let script = Script::new().expect_head().expect_body().send(ANSWER);
    let origin = ScriptedOrigin::each(script.times(2));
    let mut client = Client::connect(origin.address());
    client.send("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab");
    client.expect_silence(Duration::from_millis(20)).send("c").expect_status(200);
    client.send("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    client.expect_status(200);
    origin.expect_done(1);
}

#[test]
fn a_gate_holds_the_answer_back() {
    let gate = Gate::closed();
    let origin = ScriptedOrigin::each(Script::new().expect_head().await_gate(&gate).send(ANSWER));
    let mut client = Client::connect(origin.address());
    client.send(REQUEST).expect_silence(Duration::from_millis(20));
    gate.open();
    client.expect_status(200);
}

#[test]
fn a_wait_lets_time_pass_and_notes_what_comes() {
    let pause = Duration::from_millis(40);
    let origin = ScriptedOrigin::each(Script::new().wait(pause).send(ANSWER).close());
    let start = Instant::now();
    let mut client = Client::connect(origin.address());
    client.send(REQUEST).expect_status(200);
    assert!(start.elapsed() >= pause);
    assert_eq!(origin.seen(0), REQUEST.as_bytes());
}

#[test]
fn half_a_close_still_reads() {
    let origin = ScriptedOrigin::each(Script::new().send(ANSWER).half_close());
    let mut client = Client::connect(origin.address());
    client.expect_status(200);
    client.expect_close();
    client.send(REQUEST).half_close();
    wait_until(LIMIT, || origin.ending(0) == Some(Ending::End));
    assert_eq!(origin.seen(0), REQUEST.as_bytes());
}

#[test]
fn a_reset_of_the_client_is_told() {
    let origin = ScriptedOrigin::each(Script::new().expect_head());
    let mut client = Client::connect(origin.address());
    client.send(REQUEST);
    origin.expect_done(1);
    client.reset();
    wait_until(LIMIT, || origin.ending(0) == Some(Ending::Reset));
}

#[test]
fn a_response_is_read_whatever_its_framing() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let answers = [
        (format!("{chunked}2\r\nab\r\n1\r\nc\r\n0\r\nT: u\r\n\r\n"), "abc"),
        (format!("{early}{ANSWER}"), "ok"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(), "until the end"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), ""),
    ];
    for (answer, body) in answers {
        let origin = ScriptedOrigin::each(Script::new().expect_head().send(answer).close());
        let mut client = Client::connect(origin.address());
        let response = client.send(REQUEST).read_response();
        assert_eq!(response.text(), body);
        client.expect_close();
    }
}

#[test]
#[should_panic(expected = "both Transfer-Encoding and Content-Length")]
fn a_response_with_two_framings_is_not_accepted() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = ScriptedOrigin::each(Script::new().send(answer));
    let _ = Client::connect(origin.address()).read_response();
}

#[test]
fn an_origin_that_is_dropped_ends_within_a_moment() {
    let origin = ScriptedOrigin::each(Script::new().await_gate(&Gate::closed()));
    let mut client = Client::connect(origin.address());
    wait_until(LIMIT, || origin.connections() == 1);
    let start = Instant::now();
    drop(origin);
    client.expect_close();
    assert!(start.elapsed() < Duration::from_secs(2));
}
