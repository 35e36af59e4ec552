//! HTTP/2 towards endpoints that refuse, break off, break rules or say nothing.

use super::{Ended, Frames, named};
use crate::bench::{Setup, with};
use crate::talk::{Clock, SOON, get, pass, within};
use gatehouse_core::plan::{Retry, Speaks, Timeouts};
use gatehouse_rig::frames::{Frame, ask, code, flag, kind};
use std::time::Duration;

fn http2() -> Setup {
    Setup { speaks: Speaks::Http2, ..Setup::default() }
}

/// RFC 9113 section 8.7: REFUSED_STREAM guarantees that nothing was done.
#[test]
fn a_refused_request_is_tried_again_whatever_it_asks_for() {
    for method in ["GET", "POST"] {
        with(http2(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.ask(1, &ask(method, "/", &[])).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.say(&Frame::reset(stream, code::REFUSED_STREAM)).await;
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.answer(stream, "200", "now").await;
            assert_eq!(client.hear(1).await.body(), "now");
        });
    }
}

/// The same where some of its body was taken and not kept: it cannot be sent again.
#[test]
fn a_refused_request_whose_body_is_on_its_way_is_not_tried_again() {
    with(http2(), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nsome of it").await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        while at_origin.next().await.expect("some of the body").kind != kind::DATA {}
        at_origin.say(&Frame::reset(stream, code::REFUSED_STREAM)).await;
        let (head, _) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(within(SOON, at_origin.next()).await.is_none());
    });
}

/// Any other reset may come after something was done.
#[test]
fn a_request_that_was_begun_is_not_tried_again() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("POST", "/", &[])).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        at_origin.say(&Frame::reset(stream, code::INTERNAL_ERROR)).await;
        assert_eq!(client.hear(1).await.status(), "502");
    });
}

/// RFC 9113 section 6.8: streams above the last one were not processed; those below are.
#[test]
fn a_connection_that_goes_away_is_followed_to_the_next() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/1", &[])).await;
        let mut first = Frames::serve(origin.accept().await).await;
        first.hear_request().await;
        client.ask(3, &ask("POST", "/2", &[])).await;
        first.hear_request().await;
        first.say(&Frame::go_away(1, code::NO_ERROR)).await;
        let mut second = Frames::serve(origin.accept().await).await;
        let (stream, head, _) = second.hear_request().await;
        assert_eq!(named(&head, ":path"), Some("/2"));
        second.answer(stream, "200", "second").await;
        assert_eq!(client.hear(3).await.body(), "second");
        first.answer(1, "200", "first").await;
        assert_eq!(client.hear(1).await.body(), "first");
        client.ask(5, &ask("GET", "/3", &[])).await;
        let (stream, ..) = second.hear_request().await;
        second.answer(stream, "200", "third").await;
        assert_eq!(client.hear(5).await.body(), "third");
        // The first has nothing more to do.
        first.hear_end().await;
    });
}

/// RFC 9113 section 6.8: up to the last stream that a GOAWAY names, something may have been done.
#[test]
fn a_request_that_a_leaving_connection_may_have_begun_is_not_sent_twice() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("POST", "/", &[])).await;
        let mut first = Frames::serve(origin.accept().await).await;
        let (stream, ..) = first.hear_request().await;
        first.say(&Frame::go_away(stream, code::NO_ERROR)).await;
        pass(SOON).await;
        first.talk.reset();
        assert_eq!(client.hear(1).await.status(), "502");
        assert!(origin.is_left_alone().await);
    });
}

/// The same where it goes away in anger: what it has not begun may be asked elsewhere.
#[test]
fn what_a_connection_that_ends_with_an_error_has_not_begun_is_sent_again() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("POST", "/", &[])).await;
        let mut first = Frames::serve(origin.accept().await).await;
        first.hear_request().await;
        first.say(&Frame::go_away(0, code::ENHANCE_YOUR_CALM)).await;
        let mut second = Frames::serve(origin.accept().await).await;
        let (stream, ..) = second.hear_request().await;
        second.answer(stream, "200", "second").await;
        assert_eq!(client.hear(1).await.body(), "second");
    });
}

/// Nobody is asked for ever.
#[test]
fn an_endpoint_that_refuses_everything_is_asked_as_often_as_allowed() {
    let retry = Retry { attempts: 2, backoff: Duration::ZERO, ..Retry::default() };
    with(Setup { retry, ..http2() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        for _ in 0..3 {
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.say(&Frame::reset(stream, code::REFUSED_STREAM)).await;
        }
        assert_eq!(client.hear(1).await.status(), "503");
        assert!(within(SOON, at_origin.next()).await.is_none());
    });
}

