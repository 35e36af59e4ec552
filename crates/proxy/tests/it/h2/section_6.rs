//! RFC 9113 section 6: what each frame has to be.

use super::{Ended, Frames};
use crate::bench::{Setup, with};
use crate::talk::{SOON, ok, pass};
use gatehouse_rig::frames::{Frame, ask, code, flag, kind, pack};
use std::time::Duration;

/// Asserts that these frames end the connection with this code.
fn ends(expected: u32, frames: &[Frame]) {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        client.try_say(frames).await;
        assert_eq!(client.hear_end().await, Some(expected), "{frames:?}");
    });
}

fn request(flags: u8) -> Frame {
    Frame::headers(1, &ask("POST", "/", &[]), flags)
}

/// 4.2: frames larger than SETTINGS_MAX_FRAME_SIZE.
#[test]
fn a_frame_too_large_ends_the_connection() {
    ends(code::FRAME_SIZE_ERROR, &[request(0), Frame::data(1, vec![0; 16_385], 0)]);
}

/// 4.3: "A receiver MUST terminate the connection with a connection error of type
/// COMPRESSION_ERROR if it does not decompress a field block"; a frame of another kind within one.
#[test]
fn a_header_block_that_is_none_ends_the_connection() {
    for block in [&[0x80][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0xbe], &[0x00, 0x85]] {
        with(Setup::default(), async |bench| {
            let mut client = Frames::open(&bench).await;
            client.try_say(&[Frame::new(kind::HEADERS, 5, 1, block)]).await;
            let end = client.hear_end().await;
            assert!(matches!(end, Some(code::COMPRESSION_ERROR | code::PROTOCOL_ERROR)), "{end:?}");
        });
    }
}

/// 4.3: a header block is one run of frames.
#[test]
fn a_frame_within_a_header_block_ends_the_connection() {
    let open = Frame::new(kind::HEADERS, 0, 1, pack(&ask("GET", "/", &[])));
    let rest = |stream| Frame::new(kind::CONTINUATION, flag::END_HEADERS, stream, []);
    ends(code::PROTOCOL_ERROR, &[open.clone(), Frame::ping([0; 8])]);
    ends(code::PROTOCOL_ERROR, &[open.clone(), Frame::new(0xfe, 0, 0, [])]);
    ends(code::PROTOCOL_ERROR, &[open.clone(), rest(3)]);
    ends(code::PROTOCOL_ERROR, &[request(0), rest(1)]);
}

/// 6.1: DATA belongs to a stream, and its padding is shorter than itself.
#[test]
fn data_that_belongs_nowhere_ends_the_connection() {
    ends(code::PROTOCOL_ERROR, &[Frame::data(0, "x", 0)]);
    ends(code::PROTOCOL_ERROR, &[request(0), Frame::new(kind::DATA, flag::PADDED, 1, [5, 0])]);
}

/// 6.1: padding is no part of the body.
#[test]
fn padding_is_taken_off() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&request(0)).await;
        let padded = [&[3][..], b"hello", &[0; 3]].concat();
        client.say(&Frame::new(kind::DATA, flag::PADDED | 1, 1, padded)).await;
        let (_, body) = origin.accept().await.hear_request().await.unwrap();
        assert_eq!(body, "hello");
        client.hear(1).await;
    });
}

