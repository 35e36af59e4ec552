//! gRPC: deadlines, and failures as statuses.

use super::{Ended, Frames, named};
use crate::bench::{Setup, origin_address, with};
use crate::talk::{Clock, pass};
use gatehouse_core::breaker::{Gate, Trial};
use gatehouse_core::concurrency::ConcurrencyRule;
use gatehouse_core::plan::{Retry, Speaks, Timeouts};
use gatehouse_rig::frames::{Frame, ask, code, flag};
use std::time::Duration;

fn grpc() -> Setup {
    Setup { speaks: Speaks::Grpc, ..Setup::default() }
}

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc+proto"), ("te", "trailers")];

/// Starts a call with these fields and one message.
async fn call(client: &mut Frames, stream: u32, more: &[(&str, &str)]) {
    let fields = [&CALL[..], more].concat();
    client.say(&Frame::headers(stream, &ask("POST", "/pkg.Service/Call", &fields), 0)).await;
    client.say(&Frame::data(stream, [0, 0, 0, 0, 1, 7], flag::END_STREAM)).await;
}

#[test]
fn a_call_and_its_status_pass() {
    with(grpc(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        call(&mut client, 1, &[("x-meta-bin", "AAEC")]).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, head, _) = at_origin.hear_request().await;
        for (name, value) in [
            (":path", "/pkg.Service/Call"),
            ("content-type", "application/grpc+proto"),
            ("te", "trailers"),
            ("x-meta-bin", "AAEC"),
        ] {
            assert_eq!(named(&head, name), Some(value), "{head:?}");
        }
        assert_eq!(at_origin.hear(stream).await.body, [0, 0, 0, 0, 1, 7]);
        let head = [(":status", "200"), ("content-type", "application/grpc+proto")];
        at_origin.say(&Frame::headers(stream, &head, 0)).await;
        at_origin.say(&Frame::data(stream, [0, 0, 0, 0, 1, 9], 0)).await;
        let status = [("grpc-status", "5"), ("grpc-message", "no such thing")];
        at_origin.say(&Frame::headers(stream, &status, flag::END_STREAM)).await;
        let heard = client.hear(1).await;
        assert_eq!(heard.body, [0, 0, 0, 0, 1, 9]);
        assert_eq!(heard.trailer("grpc-status"), Some("5"));
        assert_eq!(heard.trailer("grpc-message"), Some("no such thing"));
    });
}

#[test]
fn an_answer_that_is_nothing_but_a_status_stays_one_frame() {
    with(grpc(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        call(&mut client, 1, &[]).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        let only = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "3")];
        at_origin.say(&Frame::headers(stream, &only, flag::END_STREAM)).await;
        let heard = client.hear(1).await;
        assert_eq!((heard.heads.len(), heard.field("grpc-status")), (1, Some("3")));
        assert_eq!(heard.field("content-length"), None);
    });
}

/// What the gateway fails at has a status too.
#[test]
fn a_failure_of_the_gateway_is_a_grpc_status() {
    with(grpc(), async |bench| {
        let mut client = Frames::open(&bench).await;
        call(&mut client, 1, &[]).await;
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.heads.len(), heard.body()), ("200", 1, ""));
        assert_eq!(heard.field("content-type"), Some("application/grpc"));
        assert_eq!(heard.field("grpc-status"), Some("14"));
        let message = heard.field("grpc-message").unwrap();
        assert!(message.starts_with("the connection was refused (exchange "), "{message}");
        assert!(bench.log().contains("connect-refused"));
    });
}

/// An answer that breaks off ends with a status, not with a reset that says less.
#[test]
fn an_answer_that_is_cut_ends_with_a_status() {
    with(grpc(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        call(&mut client, 1, &[]).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
        at_origin.say(&Frame::data(stream, [0, 0, 0, 0, 1, 9], 0)).await;
        pass(Duration::from_millis(1)).await;
        at_origin.say(&Frame::reset(stream, code::INTERNAL_ERROR)).await;
        let heard = client.hear(1).await;
        assert_eq!(heard.ended, Ended::Whole);
        assert_eq!(heard.body.len(), 6);
        assert_eq!(heard.trailer("grpc-status"), Some("14"));
    });
}

