//! What has stopped other servers, sent to this one. Each ends the connection it comes on, within
//! a thousand frames; another client does not notice.

use super::{Ended, Frames};
use crate::bench::{Bench, Setup, with};
use crate::talk::{Clock, get, ok, pass};
use gatehouse_core::plan::{ClientLimits, Timeouts};
use gatehouse_proxy::gate::memory::spawn;
use gatehouse_rig::frames::{Frame, ask, code, flag, kind, pack, pack_crumb};
use std::time::Duration;

/// Frames that end a connection at the latest.
const FRAMES_MAX: usize = 1000;

/// An origin that answers whoever asks for `/fine`, and nobody else.
fn play_origin(bench: &Bench) {
    let mut origin = bench.origin(1);
    spawn(async move {
        while let Some(mut talk) = origin.accept_soon(Duration::from_secs(100)).await {
            spawn(async move {
                while let Some((head, _)) = talk.hear_request().await {
                    if head.starts_with("GET /fine ") {
                        talk.say(ok("fine")).await;
                    }
                }
            });
        }
    });
}

/// Another client is answered, and at once.
async fn serves(bench: &Bench) {
    let mut client = bench.client();
    let clock = Clock::start();
    client.say(get("/fine")).await;
    assert_eq!(client.hear_message().await.1, "fine");
    assert!(clock.passed() < Duration::from_millis(250), "{:?}", clock.passed());
}

/// Sends what `attack` gives, 20 at a time, until the gateway ends the connection: the code it
/// ends it with, and after how many frames. Another client is served before and after.
async fn flood(bench: &Bench, attack: impl Fn(u32) -> Vec<Frame>) -> (Option<u32>, usize) {
    play_origin(bench);
    serves(bench).await;
    let mut client = Frames::open(bench).await;
    let mut sent = 0;
    for round in 0.. {
        let frames: Vec<Frame> = (0..20).flat_map(|at| attack(round * 20 + at)).collect();
        sent += frames.len();
        client.try_say(&frames).await;
        let ends = |frame: &Frame| frame.kind == kind::GOAWAY && frame.code() != Some(0);
        if let Some(end) = client.hear_soon().await.iter().find(|frame| ends(frame)) {
            serves(bench).await;
            return (end.code(), sent);
        }
        assert!(sent <= FRAMES_MAX, "still there after {sent} frames");
    }
    (None, sent)
}

/// Asserts that an attack ends its connection, and how.
fn ends(expected: u32, attack: impl Fn(u32) -> Vec<Frame>) {
    with(Setup::default(), async |bench| {
        let (code, _) = flood(&bench, attack).await;
        assert_eq!(code, Some(expected));
        // What it asked of origins is given up too.
        pass(Duration::from_secs(1)).await;
        assert_eq!(bench.gate.meters.in_flight.get(), 0);
    });
}

/// The stream of a client's request number `at`.
fn stream(at: u32) -> u32 {
    at * 2 + 1
}

fn request(at: u32, flags: u8) -> Frame {
    Frame::headers(stream(at), &ask("GET", "/", &[]), flags)
}

/// CVE-2019-9512.
#[test]
fn pings() {
    ends(code::ENHANCE_YOUR_CALM, |_| vec![Frame::ping([0; 8])]);
}

/// CVE-2019-9515.
#[test]
fn settings() {
    ends(code::ENHANCE_YOUR_CALM, |_| vec![Frame::settings(&[(4, 65_535)])]);
}

/// CVE-2019-9513.
#[test]
fn priorities() {
    ends(code::ENHANCE_YOUR_CALM, |at| {
        vec![Frame::new(kind::PRIORITY, 0, stream(at), [0, 0, 0, 0, 16])]
    });
}

/// CVE-2023-44487: requests that are broken off as they are made.
#[test]
fn rapid_resets() {
    ends(code::ENHANCE_YOUR_CALM, |at| {
        vec![request(at, flag::END_STREAM), Frame::reset(stream(at), code::CANCEL)]
    });
}

