//! Paths of nodes.

/// Bytes a path may have.
pub(crate) const PATH_BYTES_MAX: usize = 1_024;

/// Why a path is none, or `None` where it is one: absolute, no empty segment, neither `.` nor `..`.
pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix('/') else { return Some("it does not begin with /") };
    if path.len() > PATH_BYTES_MAX {
        return Some("it has more than 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || matches!(c, '\u{fff0}'..='\u{ffff}')) {
        return Some("it has a character that no path may have");
    }
    if rest.is_empty() {
        return None;
    }
    match rest.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("") if rest.ends_with('/') => Some("it ends with /"),
        Some("") => Some("it has an empty segment"),
        Some(_) => Some("it has a segment . or .."),
        None => None,
    }
}

/// The path of a child.
pub(crate) fn child(parent: &str, name: &str) -> String {
    format!("{}/{name}", parent.trim_end_matches('/'))
}

/// The path above; `None` of the root, and of its children.
pub(crate) fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_have_no_empty_segment() {
        for path in ["/", "/a", "/a/b", "/a/b:1", "/a/dubbo%3A%2F%2F1", "/ä"] {
            assert_eq!(path_fault(path), None, "{path}");
        }
        for path in ["", "a", "//", "/a/", "/a//b", "/.", "/a/..", "/a/./b", "/a\0", "/a\u{ffff}"] {
            assert!(path_fault(path).is_some(), "{path:?}");
        }
        assert!(path_fault(&format!("/{}", "x".repeat(PATH_BYTES_MAX))).is_some());
    }

    #[test]
    fn children_and_parents_are_found() {
        assert_eq!((child("/", "a"), child("/a", "b")), ("/a".into(), "/a/b".into()));
        assert_eq!((parent("/a/b"), parent("/a"), parent("/")), (Some("/a"), None, None));
    }
}
