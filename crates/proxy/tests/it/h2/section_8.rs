//! RFC 9113 section 8: HTTP's semantics. What could become something else in HTTP/1.1 goes no
//! further than the gateway.

use super::{Ended, Frames};
use crate::bench::{Bench, Setup, with};
use crate::talk::{field, ok};
use gatehouse_rig::frames::{Frame, ask, code, flag, kind, pack};

/// 8.1: a request with a body and trailers, an answer with both.
#[test]
fn bodies_and_trailers_pass_both_ways() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/", &[("te", "trailers")]), 0)).await;
        client.say(&Frame::data(1, "hello, ", 0)).await;
        client.say(&Frame::data(1, "world", 0)).await;
        client.say(&Frame::headers(1, &[("x-sum", "12")], flag::END_STREAM)).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        let rest = at_origin.hear_until("\r\n\r\n").await;
        assert!(rest.contains("hello, ") && rest.contains("world"), "{rest}");
        assert!(rest.ends_with("0\r\nx-sum: 12\r\n\r\n"), "{rest}");
        at_origin
            .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
            .await;
        at_origin.say("5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n").await;
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.body()), ("200", "hello"));
        assert_eq!(heard.field("transfer-encoding"), None);
        assert_eq!(heard.trailer("x-sum"), Some("5"));
    });
}

/// 8.1: "An HTTP response is complete after the server sends […] END_STREAM"; a length is kept.
#[test]
fn a_body_of_known_length_is_counted_not_chunked() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let fields = ask("POST", "/", &[("content-length", "5")]);
        client.say(&Frame::headers(1, &fields, 0)).await;
        client.say(&Frame::data(1, "hello", flag::END_STREAM)).await;
        let mut at_origin = origin.accept().await;
        let (head, body) = at_origin.hear_request().await.unwrap();
        assert_eq!(field(&head, "content-length"), Some("5"));
        assert_eq!(field(&head, "transfer-encoding"), None);
        assert_eq!(body, "hello");
        at_origin.say(ok("")).await;
        assert_eq!(client.hear(1).await.ended, Ended::Whole);
    });
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let mut kept = None;
        for (stream, method, answer, status) in [
            (1, "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200"),
            (3, "GET", "HTTP/1.1 204 No Content\r\n\r\n", "204"),
            (5, "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304"),
            (7, "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200"),
        ] {
            client.ask(stream, &ask(method, "/", &[])).await;
            if kept.is_none() {
                kept = Some(origin.accept().await);
            }
            let at_origin = kept.as_mut().unwrap();
            at_origin.hear_head().await;
            at_origin.say(answer).await;
            loop {
                let frame = client.next().await.unwrap();
                if frame.kind == kind::HEADERS {
                    assert!(frame.ends(), "{method} {status}");
                    break;
                }
            }
        }
    });
}

/// 8.1: interim answers come before the final one.
#[test]
fn interim_answers_are_passed_on() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        at_origin.say(ok("late")).await;
        let heard = client.hear(1).await;
        assert_eq!(heard.heads[0][0], (":status".to_owned(), "103".to_owned()));
        assert!(heard.heads[0].contains(&("link".to_owned(), "</a>".to_owned())));
        assert_eq!((heard.status(), heard.body()), ("200", "late"));
    });
}

/// 8.1.1: an answer that breaks off does not look whole.
#[test]
fn an_answer_that_is_cut_is_reset() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz",
    ] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.ask(1, &ask("GET", "/", &[])).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            at_origin.say(answer).await;
            drop(at_origin);
            let heard = client.hear(1).await;
            assert_eq!(heard.ended, Ended::Reset(code::INTERNAL_ERROR), "{answer}");
            // The connection goes on.
            client.ask(3, &ask("GET", "/", &[])).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            at_origin.say(ok("fine")).await;
            assert_eq!(client.hear(3).await.body(), "fine");
        });
    }
}

