//! HTTP/2 clients of the gateway, frame by frame. Foldered by the sections of RFC 9113.

mod attacks;
mod grpc;
mod rfc8441;
mod section_3;
mod section_5;
mod section_6;
mod section_8;
mod upstream;
mod upstream_faults;

use crate::bench::Bench;
use crate::talk::{SOON, Talk, within};
use gatehouse_rig::frames::{Frame, PREFACE, Unpacker, code, flag, kind};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// One connection of a client that speaks frames.
pub struct Frames {
    pub talk: Talk,
    unpacker: Unpacker,
    /// SETTINGS_INITIAL_WINDOW_SIZE of the gateway, as far as it has come.
    initial_window: i64,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Whole.
    Whole,
    /// With RST_STREAM.
    Reset(u32),
    /// With the connection: the code of its GOAWAY, if it had one.
    Connection(Option<u32>),
}

/// What came on one stream.
#[derive(Debug)]
pub struct Heard {
    /// Heads and trailers, in order.
    pub heads: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    pub ended: Ended,
}

impl Heard {
    /// The final status; empty where none came.
    pub fn status(&self) -> &str {
        let mut statuses = self.heads.iter().filter_map(|head| named(head, ":status"));
        statuses.find(|status| !status.starts_with('1')).unwrap_or("")
    }

    /// A field of the final head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let last = |head: &&Vec<(String, String)>| {
            named(head, ":status").is_some_and(|status| !status.starts_with('1'))
        };
        named(self.heads.iter().find(last)?, name)
    }

    /// A field of the trailers.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let last = self.heads.last().filter(|head| named(head, ":status").is_none())?;
        named(last, name)
    }

    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

pub fn named<'a>(head: &'a [(String, String)], name: &str) -> Option<&'a str> {
    head.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

impl Frames {
    fn new(talk: Talk) -> Frames {
        Frames { talk, unpacker: Unpacker::default(), initial_window: 65_535 }
    }

    /// A connection on which the client has said its preface and plain settings.
    pub async fn open(bench: &Bench) -> Frames {
        Frames::open_with(bench, &[]).await
    }

    /// The same with these settings.
    pub async fn open_with(bench: &Bench, settings: &[(u16, u32)]) -> Frames {
        let mut frames = Frames::new(bench.client());
        frames.talk.say(PREFACE).await;
        frames.say(&Frame::settings(settings)).await;
        frames
    }

    /// An origin's side of a connection, once the client's preface and settings have come.
    pub async fn serve(talk: Talk) -> Frames {
        Frames::serve_with(talk, &[]).await
    }

    /// The same with these settings.
    pub async fn serve_with(mut talk: Talk, settings: &[(u16, u32)]) -> Frames {
        assert_eq!(talk.hear_raw(PREFACE.len()).await, PREFACE);
        let mut frames = Frames::new(talk);
        frames.say(&Frame::settings(settings)).await;
        frames
    }

    /// The next request's stream and head, and whether it has ended.
    pub async fn hear_request(&mut self) -> (u32, Vec<(String, String)>, bool) {
        loop {
            let frame = self.next().await.expect("a request");
            if frame.kind == kind::HEADERS {
                return (frame.stream, self.unpacker.unpack(&frame.payload), frame.ends());
            }
        }
    }

    /// Answers with this status and body.
    pub async fn answer(&mut self, stream: u32, status: &str, body: &str) {
        self.say(&Frame::headers(stream, &[(":status", status)], 0)).await;
        self.say(&Frame::data(stream, body, flag::END_STREAM)).await;
    }

    pub async fn say(&mut self, frame: &Frame) {
        self.talk.say(frame.bytes()).await;
    }

    /// Says these in one write.
    pub async fn say_all(&mut self, frames: &[Frame]) {
        self.talk.say(frames.iter().map(Frame::bytes).collect::<Vec<_>>().concat()).await;
    }

