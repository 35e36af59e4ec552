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
    let mut rest = text;
    while let Some((word, next)) = rest.split_first_chunk::<8>() {
        let found = zeros(u64::from_le_bytes(*word) ^ wanted);
        if found != 0 {
            return Some(text.len() - rest.len() + lowest(found));
        }
        rest = next;
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
    let mut rest = text;
    while let Some((word, next)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let found = below(b' ', word) | zeros(word ^ (ONES * 0x7f));
        if found != 0 {
            return text.len() - rest.len() + lowest(found);
        }
        rest = next;
    }
    let at = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
    text.len() - rest.len() + at
}

/// What a target consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetScan {
    /// Bytes up to the first control character, DEL or space.
    pub length: usize,
    /// Whether there is a `?` among them.
    pub has_mark: bool,
    /// Whether there is none of `%`, `\\` and `#`, and no slash before a slash or a dot: a path
    /// that starts with a slash is its own normal form then.
    pub plain: bool,
    /// Whether there is a byte above 127.
    pub wide: bool,
}

/// Looks through a target once.
#[inline]
pub(super) fn target(text: &[u8]) -> TargetScan {
    let (mut rest, mut seen) = (text, Seen::default());
    let mut length = 0;
    loop {
        let (word, held) = match rest.split_first_chunk::<8>() {
            Some((word, next)) => {
                rest = next;
                (u64::from_le_bytes(*word), 8)
            }
            None => (padded(rest), rest.len()),
        };
        let stops = below(b'!', word) | zeros(word ^ (ONES * 0x7f));
        let count = if stops == 0 { held } else { lowest(stops).min(held) };
        seen.add(if count == 8 { word } else { word & !(u64::MAX << (count * 8)) });
        length += count;
        if count < 8 {
            return TargetScan {
                length,
                has_mark: seen.marks & HIGHS != 0,
                plain: seen.odd & HIGHS == 0,
                wide: seen.all & HIGHS != 0,
            };
        }
    }
}

/// Fewer than eight bytes as a word, the rest of which is zero.
#[cold]
fn padded(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// What was seen in the words of a target. A zero byte is seen as nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    all: u64,
    marks: u64,
    odd: u64,
    /// Whether the last byte was a slash, as the mark of a byte before the first.
    slash: u64,
}

impl Seen {
    #[inline]
    fn add(&mut self, word: u64) {
        let is = |byte: u8| zeros(word ^ (ONES * u64::from(byte)));
        self.all |= word;
        self.marks |= is(b'?');
        // Marks that are exact everywhere: a pair of them is looked for.
        let slashes = exact_zeros(word ^ (ONES * u64::from(b'/')));
        let dots = exact_zeros(word ^ (ONES * u64::from(b'.')));
        let behind_slash = slashes << 8 | self.slash;
        self.slash = slashes >> 56;
        self.odd |= is(b'%') | is(b'\\') | is(b'#') | behind_slash & (slashes | dots);
    }
}

/// How many bytes `text` starts with that any host may have and that are no upper case: lower-case
/// letters, digits, dots and dashes. Those behind the last whole word are not looked at.
#[inline]
pub(super) fn plain_host(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = text[at..].first_chunk::<8>() {
        let odd = odd_in_host(u64::from_le_bytes(*word));
        if odd != 0 {
            return at + lowest(odd);
        }
        at += 8;
    }
    at
}

/// Marks the bytes that are not plain in a host.
#[inline]
const fn odd_in_host(word: u64) -> u64 {
    // Of bytes below 128 no sum here reaches 256; the others are marked by themselves.
    let low = word & !HIGHS;
    let letters = within(low, b'a', b'z');
    let digits = within(low, b'0', b'9');
    let others = within(low, b'-', b'.');
    (!(letters | digits | others) | word) & HIGHS
}

/// Marks the bytes from `first` to `last`, of bytes below 128; what is no mark means nothing.
#[inline]
const fn within(low: u64, first: u8, last: u8) -> u64 {
    (low + ONES * (0x80 - first) as u64) & !(low + ONES * (0x7f - last) as u64)
}

/// Marks the bytes that are zero, and no other.
#[inline]
const fn exact_zeros(word: u64) -> u64 {
    !(((word & !HIGHS) + !HIGHS) | word) & HIGHS
}

/// Marks the bytes that are less than `limit`, which is at most 128.
#[inline]
const fn below(limit: u8, word: u64) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
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

    fn judge_target(text: &[u8]) {
        let ends = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
        let target = &text[..text.iter().position(ends).unwrap_or(text.len())];
        let pair = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
        let odd = target.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'#'));
        let expected = TargetScan {
            length: target.len(),
            has_mark: target.contains(&b'?'),
            plain: !odd && !target.windows(2).any(pair),
            wide: !target.is_ascii(),
        };
        assert_eq!(super::target(text), expected, "{text:?}");
    }

    proptest! {
        #[test]
        fn searches_find_what_a_byte_by_byte_search_finds(
            text in proptest::collection::vec(prop_oneof![
                Just(b':'), Just(b';'), Just(b'\t'), Just(b' '), Just(0x1f), Just(0x7f),
                Just(0x80), Just(0xff), Just(0), any::<u8>(), Just(b'a'),
            ], 0..40),
            byte in any::<u8>(),
            host in "[a-z0-9.-]{0,20}[A-Za-z0-9.:_/%é-]{0,4}",
            path in "[a/.%?#\\\\ !é~-]{0,30}",
        ) {
            prop_assert_eq!(find(b':', &text), text.iter().position(|own| *own == b':'));
            prop_assert_eq!(find(byte, &text), text.iter().position(|own| *own == byte));
            let bad = |own: &u8| own.is_ascii_control() && *own != b'\t';
            prop_assert_eq!(text_end(&text), text.iter().position(bad).unwrap_or(text.len()));
            let plain = |own: &&u8| matches!(own, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            for host in [&text[..], host.as_bytes()] {
                let (found, all) = (plain_host(host), host.iter().take_while(plain).count());
                prop_assert!(found == all || found == all / 8 * 8 && host.len() - found < 8);
            }
            judge_target(&text);
            judge_target(path.as_bytes());
        }
    }
}
