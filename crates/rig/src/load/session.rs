//! One connection with one request under way.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::Wrong;
use super::question::{Afterwards, Questions};
use crate::poller::Ready;
use crate::socket::{self, Moved};

/// A longer answer head is an error.
const HEAD_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Session {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
    ending: bool,
    /// Which request.
    question: usize,
    /// When it began.
    since: Instant,
    /// Bytes of it that are written.
    sent: usize,
    /// The beginning of a head that is not whole yet.
    held: Vec<u8>,
    body: Body,
    /// What the answer's head says of the connection.
    afterwards: Afterwards,
}

/// The answer's body, once its head is there.
#[derive(Clone, Copy)]
enum Body {
    Unknown,
    Known { length: u64, left: u64 },
}

/// Where a session stands after a turn.
pub(crate) enum Turn {
    Waits,
    /// With a body of so many bytes; the server may say that it closes.
    Answered(u64, Afterwards),
    /// The session is of no more use.
    Wrong(Wrong),
}

impl Session {
    pub fn new(socket: OwnedFd, question: usize, since: Instant) -> Self {
        let (readable, writable, ending) = (false, false, false);
        let (held, body) = (Vec::new(), Body::Unknown);
        let (sent, afterwards) = (0, Afterwards::Keep);
        Self { socket, readable, writable, ending, question, since, sent, held, body, afterwards }
    }

    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn note(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.ending |= ready.ended;
    }

    /// Puts another request on it.
    pub fn ask(&mut self, question: usize, since: Instant) {
        (self.question, self.since, self.sent) = (question, since, 0);
        self.held.clear();
        self.body = Body::Unknown;
    }

    /// Sends the request and reads its answer as far as that is possible now.
    pub fn turn(&mut self, questions: &Questions, buffer: &mut [u8]) -> Turn {
        let request = questions.text(self.question);
        while self.writable && self.sent < request.len() {
            match socket::write(&self.socket, &request[self.sent..]) {
                Moved::Bytes(count) => self.sent += count,
                Moved::Blocked => self.writable = false,
                Moved::Ended | Moved::Broken => return Turn::Wrong(Wrong::Broken),
            }
        }
        while self.readable {
            match socket::read(&self.socket, buffer) {
                Moved::Bytes(count) => {
                    // A short read has emptied the socket; an end that follows is a new event.
                    self.readable = count == buffer.len() || self.ending;
                    match self.receive(&buffer[..count], questions.answer_bytes) {
                        Turn::Waits => {}
                        // The rest of the upload would be read as the next request.
                        Turn::Answered(..) if self.sent < request.len() => {
                            return Turn::Wrong(Wrong::Malformed);
                        }
                        turn => return turn,
                    }
                }
                Moved::Blocked => self.readable = false,
                Moved::Ended | Moved::Broken => return Turn::Wrong(self.cut()),
            }
        }
        Turn::Waits
    }

    /// What an end of the connection means here.
    fn cut(&self) -> Wrong {
        match self.body {
            Body::Unknown => Wrong::Broken,
            Body::Known { length, left } => {
                Wrong::Length { found: length - left, expected: length }
            }
        }
    }

    /// Takes a piece of the answer.
    fn receive(&mut self, bytes: &[u8], expected: Option<u64>) -> Turn {
        if let Body::Known { .. } = self.body {
            return self.count(bytes.len() as u64);
        }
        if self.held.is_empty() {
            return self.head(bytes, expected);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let turn = self.head(&held, expected);
        if matches!(self.body, Body::Unknown) {
            self.held = held;
        }
        turn
    }

    fn head(&mut self, bytes: &[u8], expected: Option<u64>) -> Turn {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            if bytes.len() > HEAD_BYTES_MAX {
                return Turn::Wrong(Wrong::Malformed);
            }
            if self.held.is_empty() {
                self.held.extend_from_slice(bytes);
            }
            return Turn::Waits;
        };
        let (length, afterwards) = match understood(&bytes[..end]) {
            Ok(understood) => understood,
            Err(wrong) => return Turn::Wrong(wrong),
        };
        if let Some(expected) = expected.filter(|expected| *expected != length) {
            return Turn::Wrong(Wrong::Length { found: length, expected });
        }
        (self.body, self.afterwards) = (Body::Known { length, left: length }, afterwards);
        self.count((bytes.len() - end - 4) as u64)
    }

    fn count(&mut self, bytes: u64) -> Turn {
        let Body::Known { length, left } = self.body else { return Turn::Waits };
        // More than the answer is an answer to nothing.
        let Some(left) = left.checked_sub(bytes) else { return Turn::Wrong(Wrong::Malformed) };
        self.body = Body::Known { length, left };
        if left == 0 { Turn::Answered(length, self.afterwards) } else { Turn::Waits }
    }
}

/// The length of the body behind a head with status 200, and what becomes of the connection.
fn understood(head: &[u8]) -> Result<(u64, Afterwards), Wrong> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.1 "));
    let status = status.and_then(|line| number(line.get(..3)?)).ok_or(Wrong::Malformed)?;
    if status != 200 {
        return Err(Wrong::Status(u16::try_from(status).unwrap_or(0)));
    }
    let (mut length, mut afterwards) = (None, Afterwards::Keep);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = number(value);
        } else if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close") {
            afterwards = Afterwards::Close;
        }
    }
    Ok((length.ok_or(Wrong::Malformed)?, afterwards))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_its_length_and_what_follows_or_what_is_wrong_with_it() {
        let of = |head: &str| understood(head.as_bytes());
        let (kept, closed) = (Afterwards::Keep, Afterwards::Close);
        assert_eq!(of("HTTP/1.1 200 OK\r\nA: b\r\ncontent-LENGTH:  7 "), Ok((7, kept)));
        let closing = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nconnection: Close";
        assert_eq!(of(closing), Ok((7, closed)));
        assert_eq!(of("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 7"), Err(Wrong::Status(502)));
        for head in ["HTTP/1.1 200 OK", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: x", ""] {
            assert_eq!(of(head), Err(Wrong::Malformed), "{head:?}");
        }
    }
}
