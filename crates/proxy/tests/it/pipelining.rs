//! Requests behind one another on one connection: answered in order, each read from its first
//! byte, whatever became of the one before it.

use crate::bench::{Bench, Setup, with};
use crate::talk::{End, Talk, answers, field, get, limited, ok, pass};
use gatehouse_core::chance::Chance;
use gatehouse_core::plan::{Action, ClientLimits, Redirect, Respond, Template};
use gatehouse_proxy::gate::memory::spawn;
use std::time::Duration;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// So that the next request, whatever it is, comes on a new connection.
const EARLY: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    with(Setup::default(), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let second = post("/2", &get("/in-a-body"));
        client.say(get("/1") + &second + &get("/3") + CHUNKED + "2\r\nhi\r\n0\r\n\r\n").await;
        let mut at_origin = origin.accept().await;
        assert!(at_origin.hear_head().await.starts_with("GET /1 "));
        assert!(at_origin.hears_nothing().await);
        at_origin.say(ok("one")).await;
        let (head, body) = at_origin.hear_message().await;
        assert!(head.starts_with("POST /2 "), "{head}");
        assert_eq!(body, get("/in-a-body"));
        at_origin.say(ok("two")).await;
        assert!(at_origin.hear_head().await.starts_with("GET /3 "));
        at_origin.say(ok("three")).await;
        assert!(at_origin.hear_until("0\r\n\r\n").await.ends_with("2\r\nhi\r\n0\r\n\r\n"));
        at_origin.say(ok("four")).await;
        for expected in ["one", "two", "three", "four"] {
            assert_eq!(client.hear_message().await.1, expected);
        }
    });
}

/// Sends the request, lets the origin answer before it has read the body, then sends the rest and
/// one request more. Whatever is in `rest` is no request: either the one behind it is the next the
/// origin sees, or the connection ends.
async fn early_answer(bench: Bench, begun: &str, rest: &str) {
    let (mut origin, mut client) = (bench.origin(1), bench.client());
    client.say(begun).await;
    let mut at_origin = origin.accept().await;
    at_origin.hear_head().await;
    at_origin.say(format!("{EARLY}Content-Length: 5\r\n\r\nea")).await;
    client.hear_until("ea").await;
    client.pour(format!("{rest}{}", get("/next")).as_bytes()).await;
    pass(Duration::from_millis(10)).await;
    at_origin.say("rly").await;
    client.hear_until("rly").await;
    let mut later = next_or_nothing(&mut origin, &mut client).await;
    if let Some(later) = &mut later {
        assert!(later.hear_head().await.starts_with("GET /next "));
        later.say(ok("next")).await;
        assert_eq!(client.hear_message().await.1, "next");
    }
}

/// The origin's next connection, or `None` where the client's ends without another answer.
async fn next_or_nothing(origin: &mut crate::bench::Origin, client: &mut Talk) -> Option<Talk> {
    if let Some(talk) = origin.accept_soon(Duration::from_secs(5)).await {
        return Some(talk);
    }
    assert_eq!(answers(&client.hear_end().await), 0);
    None
}

#[test]
fn the_rest_of_a_body_that_an_early_answer_made_useless_is_never_a_request() {
    let evil = get("/hidden");
    let padded = format!("{evil}{}", "x".repeat(50_000));
    for (begun, rest) in [
        (format!("{CHUNKED}2\r\nhi\r\n"), format!("{:x}\r\n{evil}\r\n0\r\n\r\n", evil.len())),
        (format!("{CHUNKED}2\r\nhi\r\n"), format!("{:x}\r\n{padded}\r\n0\r\n\r\n", padded.len())),
        (format!("{CHUNKED}2\r\nhi\r\n"), format!("X\r\n{evil}")),
        (format!("{CHUNKED}2\r\nhi\r\n"), format!("0\r\nHost: b\r\n\r\n{evil}")),
        (post("/", &evil).replace(&evil, ""), evil.clone()),
        (post("/", &padded).replace(&padded, ""), padded.clone()),
    ] {
        with(Setup::default(), |bench| async move { early_answer(bench, &begun, &rest).await });
    }
}

#[test]
fn a_body_over_its_limit_behind_an_early_answer_is_never_a_request() {
    let limits = ClientLimits { body_bytes_max: Some(10), ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let evil = get("/hidden");
        let rest = format!("{:x}\r\n{evil}\r\n0\r\n\r\n", evil.len());
        early_answer(bench, &format!("{CHUNKED}2\r\nhi\r\n"), &rest).await;
    });
}

/// A body that the origin does not read is stuck half-way when the answer has ended.
#[test]
fn a_body_stuck_on_its_way_to_an_origin_that_has_answered_is_never_a_request() {
    for length in [70_000, 80_000, 90_000, 130_000, 200_000, 400_000] {
        with(Setup::default(), async |bench| {
            let body = get("/hidden").repeat(length / get("/hidden").len());
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            let text = post("/", &body) + &get("/next");
            let sent = client.pour(text.as_bytes()).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            at_origin.say(format!("{EARLY}Content-Length: 5\r\n\r\nearly")).await;
            let rest = text.as_bytes()[sent..].to_vec();
            assert_eq!(client.hear_message().await.1, "early");
            client.try_say(&rest).await;
            if let Some(mut later) = next_or_nothing(&mut origin, &mut client).await {
                assert!(later.hear_head().await.starts_with("GET /next "));
            }
        });
    }
}

