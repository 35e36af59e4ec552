//! A second, slow and simple reading of chunked bodies, to hold the fast one against.

/// What a chunked body says, read in one piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The payload, and where the body ended.
    Whole(Vec<u8>, usize),
    /// Everything so far is right, and more must come.
    Begun,
    /// No continuation could make it right.
    Broken,
}

/// The next line and what follows its CRLF.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&text[..at], &text[at + 2..]))
}

/// RFC 9112 section 7.1, for bodies without trailers; only what is `Whole` is exact.
pub fn chunked(text: &[u8]) -> Read {
    let mut rest = text;
    let mut payload = Vec::new();
    loop {
        let Some((size, after)) = line(rest) else { return Read::Begun };
        let digits = size.split(|byte| *byte == b';').next().unwrap_or(b"");
        let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff);
        if !hex || digits.len() > 15 || !size.iter().all(plain) {
            return Read::Broken;
        }
        let digits = std::str::from_utf8(digits).unwrap();
        let count = usize::from_str_radix(digits, 16).unwrap();
        if count == 0 {
            return match after {
                [b'\r', b'\n', ..] => Read::Whole(payload, text.len() - after.len() + 2),
                _ => Read::Begun,
            };
        }
        let Some(data) = after.get(..count) else { return Read::Begun };
        payload.extend_from_slice(data);
        match &after[count..] {
            [b'\r', b'\n', next @ ..] => rest = next,
            [] | [b'\r'] => return Read::Begun,
            _ => return Read::Broken,
        }
    }
}
