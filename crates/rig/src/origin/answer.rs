//! Writes answers: what each path is answered with.

use std::fmt::Arguments;
use std::time::Instant;

use super::asked::{Asked, reason};
use super::output::{Body, Output, Trailer, body_checksum, put};
use super::request::{Request, Version, field_lines};

/// A request that is read and not answered yet.
pub(super) struct Pending {
    pub asked: Asked,
    pub head_only: HeadOnly,
    pub version: Version,
    /// The beginning of the answer to `/echo`.
    pub echo: Vec<u8>,
    /// When to answer, if not at once.
    pub due: Option<Instant>,
    /// The length of its body.
    pub bytes: u64,
    /// The CRC-32 of its body, where it is asked for.
    pub checksum: u32,
}

/// Whether a request was HEAD.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadOnly {
    No,
    Yes,
}

/// Whether the connection closes after the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    Yes,
}

/// Where an answer is written, and what is the same for all.
pub(super) struct Answer<'a> {
    pub output: &'a mut Output,
    pub name: &'a str,
    pub closing: Closing,
}

impl Answer<'_> {
    /// Writes the answer to a request.
    pub fn write(&mut self, pending: &Pending) {
        match pending.asked {
            Asked::Bytes(length) => self.plain(pending, length, length),
            Asked::Truncate(length) => self.plain(pending, length, length / 2),
            Asked::Chunked(length) => self.chunked(pending, length, Trailer::None),
            Asked::Trailers(length) => self.chunked(pending, length, Trailer::Checksum),
            Asked::UntilClose(length) => self.until_close(pending, length),
            Asked::Status(status) => self.status(pending, status),
            Asked::Checksum(length) => {
                self.text(pending, format_args!("{:08x}\n", body_checksum(length)));
            }
            Asked::Echo => {
                let echo = String::from_utf8_lossy(&pending.echo);
                let (bytes, sum) = (pending.bytes, pending.checksum);
                let end = format_args!("{echo}\"bytes\":{bytes},\"crc32\":\"{sum:08x}\"}}\n");
                self.text(pending, end);
            }
            Asked::Sink => {
                let (bytes, sum) = (pending.bytes, pending.checksum);
                let text = format_args!("{{\"bytes\":{bytes},\"crc32\":\"{sum:08x}\"}}\n");
                self.text(pending, text);
            }
            Asked::Drain => {
                self.text(pending, format_args!("{{\"bytes\":{}}}\n", pending.bytes));
            }
            Asked::Name
            | Asked::Early
            | Asked::Slow(_)
            | Asked::Delay(_)
            | Asked::Stall(_)
            | Asked::Temper(_)
            | Asked::Close
            | Asked::Reset => {
                let name = self.name;
                self.text(pending, format_args!("{name}\n"));
            }
        }
    }

    /// Writes a head up to where its framing fields begin.
    fn head(&mut self, status: u16) -> &mut Vec<u8> {
        let close = if self.closing == Closing::Yes { "Connection: close\r\n" } else { "" };
        let head = self.output.head();
        let (name, reason) = (self.name, reason(status));
        put(head, format_args!("HTTP/1.1 {status} {reason}\r\nX-Origin: {name}\r\n{close}"));
        head
    }

    fn plain(&mut self, pending: &Pending, promised: u64, sent: u64) {
        let head = self.head(200);
        put(
            head,
            format_args!(
                "Content-Type: application/octet-stream\r\nContent-Length: {promised}\r\n\r\n"
            ),
        );
        self.body(pending, Body::Plain { at: 0, end: sent });
    }

    fn chunked(&mut self, pending: &Pending, length: u64, trailer: Trailer) {
        if pending.version == Version::Http10 {
            return self.until_close(pending, length);
        }
        let head = self.head(200);
        head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        if trailer == Trailer::Checksum {
            head.extend_from_slice(b"Trailer: X-Checksum\r\n");
        }
        head.extend_from_slice(b"\r\n");
        self.body(pending, Body::Chunked { at: 0, end: length, trailer });
    }

    fn until_close(&mut self, pending: &Pending, length: u64) {
        self.head(200).extend_from_slice(b"\r\n");
        self.body(pending, Body::Plain { at: 0, end: length });
    }

    fn status(&mut self, pending: &Pending, status: u16) {
        let interim = status < 200;
        if interim && pending.version == Version::Http11 {
            let (name, reason) = (self.name, reason(status));
            let head = self.output.head();
            put(head, format_args!("HTTP/1.1 {status} {reason}\r\nX-Origin: {name}\r\n\r\n"));
        }
        let last = if interim { 200 } else { status };
        if matches!(last, 204 | 304) {
            self.head(last).extend_from_slice(b"\r\n");
        } else {
            self.text_of(pending, last, format_args!("{last}\n"));
        }
    }

    fn text(&mut self, pending: &Pending, text: Arguments<'_>) {
        self.text_of(pending, 200, text);
    }

    fn text_of(&mut self, pending: &Pending, status: u16, text: Arguments<'_>) {
        let text = text.to_string();
        let head = self.head(status);
        put(head, format_args!("Content-Length: {}\r\n\r\n", text.len()));
        if pending.head_only == HeadOnly::No {
            head.extend_from_slice(text.as_bytes());
        }
    }

    fn body(&mut self, pending: &Pending, body: Body) {
        if pending.head_only == HeadOnly::No {
            self.output.body(body);
        }
    }

    /// Answers what cannot be read.
    pub fn refuse(&mut self) {
        self.head(400).extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }
}

/// The answer to `/echo` as far as the head goes.
pub(super) fn echo_head(out: &mut Vec<u8>, request: &Request<'_>, name: &str) {
    let version = match request.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    };
    out.extend_from_slice(b"{\"origin\":");
    string(out, name.as_bytes());
    out.extend_from_slice(b",\"method\":");
    string(out, request.method.as_bytes());
    out.extend_from_slice(b",\"target\":");
    string(out, request.target.as_bytes());
    put(out, format_args!(",\"version\":\"{version}\",\"fields\":["));
    for (at, (field, value)) in field_lines(request.fields).enumerate() {
        out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
        string(out, field);
        out.push(b',');
        string(out, value);
        out.push(b']');
    }
    out.extend_from_slice(b"],");
}

/// A JSON string; a byte that is not plain text becomes the character of its number.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            byte => put(out, format_args!("\\u{byte:04x}")),
        }
    }
    out.push(b'"');
}
