//! A request head: read within limits, its framing unambiguous (RFC 9112 sections 3, 6 and 11.2).

use super::fields::{self, FieldFault};
use super::target::{self, Target};
use super::{FIELDS_MAX, lists_too_much, may_hold_end};
use crate::buffer::Inbox;
use crate::socket::Stream;
use gatehouse_core::message::{
    BodyLength, Fields, Known, Method, RequestHead, Span, Version, lists_token,
};
use std::task::{Context, Poll, ready};

/// How large a request head may be.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes, request line and empty line included; at most [`crate::buffer::LARGE_BYTES`].
    pub head_bytes_max: usize,
    /// Field lines, at most [`FIELDS_MAX`].
    pub fields_max: usize,
    /// Bytes of the target.
    pub target_bytes_max: usize,
}

/// Why there is no request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The client closed between requests.
    Closed,
    /// The client closed within a head.
    Truncated,
    /// The connection broke.
    Reset,
    /// The grammar is broken.
    Malformed(&'static str),
    /// The framing can be read two ways.
    Ambiguous(&'static str),
    /// The host is missing, doubled, malformed, or disagrees with the target.
    Host(&'static str),
    /// The head has too many bytes.
    TooLarge,
    /// The head has too many fields.
    TooManyFields,
    /// The target has too many bytes.
    TargetTooLong,
    /// CONNECT.
    Method,
    /// A transfer coding other than chunked.
    Coding,
    /// A version other than 1.0 and 1.1.
    Version,
}

/// Reads a head into `head` from what is in the inbox and what comes. `scanned` starts at 0 and
/// is kept between calls.
///
/// # Errors
/// [`ReadError`]; the connection can only be closed after one.
pub fn poll_read(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    inbox: &mut Inbox,
    limits: &RequestLimits,
    scanned: &mut usize,
    head: &mut RequestHead,
) -> Poll<Result<(), ReadError>> {
    loop {
        skip_empty_line(inbox);
        let bytes = inbox.bytes();
        // The half of an empty line is no beginning of a head.
        let begun = bytes.len() > *scanned && bytes != b"\r";
        if begun && (*scanned == 0 || may_hold_end(bytes, *scanned)) {
            match parse(bytes, limits, head) {
                Ok(Some(end)) => {
                    *scanned = 0;
                    inbox.consume(end);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let held = inbox.bytes().len();
        *scanned = held;
        if held > limits.head_bytes_max {
            return Poll::Ready(Err(over_limit(inbox.bytes(), limits)));
        }
        match ready!(inbox.poll_fill(cx, stream)) {
            Ok(0) if held == 0 => return Poll::Ready(Err(ReadError::Closed)),
            Ok(0) => return Poll::Ready(Err(ReadError::Truncated)),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::OutOfMemory => {
                return Poll::Ready(Err(ReadError::TooLarge));
            }
            Err(_) => return Poll::Ready(Err(ReadError::Reset)),
        }
    }
}

/// One empty line before a request is skipped (RFC 9112 section 2.2).
fn skip_empty_line(inbox: &mut Inbox) {
    if inbox.bytes().starts_with(b"\r\n") {
        inbox.consume(2);
    }
}

fn over_limit(bytes: &[u8], limits: &RequestLimits) -> ReadError {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if line > limits.target_bytes_max { ReadError::TargetTooLong } else { ReadError::TooLarge }
}

/// Parses one head. `Ok(None)` is one that is not complete yet.
///
/// # Errors
/// [`ReadError`].
pub fn parse(
    bytes: &[u8],
    limits: &RequestLimits,
    head: &mut RequestHead,
) -> Result<Option<usize>, ReadError> {
    head.clear();
    let (target, end) = match read_lines(bytes, limits, head) {
        Ok(Some(read)) => read,
        other => {
            // What was recorded refers to bytes that are not loaded.
            head.clear();
            return other.map(|_| None);
        }
    };
    head.fields.load(&bytes[..end]);
    if end > limits.head_bytes_max {
        return Err(ReadError::TooLarge);
    }
    if head.method() == Method::Connect {
        return Err(ReadError::Method);
    }
    judge_framing(head)?;
    target::judge(head, target)?;
    Ok(Some(end))
}

/// Reads the request line and the fields, and says where the head ends.
fn read_lines(
    bytes: &[u8],
    limits: &RequestLimits,
    head: &mut RequestHead,
) -> Result<Option<(Target, usize)>, ReadError> {
    let Some(target_start) = read_method(bytes, head)? else { return Ok(None) };
    let Some(target) = target::read(bytes, target_start)? else { return Ok(None) };
    let version = &bytes[target.span.end as usize + 1..];
    let Some(rest) = read_version(bytes, version, head)? else { return Ok(None) };
    let fields_start = bytes.len() - rest.len();
    let most = limits.fields_max.min(FIELDS_MAX);
    match fields::read(bytes, fields_start, most, &mut head.fields) {
        Ok(Some(_)) if target.span.len() > limits.target_bytes_max => Err(ReadError::TargetTooLong),
        Ok(Some(end)) => Ok(Some((target, end))),
        Ok(None) => Ok(None),
        Err(FieldFault::TooMany) => Err(ReadError::TooManyFields),
        Err(FieldFault::Malformed(detail)) => Err(ReadError::Malformed(detail)),
    }
}

/// The method and its space; where the target starts.
fn read_method(bytes: &[u8], head: &mut RequestHead) -> Result<Option<usize>, ReadError> {
    if bytes.starts_with(b"GET ") {
        head.method = Some(Method::Get);
        head.method_text = Span::new(0, 3);
        return Ok(Some(4));
    }
    const FAULT: ReadError = ReadError::Malformed("the method is not a token with a space behind");
    let space = bytes.iter().position(|byte| *byte == b' ');
    let text = &bytes[..space.unwrap_or(bytes.len())];
    if !Known::is_token(text) || space == Some(0) {
        return Err(FAULT);
    }
    head.method = Some(Method::of(text));
    head.method_text = Span::new(0, text.len());
    Ok(space.map(|at| at + 1))
}

/// The version and its CRLF, at the start of `text`; what follows them.
fn read_version<'a>(
    bytes: &[u8],
    text: &'a [u8],
    head: &mut RequestHead,
) -> Result<Option<&'a [u8]>, ReadError> {
    let Some((version, rest)) = text.split_first_chunk::<8>() else {
        let begun = b"HTTP/1.".starts_with(&text[..text.len().min(7)]);
        return if begun { Ok(None) } else { Err(version_fault(bytes)) };
    };
    const HTTP_1_1: u64 = u64::from_ne_bytes(*b"HTTP/1.1");
    const HTTP_1_0: u64 = u64::from_ne_bytes(*b"HTTP/1.0");
    // As one word: a pattern of bytes is compared byte by byte.
    head.version = match u64::from_ne_bytes(*version) {
        HTTP_1_1 => Version::Http11,
        HTTP_1_0 => Version::Http10,
        _ => return Err(version_fault(bytes)),
    };
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok(Some(rest)),
        [] | [b'\r'] => Ok(None),
        _ => Err(ReadError::Malformed("the request line does not end in CRLF")),
    }
}

/// A version that is none of ours: one that is HTTP all the same is 505, rubbish is 400.
#[cold]
fn version_fault(bytes: &[u8]) -> ReadError {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes).trim_ascii_end();
    match line.rsplit(|byte| *byte == b' ').next() {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit()
                && minor.is_ascii_digit()
                && !matches!((major, minor), (b'1', b'0' | b'1')) =>
        {
            ReadError::Version
        }
        _ => ReadError::Malformed("the version is not HTTP/1.0 or HTTP/1.1"),
    }
}

/// RFC 9112 section 6: how long the body is, refused where two readings are possible.
fn judge_framing(head: &mut RequestHead) -> Result<(), ReadError> {
    let fields = &head.fields;
    head.body = match (fields.has(Known::TransferEncoding), fields.has(Known::ContentLength)) {
        (false, false) => BodyLength::None,
        (true, true) => {
            return Err(ReadError::Ambiguous("both content-length and transfer-encoding"));
        }
        (false, true) => length(fields)?,
        (true, false) => chunked(fields, head.version)?,
    };
    if lists_too_much(fields) {
        return Err(ReadError::Malformed("connection lists too many members"));
    }
    let asks = |token| fields.all(Known::Connection).any(|value| lists_token(value, token));
    head.keep_alive = match head.version {
        Version::Http11 | Version::Http2 => !(fields.has(Known::Connection) && asks(b"close")),
        Version::Http10 => fields.has(Known::Connection) && asks(b"keep-alive") && !asks(b"close"),
    };
    Ok(())
}

fn length(fields: &Fields) -> Result<BodyLength, ReadError> {
    let mut values = fields.all(Known::ContentLength);
    let value = values.next().unwrap_or(b"");
    if values.next().is_some() {
        return Err(ReadError::Ambiguous("content-length more than once"));
    }
    match fields::content_length(value) {
        Some(0) => Ok(BodyLength::None),
        Some(length) => Ok(BodyLength::Known(length)),
        None => Err(ReadError::Ambiguous("content-length is not a plain number")),
    }
}

fn chunked(fields: &Fields, version: Version) -> Result<BodyLength, ReadError> {
    if version == Version::Http10 {
        return Err(ReadError::Ambiguous("transfer-encoding in HTTP/1.0"));
    }
    let mut values = fields.all(Known::TransferEncoding);
    let value = values.next().unwrap_or(b"");
    if values.next().is_some() {
        return Err(ReadError::Ambiguous("transfer-encoding more than once"));
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(BodyLength::Chunked);
    }
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(b"").trim_ascii();
    if value.contains(&b',') && last.eq_ignore_ascii_case(b"chunked") {
        return Err(ReadError::Coding);
    }
    Err(ReadError::Ambiguous("transfer-encoding other than chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const LIMITS: RequestLimits =
        RequestLimits { head_bytes_max: 1024, fields_max: 8, target_bytes_max: 128 };

    fn read(text: &str) -> Result<RequestHead, ReadError> {
        let mut head = RequestHead::default();
        match parse(text.as_bytes(), &LIMITS, &mut head)? {
            Some(end) => {
                assert!(end <= text.len());
                Ok(head)
            }
            None => Err(ReadError::Truncated),
        }
    }

    #[test]
    fn a_plain_request_is_understood() {
        let head = read("GET /a%2E/../b?q=1 HTTP/1.1\r\nHost: Example.COM.:8080\r\nX:\r\n\r\nrest");
        let head = head.unwrap();
        assert_eq!(head.method(), Method::Get);
        assert_eq!(head.path_text(), b"/b");
        assert_eq!(head.text(head.query.unwrap()), b"q=1");
        assert_eq!(head.text(head.authority), b"Example.COM.:8080");
        assert_eq!(head.text(head.host), b"example.com");
        assert!(head.keep_alive);
        assert_eq!(head.body, BodyLength::None);
    }

    #[test]
    fn every_form_of_a_target_gives_one_host_and_path() {
        for (line, host, path) in [
            ("GET http://a.example/x?y HTTP/1.1\r\nHost: a.example", "a.example", "/x"),
            ("GET http://a.example HTTP/1.1\r\nHost: A.example", "a.example", "/"),
            ("GET http://a.example?x HTTP/1.0\r\nX: y", "a.example", "/"),
            ("OPTIONS * HTTP/1.1\r\nHost: a", "a", "*"),
            ("OPTIONS http://a HTTP/1.1\r\nHost: a", "a", "*"),
            ("GET / HTTP/1.1\r\nHost: [::1]:80", "[::1]", "/"),
            ("GET / HTTP/1.0", "", "/"),
        ] {
            let head = read(&format!("{line}\r\n\r\n")).unwrap();
            assert_eq!(head.text(head.host), host.as_bytes(), "{line}");
            assert_eq!(head.path_text(), path.as_bytes(), "{line}");
        }
    }

    #[test]
    fn every_way_of_framing_twice_is_refused() {
        for lines in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length: 1 2",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding:",
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
            assert!(matches!(read(&text), Err(ReadError::Ambiguous(_))), "{lines}");
        }
        let coding = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        assert_eq!(read(coding).unwrap_err(), ReadError::Coding);
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(read(old), Err(ReadError::Ambiguous(_))));
    }

    #[test]
    fn a_head_that_bends_the_grammar_is_refused() {
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent\rLength: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET example/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a#x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(
                matches!(read(text), Err(ReadError::Malformed(_))),
                "{text:?} {:?}",
                read(text)
            );
        }
    }

    #[test]
    fn a_host_that_could_be_two_is_refused() {
        for lines in [
            "GET / HTTP/1.1\r\nX: y",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a, b",
            "GET / HTTP/1.1\r\nHost: user@a",
            "GET / HTTP/1.1\r\nHost: a/b",
            "GET / HTTP/1.1\r\nHost: a b",
            "GET / HTTP/1.1\r\nHost:",
            "GET / HTTP/1.1\r\nHost: a:",
            "GET / HTTP/1.1\r\nHost: a:x",
            "GET / HTTP/1.1\r\nHost: a:1:2",
            "GET / HTTP/1.1\r\nHost: [::1",
            "GET / HTTP/1.1\r\nHost: a%41",
            "GET http://a/ HTTP/1.1\r\nHost: b",
            "GET http://user@a/ HTTP/1.1\r\nHost: a",
            "GET http:/// HTTP/1.1\r\nHost: a",
        ] {
            let text = format!("{lines}\r\n\r\n");
            assert!(matches!(read(&text), Err(ReadError::Host(_))), "{lines} {:?}", read(&text));
        }
    }

    #[test]
    fn limits_have_statuses_of_their_own() {
        let many = "X: y\r\n".repeat(9);
        let text = format!("GET / HTTP/1.1\r\n{many}\r\n");
        assert_eq!(read(&text).unwrap_err(), ReadError::TooManyFields);
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(128));
        assert_eq!(read(&long).unwrap_err(), ReadError::TargetTooLong);
        let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1024));
        assert_eq!(read(&large).unwrap_err(), ReadError::TooLarge);
        assert_eq!(read("GET / HTTP/2.0\r\n\r\n").unwrap_err(), ReadError::Version);
        assert_eq!(read("GET / HTTP/1.2\r\nHost: a\r\n\r\n").unwrap_err(), ReadError::Version);
        let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        assert_eq!(read(connect).unwrap_err(), ReadError::Method);
    }

    #[test]
    fn a_connection_that_lists_too_much_is_refused() {
        let listing = |count| {
            let members = vec!["x"; count].join(",");
            read(&format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {members}\r\n\r\n"))
        };
        assert!(listing(64).is_ok());
        assert!(matches!(listing(65), Err(ReadError::Malformed(_))));
    }

    #[test]
    fn http_1_0_closes_unless_told_otherwise() {
        for (lines, expected) in [
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive", true),
            ("GET / HTTP/1.1\r\nHost: a", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close", false),
        ] {
            assert_eq!(read(&format!("{lines}\r\n\r\n")).unwrap().keep_alive, expected, "{lines}");
        }
    }
}
