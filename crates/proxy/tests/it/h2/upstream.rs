//! HTTP/2 towards endpoints: one connection for many requests, and what an endpoint may do to it.

use super::{Ended, Frames, join, named, widened};
use crate::bench::{Bench, Setup, endpoints, with};
use crate::talk::{Clock, SOON, field, get, pass, within};
use gatehouse_core::plan::{Keepalive, Speaks};
use gatehouse_rig::frames::{Frame, ask, code, flag, kind};
use std::time::Duration;

fn http2() -> Setup {
    Setup { speaks: Speaks::Http2, ..Setup::default() }
}

/// The endpoint's side of the gateway's next connection.
async fn accept(bench: &Bench) -> Frames {
    let mut origin = bench.origin(1);
    Frames::serve(origin.accept().await).await
}

#[test]
fn a_request_of_http_1_1_reaches_an_endpoint_of_http_2() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client
            .say(
                "POST /a/../b?q=1 HTTP/1.1\r\nHost: Example.com\r\nX-One: 1\r\nTE: trailers\r\n\
                 Connection: x-hop, te\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
            )
            .await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, head, ended) = at_origin.hear_request().await;
        assert_eq!((stream, ended), (1, false));
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/b?q=1"),
            (":authority", "Example.com"),
            ("x-one", "1"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("x-forwarded-for", "192.0.2.1"),
            ("via", "1.1 gatehouse"),
        ] {
            assert_eq!(named(&head, name), Some(value), "{name} {head:?}");
        }
        for name in ["host", "connection", "x-hop", "transfer-encoding", "keep-alive"] {
            assert_eq!(named(&head, name), None, "{name}");
        }
        let data = at_origin.next().await.unwrap();
        assert_eq!((data.payload.as_slice(), data.ends()), (&b"hello"[..], true));
        let fields = [(":status", "200"), ("x-two", "2")];
        at_origin.say(&Frame::headers(1, &fields, 0)).await;
        at_origin.say(&Frame::data(1, "world", 0)).await;
        at_origin.say(&Frame::headers(1, &[("x-sum", "5")], flag::END_STREAM)).await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(field(&head, "x-two"), Some("2"));
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let body = client.hear_until("\r\n\r\n").await;
        assert_eq!(body, "5\r\nworld\r\n0\r\nx-sum: 5\r\n\r\n");
    });
}

#[test]
fn trailers_pass_from_http_2_to_http_2() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/", &[("te", "trailers")]), 0)).await;
        client.say(&Frame::data(1, "hello", 0)).await;
        client.say(&Frame::headers(1, &[("x-up", "1")], flag::END_STREAM)).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        let heard = at_origin.hear(stream).await;
        assert_eq!((heard.body(), heard.trailer("x-up")), ("hello", Some("1")));
        at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
        at_origin.say(&Frame::data(stream, "world", 0)).await;
        at_origin.say(&Frame::headers(stream, &[("x-down", "2")], flag::END_STREAM)).await;
        let heard = client.hear(1).await;
        assert_eq!((heard.body(), heard.trailer("x-down")), ("world", Some("2")));
    });
}

#[test]
fn an_answer_that_ends_with_its_head_ends_for_http_1_1_too() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        at_origin.say(&Frame::headers(1, &[(":status", "200")], flag::END_STREAM)).await;
        let head = client.hear_head().await;
        assert_eq!(field(&head, "content-length"), Some("0"), "{head}");
        assert_eq!(field(&head, "transfer-encoding"), None, "{head}");
    });
}

/// Defect 4: what has no body may still say how long it would be.
#[test]
fn an_answer_that_has_no_body_keeps_the_length_it_tells() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let mut at_origin = None;
        for (stream, method, status) in [(1, "HEAD", "200"), (3, "GET", "304"), (5, "HEAD", "404")]
        {
            client.ask(stream, &ask(method, "/", &[])).await;
            if at_origin.is_none() {
                at_origin = Some(Frames::serve(origin.accept().await).await);
            }
            let at_origin = at_origin.as_mut().unwrap();
            let (asked, ..) = at_origin.hear_request().await;
            let head = [(":status", status), ("content-length", "5")];
            at_origin.say(&Frame::headers(asked, &head, flag::END_STREAM)).await;
            let heard = client.hear(stream).await;
            assert_eq!((heard.status(), heard.body()), (status, ""), "{method}");
            assert_eq!(heard.field("content-length"), Some("5"), "{method} {status}");
            assert_eq!(heard.ended, Ended::Whole);
        }
    });
}

