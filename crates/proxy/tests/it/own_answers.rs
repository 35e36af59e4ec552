//! Answers of the gateway's own: real statuses, a reason a person and a program can read, and a
//! connection that goes on where it can.

use crate::bench::{Setup, with};
use crate::talk::{Clock, field, get, ok, pass};
use gatehouse_core::message::{Method, MethodSet};
use gatehouse_core::plan::{Action, Edits, FieldEdit, Redirect, Respond, Template};
use gatehouse_core::route::PathRule;
use std::time::Duration;

fn responding(status: u16, body: &str) -> Setup {
    let (body, content_type) = (body.as_bytes().into(), "text/x".into());
    Setup {
        action: Some(Action::Respond(Respond { status, body, content_type })),
        ..Setup::default()
    }
}

#[test]
fn a_fixed_answer_is_given_as_it_was_written() {
    for status in [200, 201, 204, 304, 404, 410, 503, 599] {
        with(responding(status, "hello"), async |bench| {
            let mut client = bench.client();
            for method in ["GET", "HEAD", "GET"] {
                client.say(get("/").replace("GET", method)).await;
                let head = client.hear_head().await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
                assert!(field(&head, "date").is_some(), "{head}");
                if matches!(status, 204 | 304) {
                    assert_eq!(field(&head, "content-length"), None);
                    continue;
                }
                assert_eq!(field(&head, "content-length"), Some("5"));
                assert_eq!(field(&head, "content-type"), Some("text/x"));
                if method == "GET" {
                    assert_eq!(client.hear_bytes(5).await, "hello");
                }
            }
        });
    }
}

#[test]
fn a_client_that_does_not_read_a_fixed_answer_is_cut() {
    with(responding(200, &"x".repeat(1_000_000)), async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        let clock = Clock::start();
        while !bench.log().contains("\"failure\":\"client-too-slow\"") {
            assert!(clock.passed() < Duration::from_secs(60), "it is waited for too long");
            pass(Duration::from_millis(100)).await;
        }
        let passed = clock.passed();
        assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&passed), "{passed:?}");
        drop(client);
    });
}

#[test]
fn a_redirect_names_the_place_in_the_requests_own_words() {
    let to = Template::compile("https://new.example.com$path$query").unwrap();
    let action = Some(Action::Redirect(Redirect { to, status: 308 }));
    with(Setup { action, ..Setup::default() }, async |bench| {
        let mut client = bench.client();
        for (path, location) in [
            ("/a?b=c", "https://new.example.com/a?b=c"),
            ("/x/../a", "https://new.example.com/a"),
            ("/", "https://new.example.com/"),
        ] {
            client.say(get(path)).await;
            let (head, _) = client.hear_message().await;
            assert!(head.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{head}");
            assert_eq!(field(&head, "location"), Some(location));
        }
    });
}

#[test]
fn no_text_of_a_request_can_add_a_field_to_a_redirect() {
    let to = Template::compile("http://$host$path$query").unwrap();
    let action = Some(Action::Redirect(Redirect { to, status: 302 }));
    with(Setup { action, ..Setup::default() }, async |bench| {
        let mut client = bench.client();
        client.say(get("/%0d%0aSet-Cookie:%20x?%0d%0ay")).await;
        let (head, _) = client.hear_message().await;
        assert_eq!(
            field(&head, "location"),
            Some("http://example.com/%0D%0ASet-Cookie:%20x?%0d%0ay")
        );
        assert_eq!(field(&head, "set-cookie"), None);
    });
}

#[test]
fn what_no_route_matches_is_a_404_and_the_connection_goes_on() {
    let setup = Setup { path: PathRule::Prefix("/here".into()), ..Setup::default() };
    with(setup, async |bench| {
        let mut line = bench.line();
        line.client.say(get("/elsewhere")).await;
        let (head, body) = line.client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        assert!(field(&head, "proxy-status").unwrap().contains("destination_not_found"));
        assert!(body.starts_with("404 Not Found: no route matches (exchange "), "{body}");
        assert_eq!(line.fetch(get("/here"), ok("here")).await.1, "here");
    });
}

#[test]
fn a_method_no_route_allows_is_a_405_that_names_those_it_does() {
    let methods = Some(MethodSet::EMPTY.with(Method::Get).with(Method::Post));
    with(Setup { methods, ..Setup::default() }, async |bench| {
        let mut client = bench.client();
        client.say(get("/").replace("GET", "DELETE")).await;
        let (head, _) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{head}");
        assert_eq!(field(&head, "allow"), Some("GET, HEAD, POST"));
    });
}

#[test]
fn a_failure_is_json_for_those_who_prefer_it_and_bodiless_for_head() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(get("/").replace("\r\n\r\n", "\r\nAccept: application/json\r\n\r\n")).await;
        let (head, body) = client.hear_message().await;
        assert_eq!(field(&head, "content-type"), Some("application/json"));
        let start = "{\"status\":502,\"error\":\"connect-refused\",\"message\":\"";
        assert!(body.starts_with(start) && body.ends_with("\"}\n"), "{body}");
        client.say(get("/").replace("GET", "HEAD")).await;
        let head = client.hear_head().await;
        assert!(field(&head, "content-length").is_some());
        assert!(client.hears_nothing().await);
    });
}

#[test]
fn a_failure_carries_the_exchange_id_that_the_log_carries_too() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        let (head, _) = client.hear_message().await;
        let (_, rest) = field(&head, "proxy-status").unwrap().split_once("exchange ").unwrap();
        let id = &rest[..16];
        assert!(bench.log().contains(&format!("\"id\":\"{id}\"")), "{id}");
    });
}

#[test]
fn a_routes_edits_hold_for_the_gateways_own_answers_too() {
    let edits = Edits {
        set: vec![FieldEdit { name: "x-frame-options".into(), value: "DENY".into() }],
        ..Edits::default()
    };
    for setup in [Setup::default(), responding(200, "hello")] {
        with(Setup { response_edits: edits.clone(), ..setup }, async |bench| {
            let mut client = bench.client();
            client.say(get("/")).await;
            let (head, _) = client.hear_message().await;
            assert_eq!(field(&head, "x-frame-options"), Some("DENY"));
        });
    }
}

#[test]
fn own_answers_close_or_keep_as_the_clients_version_says() {
    for setup in [Setup::default, || responding(200, "hello")] {
        for (request, said) in [
            ("GET / HTTP/1.0\r\n\r\n", Some("close")),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive")),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some("close")),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ] {
            with(setup(), async |bench| {
                let mut client = bench.client();
                client.say(request).await;
                let (head, _) = client.hear_message().await;
                assert_eq!(field(&head, "connection"), said, "{request}");
                if said == Some("close") {
                    assert_eq!(client.hear_end().await, "");
                } else {
                    assert!(client.hears_nothing().await);
                }
            });
        }
    }
}
