//! What a consistent choice is made by: the bytes a hash is taken of.

use crate::message::{Known, RequestHead};
use crate::plan::HashBy;

/// The part of a request that `by` names; empty where the request has none.
pub fn balance_key<'a>(by: &HashBy, head: &'a RequestHead, client: &'a [u8]) -> &'a [u8] {
    match by {
        HashBy::ClientIp => client,
        HashBy::Header(name) => head.fields.named_first(name.as_bytes()).unwrap_or(b""),
        HashBy::Cookie(name) => cookie(head, name.as_bytes()).unwrap_or(b""),
        HashBy::Path => head.path_text(),
        HashBy::Query(name) => {
            let query = head.query.map_or(&b""[..], |query| head.text(query));
            parameter(query, name.as_bytes()).unwrap_or(b"")
        }
    }
}

/// The value of a cookie (RFC 6265 section 4.2.1).
pub fn cookie<'a>(head: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = head.fields.all(Known::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// The value of a query parameter, as sent.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = query.split(|byte| *byte == b'&');
    pairs.find_map(|pair| match pair.strip_prefix(name)? {
        [] => Some(&b""[..]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Known, Span};

    #[test]
    fn a_key_is_the_named_part_of_a_request() {
        let text = b"/p?a=1&ab=2&c\r\nCookie: x=1; sid=s7\r\nX-User: u\r\n";
        let mut head = RequestHead::default();
        head.fields.load(text);
        head.fields.record(Known::Cookie, Span::new(15, 21), Span::new(23, 34), 36);
        head.fields.record(Known::Other, Span::new(36, 42), Span::new(44, 45), 47);
        head.raw_path = Span::new(0, 2);
        head.query = Some(Span::new(3, 13));
        for (by, expected) in [
            (HashBy::ClientIp, "192.0.2.7"),
            (HashBy::Header("x-user".into()), "u"),
            (HashBy::Header("x-none".into()), ""),
            (HashBy::Cookie("sid".into()), "s7"),
            (HashBy::Cookie("si".into()), ""),
            (HashBy::Path, "/p"),
            (HashBy::Query("ab".into()), "2"),
            (HashBy::Query("c".into()), ""),
        ] {
            assert_eq!(balance_key(&by, &head, b"192.0.2.7"), expected.as_bytes(), "{by:?}");
        }
    }
}
