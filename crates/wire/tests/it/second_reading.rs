//! Heads as another parser reads them: httparse finds the tokens, and every byte between them is
//! checked by itself. What the gateway's own parser makes of a head must be the same.

use crate::fuzz::{ANSWERS, LIMITS, REQUESTS, bend, fuzz};
use gatehouse_core::message::{Fields, Method, RequestHead, ResponseHead, Version, path};
use gatehouse_wire::h1::response::HEAD_BYTES_MAX;
use gatehouse_wire::h1::{AnswerError, FIELDS_MAX, ReadError, request, response};
use httparse::{EMPTY_HEADER, Header, Status};

/// What the lines of a head say.
#[derive(Debug, PartialEq, Eq)]
enum Lines {
    /// A head of this many bytes, with this first line and these fields.
    Whole(usize, FirstLine, Vec<(Vec<u8>, Vec<u8>)>),
    /// Everything so far is right, and more must come.
    Begun,
    /// More fields than allowed.
    TooMany,
    /// A version of HTTP that is neither 1.0 nor 1.1, or rubbish in its place.
    Version,
    Broken,
}

#[derive(Debug, PartialEq, Eq)]
enum FirstLine {
    Request { method: Vec<u8>, target: Vec<u8>, version: u8 },
    Answer { status: u16, reason: Vec<u8>, version: u8 },
}

fn request_lines(text: &[u8], most: usize) -> Lines {
    let mut room = [EMPTY_HEADER; FIELDS_MAX];
    let mut read = httparse::Request::new(&mut room[..most]);
    let status = read.parse(text);
    let (method, target) = (read.method.unwrap_or(""), read.path.unwrap_or(""));
    let version = read.version.unwrap_or(0);
    let line = format!("{method} {target} HTTP/1.{version}\r\n").into_bytes();
    let first = FirstLine::Request { method: method.into(), target: target.into(), version };
    lines(text, status, &line, first, read.headers)
}

fn answer_lines(text: &[u8]) -> Lines {
    let mut room = [EMPTY_HEADER; FIELDS_MAX];
    let mut read = httparse::Response::new(&mut room);
    let status = read.parse(text);
    let (code, version) = (read.code.unwrap_or(0), read.version.unwrap_or(0));
    // httparse leaves a reason out that is not ASCII: it is taken from the text.
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let reason = text.get(13..end.saturating_sub(1)).unwrap_or(b"");
    let space = if text.get(12) == Some(&b' ') { " " } else { "" };
    let mut line = format!("HTTP/1.{version} {code:03}{space}").into_bytes();
    line.extend_from_slice(reason);
    line.extend_from_slice(b"\r\n");
    let first = FirstLine::Answer { status: code, reason: reason.to_vec(), version };
    lines(text, status, &line, first, read.headers)
}

fn lines(
    text: &[u8],
    status: httparse::Result<usize>,
    line: &[u8],
    first: FirstLine,
    headers: &[Header<'_>],
) -> Lines {
    let end = match status {
        Ok(Status::Complete(end)) => end,
        Ok(Status::Partial) => return Lines::Begun,
        Err(httparse::Error::TooManyHeaders) => return Lines::TooMany,
        Err(httparse::Error::Version) => return Lines::Version,
        Err(_) => return Lines::Broken,
    };
    let Some(mut rest) = text[..end].strip_prefix(line) else { return Lines::Broken };
    let mut fields = Vec::new();
    for header in headers {
        let after = rest.strip_prefix(header.name.as_bytes()).and_then(|x| x.strip_prefix(b":"));
        let Some(after) = after else { return Lines::Broken };
        let after = after.past_blanks().strip_prefix(header.value);
        let after = after.map(Blanks::past_blanks);
        let Some(next) = after.and_then(|x| x.strip_prefix(b"\r\n")) else { return Lines::Broken };
        fields.push((header.name.into(), header.value.to_vec()));
        rest = next;
    }
    if rest == b"\r\n" { Lines::Whole(end, first, fields) } else { Lines::Broken }
}

trait Blanks {
    fn past_blanks(&self) -> &Self;
}

impl Blanks for [u8] {
    /// Without the spaces and tabs in front.
    fn past_blanks(&self) -> &[u8] {
        let blanks = self.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        &self[blanks..]
    }
}

fn all(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn minor(version: Version) -> u8 {
    if version == Version::Http10 { 0 } else { 1 }
}

/// Whether this is `host` or `host:port`, read from behind.
fn is_authority(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let digits = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (&*text, None),
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte);
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let right = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(name),
    };
    right && port.is_none_or(digits)
}