/// The caller's time is passed on, less what has passed, and holds here too.
#[test]
fn the_time_of_a_call_is_passed_on_and_kept() {
    with(grpc(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let clock = Clock::start();
        call(&mut client, 1, &[("grpc-timeout", "2S")]).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, head, _) = at_origin.hear_request().await;
        let left = named(&head, "grpc-timeout").unwrap();
        let micros: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
        assert!((1_900_000..=2_000_000).contains(&micros), "{left}");
        let heard = client.hear(1).await;
        clock.has_passed(Duration::from_secs(2));
        assert_eq!(heard.field("grpc-status"), Some("4"));
        at_origin.hear(stream).await;
        assert_eq!(bench.endpoints.list()[0].vitals.failed(), 0, "the caller's own time");
    });
}

/// However little time callers give, no endpoint is ejected for it.
#[test]
fn a_call_that_ends_before_its_endpoint_is_reached_is_its_caller_s() {
    with(grpc(), async |bench| {
        bench.net.swallow(origin_address(1));
        let mut client = Frames::open(&bench).await;
        for stream in [1, 3, 5, 7, 9] {
            call(&mut client, stream, &[("grpc-timeout", "1m")]).await;
            assert_eq!(client.hear(stream).await.field("grpc-status"), Some("4"));
        }
        let vitals = &bench.endpoints.list()[0].vitals;
        assert_eq!((vitals.connect_failed(), vitals.errors_in_a_row()), (0, 0));
    });
}

#[test]
fn a_call_whose_time_is_over_while_a_connection_opens_says_nothing_of_the_endpoint() {
    with(grpc(), async |bench| {
        bench.net.swallow(origin_address(1));
        let probing = bench.endpoints.vitals().probing();
        probing.set(Gate::HalfOpen, 1);
        let mut client = Frames::open(&bench).await;
        call(&mut client, 1, &[("grpc-timeout", "10m")]).await;
        assert_eq!(client.hear(1).await.field("grpc-status"), Some("4"));
        assert_eq!(bench.endpoints.list()[0].vitals.errors(), 0, "the caller's own time");
        assert_eq!(probing.trial(), Trial::Idle);
    });
}

#[test]
fn a_route_may_give_a_call_less_time_than_it_wants() {
    let timeouts = Timeouts { total: Some(Duration::from_secs(1)), ..Timeouts::default() };
    with(Setup { timeouts, ..grpc() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let clock = Clock::start();
        call(&mut client, 1, &[("grpc-timeout", "1H")]).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, head, _) = at_origin.hear_request().await;
        let told = named(&head, "grpc-timeout").and_then(|left| left.strip_suffix('u'));
        assert!(told.unwrap().parse::<u64>().unwrap() <= 1_000_000, "{told:?}");
        assert_eq!(client.hear(1).await.field("grpc-status"), Some("4"));
        clock.has_passed(Duration::from_secs(1));
        at_origin.hear(stream).await;
    });
}

#[test]
fn a_timeout_that_is_none_is_refused() {
    with(grpc(), async |bench| {
        let mut client = Frames::open(&bench).await;
        call(&mut client, 1, &[("grpc-timeout", "soon")]).await;
        assert_eq!(client.hear(1).await.status(), "400");
    });
}

/// An endpoint that answers 200 to each call, and that it has failed, has failed.
#[test]
fn an_endpoint_is_judged_by_what_it_says_of_calls() {
    for (status, errors) in [("0", 0), ("5", 0), ("4", 0), ("8", 0), ("2", 1), ("13", 1), ("14", 1)]
    {
        with(grpc(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            call(&mut client, 1, &[]).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.hear(stream).await;
            let only = [(":status", "200"), ("grpc-status", status)];
            at_origin.say(&Frame::headers(stream, &only, flag::END_STREAM)).await;
            assert_eq!(client.hear(1).await.field("grpc-status"), Some(status));
            let vitals = &bench.endpoints.list()[0].vitals;
            assert_eq!((vitals.errors(), vitals.errors_in_a_row()), (errors, errors as u32));
        });
    }
}

/// UNAVAILABLE is tried again where somebody has said that calls may be.
#[test]
fn an_unavailable_endpoint_is_passed_over_where_that_is_asked_for() {
    for asked_for in [true, false] {
        let retry =
            Retry { on_unavailable: asked_for, backoff: Duration::ZERO, ..Retry::default() };
        with(Setup { endpoints: 2, retry, ..grpc() }, async |bench| {
            let (mut one, mut two) = (bench.origin(1), bench.origin(2));
            let mut client = Frames::open(&bench).await;
            call(&mut client, 1, &[]).await;
            let mut first = Frames::serve(one.accept().await).await;
            let (stream, ..) = first.hear_request().await;
            first.hear(stream).await;
            let only = [(":status", "200"), ("grpc-status", "14")];
            first.say(&Frame::headers(stream, &only, flag::END_STREAM)).await;
            if asked_for {
                let mut second = Frames::serve(two.accept().await).await;
                let (stream, ..) = second.hear_request().await;
                assert_eq!(second.hear(stream).await.body, [0, 0, 0, 0, 1, 7]);
                let only = [(":status", "200"), ("grpc-status", "0")];
                second.say(&Frame::headers(stream, &only, flag::END_STREAM)).await;
            }
            let expected = if asked_for { "0" } else { "14" };
            assert_eq!(client.hear(1).await.field("grpc-status"), Some(expected));
            assert!(two.is_left_alone().await);
        });
    }
}