#[test]
fn an_answer_of_the_gateways_own_leaves_no_body_to_be_taken_for_a_request() {
    let redirect = Redirect { to: Template::compile("http://b$path").unwrap(), status: 308 };
    let respond =
        |status| Respond { status, body: (*b"own").into(), content_type: "text/x".into() };
    for action in
        [Action::Redirect(redirect), Action::Respond(respond(404)), Action::Respond(respond(200))]
    {
        with(Setup { action: Some(action), ..Setup::default() }, async |bench| {
            let evil = get("/hidden");
            let mut client = bench.client();
            let chunk = format!("{CHUNKED}{:x}\r\n{evil}\r\n0\r\n\r\n", evil.len());
            client.say(post("/", &evil) + &chunk + &get("/last")).await;
            let mut heard = String::new();
            for _ in 0..3 {
                let (head, body) = client.hear_message().await;
                heard += &head;
                heard += &body;
            }
            assert!(client.hears_nothing().await);
            let log = bench.log();
            assert!(!log.contains("hidden"), "{log}");
            assert!(log.contains("/last"), "{log}");
        });
    }
}

#[test]
fn a_body_that_an_own_answer_leaves_unread_for_too_long_closes_the_connection() {
    let setup = || {
        let (body, content_type) = ((*b"own").into(), "text/x".into());
        let action = Some(Action::Respond(Respond { status: 200, body, content_type }));
        Setup { action, ..Setup::default() }
    };
    for (length, said) in [(1_000_000, 300_000), (100, 10)] {
        with(setup(), async |bench| {
            let mut client = bench.client();
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            client.say(head).await;
            assert_eq!(client.hear_message().await.1, "own");
            client.try_say(&b"x".repeat(said)).await;
            assert_eq!(client.hear_how_it_ends().await.1, End::Closed);
        });
    }
}

#[test]
fn a_failure_with_an_unread_body_closes_the_connection() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(post("/", &get("/hidden")) + &get("/next")).await;
        let heard = client.hear_end().await;
        assert!(heard.starts_with("HTTP/1.1 502 "), "{heard}");
        assert_eq!(field(&heard, "connection"), Some("close"));
        assert_eq!(answers(&heard), 1, "{heard}");
    });
}

/// An origin that tells in its answer's body what it was asked.
fn echo(mut at_origin: Talk) {
    spawn(async move {
        while let Some((head, body)) = at_origin.hear_request().await {
            let line = head.lines().next().unwrap_or("");
            let answer = ok(&format!("{line} <{body}>"));
            let head = answer.find("\r\n\r\n").map_or(0, |at| at + 4);
            let shown = if line.starts_with("HEAD ") { head } else { answer.len() };
            at_origin.say(&answer[..shown]).await;
        }
    });
}

const SCRIPT: [(&str, &str); 6] = [
    ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /1 HTTP/1.1 <>"),
    ("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET", "POST /2 HTTP/1.1 <GET>"),
    (
        "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n5;x=y\r\n\r\n0\r\n\r\n0\r\nX: y\r\n\r\n",
        "POST /3 HTTP/1.1 <abc\r\n0\r\n>",
    ),
    ("HEAD /4 HTTP/1.1\r\nHost: a\r\nX:   y\t \r\n\r\n", ""),
    ("\r\nPUT /5?q HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "PUT /5?q HTTP/1.1 <>"),
    ("DELETE http://a/6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "DELETE /6 HTTP/1.1 <>"),
];

#[test]
fn any_split_of_a_pipelined_script_gives_the_same_answers() {
    for seed in 0..300 {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = bench.client();
            let mut chance = Chance::seeded(seed);
            let script: String = SCRIPT.iter().map(|(request, _)| *request).collect();
            let longest = 1 + chance.below(if seed % 2 == 0 { 8 } else { 120 });
            let mut rest = script.as_bytes();
            let mut begun = false;
            while !rest.is_empty() {
                let count = rest.len().min(1 + chance.below(longest) as usize);
                client.say(&rest[..count]).await;
                rest = &rest[count..];
                if chance.below(3) == 0 {
                    pass(Duration::from_millis(1)).await;
                }
                if !begun && let Some(at_origin) = origin.accept_soon(Duration::ZERO).await {
                    begun = true;
                    echo(at_origin);
                }
            }
            if !begun {
                echo(limited(origin.accept(), "a connection").await);
            }
            for (request, expected) in SCRIPT {
                let head = client.hear_head().await;
                let length = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
                if expected.is_empty() {
                    assert_eq!(length, "HEAD /4 HTTP/1.1 <>".len(), "seed {seed}");
                } else {
                    let body = client.hear_bytes(length).await;
                    assert_eq!(body, expected, "seed {seed}: {request:?}");
                }
            }
            assert_eq!(client.hear_end().await, "", "seed {seed}");
        });
    }
}