    /// Says a request without a body.
    pub async fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.say(&Frame::headers(stream, fields, flag::END_STREAM)).await;
    }

    /// Says frames at once, as far as they are taken; false where they are not.
    pub async fn try_say(&mut self, frames: &[Frame]) -> bool {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.talk.try_say(&bytes).await
    }

    /// The next frame, whatever it is; `None` where the connection ends first.
    pub async fn next_raw(&mut self) -> Option<Frame> {
        let mut bytes = self.talk.hear_raw_some(9).await?;
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        bytes.extend(self.talk.hear_raw_some(length).await?);
        let frame = Frame::take(&mut bytes)?;
        if let Some(size) = initial_window(&frame) {
            self.initial_window = size;
        }
        Some(frame)
    }

    /// Bytes that may be sent on a stream before the gateway has widened its window.
    pub fn initial_window(&self) -> i64 {
        self.initial_window
    }

    /// The next frame that is about a stream, or a GOAWAY; what the connection asks for meanwhile
    /// it is given.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next_raw().await?;
            match (frame.kind, frame.flags & flag::ACK) {
                (kind::SETTINGS, 0) => drop(self.try_say(&[ack(kind::SETTINGS, vec![])]).await),
                (kind::PING, 0) => drop(self.try_say(&[ack(kind::PING, frame.payload)]).await),
                (kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE, _) => {}
                _ => return Some(frame),
            }
        }
    }

    /// Everything of one stream, and of no other, to its end. What is read may be sent again.
    pub async fn hear(&mut self, stream: u32) -> Heard {
        let mut heard = Heard { heads: vec![], body: vec![], ended: Ended::Connection(None) };
        while let Some(frame) = self.next().await {
            if frame.kind == kind::GOAWAY && frame.code() != Some(code::NO_ERROR) {
                heard.ended = Ended::Connection(frame.code());
                break;
            }
            // Header blocks share a table, so those of other streams are read too.
            let head = (frame.kind == kind::HEADERS).then(|| self.unpacker.unpack(&frame.payload));
            if frame.stream != stream {
                continue;
            }
            heard.heads.extend(head);
            if frame.kind == kind::DATA && !frame.payload.is_empty() {
                heard.body.extend_from_slice(&frame.payload);
                let size = frame.payload.len() as u32;
                let more = [Frame::window(0, size), Frame::window(stream, size)];
                self.try_say(if frame.ends() { &more[..1] } else { &more }).await;
            }
            if frame.kind == kind::RST_STREAM {
                heard.ended = Ended::Reset(frame.code().expect("a code"));
                break;
            }
            if frame.ends() {
                heard.ended = Ended::Whole;
                break;
            }
        }
        heard
    }

    /// Asks without a body, and hears the answer.
    pub async fn fetch(&mut self, stream: u32, fields: &[(&str, &str)]) -> Heard {
        self.ask(stream, fields).await;
        self.hear(stream).await
    }

    /// How the connection ends: the code of the last GOAWAY.
    pub async fn hear_end(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(frame) = self.next().await {
            if frame.kind == kind::GOAWAY {
                last = frame.code();
            }
        }
        last
    }

    /// Frames that come before the other end waits.
    pub async fn hear_soon(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(Some(frame)) = within(SOON, self.next()).await {
            frames.push(frame);
        }
        frames
    }
}

/// Bytes by which a frame of the gateway's widens the window of this stream.
pub fn widened(frame: &Frame, stream: u32) -> i64 {
    match frame.kind {
        kind::WINDOW_UPDATE if frame.stream == stream => number(&frame.payload),
        _ => initial_window(frame).map_or(0, |size| size - 65_535),
    }
}

/// The window that a SETTINGS frame gives to every stream (RFC 9113 section 6.5.2).
fn initial_window(frame: &Frame) -> Option<i64> {
    if (frame.kind, frame.flags) != (kind::SETTINGS, 0) {
        return None;
    }
    let size = frame.payload.chunks(6).find(|setting| setting[..2] == [0, 4])?;
    Some(number(&size[2..]))
}

fn number(bytes: &[u8]) -> i64 {
    i64::from(u32::from_be_bytes(bytes.try_into().expect("4 bytes")))
}

fn ack(kind: u8, payload: Vec<u8>) -> Frame {
    Frame::new(kind, flag::ACK, 0, payload)
}

/// Does two things at once.
pub async fn join<A, B>(one: impl Future<Output = A>, two: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut two) = (pin!(one), pin!(two));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(cx)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = two.as_mut().poll(cx)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(one), Some(two)) => Poll::Ready((one, two)),
            (one, two) => {
                (first, second) = (one, two);
                Poll::Pending
            }
        }
    })
    .await
}
