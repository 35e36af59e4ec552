//! Counts what a peer makes the connection do against what it gains by it, frame by frame, and
//! says when that is no longer use but flood. Looks at frame headers alone (RFC 9113 section
//! 4.1); the time is an argument.
//!
//! The peer has an account. Frames that cost us work and carry no message draw on it; time, and
//! messages that make progress, pay in. Whoever does what HTTP/2 is for never comes near zero;
//! whoever sends nothing but PINGs is at zero after a few hundred of them.

use super::End;
use gatehouse_core::moment::Moment;
use std::time::Duration;

/// What an account holds at most, and at first.
const ACCOUNT_MAX: u32 = 500;

/// One unit is paid in each time this has passed: 20 a second.
const UNIT_EVERY: Duration = Duration::from_millis(50);

/// What a frame of ours that carries a message pays in to a client: enough for two WINDOW_UPDATEs
/// and a part of a PING. An answer is at least a head, and mostly a head and a body.
const PAID_BY_ANSWER: u32 = 3;

/// The same to an endpoint, for a part of a request. It sends a head and trailers for what may be
/// one frame of ours, WINDOW_UPDATEs, and a PING to measure each burst with (gRPC servers do).
const PAID_BY_REQUEST: u32 = 8;

/// Bytes of DATA that pay in one unit.
const PAYING_BYTES: u32 = 64;

// No flood of one kind of frame lasts longer than threats.md allows.
const _: () = assert!(ACCOUNT_MAX < 1000);

/// RFC 9113 section 6: the types of frames.
mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Why a connection goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It made us do too much for nothing; with what.
    Flood(&'static str),
    /// Its first frame is not SETTINGS (RFC 9113 section 3.4).
    NoSettings,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub length: u32,
    pub kind: u8,
    pub flags: u8,
}

/// Finds frame headers in a stream of bytes that comes in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    head: [u8; 9],
    held: usize,
    left: u32,
}

impl Scanner {
    /// Calls `found` for every frame whose header ends in `bytes`.
    pub fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = (self.left as usize).min(bytes.len());
                self.left -= skip as u32;
                bytes = &bytes[skip..];
                continue;
            }
            let take = (self.head.len() - self.held).min(bytes.len());
            self.head[self.held..self.held + take].copy_from_slice(&bytes[..take]);
            self.held += take;
            bytes = &bytes[take..];
            if self.held == self.head.len() {
                self.held = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]);
                self.left = length;
                found(FrameHead { length, kind, flags });
            }
        }
    }
}

/// One connection's account.
#[derive(Debug)]
pub(crate) struct Guard {
    account: u32,
    paid_by_message: u32,
    paid_until: Moment,
    inward: Scanner,
    outward: Scanner,
    /// Whether a frame has come.
    begun: bool,
    /// Whether a header block lacks frames.
    block_open: bool,
    /// Whether the frame that came last is of a header block.
    in_head: bool,
    /// Since when a header block is incomplete.
    block_since: Option<Moment>,
}

impl Guard {
    /// The account of the peer of a connection whose end `end` is ours.
    pub fn new(end: End, now: Moment) -> Guard {
        Guard {
            account: ACCOUNT_MAX,
            paid_by_message: match end {
                End::Server => PAID_BY_ANSWER,
                End::Client => PAID_BY_REQUEST,
            },
            paid_until: now,
            inward: Scanner::default(),
            outward: Scanner::default(),
            begun: false,
            block_open: false,
            in_head: false,
            block_since: None,
        }
    }