/// Defect 11: a new connection for each call, and one endpoint for ever.
#[test]
fn requests_share_a_connection_also_those_that_come_while_it_is_opened() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut clients = vec![];
        for at in 0..10 {
            let mut client = bench.client();
            client.say(get(&format!("/{at}"))).await;
            clients.push(client);
        }
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let mut asked = vec![];
        for _ in 0..10 {
            let (stream, head, _) = at_origin.hear_request().await;
            asked.push((stream, named(&head, ":path").unwrap().to_owned()));
        }
        assert!(origin.is_left_alone().await);
        for (stream, path) in asked.into_iter().rev() {
            at_origin.answer(stream, "200", &path).await;
        }
        for (at, client) in clients.iter_mut().enumerate() {
            let head = client.hear_head().await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(client.hear_until("0\r\n\r\n").await.contains(&format!("/{at}\r\n")));
        }
    });
}

/// Defect 11 again: each call is balanced by itself.
#[test]
fn every_request_of_one_connection_is_balanced_by_itself() {
    with(Setup { endpoints: 2, ..http2() }, async |bench| {
        let mut one = bench.origin(1);
        let mut two = bench.origin(2);
        let mut client = Frames::open(&bench).await;
        for stream in [1, 3, 5, 7] {
            client.ask(stream, &ask("GET", "/", &[])).await;
        }
        for origin in [&mut one, &mut two] {
            let mut at_origin = Frames::serve(origin.accept().await).await;
            for _ in 0..2 {
                let (stream, ..) = at_origin.hear_request().await;
                at_origin.answer(stream, "200", "").await;
            }
        }
        for _ in 0..4 {
            while client.next().await.unwrap().kind != kind::HEADERS {}
        }
    });
}

/// RFC 9113 section 5.1.2: no more streams at once than the endpoint takes.
#[test]
fn another_connection_is_opened_where_one_takes_no_more() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut clients = [bench.client(), bench.client(), bench.client()];
        clients[0].say(get("/")).await;
        let mut first = Frames::serve_with(origin.accept().await, &[(3, 2)]).await;
        first.hear_request().await;
        pass(SOON).await;
        clients[1].say(get("/")).await;
        first.hear_request().await;
        clients[2].say(get("/")).await;
        let mut second = Frames::serve(origin.accept().await).await;
        second.hear_request().await;
        first.answer(1, "200", "1").await;
        first.answer(3, "200", "3").await;
        second.answer(1, "200", "5").await;
        for (client, body) in clients.iter_mut().zip(["\r\n1\r\n", "\r\n3\r\n", "\r\n5\r\n"]) {
            assert!(client.hear_until("0\r\n\r\n").await.contains(body));
        }
    });
}

#[test]
fn an_idle_connection_is_closed_in_its_time() {
    let keepalive = Keepalive { idle_timeout: Duration::from_secs(20), ..Keepalive::default() };
    with(Setup { keepalive, ..http2() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        at_origin.answer(1, "200", "").await;
        client.hear_until("0\r\n\r\n").await;
        let clock = Clock::start();
        assert_eq!(at_origin.hear_end().await, Some(code::NO_ERROR));
        let passed = clock.passed().as_secs();
        assert!((20..=22).contains(&passed), "{passed}");
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

/// RFC 9113 section 5.2: back-pressure goes through both connections.
#[test]
fn a_client_that_reads_nothing_stops_the_endpoint() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        at_origin.say(&Frame::headers(1, &[(":status", "200")], 0)).await;
        let mut window = at_origin.initial_window();
        let mut sent = 0;
        let chunk = vec![b'x'; 16_000];
        for _ in 0..200 {
            while let Some(frame) = within(SOON, at_origin.next_raw()).await.flatten() {
                window += widened(&frame, 1);
            }
            if window < chunk.len() as i64 {
                break;
            }
            at_origin.say(&Frame::data(1, &chunk, 0)).await;
            window -= chunk.len() as i64;
            sent += chunk.len();
        }
        assert!(sent < 1024 * 1024, "{sent} bytes were taken");
        client.reset();
        while at_origin.next().await.unwrap().kind != kind::RST_STREAM {}
    });
}

