//! `conf.d/*.toml`: the files a pattern finds, in the order of their names.

use std::path::{Component, Path, PathBuf};

/// The files of a pattern; a path without `*` and `?` is itself. A folder that is not there holds
/// nothing.
///
/// # Errors
/// A folder that cannot be listed.
pub(crate) fn expand(pattern: &Path) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            list(&folder, &name, &mut next)?;
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

fn list(
    folder: &Path,
    pattern: &str,
    into: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, std::io::Error)> {
    let opened = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(opened) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(()),
        Err(error) => return Err((opened.to_owned(), error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| (opened.to_owned(), error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if matches_name(pattern.as_bytes(), name.as_bytes()) && !name.starts_with('.') {
            into.push(folder.join(entry.file_name()));
        }
    }
    Ok(())
}

/// Whether `*` (any text) and `?` (one byte) make the pattern this name. Backtracks to the last
/// star only, so it takes at most the product of the two lengths.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[of] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((star_at, star_of)) => {
                    star = Some((star_at, star_of + 1));
                    at = star_at + 1;
                    of = star_of + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_byte() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?.toml", "a.toml", true),
            ("?.toml", "ab.toml", false),
        ] {
            assert_eq!(matches_name(pattern.as_bytes(), name.as_bytes()), expected, "{pattern}");
        }
    }
}
