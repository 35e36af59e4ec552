//! What becomes of a path on its way to an endpoint.

use regex::bytes::Regex;

/// What becomes of a path.
#[derive(Clone, Debug, Default)]
pub enum Rewrite {
    /// Nothing.
    #[default]
    Keep,
    /// A prefix is taken off at a segment boundary: `/v1` turns `/v1/items` into `/items` and `/v1`
    /// into `/`; other paths stay.
    Strip(Box<str>),
    /// What the pattern finds is replaced; `$1`, `${name}` stand for its groups.
    Replace {
        /// What to find.
        pattern: Regex,
        /// What to put in its place.
        to: Box<[u8]>,
    },
}

impl Rewrite {
    /// Appends the rewritten path to `out`. It may fail to be a path: the caller checks that it
    /// starts with a slash and holds no byte a request line cannot carry.
    pub fn apply(&self, path: &[u8], out: &mut Vec<u8>) {
        match self {
            Rewrite::Keep | Rewrite::Strip(_) | Rewrite::Replace { .. } => {
                out.extend_from_slice(path);
            }
        }
    }
}
