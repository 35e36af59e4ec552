//! Query parameters as rules see them: percent-decoded where they are compared, never copied.

/// The parameters of a query, name and value as sent. One without `=` has an empty value.
fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[pair.len()..]),
        }
    })
}

/// Whether `query` has a parameter `name` whose value passes `wanted`, which is given the value as
/// sent. `name` is decoded.
pub(super) fn has(query: &[u8], name: &[u8], wanted: impl Fn(&[u8]) -> bool) -> bool {
    parameters(query).any(|(own, value)| decodes_to(own, name) && wanted(value))
}

/// Whether `encoded` stands for `plain`. A `%` without two hex digits is a `%`; `+` is a `+`.
pub(super) fn decodes_to(encoded: &[u8], plain: &[u8]) -> bool {
    let mut rest = encoded;
    let mut expected = plain.iter();
    while let Some((byte, tail)) = decode_one(rest) {
        if expected.next() != Some(&byte) {
            return false;
        }
        rest = tail;
    }
    expected.next().is_none()
}

fn decode_one(encoded: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, tail @ ..] = encoded {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        if let (Some(high), Some(low)) = (digit(high), digit(low)) {
            return Some(((high << 4 | low) as u8, tail));
        }
    }
    encoded.split_first().map(|(byte, tail)| (*byte, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_compared_decoded() {
        for (encoded, plain, expected) in [
            ("a", "a", true),
            ("%61", "a", true),
            ("%c3%A9", "é", true),
            ("a+b", "a+b", true),
            ("a+b", "a b", false),
            ("a%20b", "a b", true),
            ("100%", "100%", true),
            ("%4", "%4", true),
            ("%zz", "%zz", true),
            ("%+1", "%+1", true),
            ("ab", "a", false),
            ("a", "ab", false),
            ("", "", true),
        ] {
            assert_eq!(decodes_to(encoded.as_bytes(), plain.as_bytes()), expected, "{encoded}");
        }
    }

    #[test]
    fn any_occurrence_of_a_parameter_counts() {
        let exact = |query: &str, name: &str, value: &str| {
            has(query.as_bytes(), name.as_bytes(), |sent| decodes_to(sent, value.as_bytes()))
        };
        assert!(exact("a=1&b=2&a=3", "a", "3"));
        assert!(!exact("a=1&b=2&a=3", "a", "2"));
        assert!(exact("debug", "debug", ""));
        assert!(exact("x=a=b", "x", "a=b"));
        assert!(exact("%64ebug=%31", "debug", "1"));
        assert!(!exact("", "", ""));
        assert!(!exact("&&", "", ""));
    }
}