/// What becomes of a request: the origin must see nothing of it.
async fn refused(bench: &Bench, stream: u32, frames: &[Frame]) -> Frames {
    let mut origin = bench.origin(1);
    let mut client = Frames::open(bench).await;
    client.try_say(frames).await;
    let heard = client.hear(stream).await;
    assert_ne!(heard.status(), "200", "{frames:?}");
    assert!(
        matches!(heard.status(), "400" | "501") || heard.ended != Ended::Whole,
        "{heard:?} {frames:?}"
    );
    assert!(origin.is_left_alone().await, "{frames:?}");
    client
}

/// 8.2.1: "A field name MUST NOT contain characters in the ranges 0x00-0x20, 0x41-0x5a, or
/// 0x7f-0xff", "a colon"; "A field value MUST NOT contain the zero value, line feed, or carriage
/// return", nor start or end with white space.
#[test]
fn a_field_that_would_be_several_in_http_1_1_goes_nowhere() {
    for (name, value) in [
        ("x-a", "b\r\nx-c: d"),
        ("x-a", "b\r\n\r\nGET /evil HTTP/1.1\r\nhost: x"),
        ("x-a", "b\nx-c: d"),
        ("x-a", "b\rx-c: d"),
        ("x-a", "b\0c"),
        ("x-a", " b"),
        ("x-a", "b "),
        ("x-a", "\tb"),
        ("x-a\r\nx-c", "d"),
        ("x-a: b\r\nx-c", "d"),
        ("x a", "b"),
        ("x:a", "b"),
        ("x\0a", "b"),
        ("X-Upper", "b"),
        ("x-a\u{e4}", "b"),
        ("", "b"),
    ] {
        with(Setup::default(), async |bench| {
            let fields = ask("GET", "/", &[(name, value)]);
            refused(&bench, 1, &[Frame::headers(1, &fields, flag::END_STREAM)]).await;
        });
    }
}

/// 8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header
/// fields".
#[test]
fn fields_of_one_connection_go_nowhere() {
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-a"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
    ] {
        with(Setup::default(), async |bench| {
            let fields = ask("POST", "/", &[(name, value)]);
            let frames =
                [Frame::headers(1, &fields, 0), Frame::data(1, "0\r\n\r\nGET / HTTP/1.1", 1)];
            refused(&bench, 1, &frames).await;
        });
    }
}

/// 8.2.3: "these MUST be concatenated into a single octet string using the two-octet delimiter".
#[test]
fn cookies_are_joined() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")];
        client.ask(1, &ask("GET", "/", &crumbs)).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert_eq!(field(&head, "cookie"), Some("a=1; b=2; c=3"));
        assert_eq!(head.matches("ookie:").count(), 1, "{head}");
        at_origin.say(ok("")).await;
        client.hear(1).await;
    });
}

/// 8.3: pseudo-fields: known ones, once, before all others, with a value that stays one.
#[test]
fn pseudo_fields_that_mean_two_things_go_nowhere() {
    const PLAIN: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.com")];
    let with_one = |name: &str, value: &'static str| {
        let fields = PLAIN.into_iter().filter(|(own, _)| *own != name);
        fields.chain([(PLAIN.iter().find(|(own, _)| *own == name).unwrap().0, value)]).collect()
    };
    let without =
        |name: &str| PLAIN.into_iter().filter(|(own, _)| *own != name).collect::<Vec<_>>();
    let and = |more: &[(&'static str, &'static str)]| [&PLAIN[..], more].concat();
    let cases: Vec<Vec<(&str, &str)>> = vec![
        without(":method"),
        without(":scheme"),
        without(":path"),
        without(":authority"),
        and(&[(":method", "POST")]),
        and(&[(":path", "/other")]),
        and(&[(":authority", "other")]),
        and(&[(":status", "200")]),
        and(&[(":unknown", "x")]),
        and(&[("x-a", "b"), (":method", "GET")]),
        with_one(":method", "GET / HTTP/1.1\r\nx: y\r\n\r\n"),
        with_one(":method", "GET "),
        with_one(":method", ""),
        with_one(":method", "G:T"),
        with_one(":path", ""),
        with_one(":path", "/ HTTP/1.1\r\nx: y"),
        with_one(":path", "/a b"),
        with_one(":path", "/a\r\nb"),
        with_one(":path", "/a\0"),
        with_one(":path", "a"),
        with_one(":path", "*"),
        with_one(":path", "http://other/"),
        with_one(":scheme", "ftp"),
        with_one(":scheme", "http\r\nx: y"),
        with_one(":scheme", "http://other/?"),
        with_one(":authority", "a\r\nx: y"),
        with_one(":authority", "a b"),
        with_one(":authority", "user@example.com"),
        with_one(":authority", "a, b"),
        with_one(":authority", "a/b"),
        with_one(":authority", ""),
        and(&[("host", "other.example")]),
        and(&[("host", "example.com"), ("host", "example.com")]),
        and(&[("host", "a\r\nx: y")]),
    ];
    for fields in cases {
        with(Setup::default(), async |bench| {
            refused(&bench, 1, &[Frame::headers(1, &fields, flag::END_STREAM)]).await;
        });
    }
}