/// RFC 9113 section 8.7, CANCEL: a stream that its client has reset is wanted by nobody, whatever
/// it was doing; those beside it go on.
#[test]
fn a_stream_that_its_client_resets_is_reset_at_the_endpoint() {
    for (asked_whole, answered) in [(true, false), (false, false), (true, true), (false, true)] {
        with(http2(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.ask(1, &ask("GET", "/stays", &[])).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            at_origin.hear_request().await;
            let fields = ask("POST", "/leaves", &[]);
            client.say(&Frame::headers(3, &fields, u8::from(asked_whole))).await;
            let (stream, ..) = at_origin.hear_request().await;
            if answered {
                at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
                at_origin.say(&Frame::data(stream, "some of it", 0)).await;
                pass(SOON).await;
            }
            client.say(&Frame::reset(3, code::CANCEL)).await;
            let frame = at_origin.next().await.unwrap();
            let expected = (kind::RST_STREAM, stream, Some(code::CANCEL));
            assert_eq!((frame.kind, frame.stream, frame.code()), expected);
            at_origin.answer(1, "200", "here").await;
            assert_eq!(client.hear(1).await.body(), "here");
        });
    }
}

#[test]
fn an_endpoint_that_is_gone_fails_what_it_was_asked_and_is_dialled_again() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("POST", "/", &[])).await;
        let mut first = Frames::serve(origin.accept().await).await;
        first.hear_request().await;
        first.talk.reset();
        assert_eq!(client.hear(1).await.status(), "502");
        client.ask(3, &ask("GET", "/", &[])).await;
        let mut second = Frames::serve(origin.accept().await).await;
        let (stream, ..) = second.hear_request().await;
        second.answer(stream, "200", "again").await;
        assert_eq!(client.hear(3).await.body(), "again");
    });
}

#[test]
fn an_endpoint_that_refuses_is_a_502_and_the_next_is_asked() {
    with(http2(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let heard = client.fetch(1, &ask("POST", "/", &[])).await;
        assert_eq!(heard.status(), "502");
        assert!(heard.field("proxy-status").unwrap().contains("connection_refused"));
    });
    with(Setup { endpoints: 2, ..http2() }, async |bench| {
        let mut origin = bench.origin(2);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("POST", "/", &[])).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        at_origin.answer(stream, "200", "two").await;
        assert_eq!(client.hear(1).await.body(), "two");
    });
}

/// An answer that breaks off, or is not what it said, does not look whole.
#[test]
fn an_answer_that_is_cut_is_cut_for_the_client() {
    let starts = |length: &'static str| {
        Frame::headers(1, &[(":status", "200"), ("content-length", length)], 0)
    };
    for frames in [
        vec![starts("50"), Frame::data(1, "hello", 0), Frame::reset(1, code::INTERNAL_ERROR)],
        vec![starts("50"), Frame::data(1, "hello", flag::END_STREAM)],
        vec![starts("3"), Frame::data(1, "hello", flag::END_STREAM)],
        vec![starts("50"), Frame::data(1, "hello", 0), Frame::data(9, "x", 0)],
    ] {
        with(http2(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.ask(1, &ask("GET", "/", &[])).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            at_origin.hear_request().await;
            at_origin.try_say(&frames).await;
            let heard = client.hear(1).await;
            let refused = heard.status() == "502";
            assert!(refused || heard.ended == Ended::Reset(code::INTERNAL_ERROR), "{heard:?}");
        });
    }
}

/// RFC 9113 section 8: what an answer may not be.
#[test]
fn an_answer_that_breaks_a_rule_is_a_502() {
    for fields in [
        &[][..],
        &[("x", "y")],
        &[(":status", "abc")],
        &[(":status", "101")],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("X-Upper", "y")],
        &[(":status", "200"), ("x", "a\r\nset-cookie: evil")],
        &[(":status", "200"), ("x", " padded")],
        &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        &[(":status", "200"), ("content-length", "x")],
        &[("x", "y"), (":status", "200")],
    ] {
        with(http2(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = bench.client();
            client.say("POST / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            at_origin.hear_request().await;
            at_origin.try_say(&[Frame::headers(1, fields, 0), Frame::data(1, "x", 1)]).await;
            let head = client.hear_head().await;
            assert!(head.starts_with("HTTP/1.1 502 "), "{fields:?} {head}");
        });
    }
}

#[test]
fn interim_answers_are_passed_on_and_are_not_endless() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        at_origin.say(&Frame::headers(1, &[(":status", "103"), ("link", "</a>")], 0)).await;
        at_origin.answer(1, "200", "late").await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 103 "), "{head}");
        assert!(client.hear_head().await.starts_with("HTTP/1.1 200 "));
    });
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        for _ in 0..40 {
            at_origin.try_say(&[Frame::headers(1, &[(":status", "103")], 0)]).await;
        }
        let heard = client.hear_until("502 Bad Gateway").await;
        assert!(heard.matches("HTTP/1.1 103").count() <= 16, "{heard}");
    });
}

/// A client that leaves takes its request with it, and nobody else's.
#[test]
fn a_client_that_leaves_resets_its_stream_alone() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut leaves = bench.client();
        leaves.say(get("/leaves")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        let mut stays = bench.client();
        stays.say(get("/stays")).await;
        at_origin.hear_request().await;
        leaves.reset();
        let frame = at_origin.next().await.unwrap();
        assert_eq!((frame.kind, frame.stream), (kind::RST_STREAM, 1));
        assert_eq!(frame.code(), Some(code::CANCEL));
        at_origin.answer(3, "200", "here").await;
        assert!(stays.hear_until("0\r\n\r\n").await.contains("here"));
    });
}

