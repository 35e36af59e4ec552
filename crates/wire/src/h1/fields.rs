//! Field lines as both heads and trailers have them: httparse finds the tokens, this checks that
//! every byte between them is the one the grammar allows.

use gatehouse_core::message::{Fields, Span};
use httparse::Header;

/// What is wrong with a field line.
pub(crate) type FieldFault = &'static str;

/// Records httparse's headers in `fields`, whose buffer already holds `head`. Each line must
/// start where the one before it ended and end in CRLF; the last is followed by CRLF alone, and
/// there the head ends.
pub(crate) fn record(
    fields: &mut Fields,
    head: &[u8],
    first_line: usize,
    headers: &[Header<'_>],
) -> Result<(), FieldFault> {
    let base = head.as_ptr() as usize;
    let place = |text: &[u8]| text.as_ptr() as usize - base;
    let mut at = first_line;
    for header in headers {
        let name = header.name.as_bytes();
        if name.is_empty() || place(name) != at {
            return Err("a field line is not name, colon, value, CRLF");
        }
        let name_end = at + name.len();
        if head.get(name_end) != Some(&b':') {
            return Err("a field name is not followed by its colon");
        }
        let value_start = if header.value.is_empty() {
            skip_blank(head, name_end + 1)
        } else {
            place(header.value)
        };
        let value = header.value.trim_ascii();
        let value_end = value_start + value.len();
        let line = skip_blank(head, value_end);
        if head.get(line..line + 2) != Some(b"\r\n") {
            return Err("a field line does not end in CRLF");
        }
        at = line + 2;
        fields.record(Span::new(place(name), name_end), Span::new(value_start, value_end), at);
    }
    if head.get(at..) != Some(b"\r\n") {
        return Err("the head does not end in an empty line");
    }
    Ok(())
}

fn skip_blank(head: &[u8], mut at: usize) -> usize {
    while matches!(head.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The field's length in digits alone, at most 19 of them.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'9' => Some(sum * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}

/// What httparse's refusal means, in words.
pub(crate) const fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a field name holds a byte that is no token",
        httparse::Error::HeaderValue => "a field value holds a control character",
        httparse::Error::NewLine => "a line ends in something other than CRLF",
        httparse::Error::Status => "the status is not three digits",
        httparse::Error::Token => "the request line holds a byte that is no token",
        httparse::Error::TooManyHeaders => "too many fields",
        httparse::Error::Version => "the version is not HTTP/1.0 or HTTP/1.1",
    }
}
