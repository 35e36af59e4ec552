//! Message bodies (RFC 9112 sections 6 and 7): where one ends, found without collecting it.

use super::fields::{self, FieldFault};
use gatehouse_core::message::{BodyLength, Fields, Known};
use std::ops::Range;

/// Bytes of a chunk's size line, extensions included.
const SIZE_LINE_MAX: usize = 512;

/// Bytes of a trailer section.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Field lines of a trailer section.
const TRAILER_FIELDS_MAX: usize = 64;

/// What is wrong with a body's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError(pub &'static str);

/// What a decoder found in some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where the payload stands now, in the bytes handed in.
    pub data: Range<usize>,
    /// Bytes of the connection that are dealt with, payload included.
    pub consumed: usize,
    /// Whether the body ends there.
    pub done: bool,
}

/// Finds a body's payload and its end.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    trailers: Option<Box<Fields>>,
}

#[derive(Debug)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    /// In a chunk-size line; what has been read of it.
    Size {
        value: u64,
        digits: u8,
        line: u16,
        part: SizePart,
    },
    /// In a chunk's data.
    Data(u64),
    /// The CRLF behind a chunk's data; whether its CR was seen.
    DataEnd {
        cr: bool,
    },
    /// In the trailer section.
    Trailer(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SizePart {
    Digits,
    Extension,
    Lf,
}

const SIZE: State = State::Size { value: 0, digits: 0, line: 0, part: SizePart::Digits };

impl Decoder {
    /// A decoder for a body of this length.
    pub fn new(length: BodyLength) -> Decoder {
        let state = match length {
            BodyLength::None | BodyLength::Known(0) => State::Done,
            BodyLength::Known(length) => State::Length(length),
            BodyLength::Chunked => SIZE,
            BodyLength::UntilClose => State::UntilClose,
        };
        Decoder { state, trailers: None }
    }

    /// A decoder of the last `left` bytes of a body that ends with these trailers.
    pub(crate) fn last(left: usize, trailers: Option<Box<Fields>>) -> Decoder {
        let state = if left > 0 { State::Length(left as u64) } else { State::Done };
        Decoder { state, trailers }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Bytes still to come, where the head said how many.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Takes `count` bytes of a body that has no framing of its own off what is still to come,
    /// without having seen them; no more than [`Decoder::remaining`] where that is known.
    pub fn skip(&mut self, count: u64) {
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.state = State::Done;
            }
        }
    }

    /// The trailer fields, once the body is done; `None` where there were none.
    pub fn take_trailers(&mut self) -> Option<Box<Fields>> {
        self.trailers.take()
    }

    /// Takes as much of `bytes` as belongs to the body. Where chunk framing stands between two
    /// pieces of payload, the later one is moved up to the earlier, so that payload is one range.
    ///
    /// # Errors
    /// [`BodyError`] where the framing is broken; the connection can only be closed after it.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, BodyError> {
        match &mut self.state {
            State::Done => Ok(Decoded { data: 0..0, consumed: 0, done: true }),
            State::UntilClose => {
                Ok(Decoded { data: 0..bytes.len(), consumed: bytes.len(), done: false })
            }
            State::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                let done = *left == 0;
                if done {
                    self.state = State::Done;
                }
                Ok(Decoded { data: 0..count, consumed: count, done })
            }
            _ => self.decode_chunked(bytes),
        }
    }

    fn decode_chunked(&mut self, bytes: &mut [u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        let mut data = 0..0;
        while at < bytes.len() {
            match &mut self.state {
                State::Size { .. } => at += self.size_line(&bytes[at..])?,
                State::Data(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    if data.is_empty() {
                        data = at..at;
                    }
                    if data.end != at {
                        bytes.copy_within(at..at + count, data.end);
                    }
                    data.end += count;
                    at += count;
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = State::DataEnd { cr: false };
                    }
                }
                State::DataEnd { cr } => {
                    match (*cr, bytes[at]) {
                        (false, b'\r') => *cr = true,
                        (true, b'\n') => self.state = SIZE,
                        _ => return Err(BodyError("a chunk's data is not followed by CRLF")),
                    }
                    at += 1;
                }
                State::Trailer(_) => at += self.trailer_line(&bytes[at..])?,
                State::Done | State::Length(_) | State::UntilClose => break,
            }
        }
        Ok(Decoded { data, consumed: at, done: self.is_done() })
    }

    /// Hex digits, then an optional extension, then CRLF: nothing else, no white space.
    fn size_line(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let State::Size { value, digits, line, part } = &mut self.state else { return Ok(0) };
        for (at, byte) in bytes.iter().enumerate() {
            *line += 1;
            if usize::from(*line) > SIZE_LINE_MAX {
                return Err(BodyError("a chunk's size line is too long"));
            }
            match (*part, byte) {
                (SizePart::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    *digits += 1;
                    if *digits > 15 {
                        return Err(BodyError("a chunk's size is too large"));
                    }
                    let digit = (*byte as char).to_digit(16).unwrap_or(0);
                    *value = *value << 4 | u64::from(digit);
                }
                (SizePart::Digits, b'\r' | b';') if *digits == 0 => {
                    return Err(BodyError("a chunk has no size"));
                }
                (SizePart::Digits, b';') => *part = SizePart::Extension,
                (SizePart::Digits | SizePart::Extension, b'\r') => *part = SizePart::Lf,
                (SizePart::Extension, b'\t' | b' '..=b'~' | 0x80..=0xff) => {}
                (SizePart::Lf, b'\n') => {
                    self.state =
                        if *value > 0 { State::Data(*value) } else { State::Trailer(Vec::new()) };
                    return Ok(at + 1);
                }
                _ => return Err(BodyError("a chunk's size is not exactly hex")),
            }
        }
        Ok(bytes.len())
    }

    /// Collects the trailer section line by line, up to its empty line.
    fn trailer_line(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let State::Trailer(held) = &mut self.state else { return Ok(0) };
        let count = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        if held.is_empty() && bytes.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok(2);
        }
        held.extend_from_slice(&bytes[..count]);
        if held.len() > TRAILER_BYTES_MAX {
            return Err(BodyError("the trailer section is too large"));
        }
        if held.ends_with(b"\n\r\n") || held == b"\r\n" {
            let trailers = if held.len() > 2 { Some(parse_trailers(held)?) } else { None };
            self.trailers = trailers;
            self.state = State::Done;
        } else if held.ends_with(b"\n") && !held.ends_with(b"\r\n") {
            return Err(BodyError("a trailer line does not end in CRLF"));
        }
        Ok(count)
    }
}

