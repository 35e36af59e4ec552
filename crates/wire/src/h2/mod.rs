//! HTTP/2 (RFC 9113), both sides, behind a boundary of our own: the h2 crate frames, compresses
//! and keeps flow control; heads come out of it as the same types that HTTP/1.1 has, bodies as
//! a [`crate::Stream`]. Nothing above this folder names the h2 crate or its types.
//!
//! What the h2 crate lacks is beneath it: `guard` counts frames that carry nothing, `link`
//! collects what many streams write.

mod chunk;
mod client;
mod guard;
mod inward;
mod link;
mod outward;
mod server;
mod stream;

pub use client::{Session, SessionDriver};
pub use guard::Fault;
pub use outward::Ask;
pub use server::{Server, ServerWaits};
pub use stream::{H2Stream, Last, OpenError, Unsendable};

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which end of a connection is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer sends a preface first (RFC 9113 section 3.4).
    Server,
    /// We do.
    Client,
}

/// Bytes of its bodies that a client may have under way on one connection.
const CLIENT_WINDOW: u32 = 4 * 1024 * 1024;

/// Bytes of one body that a client may have under way.
const CLIENT_STREAM_WINDOW: u32 = 256 * 1024;

/// Bytes of one answer that an endpoint may have under way.
const ENDPOINT_STREAM_WINDOW: u32 = 128 * 1024;

/// Requests under way at once on one connection to an endpoint, however many it takes.
const ENDPOINT_STREAMS_MAX: usize = 100;

/// Bytes of answers that an endpoint may have under way on one connection: all that its streams
/// may, so that clients who read nothing do not stop those who share a connection with them.
const ENDPOINT_WINDOW: u32 = ENDPOINT_STREAM_WINDOW * ENDPOINT_STREAMS_MAX as u32;

/// Bytes of one body that wait for the connection to be written.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Streams that a peer may make us reset by breaking rules, over a connection's life
/// (CVE-2025-8671).
const BROKEN_STREAMS_MAX: usize = 200;

/// Streams that a peer may open and reset within one read (CVE-2023-44487).
const RESET_BURST_MAX: usize = 64;

/// How a connection's first bytes look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// It speaks HTTP/2.
    Whole,
    /// It may.
    Begun,
    /// It does not.
    Other,
}

impl Preface {
    /// What `bytes`, the first of a connection, show.
    pub fn of(bytes: &[u8]) -> Preface {
        let count = bytes.len().min(PREFACE.len());
        match (bytes[..count] == PREFACE[..count], count == PREFACE.len()) {
            (true, true) => Preface::Whole,
            (true, false) => Preface::Begun,
            (false, _) => Preface::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_is_told_from_a_request_by_its_first_bytes() {
        for (bytes, expected) in [
            (&PREFACE[..], Preface::Whole),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Preface::Whole),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Preface::Begun),
            (b"P", Preface::Begun),
            (b"", Preface::Begun),
            (b"POST / HTTP/1.1", Preface::Other),
            (b"PRI * HTTP/1.1\r\n", Preface::Other),
        ] {
            assert_eq!(Preface::of(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
