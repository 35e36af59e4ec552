//! Finding one byte among many, eight at a time: what reading a head spends its time on.
//!
//! Both searches mark bytes in a word by subtracting from each; a borrow may mark a byte too much
//! only above one that is marked rightly, so that the lowest mark is exact.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Where the first `byte` stands.
#[inline]
pub(super) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    let wanted = ONES * u64::from(byte);
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let found = zeros(u64::from_le_bytes(*word) ^ wanted);
        if found != 0 {
            return Some(at * 8 + lowest(found));
        }
    }
    let at = rest.iter().position(|own| *own == byte)?;
    Some(text.len() - rest.len() + at)
}

/// Where the first byte stands that may not stand in a field's value or a reason phrase (RFC 9110
/// section 5.5): a control character other than tab. The length where there is none.
#[inline]
pub(super) fn text_end(text: &[u8]) -> usize {
    let mut from = 0;
    loop {
        from += control(&text[from..]);
        if text.get(from) != Some(&b'\t') {
            return from;
        }
        from += 1;
    }
}

/// Where the first control character stands, tab included.
#[inline]
fn control(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let low = word.wrapping_sub(ONES * u64::from(b' ')) & !word & HIGHS;
        let found = low | zeros(word ^ (ONES * 0x7f));
        if found != 0 {
            return at * 8 + lowest(found);
        }
    }
    let at = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
    text.len() - rest.len() + at
}

/// Marks the bytes that are zero.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Which byte the lowest mark stands in.
#[inline]
const fn lowest(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn searches_find_what_a_byte_by_byte_search_finds(
            text in proptest::collection::vec(prop_oneof![
                Just(b':'), Just(b';'), Just(b'\t'), Just(b' '), Just(0x1f), Just(0x7f),
                Just(0x80), Just(0xff), Just(0), any::<u8>(), Just(b'a'),
            ], 0..40),
            byte in any::<u8>(),
        ) {
            prop_assert_eq!(find(b':', &text), text.iter().position(|own| *own == b':'));
            prop_assert_eq!(find(byte, &text), text.iter().position(|own| *own == byte));
            let bad = |own: &u8| own.is_ascii_control() && *own != b'\t';
            prop_assert_eq!(text_end(&text), text.iter().position(bad).unwrap_or(text.len()));
        }
    }
}
