//! What becomes of a path on its way to an endpoint.

use foldhash::fast::FixedState;
use regex::bytes::{CaptureLocations, Match, Regex};
use std::collections::HashMap;

/// What becomes of a path.
#[derive(Clone, Debug, Default)]
pub enum Rewrite {
    /// Nothing.
    #[default]
    Keep,
    /// A prefix is taken off at a segment boundary: `/v1` turns `/v1/items` into `/items` and `/v1`
    /// into `/`; other paths stay.
    Strip(Box<str>),
    /// What the pattern finds first is replaced; `$1`, `$name`, `${name}` stand for its groups and
    /// `$$` for a dollar, as in the regex crate's `replace`.
    Replace {
        /// What to find.
        pattern: Regex,
        /// What to put in its place.
        to: Box<[u8]>,
    },
}

/// The most patterns a scratch keeps room for; at one more it starts over.
pub const SCRATCH_PATTERNS_MAX: usize = 1_024;

/// Room for the groups of patterns, kept by whoever rewrites, so that rewriting allocates only the
/// first time a pattern is used.
#[derive(Debug, Default)]
pub struct RewriteScratch {
    /// By the pattern's text: equal texts have equal groups.
    groups: HashMap<Box<str>, CaptureLocations, FixedState>,
}

impl RewriteScratch {
    /// The first find of `pattern` in `path`, and its groups.
    fn search<'p>(
        &mut self,
        pattern: &Regex,
        path: &'p [u8],
    ) -> Option<(Match<'p>, &CaptureLocations)> {
        let text = pattern.as_str();
        if !self.groups.contains_key(text) {
            if self.groups.len() >= SCRATCH_PATTERNS_MAX {
                self.groups.clear();
            }
            self.groups.insert(text.into(), pattern.capture_locations());
        }
        let groups = self.groups.get_mut(text)?;
        let found = pattern.captures_read(groups, path)?;
        Some((found, groups))
    }
}

impl Rewrite {
    /// Appends the rewritten path to `out`; what would be empty becomes `/`. It may still fail to
    /// be a path: the caller checks that it starts with a slash and holds no byte a request line
    /// cannot carry.
    pub fn apply(&self, path: &[u8], out: &mut Vec<u8>) {
        self.apply_with(path, &mut RewriteScratch::default(), out);
    }

    /// The same, with room that is kept between calls.
    pub fn apply_with(&self, path: &[u8], scratch: &mut RewriteScratch, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Rewrite::Keep => out.extend_from_slice(path),
            Rewrite::Strip(prefix) => out.extend_from_slice(stripped(path, prefix.as_bytes())),
            Rewrite::Replace { pattern, to } => replace(path, pattern, to, scratch, out),
        }
        if out.len() == start {
            out.push(b'/');
        }
    }
}

fn stripped<'a>(path: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    match path.strip_prefix(prefix) {
        Some(rest) if rest.first().is_none_or(|byte| *byte == b'/') => rest,
        _ => path,
    }
}

fn replace(
    path: &[u8],
    pattern: &Regex,
    to: &[u8],
    scratch: &mut RewriteScratch,
    out: &mut Vec<u8>,
) {
    let Some((found, groups)) = scratch.search(pattern, path) else {
        return out.extend_from_slice(path);
    };
    out.extend_from_slice(&path[..found.start()]);
    let mut rest = to;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (piece, len) = piece(rest);
        rest = &rest[len..];
        let group = match piece {
            Piece::Dollar => {
                out.push(b'$');
                continue;
            }
            Piece::Group(name) => group_number(pattern, name),
        };
        if let Some((from, to)) = group.and_then(|number| groups.get(number)) {
            out.extend_from_slice(&path[from..to]);
        }
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&path[found.end()..]);
}

/// What a `$` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Itself.
    Dollar,
    /// The group of this number or name.
    Group(&'a str),
}

/// Reads the piece that `text` starts with, which is a `$`, and says how long it is. A name without
/// braces is as long as it can be: `$1a` is the group `1a`, and `${1}a` the group 1.
fn piece(text: &[u8]) -> (Piece<'_>, usize) {
    let behind = &text[1..];
    match behind.first() {
        Some(b'$') => (Piece::Dollar, 2),
        Some(b'{') => {
            let end = behind.iter().position(|byte| *byte == b'}');
            let name = end.and_then(|end| std::str::from_utf8(&behind[1..end]).ok());
            name.map_or((Piece::Dollar, 1), |name| (Piece::Group(name), name.len() + 3))
        }
        _ => {
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let end = behind.iter().position(|byte| !word(byte)).unwrap_or(behind.len());
            match std::str::from_utf8(&behind[..end]) {
                Ok(name) if end > 0 => (Piece::Group(name), end + 1),
                _ => (Piece::Dollar, 1),
            }
        }
    }
}

fn group_number(pattern: &Regex, name: &str) -> Option<usize> {
    match name.parse::<usize>() {
        Ok(number) => Some(number),
        Err(_) => pattern.capture_names().position(|own| own == Some(name)),
    }
}