/// RFC 9110 section 6.5.1: a trailer may not change framing, routing or authentication.
fn parse_trailers(text: &[u8]) -> Result<Box<Fields>, BodyError> {
    let mut trailers = Box::<Fields>::default();
    match fields::read(text, 0, TRAILER_FIELDS_MAX, &mut trailers) {
        Ok(Some(end)) if end == text.len() => trailers.load(text),
        Ok(_) => return Err(BodyError("the trailer section is malformed")),
        Err(FieldFault::TooMany) => return Err(BodyError("too many fields")),
        Err(FieldFault::Malformed(detail)) => return Err(BodyError(detail)),
    }
    if !may_trail(&trailers) {
        return Err(BodyError("a trailer carries a field that belongs in the head"));
    }
    Ok(trailers)
}

/// Whether no field frames, routes or authenticates.
pub(crate) fn may_trail(trailers: &Fields) -> bool {
    let forbidden = [
        Known::TransferEncoding,
        Known::ContentLength,
        Known::Host,
        Known::Connection,
        Known::Upgrade,
        Known::Expect,
        Known::Te,
        Known::Trailer,
        Known::Authorization,
        Known::Cookie,
        Known::SetCookie,
        Known::Forwarded,
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedHost,
        Known::XForwardedOther,
    ];
    !forbidden.into_iter().any(|known| trailers.has(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `text` in pieces of `step`; the payload, and what was not the body's.
    fn decode(text: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, Decoder), BodyError> {
        let mut decoder = Decoder::new(BodyLength::Chunked);
        let mut payload = Vec::new();
        for (index, piece) in text.chunks(step).enumerate() {
            let mut piece = piece.to_vec();
            let decoded = decoder.decode(&mut piece)?;
            payload.extend_from_slice(&piece[decoded.data]);
            if decoded.done {
                return Ok((payload, text[index * step + decoded.consumed..].to_vec(), decoder));
            }
            assert_eq!(decoded.consumed, piece.len());
        }
        Ok((payload, Vec::new(), decoder))
    }

    #[test]
    fn chunks_are_joined_and_the_rest_is_left() {
        let text = b"5\r\nhello\r\n1;ext=\"v\"\r\n,\r\n00A\r\n wonderful\r\n0\r\n\r\nGET /";
        for step in 1..=text.len() {
            let (payload, rest, decoder) = decode(text, step).unwrap();
            assert_eq!(payload, b"hello, wonderful", "{step}");
            assert_eq!(rest, b"GET /", "{step}");
            assert!(decoder.is_done());
        }
    }

    #[test]
    fn trailers_are_kept_and_those_that_frame_are_refused() {
        let (_, _, mut decoder) = decode(b"0\r\nX-Sum: 1\r\nY:\r\n\r\n", 3).unwrap();
        let trailers = decoder.take_trailers().unwrap();
        assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"X-Sum"[..], &b"1"[..]), (b"Y", b"")]);
        for line in ["Content-Length: 1", "Transfer-Encoding: chunked", "Host: a", "X : y", " x"] {
            let text = format!("0\r\n{line}\r\n\r\n");
            assert!(decode(text.as_bytes(), 64).is_err(), "{line}");
        }
    }

    #[test]
    fn a_chunk_that_is_not_exactly_hex_and_crlf_is_refused() {
        for text in [
            "\r\n",
            ";x\r\n",
            "x\r\n",
            " 1\r\na\r\n",
            "1 \r\na\r\n",
            "0x1\r\na\r\n",
            "+1\r\na\r\n",
            "-1\r\n",
            "1\na\r\n",
            "1\r\na\n",
            "1\r\nab\r\n",
            "1\ra",
            "1;a\nb\r\n",
            "1;\x01\r\n",
            "ffffffffffffffff\r\n",
            "1000000000000000\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\n\n",
            "0\n\r\n",
            "1\r\na\r\r\n",
        ] {
            for step in [1, 2, 64] {
                assert!(decode(text.as_bytes(), step).is_err(), "{text:?} {step}");
            }
        }
        let long = format!("1;{}\r\n", "x".repeat(SIZE_LINE_MAX));
        assert!(decode(long.as_bytes(), 64).is_err());
        let trailers = format!("0\r\nX: {}\r\n\r\n", "y".repeat(TRAILER_BYTES_MAX));
        assert!(decode(trailers.as_bytes(), 64).is_err());
    }

    #[test]
    fn a_counted_body_takes_exactly_its_length() {
        let mut decoder = Decoder::new(BodyLength::Known(5));
        let decoded = decoder.decode(&mut b"abc".to_vec()).unwrap();
        assert_eq!(decoded, Decoded { data: 0..3, consumed: 3, done: false });
        let decoded = decoder.decode(&mut b"defgh".to_vec()).unwrap();
        assert_eq!(decoded, Decoded { data: 0..2, consumed: 2, done: true });
    }

    proptest! {
        #[test]
        fn any_split_of_any_body_gives_the_same_payload(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(1_usize..20, 1..40),
            step in 1_usize..40,
        ) {
            let mut text = Vec::new();
            let mut rest = body.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                text.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
                rest = tail;
            }
            text.extend_from_slice(b"0\r\n\r\nnext");
            let (payload, left, _) = decode(&text, step).unwrap();
            prop_assert_eq!(payload, body);
            prop_assert_eq!(left, b"next".to_vec());
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(
            text in proptest::collection::vec(prop_oneof![
                Just(b'0'), Just(b'1'), Just(b'a'), Just(b';'), Just(b'\r'), Just(b'\n'),
                Just(b':'), any::<u8>(),
            ], 0..80),
            step in 1_usize..8,
        ) {
            let _ = decode(&text, step);
        }
    }
}
