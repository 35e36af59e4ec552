//! Answers pass unchanged, whatever their status, body and framing (first generation, defects 3
//! and 4), and connections are kept or closed as both sides' versions say.

use crate::bench::{Setup, with};
use crate::talk::{End, field, get, ok};

const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

#[test]
fn statuses_fields_and_bodies_pass_unchanged() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        for status in [
            "200 OK",
            "201 Created",
            "202 Accepted",
            "206 Partial Content",
            "207 Multi-Status",
            "299 Unheard Of",
            "301 Moved Permanently",
            "400 Bad Request",
            "404 Not Found",
            "418 I'm a teapot",
            "429 Slow Down",
            "500 Internal Server Error",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "599 Odd",
            "999 Odder",
            "200 ",
        ] {
            let fields =
                "Content-Range: bytes 0-4/9\r\nETag: \"x\"\r\nSet-Cookie: a\r\nSet-Cookie: b";
            let answer = format!("HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: 5\r\n\r\nhello");
            let (head, body) = line.fetch(get("/"), answer).await;
            let expected = format!("HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: 5\r\n");
            assert!(head.starts_with(&expected), "{head}");
            assert_eq!(field(&head, "proxy-status"), None);
            assert_eq!(body, "hello");
        }
        assert_eq!(line.connections, 1);
    });
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let head_of = |path: &str| get(path).replace("GET", "HEAD");
        for (request, answer, length) in [
            (head_of("/"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5")),
            (head_of("/"), "HTTP/1.1 200 OK\r\n\r\n", None),
            (head_of("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            (head_of("/"), "HTTP/1.1 404 No\r\nContent-Length: 7\r\n\r\n", Some("7")),
            (get("/"), "HTTP/1.1 204 No Content\r\n\r\n", None),
            (get("/"), "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
            (get("/"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Some("5")),
            (get("/"), "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", None),
            (get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some("0")),
        ] {
            line.ask(&request, answer).await;
            let head = line.client.hear_head().await;
            assert_eq!(field(&head, "content-length"), length, "{answer}");
            assert_eq!(field(&head, "transfer-encoding"), None, "{answer}");
            assert!(line.client.hears_nothing().await, "{answer}");
            assert_eq!(line.fetch(get("/after"), ok("after")).await.1, "after");
        }
        assert_eq!(line.connections, 1);
    });
}

#[test]
fn a_chunked_answer_keeps_its_payload_and_trailers() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        line.ask(get("/"), begun).await;
        assert_eq!(field(&line.client.hear_head().await, "transfer-encoding"), Some("chunked"));
        assert_eq!(line.client.hear_until("hello\r\n").await, "5\r\nhello\r\n");
        line.at_origin().await.say("0\r\nX-Sum: 7\r\n\r\n").await;
        assert_eq!(line.client.hear_until("\r\n\r\n").await, "0\r\nX-Sum: 7\r\n\r\n");
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn an_upload_reaches_the_origin_as_it_comes() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
        let mut at_origin = origin.accept().await;
        assert_eq!(field(&at_origin.hear_head().await, "content-length"), Some("10"));
        at_origin.hear_until("01234").await;
        client.say("56789").await;
        at_origin.hear_until("56789").await;
        at_origin.say(ok("thanks")).await;
        assert_eq!(client.hear_message().await.1, "thanks");
    });
}

#[test]
fn a_chunked_upload_keeps_its_payload_and_trailers() {
    with(Setup::default(), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.say(format!("{head}5\r\nhello\r\n")).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&head, "content-length"), None);
        assert_eq!(at_origin.hear_until("hello\r\n").await, "5\r\nhello\r\n");
        client.say("0\r\nX-Sum: 7\r\n\r\n").await;
        assert_eq!(at_origin.hear_until("\r\n\r\n").await, "0\r\nX-Sum: 7\r\n\r\n");
        at_origin.say(ok("")).await;
        client.hear_head().await;
    });
}

#[test]
fn compressed_bytes_are_not_touched() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        let body: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n".to_vec();
        answer.extend_from_slice(b"Content-Length: 3000\r\n\r\n");
        answer.extend_from_slice(&body);
        let request = get("/").replace("\r\n\r\n", "\r\nAccept-Encoding: gzip, br\r\n\r\n");
        let seen = line.ask(request, answer).await;
        assert_eq!(field(&seen, "accept-encoding"), Some("gzip, br"));
        let head = line.client.hear_head().await;
        assert_eq!(field(&head, "content-encoding"), Some("gzip"));
        assert_eq!(line.client.hear_raw(3000).await, body);
    });
}

#[test]
fn an_event_stream_is_delivered_piece_by_piece() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for framing in [chunked, ""] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n");
            line.ask(get("/"), head).await;
            line.client.hear_head().await;
            for index in 10..20 {
                let event = format!("data: {index}\n\n");
                let piece = if framing.is_empty() { event } else { format!("a\r\n{event}\r\n") };
                line.at_origin().await.say(piece).await;
                let heard = line.client.hear_until("\n\n").await;
                assert!(heard.ends_with(&format!("data: {index}\n\n")), "{heard}");
            }
        });
    }
}

#[test]
fn a_large_body_arrives_whole_in_both_directions() {
    with(Setup::default(), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(31) >> 5) as u8).collect();
        let sent = body.clone();
        gatehouse_proxy::gate::memory::spawn(async move {
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            let body = at_origin.hear_raw(3_000_000).await;
            at_origin.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for piece in body.chunks(77_777) {
                at_origin.say(format!("{:x}\r\n", piece.len())).await;
                at_origin.say(piece).await;
                at_origin.say("\r\n").await;
            }
            at_origin.say("0\r\n\r\n").await;
        });
        client.say("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").await;
        client.say(&sent).await;
        client.hear_head().await;
        let mut heard = Vec::new();
        loop {
            let line = client.hear_until("\r\n").await;
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            heard.extend(client.hear_raw(size).await);
            client.hear_raw(2).await;
            if size == 0 {
                break;
            }
        }
        assert!(heard == body, "the body was changed on its way");
    });
}

