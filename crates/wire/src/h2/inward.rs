//! Heads and trailers as they come out of the h2 crate, into the types that HTTP/1.1 fills too.
//! What could become something else in HTTP/1.1 is refused here (RFC 9113 sections 8.2, 8.3 and
//! 10.3), whatever the h2 crate has refused before.

use crate::h1::fields::content_length;
use crate::h1::{AnswerError, ReadError, RequestLimits, body, target};
use gatehouse_core::message::{
    BodyLength, Fields, Known, Method, RequestHead, ResponseHead, Version,
};
use http::header::{COOKIE, HeaderMap};
use http::{request, response};
use std::io;

/// A field of the upgrade from HTTP/1.1 (RFC 7540 section 3.2.1), which is no more.
const HTTP2_SETTINGS: &str = "http2-settings";

/// Fills `head` from a request. `ended` says that it has no body.
pub(super) fn request(
    parts: &request::Parts,
    ended: bool,
    limits: &RequestLimits,
    head: &mut RequestHead,
) -> Result<(), ReadError> {
    head.clear();
    head.version = Version::Http2;
    head.keep_alive = true;
    let switch = extended_connect(parts)?;
    let method = if switch { b"GET" } else { parts.method.as_str().as_bytes() };
    head.method = Some(Method::of(method));
    head.method_text = head.fields.note(method);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    if path.len() > limits.target_bytes_max {
        return Err(ReadError::TargetTooLong);
    }
    let target = head.fields.note(path);
    let authority = parts.uri.authority().map(|text| head.fields.note(text.as_str().as_bytes()));
    judge_scheme(parts)?;
    let lines = fill(&parts.headers, &mut head.fields).map_err(ReadError::Malformed)?;
    if lines > limits.fields_max {
        return Err(ReadError::TooManyFields);
    }
    if head.fields.bytes().len() > limits.head_bytes_max {
        return Err(ReadError::TooLarge);
    }
    head.body = body_length(&head.fields, ended).map_err(ReadError::Ambiguous)?;
    if switch {
        head.body = BodyLength::None;
        head.fields.append(b"Connection", b"upgrade");
        head.fields.append(b"Upgrade", b"websocket");
    }
    target::judge_parts(head, target, authority)
}

/// Whether this is a WebSocket's CONNECT (RFC 8441 section 4). A plain CONNECT asks for a tunnel
/// to anywhere, which a gateway does not dig.
fn extended_connect(parts: &request::Parts) -> Result<bool, ReadError> {
    if parts.method != http::Method::CONNECT {
        return Ok(false);
    }
    match parts.extensions.get::<h2::ext::Protocol>() {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => Ok(true),
        Some(_) | None => Err(ReadError::Method),
    }
}

/// What a gateway serves (RFC 9113 section 8.3.1).
fn judge_scheme(parts: &request::Parts) -> Result<(), ReadError> {
    match parts.uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(ReadError::Malformed("the scheme is not http or https")),
    }
}

/// Appends every field, cookies as one (RFC 9113 section 8.2.3). Says how many lines came of it.
fn fill(map: &HeaderMap, fields: &mut Fields) -> Result<usize, &'static str> {
    let mut lines = 0;
    let mut cookies = false;
    for (name, value) in map {
        // Nobody on the way would read it (RFC 9110 section 7.6.1).
        if name == HTTP2_SETTINGS {
            continue;
        }
        // Remembers underscores too, as for a head of HTTP/1.1.
        let known = fields.know(name.as_str().as_bytes());
        let known = judge(known, name.as_str().as_bytes(), value.as_bytes())?;
        if known != Known::Cookie {
            let write = |line: &mut Vec<u8>| line.extend_from_slice(value.as_bytes());
            fields.append_received(known, name.as_str().as_bytes(), write);
        } else if !std::mem::replace(&mut cookies, true) {
            fields.append_received(known, b"cookie", |line| join_cookies(map, line));
        } else {
            continue;
        }
        lines += 1;
    }
    Ok(lines)
}

