//! An answer's head: read within limits, its framing unambiguous (RFC 9112 sections 4 and 6).

use super::fields::{self, FieldFault};
use super::{FIELDS_MAX, lists_too_much, may_hold_end, scan};
use crate::buffer::Inbox;
use crate::socket::Stream;
use gatehouse_core::message::{
    BodyLength, Known, Method, ResponseHead, Span, Version, lists_token,
};
use std::task::{Context, Poll, ready};

/// Bytes of an answer's head, status line and empty line included.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// The origin closed before the first byte.
    Closed,
    /// The origin closed within the head.
    Truncated,
    /// The connection broke.
    Reset {
        /// Whether a part of the head had come.
        begun: bool,
    },
    /// The grammar is broken.
    Malformed(&'static str),
    /// The framing can be read two ways.
    Ambiguous(&'static str),
    /// The head has too many bytes or fields.
    TooLarge,
    /// The origin has said that it did nothing about the request (HTTP/2 only).
    Unprocessed,
}

/// Reads a head into `head` from what is in the inbox and what comes. `scanned` starts at 0 and
/// is kept between calls; `asked` is the method it answers.
///
/// # Errors
/// [`AnswerError`]; the connection can only be closed after one.
pub fn poll_read(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    inbox: &mut Inbox,
    asked: Method,
    scanned: &mut usize,
    head: &mut ResponseHead,
) -> Poll<Result<(), AnswerError>> {
    loop {
        let bytes = inbox.bytes();
        if bytes.len() > *scanned && (*scanned == 0 || may_hold_end(bytes, *scanned)) {
            match parse(bytes, asked, head) {
                Ok(Some(end)) => {
                    *scanned = 0;
                    inbox.advance(end);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let held = inbox.bytes().len();
        *scanned = held;
        if held > HEAD_BYTES_MAX {
            return Poll::Ready(Err(AnswerError::TooLarge));
        }
        match ready!(inbox.poll_fill(cx, stream)) {
            Ok(0) if held == 0 => return Poll::Ready(Err(AnswerError::Closed)),
            Ok(0) => return Poll::Ready(Err(AnswerError::Truncated)),
            Ok(_) => {}
            Err(_) => return Poll::Ready(Err(AnswerError::Reset { begun: held > 0 })),
        }
    }
}

/// Parses one head. `Ok(None)` is one that is not complete yet.
///
/// # Errors
/// [`AnswerError`].
pub fn parse(
    bytes: &[u8],
    asked: Method,
    head: &mut ResponseHead,
) -> Result<Option<usize>, AnswerError> {
    head.clear();
    let end = match read_lines(bytes, head) {
        Ok(Some(end)) => end,
        other => {
            // What was recorded refers to bytes that are not loaded.
            head.clear();
            return other;
        }
    };
    head.fields.load(&bytes[..end]);
    judge_framing(head, asked)?;
    Ok(Some(end))
}

/// Reads the status line and the fields, and says where the head ends.
fn read_lines(bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, AnswerError> {
    let Some(fields_start) = read_status_line(bytes, head)? else { return Ok(None) };
    match fields::read(bytes, fields_start, FIELDS_MAX, &mut head.fields) {
        Ok(Some(end)) if end > HEAD_BYTES_MAX => Err(AnswerError::TooLarge),
        Ok(Some(_)) if head.status < 100 => Err(AnswerError::Malformed("a status below 100")),
        Ok(end) => Ok(end),
        Err(FieldFault::TooMany) => Err(AnswerError::TooLarge),
        Err(FieldFault::Malformed(detail)) => Err(AnswerError::Malformed(detail)),
    }
}

/// `HTTP/1.1 200`, then a space and a reason or nothing, then CRLF; where the fields start.
fn read_status_line(bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, AnswerError> {
    const FAULT: AnswerError =
        AnswerError::Malformed("the status line is not version, status, reason, CRLF");
    const HTTP_1_1: u64 = u64::from_ne_bytes(*b"HTTP/1.1");
    const HTTP_1_0: u64 = u64::from_ne_bytes(*b"HTTP/1.0");
    let Some((version, rest)) = bytes.split_first_chunk::<8>() else {
        let begun = b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]);
        return if begun { Ok(None) } else { Err(FAULT) };
    };
    // As one word: a pattern of bytes is compared byte by byte.
    head.version = match u64::from_ne_bytes(*version) {
        HTTP_1_1 => Version::Http11,
        HTTP_1_0 => Version::Http10,
        _ => return Err(FAULT),
    };
    let rest = match rest {
        [b' ', rest @ ..] => rest,
        [] => return Ok(None),
        _ => return Err(FAULT),
    };
    let Some((status, rest)) = rest.split_first_chunk::<3>() else {
        return if rest.iter().all(u8::is_ascii_digit) { Ok(None) } else { Err(FAULT) };
    };
    if !status.iter().all(u8::is_ascii_digit) {
        return Err(FAULT);
    }
    head.status = status.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let reason = match rest {
        [b' ', ..] => 13,
        [b'\r', ..] => 12,
        [] => return Ok(None),
        _ => return Err(FAULT),
    };
    let end = reason + scan::text_end(&bytes[reason..]);
    head.reason = Span::new(reason, end);
    match &bytes[end..] {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] => return Ok(None),
        _ => return Err(FAULT),
    }
    // The gateway's own would have another version, or a space that is not here.
    if head.version == Version::Http11 && reason == 13 {
        head.line = Span::new(0, end + 2);
    }
    Ok(Some(end + 2))
}

/// RFC 9112 section 6.3, refused where two readings are possible.
fn judge_framing(head: &mut ResponseHead, asked: Method) -> Result<(), AnswerError> {
    let fields = &head.fields;
    let framed = match (fields.has(Known::TransferEncoding), fields.has(Known::ContentLength)) {
        (true, true) => {
            return Err(AnswerError::Ambiguous("both content-length and transfer-encoding"));
        }
        (true, false) => {
            let mut values = fields.all(Known::TransferEncoding);
            let value = values.next().unwrap_or(b"");
            let plain = value.eq_ignore_ascii_case(b"chunked") && values.next().is_none();
            if !plain || head.version == Version::Http10 {
                return Err(AnswerError::Ambiguous("transfer-encoding is not chunked, once"));
            }
            BodyLength::Chunked
        }
        (false, true) => {
            let mut values = fields.all(Known::ContentLength);
            let value = values.next().unwrap_or(b"");
            match fields::content_length(value) {
                Some(_) if values.next().is_some() => {
                    return Err(AnswerError::Ambiguous("content-length more than once"));
                }
                Some(0) => BodyLength::None,
                Some(length) => BodyLength::Known(length),
                None => return Err(AnswerError::Ambiguous("content-length is not a plain number")),
            }
        }
        (false, false) => BodyLength::UntilClose,
    };
    let bodiless = asked == Method::Head || matches!(head.status, 100..200 | 204 | 304);
    head.body = if bodiless { BodyLength::None } else { framed };
    if lists_too_much(fields) {
        return Err(AnswerError::Malformed("connection lists too many members"));
    }
    let asks = |token| fields.all(Known::Connection).any(|value| lists_token(value, token));
    let kept = match head.version {
        Version::Http11 | Version::Http2 => !(fields.has(Known::Connection) && asks(b"close")),
        Version::Http10 => fields.has(Known::Connection) && asks(b"keep-alive") && !asks(b"close"),
    };
    head.keep_alive = kept && head.body != BodyLength::UntilClose;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, asked: Method) -> Result<ResponseHead, AnswerError> {
        let mut head = ResponseHead::default();
        match parse(text.as_bytes(), asked, &mut head)? {
            Some(_) => Ok(head),
            None => Err(AnswerError::Truncated),
        }
    }

    #[test]
    fn the_length_of_an_answer_depends_on_what_was_asked() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(sized, Method::Get).unwrap().body, BodyLength::Known(5));
        assert_eq!(read(sized, Method::Head).unwrap().body, BodyLength::None);
        for status in ["100 Continue", "204 No Content", "304 Not Modified"] {
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(read(&text, Method::Get).unwrap().body, BodyLength::None);
        }
        let endless = read("HTTP/1.1 200\r\n\r\n", Method::Get).unwrap();
        assert_eq!((endless.body, endless.keep_alive), (BodyLength::UntilClose, false));
        assert_eq!(endless.reason.len(), 0);
        let chunked = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert_eq!(read(chunked, Method::Get).unwrap().body, BodyLength::Chunked);
    }

    #[test]
    fn an_answer_framed_twice_is_refused() {
        for lines in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: x",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
            assert!(matches!(read(&text, Method::Get), Err(AnswerError::Ambiguous(_))), "{lines}");
        }
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(read(old, Method::Get), Err(AnswerError::Ambiguous(_))));
    }

    #[test]
    fn an_answer_that_bends_the_grammar_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y\n\r\n",
            "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            assert!(matches!(read(text, Method::Get), Err(AnswerError::Malformed(_))), "{text:?}");
        }
    }
}