/// Both sides may speak as they please, and be silent for longer than any request may.
#[test]
fn a_conversation_goes_both_ways_at_its_own_pace() {
    with(grpc(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/chat", &CALL), 0)).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, ..) = at_origin.hear_request().await;
        at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
        client.next().await.unwrap();
        for word in [b"one", b"two", b"six"] {
            pass(Duration::from_secs(35)).await;
            client.say(&Frame::data(1, word, 0)).await;
            assert_eq!(at_origin.next().await.unwrap().payload, word);
            at_origin.say(&Frame::data(stream, word, 0)).await;
            assert_eq!(client.next().await.unwrap().payload, word);
        }
        client.say(&Frame::data(1, "", flag::END_STREAM)).await;
        assert!(at_origin.next().await.unwrap().ends());
        at_origin.say(&Frame::headers(stream, &[("grpc-status", "0")], flag::END_STREAM)).await;
        assert_eq!(client.hear(1).await.ended, Ended::Whole);
    });
}

/// Defect 10: what belongs to the gateway alone does not travel as metadata.
#[test]
fn the_gateways_own_secrets_are_no_metadata() {
    with(grpc(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let own =
            [("x-forwarded-for", "1.2.3.4"), ("x-real-ip", "1.2.3.4"), ("x_real_ip", "1.2.3.4")];
        call(&mut client, 1, &own).await;
        let mut at_origin = Frames::serve(origin.accept().await).await;
        let (stream, head, _) = at_origin.hear_request().await;
        assert_eq!(named(&head, "x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!((named(&head, "x-real-ip"), named(&head, "x_real_ip")), (None, None));
        at_origin.say(&Frame::reset(stream, code::CANCEL)).await;
        client.hear(1).await;
    });
}

/// How an answer comes whose status is in its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    Empty,
    AtOnce,
    BitByBit,
}

const MESSAGE: [u8; 6] = [0, 0, 0, 0, 1, 9];

/// Answers a call, and ends it with this status.
async fn answer(at_origin: &mut Frames, status: &str, comes: Comes) {
    let (stream, ..) = at_origin.hear_request().await;
    at_origin.hear(stream).await;
    let head = Frame::headers(stream, &[(":status", "200")], 0);
    let trailers = Frame::headers(stream, &[("grpc-status", status)], flag::END_STREAM);
    let message = Frame::data(stream, MESSAGE, 0);
    match comes {
        Comes::Empty => at_origin.say_all(&[head, trailers]).await,
        Comes::AtOnce => at_origin.say_all(&[head, message, trailers]).await,
        Comes::BitByBit => {
            for frame in [head, message, trailers] {
                at_origin.say(&frame).await;
                pass(Duration::from_millis(5)).await;
            }
        }
    }
}

/// What stands in the trailers counts as what stands in a head with nothing behind it.
#[test]
fn an_endpoint_is_judged_by_how_calls_end() {
    let statuses = [("0", 0), ("5", 0), ("4", 0), ("8", 0), ("2", 1), ("13", 1), ("14", 1)];
    for (status, errors) in statuses {
        for comes in [Comes::Empty, Comes::AtOnce, Comes::BitByBit] {
            let concurrency = Some(ConcurrencyRule::default());
            with(Setup { concurrency, ..grpc() }, async |bench| {
                let mut origin = bench.origin(1);
                let mut client = Frames::open(&bench).await;
                let vitals = &bench.endpoints.list()[0].vitals;
                let counts = || (vitals.errors(), u64::from(vitals.errors_in_a_row()));
                let mut at_origin = None;
                for round in 1..=3 {
                    call(&mut client, round * 2 - 1, &[]).await;
                    if at_origin.is_none() {
                        at_origin = Some(Frames::serve(origin.accept().await).await);
                    }
                    answer(at_origin.as_mut().unwrap(), status, comes).await;
                    let heard = client.hear(round * 2 - 1).await;
                    assert_eq!(heard.trailer("grpc-status"), Some(status));
                    let so_far = errors * u64::from(round);
                    assert_eq!(counts(), (so_far, so_far), "{status} {comes:?}");
                }
                let refusals = bench.endpoints.vitals().latencies().snapshot().refusals();
                let expected = if matches!(status, "8" | "14") { 3 } else { 0 };
                assert_eq!(refusals, expected, "{status} {comes:?}");
                call(&mut client, 7, &[]).await;
                answer(at_origin.as_mut().unwrap(), "0", comes).await;
                client.hear(7).await;
                assert_eq!(counts(), (errors * 3, 0), "a good one ends the row");
            });
        }
    }
}

#[test]
fn a_call_that_probes_has_failed_with_its_status_and_went_well_with_its_first_message() {
    let all = [
        (Comes::Empty, "14", Trial::Failed),
        (Comes::AtOnce, "14", Trial::Failed),
        (Comes::BitByBit, "14", Trial::Failed),
        (Comes::Empty, "0", Trial::Idle),
        (Comes::BitByBit, "0", Trial::Idle),
    ];
    for (comes, status, expected) in all {
        with(grpc(), async |bench| {
            let mut origin = bench.origin(1);
            let probing = bench.endpoints.vitals().probing();
            probing.set(Gate::HalfOpen, 2);
            let mut client = Frames::open(&bench).await;
            call(&mut client, 1, &[]).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            answer(&mut at_origin, status, comes).await;
            client.hear(1).await;
            assert_eq!(probing.trial(), expected, "one of two: {comes:?} {status}");
            if expected == Trial::Failed {
                return;
            }
            call(&mut client, 3, &[]).await;
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
            pass(Duration::from_millis(5)).await;
            assert_eq!(probing.trial(), Trial::UnderWay, "a head says nothing yet");
            at_origin.say(&Frame::data(stream, MESSAGE, 0)).await;
            pass(Duration::from_millis(5)).await;
            assert_eq!(probing.trial(), Trial::Passed, "however long the rest takes");
            client.say(&Frame::reset(3, code::CANCEL)).await;
            pass(Duration::from_millis(5)).await;
            assert_eq!(bench.endpoints.list()[0].vitals.errors(), 0);
        });
    }
}

/// A call whose caller leaves before anything came says nothing; neither way.
#[test]
fn a_call_that_is_left_ends_no_row_of_errors_unless_a_message_came() {
    for (comes, row) in [(None, 1), (Some(MESSAGE), 0)] {
        with(grpc(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            call(&mut client, 1, &[]).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            answer(&mut at_origin, "14", Comes::Empty).await;
            client.hear(1).await;
            call(&mut client, 3, &[]).await;
            let (stream, ..) = at_origin.hear_request().await;
            at_origin.say(&Frame::headers(stream, &[(":status", "200")], 0)).await;
            if let Some(message) = comes {
                at_origin.say(&Frame::data(stream, message, 0)).await;
            }
            pass(Duration::from_millis(5)).await;
            client.say(&Frame::reset(3, code::CANCEL)).await;
            pass(Duration::from_millis(5)).await;
            assert_eq!(bench.endpoints.list()[0].vitals.errors_in_a_row(), row);
        });
    }
}

/// Of HTTP/1.1, on either side; but nothing else is that ends with the same trailers.
#[test]
fn calls_over_http1_are_judged_by_their_trailers_as_well() {
    for (content_type, errors) in [("application/grpc", 1), ("application/json", 0)] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.ask(1, &ask("POST", "/", &[("content-type", content_type)])).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            at_origin.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            at_origin.say("2\r\nhi\r\n0\r\nGrpc-Status: 14\r\n\r\n").await;
            assert_eq!(client.hear(1).await.trailer("grpc-status"), Some("14"));
            let vitals = &bench.endpoints.list()[0].vitals;
            assert_eq!(vitals.errors(), errors, "{content_type}");
        });
    }
    for content_type in ["application/grpc-web", "application/grpc-web-text"] {
        with(grpc(), async |bench| {
            let (mut origin, mut client) = (bench.origin(1), bench.client());
            let body = if content_type.ends_with("text") { "AAAAAAEH" } else { "\0\0\0\0\x01\x07" };
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n");
            let length = body.len();
            client.say(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
            let mut at_origin = Frames::serve(origin.accept().await).await;
            answer(&mut at_origin, "14", Comes::AtOnce).await;
            client.hear_head().await;
            while client.hear_line().await.is_some_and(|text| text != "0\r\n") {}
            assert_eq!(bench.endpoints.list()[0].vitals.errors(), 1, "{content_type}");
        });
    }
}
