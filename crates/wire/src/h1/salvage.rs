//! What can be said of a head that was refused, for the log: nothing is ever decided by it.

use gatehouse_core::message::{Known, RequestHead, Span};

/// Bytes of a refused head that are looked at.
const LOOKED_AT_MAX: usize = 4096;

/// Fills in method, path, query and host as far as `bytes`, which begin with the request line,
/// show them and `head` has none. A target that may hold a password is left out.
#[cold]
pub fn salvage(bytes: &[u8], head: &mut RequestHead) {
    if head.fields.bytes().is_empty() {
        head.fields.load(&bytes[..bytes.len().min(LOOKED_AT_MAX)]);
    }
    let text = head.fields.bytes();
    let line = &text[..text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len())];
    let word_end = |from: usize| {
        let length = line[from..].iter().position(|byte| byte.is_ascii_whitespace());
        length.map_or(line.len(), |length| from + length)
    };
    let method = Span::new(0, word_end(0));
    if method.is_empty() || !Known::is_token(method.of(text)) {
        return;
    }
    let start = (method.len() + 1).min(line.len());
    let (path, query) = path_and_query(text, Span::new(start, word_end(start)));
    let host = host(text, line.len());
    head.method_text = method;
    if head.raw_path.is_empty() {
        head.raw_path = path;
        head.query = query;
    }
    if head.authority.is_empty() {
        head.authority = host;
    }
}

/// The parts of a target; of one in absolute form without what stands before its path.
fn path_and_query(text: &[u8], target: Span) -> (Span, Option<Span>) {
    let (start, end) = (target.start as usize, target.end as usize);
    let find = |from: usize, byte: u8| {
        text[from..end].iter().position(|other| *other == byte).map(|at| from + at)
    };
    let scheme = target.of(text).windows(3).position(|part| part == b"://");
    let start = match scheme {
        Some(at) => find(start + at + 3, b'/').unwrap_or(end),
        None => start,
    };
    match text[start..end].first() {
        Some(b'/') => match find(start, b'?') {
            Some(at) => (Span::new(start, at), Some(Span::new(at + 1, end))),
            None => (Span::new(start, end), None),
        },
        _ => (Span::default(), None),
    }
}

/// The value of the first `Host` behind `from`.
fn host(text: &[u8], from: usize) -> Span {
    let mut start = from;
    for line in text[from..].split_inclusive(|byte| *byte == b'\n') {
        let name = line.iter().position(|byte| *byte == b':');
        let name = name.filter(|at| line[..*at].trim_ascii().eq_ignore_ascii_case(b"host"));
        if let Some(colon) = name {
            let value = &line[colon + 1..];
            let from = start + colon + 1 + (value.len() - value.trim_ascii_start().len());
            let value = value.trim_ascii();
            let plain = !value.is_empty() && !value.contains(&b'@');
            return if plain { Span::new(from, from + value.len()) } else { Span::default() };
        }
        start += line.len();
    }
    Span::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refused_head_shows_is_kept_and_passwords_are_not() {
        for (text, method, host, path, query) in [
            ("GET /a?b HTTP/9.9\r\nX: y\r\nHOST : h:80 \r\n\r\n", "GET", "h:80", "/a", Some("b")),
            ("POST /a?b?c", "POST", "", "/a", Some("b?c")),
            ("GE", "GE", "", "", None),
            ("GET http://u:p@h/x?q HTTP/1.1\r\nHost: u:p@h\r\n", "GET", "", "/x", Some("q")),
            ("GET http://u:p@h HTTP/1.1\r\n", "GET", "", "", None),
            ("CONNECT u:p@h:443 HTTP/1.1\r\nHost: h\r\n", "CONNECT", "h", "", None),
            ("GET /a\nHost: h", "GET", "h", "/a", None),
            ("\u{16}\u{3}\u{1}\0 /x y\r\nHost: h\r\n", "", "", "", None),
            ("", "", "", "", None),
        ] {
            let mut head = RequestHead::default();
            salvage(text.as_bytes(), &mut head);
            let shown = |span| std::str::from_utf8(head.text(span)).unwrap();
            assert_eq!(shown(head.method_text), method, "{text:?}");
            assert_eq!(shown(head.authority), host, "{text:?}");
            assert_eq!(shown(head.raw_path), path, "{text:?}");
            assert_eq!(head.query.map(shown), query, "{text:?}");
        }
    }
}
