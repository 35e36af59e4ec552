//! Reads answers: where each ends, its status, and whether its connection may be used again. Bodies
//! are counted by the caller and not kept.

use super::chunks::{Chunks, Passed};

/// A longer head is malformed.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Whether the request was HEAD: its answer then has no body, whatever its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Body,
    HeadOnly,
}

/// What becomes of the connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Reuse,
    Close,
}

/// An answer that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub status: u16,
    pub after: After,
}

/// What a piece of input meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The answer goes on.
    More,
    /// The answer ended with the piece.
    Whole(Whole),
    /// It is no answer, or there are bytes behind it that nobody asked for.
    Malformed,
}

/// One answer after another, as far as it came.
pub(super) struct Answer {
    expected: Expected,
    stage: Stage,
    whole: Whole,
    /// The beginning of a head that is not there yet.
    held: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Stage {
    Head,
    /// Body bytes still to come.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Answer {
    pub fn new(expected: Expected) -> Self {
        let whole = Whole { status: 0, after: After::Close };
        Self { expected, stage: Stage::Head, whole, held: Vec::new() }
    }

    /// Forgets what came of the last one.
    pub fn restart(&mut self) {
        self.stage = Stage::Head;
        self.held.clear();
    }

    /// Takes a piece.
    pub fn take(&mut self, input: &[u8]) -> Taken {
        if !matches!(self.stage, Stage::Head) {
            return self.take_body(input);
        }
        if self.held.is_empty() {
            return self.take_heads(input);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(input);
        self.take_heads(&held)
    }

    /// The peer has ended its side: the answer may end that way.
    pub fn end(&mut self) -> Option<Whole> {
        matches!(self.stage, Stage::UntilClose).then_some(self.whole)
    }

    fn take_heads(&mut self, input: &[u8]) -> Taken {
        let mut rest = input;
        loop {
            let Some(length) = head_length(rest) else {
                self.held.extend_from_slice(rest);
                let too_long = rest.len() > HEAD_BYTES_MAX;
                return if too_long { Taken::Malformed } else { Taken::More };
            };
            let Some(head) = Head::parse(&rest[..length]) else { return Taken::Malformed };
            rest = &rest[length..];
            // An interim answer is followed by another; after 101 it is no longer HTTP.
            if !(100..200).contains(&head.status) || head.status == 101 {
                self.stage = head.body(self.expected);
                self.whole = Whole { status: head.status, after: head.after(self.stage) };
                return self.take_body(rest);
            }
        }
    }

    fn take_body(&mut self, input: &[u8]) -> Taken {
        match &mut self.stage {
            Stage::Head => Taken::More,
            Stage::UntilClose => Taken::More,
            Stage::Length(left) => match left.checked_sub(input.len() as u64) {
                Some(0) => Taken::Whole(self.whole),
                Some(after) => {
                    *left = after;
                    Taken::More
                }
                None => Taken::Malformed,
            },
            Stage::Chunked(chunks) => match chunks.pass(input) {
                Passed::More => Taken::More,
                Passed::Over(count) if count == input.len() => Taken::Whole(self.whole),
                Passed::Over(_) | Passed::Malformed => Taken::Malformed,
            },
        }
    }
}

/// Where the first empty line ends.
fn head_length(input: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = input[from..].iter().position(|byte| *byte == b'\n') {
        let end = from + at + 1;
        if input[..end].ends_with(b"\r\n\r\n") {
            return Some(end);
        }
        from = end;
    }
    None
}

/// What a head says of framing.
struct Head {
    status: u16,
    length: Option<u64>,
    coding: Coding,
    persistent: bool,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    /// Something else is last: the body ends with the connection.
    Other,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let line = lines.next()?.strip_suffix(b"\r")?;
        let rest = line.strip_prefix(b"HTTP/1.")?;
        let (persistent, rest) = match rest.split_first()? {
            (b'0', rest) => (false, rest),
            (b'1', rest) => (true, rest),
            _ => return None,
        };
        let mut head =
            Self { status: status(rest)?, length: None, coding: Coding::None, persistent };
        for line in lines {
            match line.strip_suffix(b"\r") {
                Some([]) => break,
                Some(line) => head.note(line)?,
                None => return None,
            }
        }
        // A message with both may be read two ways.
        (head.coding == Coding::None || head.length.is_none()).then_some(head)
    }

    /// Takes in one field; nothing when it is none.
    fn note(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':').filter(|at| *at > 0)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match colon {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
                let length = text.parse().ok()?;
                if self.length.is_some_and(|known| known != length) {
                    return None;
                }
                self.length = Some(length);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(value);
                let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                self.coding = if chunked { Coding::Chunked } else { Coding::Other };
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.persistent = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        self.persistent = true;
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    /// How its body is framed (RFC 9112, section 6.3).
    fn body(&self, expected: Expected) -> Stage {
        if expected == Expected::HeadOnly || matches!(self.status, 101 | 204 | 304) {
            return Stage::Length(0);
        }
        match (self.coding, self.length) {
            (Coding::Chunked, _) => Stage::Chunked(Chunks::start()),
            (Coding::None, Some(length)) => Stage::Length(length),
            (Coding::Other, _) | (Coding::None, None) => Stage::UntilClose,
        }
    }

    fn after(&self, body: Stage) -> After {
        let ends = matches!(body, Stage::UntilClose) || self.status == 101;
        if self.persistent && !ends { After::Reuse } else { After::Close }
    }
}

/// The status behind the version: a space, three digits, and a space or nothing.
fn status(rest: &[u8]) -> Option<u16> {
    let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else {
        return None;
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    let ends = matches!(reason, [] | [b' ', ..]);
    ends.then(|| 100 * digit(*a) + 10 * digit(*b) + digit(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `input` in pieces of `size`, and then of the peer's end.
    fn read(expected: Expected, input: &[u8], size: usize) -> Option<Whole> {
        let mut answer = Answer::new(expected);
        let mut whole = None;
        for piece in input.chunks(size) {
            if whole.is_some() {
                return None;
            }
            match answer.take(piece) {
                Taken::More => {}
                Taken::Whole(found) => whole = Some(found),
                Taken::Malformed => return None,
            }
        }
        whole.or_else(|| answer.end())
    }

    const REUSE: After = After::Reuse;
    const CLOSE: After = After::Close;

    #[test]
    fn every_framing_is_read_in_pieces_of_every_size() {
        let cases: [(&str, u16, After); 10] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, REUSE),
            ("HTTP/1.1 404\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 404, REUSE),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\nx", 200, CLOSE),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, CLOSE),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length:1\r\n\r\nx", 200, REUSE),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                200,
                REUSE,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc", 200, CLOSE),
            ("HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end", 200, CLOSE),
            ("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, REUSE),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, REUSE),
        ];
        for (text, status, after) in cases {
            for size in 1..=text.len() {
                let expected = Some(Whole { status, after });
                let found = read(Expected::Body, text.as_bytes(), size);
                assert_eq!(found, expected, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_answer_to_head_has_no_body_and_101_ends_http() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        let whole = Some(Whole { status: 200, after: REUSE });
        assert_eq!(read(Expected::HeadOnly, text, 7), whole);
        let text = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
        assert_eq!(read(Expected::Body, text, 7), Some(Whole { status: 101, after: CLOSE }));
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for text in [
            "ICY 200 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let mut answer = Answer::new(Expected::Body);
            assert_eq!(answer.take(text.as_bytes()), Taken::Malformed, "{text:?}");
        }
        let mut answer = Answer::new(Expected::Body);
        assert_eq!(answer.take(&vec![b'a'; HEAD_BYTES_MAX + 1]), Taken::Malformed);
    }

    #[test]
    fn an_answer_that_is_cut_does_not_end() {
        for text in ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", "HTTP/1.1 200", ""] {
            assert_eq!(read(Expected::Body, text.as_bytes(), 100), None, "{text:?}");
        }
    }
}