/// 6.2 to 6.9: sizes and streams that frames have to have.
#[test]
fn frames_of_a_wrong_size_end_the_connection() {
    for (expected, frame) in [
        (code::PROTOCOL_ERROR, Frame::new(kind::HEADERS, 5, 0, pack(&ask("GET", "/", &[])))),
        (code::PROTOCOL_ERROR, Frame::new(kind::PRIORITY, 0, 0, [0; 5])),
        (code::PROTOCOL_ERROR, Frame::new(kind::RST_STREAM, 0, 0, [0; 4])),
        (code::FRAME_SIZE_ERROR, Frame::new(kind::RST_STREAM, 0, 1, [0; 3])),
        (code::FRAME_SIZE_ERROR, Frame::new(kind::SETTINGS, 0, 0, [0; 5])),
        (code::FRAME_SIZE_ERROR, Frame::new(kind::SETTINGS, flag::ACK, 0, [0; 6])),
        (code::PROTOCOL_ERROR, Frame::new(kind::SETTINGS, 0, 1, [])),
        (code::FRAME_SIZE_ERROR, Frame::new(kind::PING, 0, 0, [0; 7])),
        (code::PROTOCOL_ERROR, Frame::new(kind::PING, 0, 1, [0; 8])),
        (code::PROTOCOL_ERROR, Frame::new(kind::GOAWAY, 0, 1, [0; 8])),
        (code::FRAME_SIZE_ERROR, Frame::new(kind::WINDOW_UPDATE, 0, 0, [0; 3])),
        (code::PROTOCOL_ERROR, Frame::window(0, 0)),
        (code::PROTOCOL_ERROR, Frame::settings(&[(2, 2)])),
        (code::FLOW_CONTROL_ERROR, Frame::settings(&[(4, 1 << 31)])),
        (code::PROTOCOL_ERROR, Frame::settings(&[(5, 100)])),
    ] {
        with(Setup::default(), async |bench| {
            let mut client = Frames::open(&bench).await;
            client.try_say(&[request(0), frame.clone()]).await;
            let end = client.hear_end().await;
            // The h2 crate says PROTOCOL_ERROR of everything that it cannot read.
            assert!(
                end == Some(expected) || end == Some(code::PROTOCOL_ERROR),
                "{end:?} {frame:?}"
            );
        });
    }
}

/// 6.5.3: settings are acknowledged; 6.7: so are PINGs, with what they carry.
#[test]
fn settings_and_pings_are_acknowledged() {
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        client.say(&Frame::ping(*b"whatever")).await;
        let mut acks = vec![];
        while let Some(Some(frame)) = crate::talk::within(SOON, client.next_raw()).await {
            if frame.flags == flag::ACK {
                acks.push((frame.kind, frame.payload));
            }
        }
        assert_eq!(acks, [(kind::SETTINGS, vec![]), (kind::PING, b"whatever".to_vec())]);
    });
}

/// 6.8: a drain says which streams still count, and lets them end.
#[test]
fn a_drain_lets_requests_end_and_takes_no_more() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        bench.gate.drain();
        pass(SOON).await;
        let first = client.next().await.unwrap();
        assert_eq!((first.kind, first.code()), (kind::GOAWAY, Some(code::NO_ERROR)));
        at_origin.say(ok("still")).await;
        let heard = client.hear(1).await;
        assert_eq!((heard.body(), heard.ended), ("still", Ended::Whole));
        client.hear_end().await;
        drop(client);
        pass(Duration::from_secs(1)).await;
        assert_eq!(bench.gate.meters.clients.get(), 0);
    });
}

/// 6.9: a body is sent only as far as the client's window goes.
#[test]
fn no_more_is_sent_than_the_window_holds() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open_with(&bench, &[(4, 10)]).await;
        client.ask(1, &ask("GET", "/", &[])).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok(&"x".repeat(25))).await;
        let mut sizes = vec![];
        for _ in 0..3 {
            let frames = client.hear_soon().await;
            let data = frames.iter().filter(|frame| frame.kind == kind::DATA);
            sizes.push(data.map(|frame| frame.payload.len()).sum::<usize>());
            client.say(&Frame::window(1, 10)).await;
        }
        assert_eq!(sizes, [10, 10, 5]);
    });
}

/// 6.9.1: a window above 2^31-1 is an error of the stream, or of the connection.
#[test]
fn a_window_that_overflows_ends_what_it_belongs_to() {
    ends(code::FLOW_CONTROL_ERROR, &[Frame::window(0, i32::MAX as u32)]);
    with(Setup::default(), async |bench| {
        let mut client = Frames::open(&bench).await;
        client.say(&request(0)).await;
        client.say(&Frame::window(1, i32::MAX as u32)).await;
        assert_eq!(client.hear(1).await.ended, Ended::Reset(code::FLOW_CONTROL_ERROR));
    });
}

/// 6.9.1: DATA beyond the window that the gateway has given.
#[test]
fn data_beyond_the_window_ends_the_stream_or_the_connection() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = Frames::open(&bench).await;
        client.say(&request(0)).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        for _ in 0..200 {
            if !client.try_say(&[Frame::data(1, vec![b'x'; 16_000], 0)]).await {
                break;
            }
        }
        let ended = client.hear(1).await.ended;
        let code = code::FLOW_CONTROL_ERROR;
        assert!(
            matches!(ended, Ended::Reset(c) | Ended::Connection(Some(c)) if c == code),
            "{ended:?}"
        );
    });
}
