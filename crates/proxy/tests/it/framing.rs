//! What can be read two ways is refused, and no byte of it gets through.

use crate::bench::{Setup, with};
use crate::talk::{Clock, End, answers, field, get, ok, pass};
use gatehouse_core::plan::ClientLimits;
use std::time::Duration;

/// Sends each text with a request hidden behind it. Each is answered once, with its status, and
/// closed; the origin sees nothing of it; the next client on another connection gets its own
/// answer.
fn each_is_refused(setup: Setup, cases: &[(&str, u16)]) {
    with(setup, async |bench| {
        let (mut origin, mut kept) = (bench.origin(1), None);
        for (index, (text, status)) in cases.iter().enumerate() {
            let mut client = bench.client();
            client.say(format!("{text}{}", get("/hidden"))).await;
            let heard = client.hear_end().await;
            assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {heard}");
            assert_eq!(answers(&heard), 1, "{text:?}: {heard}");
            assert_eq!(field(&heard, "connection"), Some("close"), "{text:?}");
            bench.serves(&mut origin, &mut kept, &format!("/own/{index}")).await;
        }
    });
}

/// Sends each text as the body of a chunked request, with and behind its head. Each is answered
/// 400 and closed; what the origin was sent is no whole request and its connection ends.
fn each_body_is_refused(cases: &[&str]) {
    for apart in [false, true] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            for (index, text) in cases.iter().enumerate() {
                let mut client = bench.client();
                let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                let body = format!("{text}{}", get("/hidden"));
                let seen = if apart {
                    client.say(head).await;
                    let mut at_origin = origin.accept().await;
                    at_origin.hear_head().await;
                    client.say(body).await;
                    at_origin.hear_end().await
                } else {
                    client.say(format!("{head}{body}")).await;
                    origin.accept().await.hear_end().await
                };
                assert!(
                    !seen.contains("0\r\n\r\n") && !seen.contains("hidden"),
                    "{text:?}: {seen}"
                );
                let heard = client.hear_end().await;
                assert!(heard.starts_with("HTTP/1.1 400 "), "{text:?}: {heard}");
                assert_eq!(answers(&heard), 1, "{text:?}: {heard}");
                assert_eq!(bench.gate.idle_connections(), 0, "{text:?}");
                bench.serves(&mut origin, &mut None, &format!("/own/{index}")).await;
                bench.gate.drop_idle();
            }
        });
    }
}

#[test]
fn a_request_framed_twice_is_refused_and_the_next_client_gets_its_own_answer() {
    let framed = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\n");
    let cases: Vec<(String, u16)> = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\ntransfer-encoding:\tchunked", 400),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5 5", 400),
        ("Content-Length: 5\u{b}", 400),
        ("Content-Length:", 400),
        ("Content-Length: 18446744073709551621", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: \u{b}chunked", 400),
        ("Transfer-Encoding:", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
    ]
    .map(|(lines, status)| (framed(lines), status))
    .into();
    let cases: Vec<(&str, u16)> = cases.iter().map(|(text, status)| (&**text, *status)).collect();
    each_is_refused(Setup::default(), &cases);
}

#[test]
fn a_coding_in_http_1_0_is_refused() {
    let head = "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    each_is_refused(Setup::default(), &[(&format!("{head}0\r\n\r\n"), 400)]);
}