/// 8.1.1: "A request or response is also malformed if the value of a content-length header field
/// does not equal the sum of the DATA frame payload lengths".
#[test]
fn a_length_that_is_not_the_bodys_ends_no_request() {
    for (lengths, pieces) in [
        (&["5"][..], &["hell"][..]),
        (&["5"], &[]),
        (&["5"], &["hello!"]),
        (&["5"], &["hello", "GET / HTTP/1.1\r\n\r\n"]),
        (&["0"], &["GET / HTTP/1.1\r\n\r\n"]),
        (&["5", "6"], &["hello"]),
        (&["5", "5"], &["hello"]),
        (&["5, 5"], &["hello"]),
        (&["+5"], &["hello"]),
        (&["0x5"], &["hello"]),
        (&[""], &["hello"]),
        (&["-1"], &["hello"]),
    ] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            let lengths: Vec<_> = lengths.iter().map(|value| ("content-length", *value)).collect();
            let mut frames = vec![Frame::headers(1, &ask("POST", "/", &lengths), 0)];
            frames.extend(pieces.iter().map(|piece| Frame::data(1, piece, 0)));
            match frames.last_mut() {
                Some(last) if last.kind == kind::DATA => last.flags = flag::END_STREAM,
                // END_STREAM alone (CVE-2026-33555).
                _ => frames.push(Frame::data(1, "", flag::END_STREAM)),
            }
            client.try_say(&frames).await;
            // An origin that is told of the request is given no byte beyond what was promised, and
            // the connection carries no other.
            if let Some(mut at_origin) = origin.accept_soon(crate::talk::SOON).await {
                let all = at_origin.hear_end().await;
                let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                assert!(body.len() < 5 || body == "hello" && pieces.len() == 2, "{all}");
            }
            let heard = client.hear(1).await;
            assert!(heard.status() == "400" || heard.ended != Ended::Whole, "{lengths:?}");
        });
    }
}

/// The same where the head itself ends the request.
#[test]
fn a_length_without_any_body_is_no_request() {
    for length in ["5", "1", "x"] {
        with(Setup::default(), async |bench| {
            let fields = ask("POST", "/", &[("content-length", length)]);
            refused(&bench, 1, &[Frame::headers(1, &fields, flag::END_STREAM)]).await;
        });
    }
}