#[test]
fn an_answer_until_close_becomes_chunked_and_keeps_the_clients_connection() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/"), "HTTP/1.1 200 OK\r\n\r\nhello").await;
        line.at_origin().await.half_close().await;
        let head = line.client.hear_head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&head, "connection"), None);
        assert_eq!(line.client.hear_until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(line.fetch(get("/"), ok("again")).await.1, "again");
        assert_eq!(line.connections, 2);
    });
}

#[test]
fn an_http_1_0_client_is_never_sent_chunks() {
    for request in [OLD, OLD_KEPT] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                           5\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n";
            line.ask(request, chunked).await;
            let (heard, end) = line.client.hear_how_it_ends().await;
            assert_eq!(field(&heard, "transfer-encoding"), None);
            assert_eq!(field(&heard, "connection"), Some("close"));
            assert!(heard.ends_with("\r\n\r\nhello world"), "{heard}");
            assert_eq!(end, End::Closed);
        });
    }
}

#[test]
fn a_clients_connection_is_kept_as_its_version_and_fields_say() {
    let closing = get("/").replace("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n");
    for (request, said, kept) in [
        (OLD, Some("close"), false),
        (OLD_KEPT, Some("keep-alive"), true),
        (&get("/"), None, true),
        (&closing, Some("close"), false),
    ] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            let (head, body) = line.fetch(request, ok("hello")).await;
            assert_eq!(field(&head, "connection"), said, "{request}");
            assert_eq!(body, "hello");
            if kept {
                assert_eq!(line.fetch(request, ok("again")).await.1, "again");
            } else {
                assert_eq!(line.client.hear_how_it_ends().await, (String::new(), End::Closed));
            }
        });
    }
}

#[test]
fn an_origins_connection_is_kept_as_its_version_and_fields_say() {
    for (answer, kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", 0),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1),
    ] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            line.ask(get("/"), answer).await;
            let head = line.client.hear_head().await;
            assert_eq!(field(&head, "connection"), None, "{answer}");
            assert_eq!(bench.gate.idle_connections(), kept, "{answer}");
            if !head.contains("chunked") {
                line.fetch(get("/"), ok("again")).await;
                assert_eq!(line.connections, if kept == 1 { 1 } else { 2 }, "{answer}");
            }
        });
    }
}

#[test]
fn no_more_idle_connections_are_kept_than_configured() {
    for idle_per_worker in [0, 1, 3] {
        let mut setup = Setup::default();
        setup.keepalive.idle_per_worker = idle_per_worker;
        with(setup, async |bench| {
            let mut origin = bench.origin(1);
            let mut clients: Vec<_> = (0..5).map(|_| bench.client()).collect();
            let mut talks = Vec::new();
            for client in &mut clients {
                client.say(get("/")).await;
                talks.push(origin.accept().await);
            }
            for (talk, client) in talks.iter_mut().zip(&mut clients) {
                talk.hear_head().await;
                talk.say(ok("")).await;
                client.hear_head().await;
            }
            assert_eq!(bench.gate.idle_connections(), idle_per_worker as usize);
        });
    }
}

#[test]
fn an_idle_connection_is_kept_as_long_as_configured_and_no_longer() {
    let mut setup = Setup::default();
    setup.keepalive.idle_timeout = std::time::Duration::from_secs(7);
    with(setup, async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("1")).await;
        crate::talk::pass(std::time::Duration::from_millis(6900)).await;
        line.fetch(get("/"), ok("2")).await;
        assert_eq!(line.connections, 1);
        crate::talk::pass(std::time::Duration::from_millis(7001)).await;
        line.fetch(get("/"), ok("3")).await;
        assert_eq!(line.connections, 2);
        crate::talk::pass(std::time::Duration::from_millis(8100)).await;
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

#[test]
fn an_idle_connection_that_its_origin_closes_is_not_kept_until_somebody_asks() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("1")).await;
        assert_eq!(bench.gate.idle_connections(), 1);
        line.hang_up();
        crate::talk::pass(std::time::Duration::from_secs(2)).await;
        assert_eq!(bench.gate.idle_connections(), 0);
        assert_eq!(bench.endpoints.list()[0].vitals.connections(), 0);
    });
}

#[test]
fn idle_connections_follow_what_another_plan_says_of_them() {
    let second = std::time::Duration::from_secs(1);
    let keeping = |idle_per_worker, idle_timeout| Setup {
        keepalive: gatehouse_core::plan::Keepalive { idle_per_worker, idle_timeout },
        ..Setup::default()
    };
    with(keeping(9, 50 * second), async |bench| {
        let mut origin = bench.origin(1);
        let mut clients: Vec<_> = (0..5).map(|_| bench.client()).collect();
        let mut talks = Vec::new();
        for client in &mut clients {
            client.say(get("/")).await;
            talks.push(origin.accept().await);
        }
        for (talk, client) in talks.iter_mut().zip(&mut clients) {
            talk.hear_head().await;
            talk.say(ok("")).await;
            client.hear_head().await;
        }
        for (keepalive, kept) in [((9, 40 * second), 5), ((2, 40 * second), 2), ((2, second), 0)] {
            let plan = crate::bench::plan(keeping(keepalive.0, keepalive.1));
            bench.gate.publish(plan, vec![bench.endpoints.clone()]);
            crate::talk::pass(3 * second).await;
            assert_eq!(bench.gate.idle_connections(), kept, "{keepalive:?}");
        }
    });
}