#[test]
fn a_request_that_bends_the_grammar_is_refused() {
    each_is_refused(
        Setup::default(),
        &[
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
            ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\rHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tfolded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{1b}\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n\u{e9}: y\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
            ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("get / http/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ],
    );
}

#[test]
fn a_head_over_a_limit_is_refused_with_its_own_status() {
    let limits = ClientLimits {
        head_bytes_max: 1000,
        fields_max: 10,
        target_bytes_max: 100,
        body_bytes_max: Some(10),
        ..ClientLimits::default()
    };
    let long = "x".repeat(200);
    let longer = "x".repeat(1100);
    let head = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (head(&format!("X: {longer}\r\n")), 431),
        (head(&format!("{longer}: y\r\n")), 431),
        (head(&"X: y\r\n".repeat(10)), 431),
        (head("Content-Length: 11\r\n"), 413),
    ];
    let cases: Vec<(&str, u16)> = cases.iter().map(|(text, status)| (&**text, *status)).collect();
    each_is_refused(Setup { limits, ..Setup::default() }, &cases);
}

#[test]
fn a_target_that_does_not_end_is_refused_at_the_limit() {
    let limits =
        ClientLimits { head_bytes_max: 1000, target_bytes_max: 100, ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut client = bench.client();
        client.say(format!("GET /{}", "x".repeat(1100))).await;
        assert!(client.hear_end().await.starts_with("HTTP/1.1 414 "));
    });
}

#[test]
fn a_chunked_body_that_is_not_exactly_chunked_is_refused() {
    let many = "x".repeat(600);
    let large = format!("0\r\nX: {}\r\n\r\n", "y".repeat(17_000));
    each_body_is_refused(&[
        "\r\n",
        ";x\r\n",
        "x\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "0\r\nConnection: close\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        &format!("5;{many}\r\nhello\r\n0\r\n\r\n"),
        &large,
    ]);
}

#[test]
fn a_chunked_body_over_its_limit_is_refused_and_never_taken_for_a_request() {
    let limits = ClientLimits { body_bytes_max: Some(10), ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.say(format!("{head}8\r\n01234567\r\n")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_until("01234567\r\n").await;
        client.say(format!("3\r\n89a\r\n0\r\n\r\n{}", get("/hidden"))).await;
        assert!(!at_origin.hear_end().await.contains("0\r\n\r\n"));
        let heard = client.hear_end().await;
        assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
        assert_eq!(answers(&heard), 1, "{heard}");
    });
}

#[test]
fn a_request_cut_within_its_body_is_not_sent_whole() {
    for text in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = bench.client();
            client.say(text).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_until("hello").await;
            client.half_close().await;
            assert!(!at_origin.hear_end().await.contains("0\r\n\r\n"));
            assert!(client.hear_end().await.starts_with("HTTP/1.1 400 "));
        });
    }
}

#[test]
fn an_answer_framed_twice_or_malformed_is_a_502_and_nothing_of_it_is_forwarded() {
    let long = format!("HTTP/1.1 200 secret\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    let many = format!("HTTP/1.1 200 secret\r\n{}\r\n", "X: y\r\n".repeat(300));
    for answer in [
        "HTTP/1.1 200 secret\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 secret\r\nContent-Length: 6\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/1.1 200 secret\r\nContent-Length: 6\r\nContent-Length: 3\r\n\r\nsecret",
        "HTTP/1.1 200 secret\r\nContent-Length: 6, 6\r\n\r\nsecret",
        "HTTP/1.1 200 secret\r\nContent-Length: +6\r\n\r\nsecret",
        "HTTP/1.1 200 secret\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 secret\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 secret\nContent-Length: 6\n\nsecret",
        "HTTP/1.1 200 secret\r\nContent-Length : 6\r\n\r\nsecret",
        "HTTP/1.1 200 secret\r\nX: y\r\n folded\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/1.1 200 secret\r\nX: \0\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/1.1 20 secret\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/2 200 secret\r\nContent-Length: 6\r\n\r\nsecret",
        "secret",
        "\r\nHTTP/1.1 200 secret\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecretX",
        "HTTP/1.1 101 secret\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nsecret",
        &long,
        &many,
    ] {
        with(Setup::default(), async |bench| {
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            client.say(get("/")).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            at_origin.try_say(answer.as_bytes()).await;
            at_origin.half_close().await;
            let (head, body) = client.hear_message().await;
            assert!(head.starts_with("HTTP/1.1 502 "), "{answer:?}: {head}");
            assert!(!head.contains("secret") && !body.contains("secret"), "{answer:?}: {body}");
            at_origin.hear_end().await;
            assert_eq!(bench.gate.idle_connections(), 0);
            bench.serves(&mut origin, &mut None, "/own").await;
        });
    }
}

/// How a client hears an answer that breaks off after its first bytes were passed on.
fn cut_answer(request: &str, answer: &str, rest: &str) -> (String, End) {
    let mut ended = (String::new(), End::Closed);
    with(Setup::default(), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        client.say(request).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(answer).await;
        let begun = client.hear_until("hello").await;
        let clock = Clock::start();
        at_origin.say(rest).await;
        if rest.is_empty() {
            at_origin.reset();
        } else {
            at_origin.half_close().await;
        }
        let (heard, end) = client.hear_how_it_ends().await;
        // It would end some time later too if it was taken for whole, and kept.
        clock.has_passed(Duration::ZERO);
        ended = (begun + &heard, end);
        assert_eq!(bench.gate.idle_connections(), 0);
    });
    ended
}