/// The same the other way: what the endpoint does not take is not taken from the client.
#[test]
fn an_endpoint_that_widens_no_window_stops_the_client() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/", &[]), 0)).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        let (mut window, mut sent) = (65_535_i64, 0);
        let chunk = vec![b'x'; 16_000];
        for _ in 0..200 {
            while let Some(frame) = within(SOON, client.next_raw()).await.flatten() {
                window += widened(&frame, 1);
                if (frame.kind, frame.flags) == (kind::SETTINGS, 0) {
                    client.say(&Frame::new(kind::SETTINGS, flag::ACK, 0, [])).await;
                }
            }
            if window < chunk.len() as i64 {
                break;
            }
            client.say(&Frame::data(1, &chunk, 0)).await;
            window -= chunk.len() as i64;
            sent += chunk.len();
        }
        assert!(sent < 512 * 1024, "{sent} bytes were taken");
        let mut came = 0;
        while let Some(Some(frame)) = within(SOON, at_origin.next()).await {
            came += frame.payload.len();
        }
        assert_eq!(came, 65_535);
        // Another request of another client is not held up by it: it has no body to send.
        let mut other = Frames::open(&bench).await;
        other.ask(1, &ask("GET", "/", &[])).await;
        let (stream, ..) = at_origin.hear_request().await;
        at_origin.answer(stream, "200", "here").await;
        assert_eq!(other.hear(1).await.body(), "here");
    });
}

/// What a head of HTTP/1.1 may not say does not become a pseudo-field, or a second host.
#[test]
fn a_request_of_http_1_1_that_would_be_another_in_http_2_goes_nowhere() {
    for more in [
        ":path: /other",
        ":authority: other.example",
        "Host: other.example",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "X-A: b\0c",
    ] {
        with(http2(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = bench.client();
            client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n")).await;
            let head = client.hear_head().await;
            assert!(head.starts_with("HTTP/1.1 400 "), "{more} {head}");
            assert!(origin.is_left_alone().await, "{more}");
        });
    }
}

#[test]
fn a_large_body_goes_through_http_2_twice_whole() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        at_origin.say(&Frame::headers(1, &[(":status", "200")], 0)).await;
        let body: String = (0..100_000).map(|at| format!("{at:>9}\n")).collect();
        let pours = async {
            let mut window = at_origin.initial_window();
            let mut rest = body.as_bytes();
            while !rest.is_empty() {
                let size = rest.len().min(16_000);
                while window < size as i64 {
                    window += widened(&at_origin.next_raw().await.unwrap(), 1);
                }
                let (piece, more) = rest.split_at(size);
                at_origin.say(&Frame::data(1, piece, u8::from(more.is_empty()))).await;
                window -= size as i64;
                rest = more;
            }
        };
        let (heard, ()) = join(client.hear(1), pours).await;
        assert_eq!(heard.ended, Ended::Whole);
        assert!(heard.body() == body, "{} of {} bytes", heard.body.len(), body.len());
    });
}

/// New endpoints take over; the connections to those that stay are kept.
#[test]
fn a_connection_outlives_a_change_of_endpoints() {
    with(http2(), async |bench| {
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = accept(&bench).await;
        at_origin.hear_request().await;
        bench.gate.set_endpoints(endpoints(1));
        at_origin.answer(1, "200", "old").await;
        assert_eq!(client.hear(1).await.body(), "old");
    });
}

/// Clients who read nothing hold what was sent to them, not the connection they share.
#[test]
fn a_client_that_reads_nothing_does_not_stop_those_who_share_its_connection() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut stalled = vec![];
        let mut client = bench.client();
        client.say(get("/0")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        at_origin.answer(1, "200", "").await;
        client.hear_until("0\r\n\r\n").await;
        for at in 0..60 {
            let mut client = bench.client();
            client.say(get(&format!("/{at}"))).await;
            stalled.push(client);
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
            // All that a stream's window holds, into a socket that nobody reads.
            for _ in 0..8 {
                at_origin.say(&Frame::data(stream, vec![b'x'; 16_000], 0)).await;
            }
        }
        client.say(get("/last")).await;
        let (stream, ..) = at_origin.hear_request().await;
        at_origin.answer(stream, "200", "here").await;
        assert!(client.hear_until("0\r\n\r\n").await.contains("here"));
    });
}
