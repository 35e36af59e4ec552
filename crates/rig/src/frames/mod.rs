//! HTTP/2 frames (RFC 9113) and header blocks (RFC 7541) as a test writes and reads them: also
//! those that no honest peer would send. Bytes only; whoever calls has the connection.

mod hpack;

pub use hpack::{Unpacker, pack, pack_crumb};

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 section 6.
#[allow(missing_docs, reason = "each is the frame of that name")]
pub mod kind {
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

/// Flags of frames.
#[allow(missing_docs, reason = "each is the flag of that name")]
pub mod flag {
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// RFC 9113 section 7.
#[allow(missing_docs, reason = "each is the error of that name")]
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`], or anything.
    pub kind: u8,
    /// Some of [`flag`], or any.
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
        Frame { kind, flags, stream, payload: payload.into() }
    }

    /// SETTINGS with these.
    #[must_use]
    pub fn settings(settings: &[(u16, u32)]) -> Frame {
        let payload = settings
            .iter()
            .flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        Frame::new(kind::SETTINGS, 0, 0, payload.collect::<Vec<u8>>())
    }

    /// HEADERS, whole, of these fields.
    #[must_use]
    pub fn headers(stream: u32, fields: &[(&str, &str)], flags: u8) -> Frame {
        Frame::new(kind::HEADERS, flags | flag::END_HEADERS, stream, pack(fields))
    }

    /// DATA.
    #[must_use]
    pub fn data(stream: u32, bytes: impl AsRef<[u8]>, flags: u8) -> Frame {
        Frame::new(kind::DATA, flags, stream, bytes.as_ref())
    }

    /// RST_STREAM.
    #[must_use]
    pub fn reset(stream: u32, code: u32) -> Frame {
        Frame::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// WINDOW_UPDATE.
    #[must_use]
    pub fn window(stream: u32, more: u32) -> Frame {
        Frame::new(kind::WINDOW_UPDATE, 0, stream, more.to_be_bytes())
    }

    /// PING.
    #[must_use]
    pub fn ping(payload: [u8; 8]) -> Frame {
        Frame::new(kind::PING, 0, 0, payload)
    }

    /// GOAWAY.
    #[must_use]
    pub fn go_away(last: u32, code: u32) -> Frame {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        Frame::new(kind::GOAWAY, 0, 0, payload)
    }

    /// The frame as bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[self.kind, self.flags]);
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Takes the first frame off `bytes`; `None` where it is not whole yet.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.get(..9)? else { return None };
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let stream: [u8; 4] = stream.try_into().ok()?;
        let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(stream));
        let payload = bytes.get(9..9 + length)?.to_vec();
        bytes.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    /// Whether it ends its stream.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }

    /// The error code of a RST_STREAM or a GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// The pseudo-fields of a plain request, and these.
#[must_use]
pub fn ask<'a>(
    method: &'a str,
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let own =
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", "example.com")];
    own.into_iter().chain(more.iter().copied()).collect()
}