/// The same, slower than one read: each request has reached the origin when it is broken off.
#[test]
fn rapid_resets_one_by_one() {
    with(Setup::default(), async |bench| {
        play_origin(&bench);
        let mut client = Frames::open(&bench).await;
        for at in 0..FRAMES_MAX as u32 / 2 {
            client.try_say(&[request(at, flag::END_STREAM)]).await;
            pass(Duration::from_millis(1)).await;
            client.try_say(&[Frame::reset(stream(at), code::CANCEL)]).await;
            let heard = client.hear_soon().await;
            if let Some(end) = heard.iter().find(|frame| frame.kind == kind::GOAWAY) {
                assert_eq!(end.code(), Some(code::ENHANCE_YOUR_CALM));
                return;
            }
        }
        panic!("still there");
    });
}

/// CVE-2026-26311: frames of a stream that its client has reset change nothing.
#[test]
fn what_comes_behind_a_reset_changes_nothing() {
    for late in [
        Frame::window(1, 1000),
        Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16]),
        Frame::reset(1, code::CANCEL),
        Frame::data(1, "late", 0),
        Frame::data(1, "late", flag::END_STREAM),
        Frame::headers(1, &[("x-late", "y")], flag::END_STREAM),
    ] {
        with(Setup::default(), async |bench| {
            play_origin(&bench);
            let mut client = Frames::open(&bench).await;
            client.say(&request(0, 0)).await;
            pass(Duration::from_secs(1)).await;
            assert_eq!(bench.gate.meters.in_flight.get(), 1);
            client.try_say(&[Frame::reset(1, code::CANCEL), late.clone(), late.clone()]).await;
            pass(Duration::from_secs(1)).await;
            assert_eq!(bench.gate.meters.in_flight.get(), 0, "{late:?}");
            let ended = client.fetch(3, &ask("GET", "/fine", &[])).await.ended;
            // Whoever begins a reset stream anew breaks a rule of the connection's (RFC 9113
            // section 5.1); all else of it may have been under way.
            let expected = match late.kind {
                kind::HEADERS => Ended::Connection(Some(code::PROTOCOL_ERROR)),
                _ => Ended::Whole,
            };
            assert_eq!(ended, expected, "{late:?}");
            serves(&bench).await;
        });
    }
}

/// CVE-2026-40396: a client that was silent for long asks for as much as it may at once.
#[test]
fn a_burst_after_a_long_silence_is_answered() {
    with(Setup::default(), async |bench| {
        play_origin(&bench);
        let mut client = Frames::open(&bench).await;
        let fine = ask("GET", "/fine", &[]);
        assert_eq!(client.fetch(1, &fine).await.body(), "fine");
        pass(Duration::from_secs(50)).await;
        let request = |at| Frame::headers(stream(at), &fine, flag::END_STREAM);
        let burst: Vec<Frame> = (1..=100).map(request).collect();
        assert!(client.try_say(&burst).await);
        let mut answered = 0;
        while answered < burst.len() {
            let frame = client.next().await.expect("the connection stays");
            assert!(matches!(frame.kind, kind::HEADERS | kind::DATA), "{frame:?}");
            answered += usize::from(frame.ends());
        }
        serves(&bench).await;
    });
}

/// The same of a flood: silence buys no more of it.
#[test]
fn a_flood_after_a_long_silence_is_no_longer() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        pass(Duration::from_secs(50)).await;
        let priority = Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16]);
        client.try_say(&vec![priority; FRAMES_MAX]).await;
        assert_eq!(client.hear_end().await, Some(code::ENHANCE_YOUR_CALM));
    });
}

/// CVE-2025-8671: the client has the server reset its streams, by window updates of nothing.
#[test]
fn made_you_reset_by_window_updates_of_nothing() {
    ends(code::PROTOCOL_ERROR, |at| vec![request(at, 0), Frame::window(stream(at), 0)]);
}

/// The same by windows that overflow.
#[test]
fn made_you_reset_by_windows_that_overflow() {
    ends(code::ENHANCE_YOUR_CALM, |at| {
        vec![request(at, 0), Frame::window(stream(at), i32::MAX as u32)]
    });
}

