//! A request's target and host: four forms, one meaning (RFC 9112 section 3.2).

use super::request::ReadError;
use super::scan::{self, TargetScan};
use gatehouse_core::message::{Known, Method, RequestHead, Span, Version, path};

/// A target as it stands in the request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub span: Span,
    /// Whether there is a `?`.
    has_mark: bool,
    /// Whether its path, if it starts with one, is its own normal form, and no `#` is anywhere.
    /// May be false of one that is.
    plain: bool,
}

/// Reads a target and the space behind it; `None` where that has not come yet.
pub(super) fn read(bytes: &[u8], start: usize) -> Result<Option<Target>, ReadError> {
    const FAULT: ReadError = ReadError::Malformed("the target holds a byte that no URL has");
    let TargetScan { length, has_mark, plain, wide } = scan::target(&bytes[start..]);
    let end = start + length;
    let text = &bytes[start..end];
    match bytes.get(end) {
        None => return Ok(None),
        Some(b' ') if length > 0 && (!wide || std::str::from_utf8(text).is_ok()) => {}
        Some(_) => return Err(FAULT),
    }
    Ok(Some(Target { span: Span::new(start, end), has_mark, plain }))
}

/// RFC 9112 section 3.2: the four forms of a target, and the host that goes with it.
pub(super) fn judge(head: &mut RequestHead, target: Target) -> Result<(), ReadError> {
    let named =
        head.fields.only(Known::Host).map_err(|_| ReadError::Host("host more than once"))?;
    if named.is_none() && head.version == Version::Http11 {
        return Err(ReadError::Host("host is missing"));
    }
    let host = match named {
        Some(span) => Authority::of(head.text(span), span)
            .ok_or(ReadError::Host("host is not a name or address with an optional port"))?,
        None => Authority::default(),
    };
    let text = target.span.of(head.fields.bytes());
    if text.first() == Some(&b'/') {
        split_query(head, target.span, target.has_mark);
        note_host(head, host);
        judge_path(head, target.plain);
    } else if text == b"*" && head.method() == Method::Options {
        head.raw_path = target.span;
        note_host(head, host);
        head.path = Some(head.raw_path);
    } else {
        let host = absolute_form(head, target.span, named)?;
        note_host(head, host);
        judge_path(head, false);
    }
    Ok(())
}

/// What HTTP/2 has in place of a request line (RFC 9113 section 8.3.1): a path, or `*`, and an
/// authority, which `Host` may repeat or stand in for.
pub(crate) fn judge_parts(
    head: &mut RequestHead,
    target: Span,
    authority: Option<Span>,
) -> Result<(), ReadError> {
    let from_host =
        head.fields.only(Known::Host).map_err(|_| ReadError::Host("host more than once"))?;
    let Some(named) = authority.or(from_host) else {
        return Err(ReadError::Host("the authority is missing"));
    };
    let bytes = head.fields.bytes();
    let host = Authority::of(named.of(bytes), named)
        .ok_or(ReadError::Host("the authority is no name or address with an optional port"))?;
    if from_host.is_some_and(|own| !own.of(bytes).eq_ignore_ascii_case(named.of(bytes))) {
        return Err(ReadError::Host("host and the authority disagree"));
    }
    let text = target.of(bytes);
    let star = text == b"*" && head.method() == Method::Options;
    if !(star || text.starts_with(b"/")) || text.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f))
    {
        return Err(ReadError::Malformed("the path is not a path"));
    }
    split_query(head, target, !star);
    note_host(head, host);
    judge_path(head, star);
    Ok(())
}

/// `http://host/path`: the target's host is the host, and `Host` must say the same.
fn absolute_form(
    head: &mut RequestHead,
    target: Span,
    named: Option<Span>,
) -> Result<Authority, ReadError> {
    const FAULT: ReadError = ReadError::Malformed("the target is not a path or an http URL");
    let bytes = head.fields.bytes();
    let text = target.of(bytes);
    let scheme = text.iter().position(|byte| *byte == b':').ok_or(FAULT)?;
    let known = text[..scheme].eq_ignore_ascii_case(b"http")
        || text[..scheme].eq_ignore_ascii_case(b"https");
    let rest = text[scheme..].strip_prefix(b"://").filter(|_| known).ok_or(FAULT)?;
    let length =
        rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..length];
    let start = target.start as usize + scheme + 3;
    let host = Authority::of(authority, Span::new(start, start + length))
        .ok_or(ReadError::Host("the target's host is not a name or address"))?;
    if named.is_some_and(|own| !own.of(bytes).eq_ignore_ascii_case(authority)) {
        return Err(ReadError::Host("host and the target disagree"));
    }
    if rest.get(length) == Some(&b'#') {
        return Err(ReadError::Malformed("the target holds a fragment"));
    }
    let after = Span::new(start + length, target.end as usize);
    if after.of(bytes).starts_with(b"/") {
        split_query(head, after, true);
        return Ok(host);
    }
    // An empty path is `/`, and `*` for OPTIONS without a query (RFC 9112 section 3.2.4).
    let bare = head.method() == Method::Options && after.is_empty();
    head.query =
        (!after.is_empty()).then(|| Span::new(after.start as usize + 1, after.end as usize));
    head.raw_path = head.fields.note(if bare { b"*" } else { b"/" });
    Ok(host)
}