const OLD: &str = "GET / HTTP/1.0\r\n\r\n";

#[test]
fn a_chunked_answer_that_is_cut_never_gets_its_last_chunk() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for rest in [
        "",
        "5\r\nwor",
        "X",
        "5\r\nworldX",
        "0\r\nContent-Length: 5\r\n\r\n",
        "ffffffffffffffff\r\n",
    ] {
        let (heard, _) = cut_answer(&get("/"), chunked, rest);
        assert!(!heard.contains("0\r\n"), "{rest:?}: {heard}");
        let (_, end) = cut_answer(OLD, chunked, rest);
        assert_eq!(end, End::Reset, "{rest:?}");
    }
}

#[test]
fn an_answer_shorter_than_its_length_ends_short_and_closed() {
    let counted = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhello";
    for rest in ["", " world"] {
        let (heard, _) = cut_answer(&get("/"), counted, rest);
        assert_eq!(field(&heard, "content-length"), Some("20"));
        assert!(heard.ends_with(&format!("hello{rest}")), "{heard}");
    }
}

#[test]
fn an_answer_until_close_that_is_reset_does_not_look_whole() {
    let endless = "HTTP/1.1 200 OK\r\n\r\nhello";
    let (heard, _) = cut_answer(&get("/"), endless, "");
    assert!(heard.ends_with("5\r\nhello\r\n"), "{heard}");
    assert_eq!(cut_answer(OLD, endless, "").1, End::Reset);
    let (heard, end) = cut_answer(OLD, endless, " world");
    assert!(heard.ends_with("hello world"), "{heard}");
    assert_eq!(end, End::Closed);
}

#[test]
fn a_connection_with_bytes_left_over_after_its_answer_is_not_used_again() {
    for (request, answer, left) in [
        (get("/"), ok("hello"), "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        (get("/"), ok("hello"), "x"),
        (get("/").replace("GET", "HEAD"), ok("hello"), ""),
        (get("/"), "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(), "hello"),
        (
            get("/"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            "0\r\n\r\n",
        ),
    ] {
        with(Setup::default(), async |bench| {
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            client.say(request).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            at_origin.say(format!("{answer}{left}")).await;
            client.hear_head().await;
            pass(Duration::from_secs(1)).await;
            assert_eq!(bench.gate.idle_connections(), 0);
            bench.serves(&mut origin, &mut None, "/own").await;
        });
    }
}

#[test]
fn a_kept_connection_that_speaks_or_ends_unasked_is_dropped() {
    for unasked in ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", ""] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut kept = None;
            bench.serves(&mut origin, &mut kept, "/first").await;
            let mut at_origin = kept.expect("it was accepted");
            assert_eq!(bench.gate.idle_connections(), 1);
            if unasked.is_empty() {
                at_origin.half_close().await;
            } else {
                at_origin.say(unasked).await;
            }
            bench.serves(&mut origin, &mut None, "/second").await;
            assert_eq!(at_origin.hear_end().await, "");
        });
    }
}
