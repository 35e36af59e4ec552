//! Field lines as heads and trailers have them (RFC 9112 section 5): one pass over the bytes, every
//! one of which is checked to be one the grammar allows where it stands.

use super::scan;
use gatehouse_core::message::{Fields, Known, Span};

/// Why there are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldFault {
    /// The grammar is broken.
    Malformed(&'static str),
    /// There are more lines than allowed.
    TooMany,
}

/// Reads field lines from `at` on up to the empty line, and records them in `fields`, whose buffer
/// is still to be loaded with `bytes`. Says where the section ends, behind its empty line; `None`
/// where it is not complete yet.
///
/// # Errors
/// [`FieldFault`]; what was recorded is rubbish after one, and after `None`.
#[inline]
pub(crate) fn read(
    bytes: &[u8],
    at: usize,
    most: usize,
    fields: &mut Fields,
) -> Result<Option<usize>, FieldFault> {
    let mut rest = &bytes[at..];
    while rest.first().is_some_and(|byte| *byte != b'\r') {
        let Some(colon) = scan::find(b':', rest) else { return no_colon(rest) };
        let known = fields.know(&rest[..colon]).ok_or(BAD_NAME)?;
        let start = colon + 1 + blanks(&rest[colon + 1..]);
        let end = start + scan::text_end(&rest[start..]);
        let Some(next) = split_line_end(&rest[end..])? else { return Ok(None) };
        if fields.table().len() == most {
            return Err(FieldFault::TooMany);
        }
        let at = bytes.len() - rest.len();
        let value = Span::new(at + start, at + start + trimmed(&rest[start..end]));
        rest = next;
        fields.record(known, Span::new(at, at + colon), value, bytes.len() - rest.len());
    }
    match split_line_end(rest)? {
        Some(next) => Ok(Some(bytes.len() - next.len())),
        None => Ok(None),
    }
}

const BAD_NAME: FieldFault =
    FieldFault::Malformed("a field name is not a token with its colon behind it");

/// A line without a colon: the beginning of a name, or none.
#[cold]
fn no_colon(rest: &[u8]) -> Result<Option<usize>, FieldFault> {
    if Known::is_token(rest) { Ok(None) } else { Err(BAD_NAME) }
}

/// What follows a line that ends here; `None` where its end has not come yet.
#[inline]
fn split_line_end(text: &[u8]) -> Result<Option<&[u8]>, FieldFault> {
    match text {
        [b'\r', b'\n', next @ ..] => Ok(Some(next)),
        [] | [b'\r'] => Ok(None),
        [b'\r' | b'\n', ..] => Err(FieldFault::Malformed("a line does not end in CRLF")),
        _ => Err(FieldFault::Malformed("a field value holds a control character")),
    }
}

/// How many blanks `text` starts with.
#[inline]
fn blanks(text: &[u8]) -> usize {
    let mut count = 0;
    while text.get(count).is_some_and(|byte| is_blank(*byte)) {
        count += 1;
    }
    count
}

/// How long `text` is without the blanks at its end.
#[inline]
fn trimmed(text: &[u8]) -> usize {
    text.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
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