fn split_query(head: &mut RequestHead, target: Span, has_mark: bool) {
    let text = target.of(head.fields.bytes());
    match has_mark.then(|| scan::find(b'?', text)).flatten() {
        Some(at) => {
            let mark = target.start as usize + at;
            head.raw_path = Span::new(target.start as usize, mark);
            head.query = Some(Span::new(mark + 1, target.end as usize));
        }
        None => head.raw_path = target,
    }
}

/// Sets `authority`, and `host`: lower case, no port, no trailing dot.
fn note_host(head: &mut RequestHead, host: Authority) {
    head.authority = host.span;
    head.host = host.name;
    if host.has_upper {
        let lower = |name: &[u8], out: &mut Vec<u8>| {
            out.extend(name.iter().map(u8::to_ascii_lowercase));
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(host) = head.fields.note_derived(head.host, lower);
        head.host = host;
    }
}

/// Sets `path` to the normal form, or says why there is none. What is known to be `plain` is its
/// own.
fn judge_path(head: &mut RequestHead, plain: bool) {
    let raw = head.raw_path;
    if plain {
        head.path = Some(raw);
        return;
    }
    let text = head.text(raw);
    let query_bad = head.query.is_some_and(|query| head.text(query).contains(&b'#'));
    if query_bad {
        head.path_fault = Some(path::PathFault::Fragment);
    } else if path::is_normal(text) || text == b"*" {
        head.path = Some(raw);
    } else {
        match head.fields.note_derived(raw, path::normalize) {
            Ok(path) => head.path = Some(path),
            Err(fault) => head.path_fault = Some(fault),
        }
    }
}

/// `host` or `host:port` as a request may carry it: no userinfo, no list, no percent-encoding.
#[derive(Clone, Copy, Debug, Default)]
struct Authority {
    span: Span,
    /// The host alone, without a trailing dot.
    name: Span,
    /// Whether the host has a letter in upper case.
    has_upper: bool,
}

impl Authority {
    /// What `text` says, which stands at `span`; `None` where it is none.
    fn of(text: &[u8], span: Span) -> Option<Authority> {
        if text.first() == Some(&b'[') {
            return Authority::literal(text, span);
        }
        let (mut all, mut length) = (0, scan::plain_host(text));
        while let Some(byte) = text.get(length) {
            let class = HOST_CLASS[usize::from(*byte)];
            if class == NO_NAME {
                break;
            }
            all |= class;
            length += 1;
        }
        if length == 0 || !is_port(&text[length..]) {
            return None;
        }
        let name = length - usize::from(text[length - 1] == b'.');
        Some(Authority { span, name: front(span, name), has_upper: all != 0 })
    }

    /// `[address]` or `[address]:port`, IPv6.
    fn literal(text: &[u8], span: Span) -> Option<Authority> {
        let end = text.iter().position(|byte| *byte == b']')?;
        let inside = std::str::from_utf8(&text[1..end]).ok()?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        let has_upper = inside.bytes().any(|byte| byte.is_ascii_uppercase());
        let authority = Authority { span, name: front(span, end + 1), has_upper };
        is_port(&text[end + 1..]).then_some(authority)
    }
}

/// The first `length` bytes of a span.
fn front(span: Span, length: usize) -> Span {
    Span { start: span.start, end: span.start + length as u32 }
}

/// Whether this is nothing or a colon and a port.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', port @ ..] => (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Bytes of a registered name (RFC 3986 section 3.2.2) but for comma and percent.
const HOST_CLASS: [u8; 256] = {
    let mut table = [NO_NAME; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_uppercase() {
            table[byte] = UPPER;
        } else if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = 0;
        }
        byte += 1;
    }
    let more = b"-._~!$&'()*+;=";
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = 0;
        at += 1;
    }
    table
};
const UPPER: u8 = 1;
const NO_NAME: u8 = 2;