/// The same by DATA behind the end of a stream.
#[test]
fn made_you_reset_by_data_behind_the_end() {
    ends(code::PROTOCOL_ERROR, |at| {
        vec![request(at, flag::END_STREAM), Frame::data(stream(at), "x", 0)]
    });
}

/// The same by heads that are malformed.
#[test]
fn made_you_reset_by_malformed_heads() {
    ends(code::ENHANCE_YOUR_CALM, |at| {
        let fields = ask("GET", "/", &[("connection", "close")]);
        vec![Frame::headers(stream(at), &fields, flag::END_STREAM)]
    });
}

/// The same by a priority that depends on itself.
#[test]
fn made_you_reset_by_priorities() {
    ends(code::ENHANCE_YOUR_CALM, |at| {
        let itself = [&stream(at).to_be_bytes()[..], &[16]].concat();
        vec![request(at, 0), Frame::new(kind::PRIORITY, 0, stream(at), itself)]
    });
}

/// A head that never ends.
#[test]
fn continuations() {
    ends(code::ENHANCE_YOUR_CALM, |at| match at {
        0 => vec![Frame::new(kind::HEADERS, 0, 1, pack(&ask("GET", "/", &[])))],
        _ => vec![Frame::new(kind::CONTINUATION, 0, 1, pack(&[("x-a", "b")]))],
    });
}

/// The same of empty frames.
#[test]
fn empty_continuations() {
    ends(code::ENHANCE_YOUR_CALM, |at| match at {
        0 => vec![Frame::new(kind::HEADERS, 0, 1, pack(&ask("GET", "/", &[])))],
        _ => vec![Frame::new(kind::CONTINUATION, 0, 1, [])],
    });
}

/// CVE-2019-9518.
#[test]
fn empty_data() {
    ends(code::ENHANCE_YOUR_CALM, |at| match at {
        0 => vec![request(0, 0)],
        _ => vec![Frame::data(1, "", 0)],
    });
}

/// The same with padding, which is no more.
#[test]
fn padded_empty_data() {
    with(Setup::default(), async |bench| {
        flood(&bench, |at| match at {
            0 => vec![request(0, 0)],
            _ => vec![Frame::new(kind::DATA, flag::PADDED, 1, [3, 0, 0, 0])],
        })
        .await;
    });
}

#[test]
fn window_updates() {
    ends(code::ENHANCE_YOUR_CALM, |_| vec![Frame::window(0, 1)]);
}

#[test]
fn frames_of_unknown_kinds() {
    ends(code::ENHANCE_YOUR_CALM, |_| vec![Frame::new(0xfe, 0, 0, [])]);
}

#[test]
fn acknowledgements_of_nothing() {
    with(Setup::default(), async |bench| {
        flood(&bench, |_| vec![Frame::new(kind::SETTINGS, flag::ACK, 0, [])]).await;
    });
}

/// Requests beyond those that may be under way at once.
#[test]
fn requests_beyond_the_limit_are_refused_and_then_a_flood() {
    ends(code::ENHANCE_YOUR_CALM, |at| vec![request(at, 0)]);
}

/// A few bytes that unpack to a head of many.
#[test]
fn hpack_bomb() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let mut block = pack(&ask("GET", "/", &[]));
        block.extend(pack_crumb("x-bomb", &"y".repeat(3000), 8000));
        client.try_say(&[Frame::new(kind::HEADERS, 5, 1, block)]).await;
        assert_eq!(client.hear(1).await.ended, Ended::Connection(Some(code::ENHANCE_YOUR_CALM)));
    });
}

/// CVE-2026-47774, -49975: the same as crumbs of a cookie, which are joined.
#[test]
fn cookie_crumb_bomb() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let mut block = pack(&ask("GET", "/", &[]));
        block.extend(pack_crumb("cookie", "", 15_000));
        client.try_say(&[Frame::new(kind::HEADERS, 5, 1, block)]).await;
        assert_eq!(client.hear(1).await.ended, Ended::Connection(Some(code::ENHANCE_YOUR_CALM)));
    });
}