/// 8.1: "a HEADERS frame without the END_STREAM flag set after receiving the HEADERS frame that
/// opens a request" is malformed, and trailers carry no pseudo-fields or framing.
#[test]
fn trailers_that_are_more_than_trailers_end_no_request() {
    for (fields, flags) in [
        (&[("x-a", "b")][..], 0),
        (&[("content-length", "5")], flag::END_STREAM),
        (&[("transfer-encoding", "chunked")], flag::END_STREAM),
        (&[("host", "other")], flag::END_STREAM),
        (&[("authorization", "x")], flag::END_STREAM),
        (&[("x-a", "b\r\n\r\nGET / HTTP/1.1")], flag::END_STREAM),
    ] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.say(&Frame::headers(1, &ask("POST", "/", &[]), 0)).await;
            client.say(&Frame::data(1, "hello", 0)).await;
            client.try_say(&[Frame::headers(1, fields, flags)]).await;
            if let Some(mut at_origin) = origin.accept_soon(crate::talk::SOON).await {
                let all = at_origin.hear_end().await;
                assert!(!all.ends_with("0\r\n\r\n"), "{fields:?} {all}");
                assert!(!all.contains("GET "), "{all}");
            }
            let heard = client.hear(1).await;
            assert!(heard.status() == "400" || heard.ended != Ended::Whole, "{fields:?}");
        });
    }
}

/// 8.1: "Trailers MUST NOT include pseudo-header fields": nothing of them is passed on.
#[test]
fn a_pseudo_field_in_trailers_is_none() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/", &[]), 0)).await;
        client.say(&Frame::data(1, "hello", 0)).await;
        client.say(&Frame::headers(1, &[(":path", "/other")], flag::END_STREAM)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        assert_eq!(at_origin.hear_until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
        at_origin.say(ok("")).await;
        client.hear(1).await;
    });
}

/// 8.5: CONNECT.
#[test]
fn a_plain_connect_goes_nowhere() {
    with(Setup::default(), async |bench| {
        let fields = [(":method", "CONNECT"), (":authority", "example.com:443")];
        refused(&bench, 1, &[Frame::headers(1, &fields, 0)]).await;
    });
}

/// 8.4: "A client cannot push."
#[test]
fn a_push_of_a_client_ends_the_connection() {
    with(Setup::default(), async |bench| {
        let payload = [&2_u32.to_be_bytes()[..], &pack(&ask("GET", "/", &[]))].concat();
        let push = Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, 1, payload);
        let frames = [Frame::headers(1, &ask("POST", "/", &[]), 0), push];
        let mut client = Frames::open(&bench).await;
        client.try_say(&frames).await;
        assert_eq!(client.hear(1).await.ended, Ended::Connection(Some(code::PROTOCOL_ERROR)));
    });
}

#[test]
fn heads_over_a_limit_have_the_statuses_of_http_1_1() {
    let long = "x".repeat(9 * 1024);
    let path = format!("/{long}");
    let many: Vec<String> = (0..120).map(|at| format!("x-{at}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "y")).collect();
    let large = "y".repeat(20 * 1024);
    for (fields, status) in [
        (ask("GET", &path, &[]), "414"),
        (ask("GET", "/", &many), "431"),
        (ask("GET", "/", &[("x-a", &large), ("x-b", &large)]), "431"),
    ] {
        with(Setup::default(), async |bench| {
            let mut client = Frames::open(&bench).await;
            let block = pack(&fields);
            let (first, rest) = block.split_at(block.len().min(16_000));
            let mut frames = vec![Frame::new(kind::HEADERS, flag::END_STREAM, 1, first)];
            frames
                .extend(rest.chunks(16_000).map(|part| Frame::new(kind::CONTINUATION, 0, 1, part)));
            frames.last_mut().unwrap().flags |= flag::END_HEADERS;
            client.try_say(&frames).await;
            assert_eq!(client.hear(1).await.status(), status);
        });
    }
}

#[test]
fn what_the_gateway_says_itself_is_a_whole_answer() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let heard = client.fetch(1, &ask("GET", "/", &[])).await;
        assert_eq!((heard.status(), heard.ended), ("502", Ended::Whole));
        assert!(heard.body().starts_with("502 Bad Gateway: the connection was refused"));
        assert!(heard.field("proxy-status").unwrap().contains("error=connection_refused"));
        assert_eq!(heard.field("connection"), None);
        let heard = client.fetch(3, &ask("HEAD", "/", &[])).await;
        assert_eq!((heard.status(), heard.body(), heard.ended), ("502", "", Ended::Whole));
    });
}