/// What the host of an accepted request must be.
fn host_of(authority: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let host = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => &text,
    };
    host.strip_suffix('.').unwrap_or(host).as_bytes().to_vec()
}

/// The target's meaning, told from its text and the fields alone.
fn judge_accepted(head: &RequestHead, target: &[u8]) {
    let after_scheme = target.windows(3).position(|part| part == b"://").map(|at| at + 3);
    let hosts: Vec<&[u8]> = head.fields.named(b"host").collect();
    assert!(hosts.iter().all(|host| is_authority(host)));
    assert!(hosts.len() == 1 || hosts.is_empty() && head.version == Version::Http10);
    let rest = match after_scheme {
        Some(at) if !target.starts_with(b"/") => {
            let rest = &target[at..];
            let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let (authority, rest) = rest.split_at(length.unwrap_or(rest.len()));
            assert_eq!(head.text(head.authority), authority);
            assert!(is_authority(authority));
            assert!(hosts.iter().all(|host| host.eq_ignore_ascii_case(authority)));
            rest
        }
        _ => {
            assert_eq!(head.text(head.authority), *hosts.first().unwrap_or(&&b""[..]));
            target
        }
    };
    assert_eq!(head.text(head.host), host_of(head.text(head.authority)));
    let (raw, query) = match rest.iter().position(|byte| *byte == b'?') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let options = head.method() == Method::Options && rest.is_empty();
    let raw = if options {
        b"*"
    } else if raw.is_empty() {
        b"/"
    } else {
        raw
    };
    assert_eq!(head.text(head.raw_path), raw);
    assert_eq!(head.query.map(|query| head.text(query)), query);
    let mut normal = Vec::new();
    let expected = match path::normalize(raw, &mut normal) {
        _ if raw == b"*" => Ok(raw),
        _ if query.is_some_and(|query| query.contains(&b'#')) => Err(path::PathFault::Fragment),
        Ok(()) => Ok(&normal[..]),
        Err(fault) => Err(fault),
    };
    assert_eq!(head.path.map(|path| head.text(path)), expected.ok());
    assert_eq!(head.path_fault, expected.err());
}

#[test]
fn a_request_head_is_read_as_another_parser_reads_it() {
    let mut head = RequestHead::default();
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    fuzz("request heads, read twice", |chance| {
        let text = bend(chance, &REQUESTS);
        let own = request::parse(&text, &LIMITS, &mut head);
        match (request_lines(&text, LIMITS.fields_max), own) {
            (Lines::Whole(end, first, fields), Ok(Some(own_end))) => {
                accepted += 1;
                let FirstLine::Request { method, target, version } = first else { panic!() };
                assert_eq!((end, fields), (own_end, all(&head.fields)));
                assert_eq!(head.text(head.method_text), method);
                assert_eq!(head.method(), Method::of(&method));
                assert_eq!(minor(head.version), version);
                let has_underscore = |(name, _): (&[u8], &[u8])| name.contains(&b'_');
                assert_eq!(head.fields.has_underscores(), head.fields.iter().any(has_underscore));
                judge_accepted(&head, &target);
            }
            (Lines::Whole(_, FirstLine::Request { target, .. }, fields), Err(error)) => {
                refused += 1;
                judge_refused(error, &target, &fields);
            }
            (Lines::Begun, Ok(None)) => {}
            // A fault may be seen before the head is whole; then it is one however it goes on.
            (Lines::Begun, Err(_)) => {
                let ended = [&text[..], b"\r\n\r\n"].concat();
                assert!(!matches!(request_lines(&ended, 32), Lines::Whole(..)), "{text:?}");
            }
            (Lines::TooMany, Err(ReadError::TooManyFields | ReadError::Malformed(_))) => {}
            (Lines::Version, Err(ReadError::Version | ReadError::Malformed(_))) => {}
            (Lines::Broken, Err(ReadError::Malformed(_))) => refused += 1,
            (theirs, own) => panic!("{:?}: {theirs:?}, {own:?}", String::from_utf8_lossy(&text)),
        }
    });
    assert!(accepted > 100 && refused > 100, "{accepted}, {refused}: the fuzzer proves nothing");
}