    /// Looks at what the peer has sent, the preface not included.
    pub fn received(&mut self, bytes: &[u8], now: Moment) -> Result<(), Fault> {
        self.pay_for_time(now);
        let Guard { account, inward, begun, block_open, in_head, .. } = self;
        let mut fault = None;
        inward.scan(bytes, |head| {
            if !std::mem::replace(begun, true) && (head.kind, head.flags) != (kind::SETTINGS, 0) {
                fault = Some(Fault::NoSettings);
            }
            *in_head = matches!(head.kind, kind::HEADERS | kind::CONTINUATION);
            if *in_head {
                *block_open = head.flags & END_HEADERS == 0;
            }
            let (cost, name) = cost(head);
            *account = (*account + gain(head)).min(ACCOUNT_MAX);
            match account.checked_sub(cost) {
                Some(rest) => *account = rest,
                None => fault = fault.or(Some(Fault::Flood(name))),
            }
        });
        let unfinished = self.block_open || self.in_head && self.inward.left > 0;
        self.block_since = if unfinished { self.block_since.or(Some(now)) } else { None };
        fault.map_or(Ok(()), Err)
    }

    /// Looks at what is sent to the peer, without a preface: messages that make progress pay in.
    pub fn sent(&mut self, bytes: &[u8]) {
        let Guard { account, paid_by_message, outward, .. } = self;
        outward.scan(bytes, |head| {
            if matches!(head.kind, kind::DATA | kind::HEADERS) {
                *account = (*account + *paid_by_message).min(ACCOUNT_MAX);
            }
        });
    }

    /// Since when a request's head is under way and not complete.
    pub fn head_since(&self) -> Option<Moment> {
        self.block_since
    }

    fn pay_for_time(&mut self, now: Moment) {
        let units = now.since(self.paid_until).as_nanos() / UNIT_EVERY.as_nanos();
        if units > 0 {
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            self.account = self.account.saturating_add(units).min(ACCOUNT_MAX);
            self.paid_until = now;
        }
    }
}

/// What a frame draws on the account, and what a flood of it is called.
fn cost(head: FrameHead) -> (u32, &'static str) {
    match head.kind {
        kind::DATA if head.length == 0 && head.flags & END_STREAM == 0 => (4, "empty DATA frames"),
        // Short messages are what streams are for; the h2 crate bounds how many wait unread.
        kind::DATA => (0, ""),
        // What a request costs beyond this, the limit on streams bounds.
        kind::HEADERS => (1, "HEADERS frames"),
        kind::PRIORITY => (1, "PRIORITY frames"),
        // With the HEADERS before it: a hundred requests broken off before any was answered.
        kind::RST_STREAM => (4, "RST_STREAM frames"),
        kind::SETTINGS if head.flags & ACK == 0 => (8, "SETTINGS frames"),
        kind::PING if head.flags & ACK == 0 => (2, "PING frames"),
        kind::SETTINGS | kind::PING => (1, "acknowledgements"),
        kind::WINDOW_UPDATE => (1, "WINDOW_UPDATE frames"),
        kind::CONTINUATION => (8, "CONTINUATION frames"),
        kind::GOAWAY | kind::PUSH_PROMISE => (8, "GOAWAY frames"),
        _ => (2, "frames of unknown kinds"),
    }
}

