//! A request's target and host: four forms, one meaning (RFC 9112 section 3.2).

use super::request::ReadError;
use gatehouse_core::message::{Known, Method, RequestHead, Span, Version, path};

/// RFC 9112 section 3.2: the four forms of a target, and the host that goes with it.
pub(super) fn judge(head: &mut RequestHead, target: Span) -> Result<(), ReadError> {
    let from_host =
        head.fields.only(Known::Host).map_err(|_| ReadError::Host("host more than once"))?;
    if from_host.is_none() && head.version == Version::Http11 {
        return Err(ReadError::Host("host is missing"));
    }
    if from_host.is_some_and(|host| !is_authority(head.text(host))) {
        return Err(ReadError::Host("host is not a name or address with an optional port"));
    }
    let text = target.of(head.fields.bytes());
    if text == b"*" && head.method() == Method::Options {
        head.raw_path = target;
        head.authority = from_host.unwrap_or_default();
    } else if text.starts_with(b"/") {
        head.authority = from_host.unwrap_or_default();
        split_query(head, target);
    } else {
        absolute_form(head, target, from_host)?;
    }
    note_host(head);
    judge_path(head);
    Ok(())
}

/// `http://host/path`: the target's host is the host, and `Host` must say the same.
fn absolute_form(
    head: &mut RequestHead,
    target: Span,
    from_host: Option<Span>,
) -> Result<(), ReadError> {
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
    if !is_authority(authority) {
        return Err(ReadError::Host("the target's host is not a name or address"));
    }
    let start = target.start as usize + scheme + 3;
    let span = Span::new(start, start + length);
    if from_host.is_some_and(|own| !own.of(bytes).eq_ignore_ascii_case(authority)) {
        return Err(ReadError::Host("host and the target disagree"));
    }
    head.authority = span;
    let after = Span::new(start + length, target.end as usize);
    if after.of(bytes).starts_with(b"/") {
        split_query(head, after);
        return Ok(());
    }
    // An empty path is `/`, and `*` for OPTIONS without a query (RFC 9112 section 3.2.4).
    let bare = head.method() == Method::Options && after.is_empty();
    head.query =
        (!after.is_empty()).then(|| Span::new(after.start as usize + 1, after.end as usize));
    head.raw_path = head.fields.note(if bare { b"*" } else { b"/" });
    Ok(())
}

fn split_query(head: &mut RequestHead, target: Span) {
    let text = target.of(head.fields.bytes());
    match text.iter().position(|byte| *byte == b'?') {
        Some(at) => {
            let mark = target.start as usize + at;
            head.raw_path = Span::new(target.start as usize, mark);
            head.query = Some(Span::new(mark + 1, target.end as usize));
        }
        None => head.raw_path = target,
    }
}

/// Sets `host`: lower case, no port, no trailing dot.
fn note_host(head: &mut RequestHead) {
    let text = head.text(head.authority);
    let name = match text.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if text[at] == b':' => &text[..at],
        _ => text,
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    let start = head.authority.start as usize;
    let upper = name.iter().any(u8::is_ascii_uppercase);
    head.host = Span::new(start, start + name.len());
    if upper {
        let lower = |name: &[u8], out: &mut Vec<u8>| {
            out.extend(name.iter().map(u8::to_ascii_lowercase));
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(host) = head.fields.note_derived(head.host, lower);
        head.host = host;
    }
}

/// Sets `path` to the normal form, or says why there is none.
fn judge_path(head: &mut RequestHead) {
    let raw = head.text(head.raw_path);
    let query_bad = head.query.is_some_and(|query| head.text(query).contains(&b'#'));
    if query_bad {
        head.path_fault = Some(path::PathFault::Fragment);
    } else if path::is_normal(raw) || raw == b"*" {
        head.path = Some(head.raw_path);
    } else {
        let raw = head.raw_path;
        match head.fields.note_derived(raw, path::normalize) {
            Ok(path) => head.path = Some(path),
            Err(fault) => head.path_fault = Some(fault),
        }
    }
}

/// Whether this is `host` or `host:port` as a request may carry it: no userinfo, no list, no
/// percent-encoding.
fn is_authority(text: &[u8]) -> bool {
    if text.starts_with(b"[") {
        return is_literal(text);
    }
    let length = text.iter().position(|byte| !IS_NAME[usize::from(*byte)]).unwrap_or(text.len());
    match &text[length..] {
        [] => length > 0,
        [b':', port @ ..] => length > 0 && is_port(port),
        _ => false,
    }
}

/// Bytes of a registered name (RFC 3986 section 3.2.2) but for comma and percent.
const IS_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let more = b"-._~!$&'()*+;=";
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = true;
        at += 1;
    }
    table
};

/// `[address]` or `[address]:port`, IPv6.
fn is_literal(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b']') else { return false };
    let inside = std::str::from_utf8(&text[1..end]).unwrap_or("");
    inside.parse::<std::net::Ipv6Addr>().is_ok()
        && match &text[end + 1..] {
            [] => true,
            [b':', port @ ..] => is_port(port),
            _ => false,
        }
}

fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}