fn join_cookies(map: &HeaderMap, line: &mut Vec<u8>) {
    for (at, crumb) in map.get_all(COOKIE).iter().enumerate() {
        line.extend_from_slice(if at > 0 { b"; " } else { b"" });
        line.extend_from_slice(crumb.as_bytes());
    }
}

/// Whether a field may stand in HTTP/2, and means the same in HTTP/1.1; which it is. `known` is
/// `None` where its name is no token.
fn judge(known: Option<Known>, name: &[u8], value: &[u8]) -> Result<Known, &'static str> {
    // RFC 9113 section 8.2.1; the h2 crate lets no other bytes through than a token's.
    let known = known.filter(|_| !name.iter().any(u8::is_ascii_uppercase));
    let known = known.ok_or("a field name holds a byte that is no lower-case token")?;
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err("a field value holds CR, LF or NUL");
    }
    if value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank) {
        return Err("a field value begins or ends with white space");
    }
    match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Upgrade => Err("a field of one connection has no place in HTTP/2"),
        Known::Te if !value.eq_ignore_ascii_case(b"trailers") => {
            Err("te may only be trailers in HTTP/2")
        }
        known => Ok(known),
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// How long a body is. The h2 crate holds DATA to the length a head promises.
fn body_length(fields: &Fields, ended: bool) -> Result<BodyLength, &'static str> {
    if !fields.has(Known::ContentLength) {
        return Ok(if ended { BodyLength::None } else { BodyLength::Chunked });
    }
    let mut values = fields.all(Known::ContentLength);
    let length = values.next().and_then(content_length);
    if values.next().is_some() {
        return Err("content-length more than once");
    }
    match length.ok_or("content-length is not a plain number")? {
        0 => Ok(BodyLength::None),
        _ if ended => Err("content-length without a body"),
        length => Ok(BodyLength::Known(length)),
    }
}

/// Fills `head` from an answer to a request of this method. `ended` says that it has no body.
pub(super) fn answer(
    parts: &response::Parts,
    ended: bool,
    asked: Method,
    head: &mut ResponseHead,
) -> Result<(), AnswerError> {
    head.clear();
    head.version = Version::Http2;
    head.status = parts.status.as_u16();
    head.keep_alive = true;
    head.reason = head.fields.note(crate::h1::encode::reason(head.status).as_bytes());
    if head.status == 101 {
        return Err(AnswerError::Malformed("101 has no place in HTTP/2"));
    }
    fill(&parts.headers, &mut head.fields).map_err(AnswerError::Malformed)?;
    let bodiless = asked == Method::Head || matches!(head.status, 100..200 | 204 | 304);
    head.body = if bodiless {
        BodyLength::None
    } else {
        body_length(&head.fields, ended).map_err(AnswerError::Ambiguous)?
    };
    Ok(())
}

