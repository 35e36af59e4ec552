//! One spelling for a path, so that rules and origins see the same bytes.
//!
//! RFC 3986 section 6.2.2: unreserved characters are decoded, the hex of what stays encoded is
//! upper case, dot segments are removed. Runs of slashes become one, because many origins read
//! them so. What could be read two ways is refused.

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// It does not start with a slash.
    NotAbsolute,
    /// A `%` without two hex digits behind it.
    BadPercent,
    /// An encoded NUL.
    EncodedNul,
    /// An encoded slash.
    EncodedSlash,
    /// A backslash, plain or encoded.
    Backslash,
    /// A `#`.
    Fragment,
    /// A dot segment with parameters (`/..;x/`), which some origins resolve and some do not.
    DotParameters,
}

impl PathFault {
    /// What to tell whoever sent it.
    pub const fn text(self) -> &'static str {
        match self {
            PathFault::NotAbsolute => "the path does not start with a slash",
            PathFault::BadPercent => "% without two hex digits",
            PathFault::EncodedNul => "an encoded NUL (%00)",
            PathFault::EncodedSlash => "an encoded slash (%2F)",
            PathFault::Backslash => "a backslash, plain or encoded (%5C)",
            PathFault::Fragment => "a fragment (#)",
            PathFault::DotParameters => "a dot segment with parameters (..;)",
        }
    }
}

/// Whether the path is its own normal form, found in one pass without writing.
pub fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut before = 0;
    for &byte in path {
        match byte {
            b'%' | b'\\' | b'#' => return false,
            b'/' | b'.' if before == b'/' => return false,
            _ => {}
        }
        before = byte;
    }
    true
}

/// Appends the normal form of `path` to `out`. On an error `out` holds rubbish behind its
/// former end.
///
/// # Errors
/// [`PathFault`] where the path could be read two ways.
pub fn normalize(path: &[u8], out: &mut Vec<u8>) -> Result<(), PathFault> {
    let base = out.len();
    if path.first() != Some(&b'/') {
        return Err(PathFault::NotAbsolute);
    }
    let mut rest = path;
    out.push(b'/');
    let mut segment = out.len();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'/' => segment = close_segment(out, base, segment, true)?,
            b'\\' => return Err(PathFault::Backslash),
            b'#' => return Err(PathFault::Fragment),
            b'%' => {
                let [high, low, tail @ ..] = rest else { return Err(PathFault::BadPercent) };
                let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                    return Err(PathFault::BadPercent);
                };
                rest = tail;
                push_decoded(high << 4 | low, out)?;
            }
            _ => out.push(byte),
        }
    }
    close_segment(out, base, segment, false)?;
    Ok(())
}

fn push_decoded(byte: u8, out: &mut Vec<u8>) -> Result<(), PathFault> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match byte {
        0 => return Err(PathFault::EncodedNul),
        b'/' => return Err(PathFault::EncodedSlash),
        b'\\' => return Err(PathFault::Backslash),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
        _ => {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
        }
    }
    Ok(())
}

/// Ends the segment that starts at `segment`; `slash` says whether one follows. Returns where the
/// next one starts.
fn close_segment(
    out: &mut Vec<u8>,
    base: usize,
    segment: usize,
    slash: bool,
) -> Result<usize, PathFault> {
    match &out[segment..] {
        b"" | b"." => out.truncate(segment),
        b".." => {
            let above = out[base..segment - 1].iter().rposition(|byte| *byte == b'/');
            out.truncate(above.map_or(base + 1, |at| base + at + 1));
        }
        text if text.starts_with(b".;") || text.starts_with(b"..;") => {
            return Err(PathFault::DotParameters);
        }
        _ if slash => out.push(b'/'),
        _ => {}
    }
    Ok(out.len())
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> Result<String, PathFault> {
        let mut out = b"kept".to_vec();
        normalize(path.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out.split_off(4)).unwrap())
    }

    #[test]
    fn every_spelling_of_a_path_has_one_normal_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/x/../admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a/./b", "/a/b"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/../../x", "/x"),
            ("/a/%2e%2E/b", "/b"),
            ("//a///b//", "/a/b/"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
            ("/.hidden", "/.hidden"),
            ("/a/..b", "/a/..b"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_two_ways_is_refused() {
        for (path, fault) in [
            ("", PathFault::NotAbsolute),
            ("a", PathFault::NotAbsolute),
            ("/%", PathFault::BadPercent),
            ("/%4", PathFault::BadPercent),
            ("/%zz", PathFault::BadPercent),
            ("/%00", PathFault::EncodedNul),
            ("/a%2fb", PathFault::EncodedSlash),
            ("/a%5cb", PathFault::Backslash),
            ("/a\\b", PathFault::Backslash),
            ("/a#b", PathFault::Fragment),
            ("/a/..;/b", PathFault::DotParameters),
            ("/a/%2e;x/b", PathFault::DotParameters),
        ] {
            assert_eq!(normal(path), Err(fault), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(path in "/[a-c/.%;2eEfF5]{0,24}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert!(!once.contains("//"));
            }
        }

        #[test]
        fn what_needs_no_writing_is_left_alone(path in "/[a-c/.%;]{0,24}") {
            if is_normal(path.as_bytes()) {
                prop_assert_eq!(normal(&path), Ok(path.clone()));
            }
        }
    }
}