/// An endpoint that has gone without a word is found out by a PING.
#[test]
fn an_endpoint_that_says_nothing_is_asked_and_then_left() {
    let timeouts = Timeouts { first_byte: Duration::from_secs(600), ..Timeouts::default() };
    let retry = Retry { attempts: 0, ..Retry::default() };
    with(Setup { timeouts, retry, ..http2() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        let clock = Clock::start();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        clock.has_passed(Duration::from_secs(40));
    });
}

/// One that answers the PING is waited for.
#[test]
fn an_endpoint_that_answers_pings_may_take_its_time() {
    let timeouts = Timeouts { first_byte: Duration::from_secs(600), ..Timeouts::default() };
    with(Setup { timeouts, ..http2() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        // Answers what it is asked meanwhile.
        let nothing = within(Duration::from_secs(200), at_origin.next()).await;
        assert!(nothing.is_none(), "{nothing:?}");
        at_origin.answer(1, "200", "late").await;
        assert!(client.hear_until("0\r\n\r\n").await.contains("late"));
    });
}

/// A flood of an endpoint's ends its connection, not the gateway's work.
#[test]
fn an_endpoint_that_floods_is_left() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say("POST / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        at_origin.hear_request().await;
        let clock = Clock::start();
        for _ in 0..50 {
            let pings: Vec<Frame> = (0..20).map(|_| Frame::ping([0; 8])).collect();
            at_origin.try_say(&pings).await;
            pass(SOON).await;
        }
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        // For what it sent, not for what it left unanswered.
        assert!(clock.passed() < Duration::from_secs(1), "{:?}", clock.passed());
        assert_eq!(bench.gate.idle_connections(), 0);
    });
}

/// An endpoint that does what it is there for is no flood, however much it is asked: a gRPC server
/// sends a head, a body, trailers, and beside them a WINDOW_UPDATE and a PING.
#[test]
fn an_endpoint_that_answers_many_short_calls_does_not_flood() {
    with(http2(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        for call in 0..2000 {
            if call > 0 {
                client.say(get("/")).await;
            }
            let (stream, ..) = at_origin.hear_request().await;
            let frames = [
                Frame::ping([0; 8]),
                Frame::window(0, 1),
                Frame::headers(stream, &[(":status", "200")], 0),
                Frame::data(stream, "hello", 0),
                Frame::headers(stream, &[("x-sum", "5")], flag::END_STREAM),
            ];
            assert!(at_origin.try_say(&frames).await, "{call}");
            let answer = client.hear_until("x-sum: 5\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{call}: {answer}");
        }
        assert!(origin.is_left_alone().await);
    });
}

/// A short body that was taken already is sent again with its request.
#[test]
fn a_short_body_is_kept_for_a_refused_request() {
    for (size, tried_again) in [(100, true), (16 * 1024, true), (20_000, false)] {
        with(http2(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.say(&Frame::headers(1, &ask("POST", "/", &[]), 0)).await;
            let body: String = (0..size).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
            for piece in body.as_bytes().chunks(7000) {
                client.say(&Frame::data(1, piece, 0)).await;
            }
            let mut at_origin = Frames::serve(origin.accept().await).await;
            let (stream, ..) = at_origin.hear_request().await;
            let mut taken = 0;
            while taken < size {
                taken += at_origin.next().await.unwrap().payload.len();
            }
            at_origin.say(&Frame::reset(stream, code::REFUSED_STREAM)).await;
            if !tried_again {
                assert_eq!(client.hear(1).await.status(), "503");
                return;
            }
            let (stream, ..) = at_origin.hear_request().await;
            client.say(&Frame::data(1, "!", flag::END_STREAM)).await;
            let heard = at_origin.hear(stream).await;
            assert!(heard.body() == format!("{body}!"), "{} bytes", heard.body.len());
            at_origin.answer(stream, "200", "now").await;
            assert_eq!(client.hear(1).await.body(), "now");
        });
    }
}

/// What is kept of one body never gets into another.
#[test]
fn a_kept_body_is_forgotten_with_its_exchange() {
    with(Setup { endpoints: 2, ..http2() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/1", &[]), 0)).await;
        client.say(&Frame::data(1, "secret of the first", flag::END_STREAM)).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        assert_eq!(at_origin.hear(stream).await.body(), "secret of the first");
        at_origin.answer(stream, "200", "1").await;
        assert_eq!(client.hear(1).await.body(), "1");
        // The second endpoint refuses, so that this one is tried again with the first.
        let mut other = Frames::open(&bench).await;
        other.say(&Frame::headers(1, &ask("POST", "/2", &[]), 0)).await;
        other.say(&Frame::data(1, "second", flag::END_STREAM)).await;
        let (stream, head, _) = at_origin.hear_request().await;
        assert_eq!(named(&head, ":path"), Some("/2"));
        assert_eq!(at_origin.hear(stream).await.body(), "second");
        at_origin.answer(stream, "200", "2").await;
        assert_eq!(other.hear(1).await.body(), "2");
    });
}
