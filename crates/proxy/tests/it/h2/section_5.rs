//! RFC 9113 section 5: streams, and how they are many.

use super::{Ended, Frames, widened};
use crate::bench::{Setup, with};
use crate::talk::{Clock, End, SOON, ok, pass};
use gatehouse_core::plan::ClientLimits;
use gatehouse_rig::frames::{Frame, ask, code, flag, kind, pack};
use std::time::Duration;

/// Answers come in the order in which they are ready.
#[test]
fn requests_of_one_connection_do_not_wait_for_each_other() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/slow", &[])).await;
        let mut slow = origin.accept().await;
        slow.hear_head().await;
        client.ask(3, &ask("GET", "/quick", &[])).await;
        let mut quick = origin.accept().await;
        quick.hear_head().await;
        quick.say(ok("quick")).await;
        assert_eq!(client.hear(3).await.body(), "quick");
        slow.say(ok("slow")).await;
        assert_eq!(client.hear(1).await.body(), "slow");
    });
}

/// 5.1: frames on a stream that was never opened.
#[test]
fn a_frame_of_an_idle_stream_ends_the_connection() {
    for frame in [
        Frame::data(1, "x", 0),
        Frame::reset(1, code::CANCEL),
        Frame::window(1, 1),
        Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, pack(&[("x", "y")])),
    ] {
        with(Setup::default(), async |bench| {
            let mut client = Frames::open(&bench).await;
            client.say(&frame).await;
            assert_eq!(client.hear_end().await, Some(code::PROTOCOL_ERROR), "{frame:?}");
        });
    }
}

/// 5.1.1: "Streams initiated by a client MUST use odd-numbered stream identifiers", and each is
/// greater than all before.
#[test]
fn a_stream_number_that_may_not_be_ends_the_connection() {
    for streams in [&[2][..], &[0], &[5, 3]] {
        with(Setup::default(), async |bench| {
            let mut client = Frames::open(&bench).await;
            for stream in streams {
                client.try_say(&[Frame::headers(*stream, &ask("GET", "/", &[]), 1)]).await;
            }
            assert_eq!(client.hear_end().await, Some(code::PROTOCOL_ERROR), "{streams:?}");
        });
    }
}

/// 5.1.2: streams beyond the limit are refused, those within it are not.
#[test]
fn a_stream_too_many_is_refused_and_may_be_tried_again() {
    let limits = ClientLimits { streams_max: 2, ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let get = ask("GET", "/", &[]);
        for stream in [1, 3, 5] {
            client.ask(stream, &get).await;
        }
        assert_eq!(client.hear(5).await.ended, Ended::Reset(code::REFUSED_STREAM));
        let mut first = origin.accept().await;
        first.hear_head().await;
        first.say(ok("1")).await;
        assert_eq!(client.hear(1).await.body(), "1");
        client.ask(7, &get).await;
        first.hear_head().await;
        first.say(ok("7")).await;
        assert_eq!(client.hear(7).await.body(), "7");
    });
}

/// 5.4.2: a client that resets a stream wants no more of it; neither does the gateway.
#[test]
fn a_reset_cancels_what_it_asked_for_upstream_too() {
    for body in ["", "some of it"] {
        with(Setup::default(), async |bench| {
            let mut origin = bench.origin(1);
            let mut client = Frames::open(&bench).await;
            client.ask(1, &ask("GET", "/", &[])).await;
            let mut at_origin = origin.accept().await;
            at_origin.hear_head().await;
            if !body.is_empty() {
                at_origin.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
                at_origin.say(body).await;
                pass(SOON).await;
            }
            client.say(&Frame::reset(1, code::CANCEL)).await;
            let clock = Clock::start();
            drop(at_origin.hear_how_it_ends().await);
            assert!(clock.passed() < Duration::from_secs(1));
        });
    }
}

#[test]
fn a_client_that_goes_away_cancels_all_it_asked_for() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        let mut at_origin = vec![];
        for stream in [1, 3, 5] {
            client.ask(stream, &ask("GET", "/", &[])).await;
            let mut talk = origin.accept().await;
            talk.hear_head().await;
            at_origin.push(talk);
        }
        client.talk.reset();
        for mut talk in at_origin {
            drop(talk.hear_how_it_ends().await);
        }
        assert_eq!(bench.gate.meters.in_flight.get(), 0);
    });
}

/// 5.2: what is not read by the origin is not taken from the client.
#[test]
fn an_origin_that_reads_nothing_stops_the_client() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::headers(1, &ask("POST", "/", &[]), 0)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        // The windows: 64 KiB at first, then what the gateway gives.
        let mut window = 65_535_i64;
        let mut sent = 0;
        let chunk = vec![b'x'; 16_000];
        for _ in 0..200 {
            while let Some(frame) = crate::talk::within(SOON, client.next_raw()).await.flatten() {
                window += widened(&frame, 1);
                if frame.kind == kind::SETTINGS && frame.flags == 0 {
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
        // What the window allows, and what stands in buffers and sockets behind it.
        assert!(sent < 1024 * 1024, "{sent} bytes were taken");
        let drunk = at_origin.drink().await;
        assert!(drunk > 200 * 1024, "{drunk}");
    });
}

/// 5.2: what is not read by the client is not taken from the origin.
#[test]
fn a_client_that_reads_nothing_stops_the_origin() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
        let poured = at_origin.pour(&vec![b'x'; 8 << 20]).await;
        assert!(poured < 1024 * 1024, "{poured} bytes were taken");
        client.say(&Frame::reset(1, code::CANCEL)).await;
    });
}

/// A large body goes through all windows whole.
#[test]
fn a_large_body_goes_both_ways_whole() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        let body: String = (0..200_000).map(|at| format!("{at:>9}\n")).collect();
        let (heard, ()) = crate::h2::join(client.hear(1), at_origin.say(ok(&body))).await;
        assert_eq!(heard.ended, Ended::Whole);
        assert!(heard.body() == body, "{} of {} bytes", heard.body.len(), body.len());
    });
}

/// A connection without requests ends, and says so.
#[test]
fn an_idle_connection_is_told_that_it_ends() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        client.fetch(1, &ask("GET", "/", &[])).await;
        let clock = Clock::start();
        assert_eq!(client.hear_end().await, Some(code::NO_ERROR));
        clock.has_passed(Duration::from_secs(60));
    });
}

/// One that does not even answer a PING is closed a little later.
#[test]
fn an_idle_connection_that_says_nothing_is_closed() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        client.fetch(1, &ask("GET", "/", &[])).await;
        let (_, end) = client.talk.hear_how_it_ends().await;
        assert_eq!(end, End::Closed);
        pass(Duration::from_secs(3)).await;
        assert_eq!(bench.gate.meters.clients.get(), 0);
    });
}