/// A request whose lines are right is refused for what they say, and rightly.
fn judge_refused(error: ReadError, target: &[u8], fields: &[(Vec<u8>, Vec<u8>)]) {
    let named = |word: &str| {
        let same =
            move |(name, _): &&(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(word.as_bytes());
        fields.iter().filter(same).collect::<Vec<_>>()
    };
    let framing = named("content-length").len() + named("transfer-encoding").len();
    let hosts = named("host");
    let path = target.starts_with(b"/");
    match error {
        ReadError::Ambiguous(_) | ReadError::Coding => assert!(framing > 0),
        ReadError::Host(_) => {
            let right = hosts.len() == 1 && is_authority(&hosts[0].1);
            assert!(!right || !path && target != b"*", "{target:?} {hosts:?}");
        }
        ReadError::TargetTooLong => assert!(target.len() > LIMITS.target_bytes_max),
        ReadError::Malformed(_) => assert!(!path),
        ReadError::Method | ReadError::TooLarge => {}
        other => panic!("{other:?} of a head whose lines are right"),
    }
}

#[test]
fn an_answers_head_is_read_as_another_parser_reads_it() {
    let mut head = ResponseHead::default();
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    fuzz("answer heads, read twice", |chance| {
        let text = bend(chance, &ANSWERS);
        let own = response::parse(&text, Method::Get, &mut head);
        match (answer_lines(&text), own) {
            (Lines::Whole(end, first, fields), Ok(Some(own_end))) => {
                accepted += 1;
                assert_eq!((end, fields), (own_end, all(&head.fields)));
                let reason = head.reason.of(head.fields.bytes()).to_vec();
                let (status, version) = (head.status, minor(head.version));
                assert_eq!(first, FirstLine::Answer { status, reason, version });
            }
            (Lines::Whole(_, _, fields), Err(AnswerError::Ambiguous(_))) => {
                let framing = |name: &[u8]| {
                    name.eq_ignore_ascii_case(b"content-length")
                        || name.eq_ignore_ascii_case(b"transfer-encoding")
                };
                assert!(fields.iter().any(|(name, _)| framing(name)));
            }
            (Lines::Whole(_, FirstLine::Answer { status, .. }, _), Err(error)) => {
                assert!(status < 100, "{error:?}");
            }
            (Lines::Begun, Ok(None)) => {}
            (Lines::Begun, Err(_)) => {
                let ended = [&text[..], b"\r\n\r\n"].concat();
                assert!(!matches!(answer_lines(&ended), Lines::Whole(..)), "{text:?}");
            }
            (Lines::Broken | Lines::Version, Err(AnswerError::Malformed(_))) => refused += 1,
            (theirs, own) => panic!("{:?}: {theirs:?}, {own:?}", String::from_utf8_lossy(&text)),
        }
    });
    assert!(accepted > 100 && refused > 100, "{accepted}, {refused}: the fuzzer proves nothing");
    const { assert!(HEAD_BYTES_MAX > 4096) };
}
