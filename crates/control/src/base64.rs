//! Base 64 (RFC 4648), in both of its alphabets.

/// The digits of section 4; those of section 5 differ in the last two.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DIGITS_FOR_URLS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The usual one, padded (section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = digits_of(bytes, DIGITS);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// The one for URLs, not padded (section 5).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    digits_of(bytes, DIGITS_FOR_URLS)
}

fn digits_of(bytes: &[u8], digits: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..=chunk.len() {
            text.push(char::from(digits[(group >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

/// What a text in the usual alphabet stands for; `None` where it is not padded, or none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in digits.as_bytes().chunks(4) {
        let mut group: u32 = 0;
        for place in 0..4 {
            group = group << 6 | chunk.get(place).map_or(Some(0), |digit| value_of(*digit))?;
        }
        let [_, one, two, three] = group.to_be_bytes();
        bytes.extend_from_slice(&[one, two, three][..chunk.len().checked_sub(1)?]);
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4648 section 10, and two digits in which the alphabets differ.
    const KNOWN: [(&[u8], &str, &str); 8] = [
        (b"", "", ""),
        (b"f", "Zg==", "Zg"),
        (b"fo", "Zm8=", "Zm8"),
        (b"foo", "Zm9v", "Zm9v"),
        (b"foob", "Zm9vYg==", "Zm9vYg"),
        (b"fooba", "Zm9vYmE=", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy", "Zm9vYmFy"),
        (&[0xfb, 0xff], "+/8=", "-_8"),
    ];

    #[test]
    fn base_64_is_that_of_the_rfc() {
        for (bytes, usual, for_urls) in KNOWN {
            assert_eq!(base64(bytes), usual);
            assert_eq!(base64url(bytes), for_urls);
            assert_eq!(from_base64(usual).as_deref(), Some(bytes), "{usual}");
        }
    }

    #[test]
    fn what_is_no_base_64_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9-", "Zm 9", "=Zg=", "Zm9v\n"]
        {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(from_base64(&base64(&bytes)), Some(bytes));
        }

        #[test]
        fn no_text_is_too_much(text in ".*") {
            let _ = from_base64(&text);
        }
    }
}