/// What a frame of the peer's pays in.
fn gain(head: FrameHead) -> u32 {
    if head.kind == kind::DATA { (head.length / PAYING_BYTES).min(8) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        bytes.resize(9 + length, 0);
        bytes
    }

    /// An account of a connection that has begun.
    fn begun() -> Guard {
        let mut guard = Guard::new(End::Server, Moment::START);
        guard.begun = true;
        guard
    }

    /// After how many frames of this kind, sent at once, it is a flood.
    fn flood_after(kind: u8, flags: u8, length: usize) -> Option<usize> {
        let mut guard = begun();
        let bytes = frame(kind, flags, length);
        (1..=2000).find(|_| guard.received(&bytes, Moment::START).is_err())
    }

    #[test]
    fn every_kind_of_frame_that_carries_nothing_is_a_flood_within_a_thousand() {
        for (kind, flags, length) in [
            (kind::PING, 0, 8),
            (kind::PING, ACK, 8),
            (kind::SETTINGS, 0, 0),
            (kind::SETTINGS, ACK, 0),
            (kind::PRIORITY, 0, 5),
            (kind::RST_STREAM, 0, 4),
            (kind::WINDOW_UPDATE, 0, 4),
            (kind::CONTINUATION, 0, 1),
            (kind::DATA, 0, 0),
            (kind::GOAWAY, 0, 8),
            (0xfe, 0, 0),
        ] {
            let after = flood_after(kind, flags, length);
            assert!(after.is_some_and(|after| after < 1000), "{kind} {after:?}");
        }
    }

    #[test]
    fn bytes_of_a_body_are_no_flood() {
        for length in [1, 64, 1024, 16 * 1024] {
            assert_eq!(flood_after(kind::DATA, 0, length), None, "{length}");
        }
    }

    #[test]
    fn a_download_that_is_acknowledged_frame_by_frame_is_no_flood() {
        let mut guard = begun();
        for _ in 0..10_000 {
            guard.sent(&frame(kind::DATA, 0, 100));
            let mut bytes = frame(kind::WINDOW_UPDATE, 0, 4);
            bytes.extend(frame(kind::WINDOW_UPDATE, 0, 4));
            assert_eq!(guard.received(&bytes, Moment::START), Ok(()));
        }
    }

    #[test]
    fn requests_that_are_answered_pay_for_themselves() {
        let mut guard = begun();
        for _ in 0..10_000 {
            assert_eq!(guard.received(&frame(kind::HEADERS, 5, 30), Moment::START), Ok(()));
            guard.sent(&frame(kind::HEADERS, 5, 10));
        }
    }

    #[test]
    fn requests_broken_off_before_any_answer_are_a_flood() {
        let mut guard = begun();
        let mut pair = frame(kind::HEADERS, 5, 30);
        pair.extend(frame(kind::RST_STREAM, 0, 4));
        let after = (1..500).find(|_| guard.received(&pair, Moment::START).is_err());
        assert_eq!(after, Some(101));
    }

    #[test]
    fn a_ping_every_second_goes_on_for_ever() {
        let mut guard = begun();
        for second in 0..100_000 {
            let now = Moment::START.after(Duration::from_secs(second));
            assert_eq!(guard.received(&frame(kind::PING, 0, 8), now), Ok(()));
        }
    }

    #[test]
    fn frames_are_found_in_any_pieces() {
        let mut text = frame(kind::HEADERS, 4, 30);
        text.extend(frame(kind::DATA, 0, 0));
        text.extend(frame(kind::PING, 0, 8));
        for step in 1..text.len() {
            let mut scanner = Scanner::default();
            let mut kinds = Vec::new();
            text.chunks(step).for_each(|piece| scanner.scan(piece, |head| kinds.push(head.kind)));
            assert_eq!(kinds, [kind::HEADERS, kind::DATA, kind::PING], "{step}");
            assert_eq!((scanner.held, scanner.left), (0, 0));
        }
    }

    #[test]
    fn a_head_under_way_is_known_until_it_ends() {
        let at = |seconds| Moment::START.after(Duration::from_secs(seconds));
        let mut guard = begun();
        let open = frame(kind::HEADERS, 0, 10);
        guard.received(&open[..12], at(1)).unwrap();
        assert_eq!(guard.head_since(), Some(at(1)));
        guard.received(&open[12..], at(2)).unwrap();
        assert_eq!(guard.head_since(), Some(at(1)));
        guard.received(&frame(kind::CONTINUATION, END_HEADERS, 5), at(3)).unwrap();
        assert_eq!(guard.head_since(), None);
        guard.received(&frame(kind::DATA, 0, 100)[..50], at(4)).unwrap();
        assert_eq!(guard.head_since(), None);
    }

    #[test]
    fn settings_come_first() {
        let first = |kind, flags| {
            let mut guard = Guard::new(End::Server, Moment::START);
            guard.received(&frame(kind, flags, 0), Moment::START)
        };
        assert_eq!(first(kind::SETTINGS, 0), Ok(()));
        assert_eq!(first(kind::SETTINGS, ACK), Err(Fault::NoSettings));
        assert_eq!(first(kind::HEADERS, 5), Err(Fault::NoSettings));
    }
}