/// Trailers (RFC 9113 section 8.1).
pub(super) fn trailers(map: &HeaderMap) -> io::Result<Box<Fields>> {
    let mut fields = Box::<Fields>::default();
    let filled = fill(map, &mut fields);
    if filled.is_err() || !body::may_trail(&fields) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits =
        RequestLimits { head_bytes_max: 512, fields_max: 8, target_bytes_max: 128 };

    fn read(build: http::request::Builder, ended: bool) -> Result<RequestHead, ReadError> {
        let (parts, ()) = build.body(()).unwrap().into_parts();
        let mut head = RequestHead::default();
        request(&parts, ended, &LIMITS, &mut head)?;
        Ok(head)
    }

    fn get(uri: &str) -> http::request::Builder {
        http::Request::get(uri)
    }

    #[test]
    fn a_request_is_the_same_head_that_http_1_1_gives() {
        let build = get("https://Example.COM:8443/a/../b?q=1").header("x-one", "1");
        let head = read(build.header("cookie", "a=1").header("cookie", "b=2"), true).unwrap();
        assert_eq!(head.method(), Method::Get);
        assert_eq!(head.text(head.host), b"example.com");
        assert_eq!(head.text(head.authority), b"Example.COM:8443");
        assert_eq!(head.path_text(), b"/b");
        assert_eq!(head.text(head.query.unwrap()), b"q=1");
        assert_eq!(head.fields.get(Known::Cookie), Some(&b"a=1; b=2"[..]));
        assert_eq!(head.fields.named_first(b"x-one"), Some(&b"1"[..]));
        assert_eq!((head.body, head.version), (BodyLength::None, Version::Http2));
    }

    #[test]
    fn a_host_beside_the_authority_says_the_same_or_is_refused() {
        assert!(read(get("https://a.example/").header("host", "A.example"), true).is_ok());
        let without = read(get("/x").header("host", "a.example"), true).unwrap();
        assert_eq!(without.text(without.host), b"a.example");
        for build in [
            get("https://a.example/").header("host", "b.example"),
            get("https://a.example/").header("host", "a.example").header("host", "a.example"),
            get("https://user@a.example/"),
            get("/"),
            get("/").header("host", "a, b"),
        ] {
            assert!(matches!(read(build, true), Err(ReadError::Host(_))));
        }
    }

    #[test]
    fn what_http_1_1_would_read_as_something_else_is_refused() {
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("x", " a"),
            ("x", "a\t"),
        ] {
            let read = read(get("https://a/").header(name, value), true);
            assert!(matches!(read, Err(ReadError::Malformed(_))), "{name}: {value}");
        }
        assert!(matches!(read(get("ftp://a/"), true), Err(ReadError::Malformed(_))));
    }

    #[test]
    fn a_length_is_a_number_that_stands_once() {
        let with = |values: &[&str], ended| {
            let build = values.iter().fold(http::Request::post("https://a/"), |build, value| {
                build.header("content-length", *value)
            });
            read(build, ended).map(|head| head.body)
        };
        assert_eq!(with(&["5"], false).unwrap(), BodyLength::Known(5));
        assert_eq!(with(&["0"], true).unwrap(), BodyLength::None);
        assert_eq!(with(&[], false).unwrap(), BodyLength::Chunked);
        assert_eq!(with(&[], true).unwrap(), BodyLength::None);
        for (values, ended) in
            [(&["5", "5"][..], false), (&["5", "6"], false), (&["+5"], false), (&["5"], true)]
        {
            assert!(matches!(with(values, ended), Err(ReadError::Ambiguous(_))), "{values:?}");
        }
    }

    #[test]
    fn limits_are_those_of_http_1_1() {
        let many = (0..9).fold(get("https://a/"), |b, n| b.header(format!("x-{n}"), "y"));
        assert_eq!(read(many, true).unwrap_err(), ReadError::TooManyFields);
        let large = get("https://a/").header("x", "y".repeat(600));
        assert_eq!(read(large, true).unwrap_err(), ReadError::TooLarge);
        let long = get(&format!("https://a/{}", "x".repeat(200)));
        assert_eq!(read(long, true).unwrap_err(), ReadError::TargetTooLong);
        let crumbs = (0..20).fold(get("https://a/"), |b, n| b.header("cookie", format!("{n}=1")));
        assert!(read(crumbs, true).is_ok());
    }

    #[test]
    fn only_a_web_socket_may_connect() {
        let connect = |protocol: Option<&'static str>| {
            let build = http::Request::builder().method("CONNECT").uri("https://a/chat");
            read(
                match protocol {
                    Some(name) => build.extension(h2::ext::Protocol::from_static(name)),
                    None => build,
                },
                false,
            )
        };
        let head = connect(Some("websocket")).unwrap();
        assert_eq!((head.method(), head.body), (Method::Get, BodyLength::None));
        assert!(head.asks_upgrade());
        assert_eq!(connect(None).unwrap_err(), ReadError::Method);
        assert_eq!(connect(Some("connect-udp")).unwrap_err(), ReadError::Method);
    }
}