/// Very many distinct names: the h2 crate died of these before 0.4.16.
#[test]
fn very_many_distinct_names() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        let names: Vec<String> = (0..30_000).map(|at| format!("x{at}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let block = [pack(&ask("GET", "/", &[])), pack(&fields)].concat();
        let mut parts = block.chunks(16_000);
        let mut frames = vec![Frame::new(kind::HEADERS, 1, 1, parts.next().unwrap())];
        frames.extend(parts.map(|part| Frame::new(kind::CONTINUATION, 0, 1, part)));
        client.try_say(&frames).await;
        let heard = client.hear(1).await;
        assert!(matches!(heard.ended, Ended::Connection(_)), "{heard:?}");
    });
}

/// CVE-2019-9517 and others: a client that asks and then takes nothing, by window.
#[test]
fn a_window_that_stays_shut_ends_what_waits_for_it() {
    let timeouts = Timeouts { idle: Duration::from_secs(5), ..Timeouts::default() };
    with(Setup { timeouts, ..Setup::default() }, async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open_with(&bench, &[(4, 0)]).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok(&"x".repeat(10_000))).await;
        let clock = Clock::start();
        let heard = client.hear(1).await;
        assert_eq!((heard.status(), heard.body.len()), ("200", 0));
        assert_eq!(heard.ended, Ended::Reset(code::INTERNAL_ERROR));
        clock.has_passed(Duration::from_secs(5));
        assert_eq!(at_origin.hear_end().await, "");
    });
}

/// The same of the gateway's own answers.
#[test]
fn a_window_that_stays_shut_ends_the_gateways_own_answer() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open_with(&bench, &[(4, 0)]).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let clock = Clock::start();
        let heard = client.hear(1).await;
        assert_eq!(heard.ended, Ended::Reset(code::INTERNAL_ERROR));
        clock.has_passed(Duration::from_secs(10));
    });
}

/// A client that asks and then takes nothing, by TCP.
#[test]
fn a_client_that_reads_nothing_is_closed() {
    let limits = ClientLimits { idle_timeout: Duration::from_secs(20), ..ClientLimits::default() };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::window(0, 1 << 30)).await;
        // Its own answers alone fill what a connection holds unread.
        let mut at = 0;
        while at < 2000 && client.try_say(&[request(at, flag::END_STREAM)]).await {
            at += 1;
            if at % 50 == 0 {
                pass(Duration::from_millis(100)).await;
            }
        }
        pass(Duration::from_secs(60)).await;
        assert_eq!(bench.gate.meters.clients.get(), 0, "after {at} requests");
    });
}

/// A head that comes byte by byte, while another request is under way.
#[test]
fn a_slow_head_ends_the_connection() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&request(0, flag::END_STREAM)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        let bytes = request(1, flag::END_STREAM).bytes();
        let clock = Clock::start();
        for byte in &bytes {
            if !client.talk.try_say(&[*byte]).await {
                break;
            }
            pass(Duration::from_secs(1)).await;
        }
        client.hear_end().await;
        // 9 bytes of its header do not count: they could be anything's.
        let limit = Duration::from_secs(10 + 9);
        assert!(clock.passed() <= limit + Duration::from_secs(1), "{:?}", clock.passed());
        assert_eq!(at_origin.hear_end().await, "");
    });
}

/// A body that comes byte by byte.
#[test]
fn a_slow_body_ends_its_stream_alone() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&request(0, 0)).await;
        let _at_origin = origin.accept().await;
        let clock = Clock::start();
        for _ in 0..50 {
            client.say(&Frame::data(1, "x", 0)).await;
            pass(Duration::from_secs(1)).await;
        }
        assert_eq!(client.hear(1).await.status(), "408");
        // It was there before the last byte, not for want of another.
        assert!(clock.passed() < Duration::from_secs(51), "{:?}", clock.passed());
        let heard = client.fetch(3, &ask("GET", "/", &[])).await;
        assert_eq!(heard.ended, Ended::Whole);
    });
}
