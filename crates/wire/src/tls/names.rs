//! Which of a listener's certificates is for a name.

use std::collections::HashMap;

/// Whether a name of a certificate, in lower case, covers a host: itself, or with `*.` in front
/// just one more label (RFC 9525 section 6.3).
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(suffix) => wildcard_of(host) == Some(suffix),
        None => pattern == host,
    }
}

/// What a wildcard that covers `host` has behind its star; none where the host has no label to
/// spare.
fn wildcard_of(host: &str) -> Option<&str> {
    let (label, suffix) = host.split_once('.')?;
    (!label.is_empty() && !suffix.is_empty()).then_some(suffix)
}

/// A table from names to whatever a listener keeps for them.
#[derive(Debug)]
pub(super) struct Names<T> {
    exact: HashMap<Box<str>, T>,
    wildcard: HashMap<Box<str>, T>,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T: Default> Names<T> {
    /// What is kept for a name as a certificate has it.
    pub fn entry(&mut self, pattern: &str) -> &mut T {
        match pattern.strip_prefix("*.") {
            Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
            None => self.exact.entry(pattern.into()).or_default(),
        }
    }
}

impl<T> Names<T> {
    /// What is kept for a host in lower case: its own name goes before a wildcard.
    pub fn find(&self, host: &str) -> Option<&T> {
        let exact = self.exact.get(host);
        exact.or_else(|| self.wildcard.get(wildcard_of(host)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label_and_a_name_of_its_own_goes_before() {
        let mut names: Names<u8> = Names::default();
        *names.entry("*.example.com") = 1;
        *names.entry("www.example.com") = 2;
        *names.entry("example.com") = 3;
        for (host, expected) in [
            ("www.example.com", Some(2)),
            ("api.example.com", Some(1)),
            ("example.com", Some(3)),
            ("a.b.example.com", None),
            (".example.com", None),
            ("com", None),
            ("example.com.evil.org", None),
            ("", None),
        ] {
            assert_eq!(names.find(host).copied(), expected, "{host}");
        }
        assert!(covers("*.example.com", "a.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(covers("example.com", "example.com"));
    }
}
