//! Reads the whole tree and says `file:line: rule: what to write instead` for everything that
//! breaks a countable habit of docs/style.md or a promise of ARCHITECTURE.md. It only reads; the
//! rules and their limits are in `tidy/rules.rs`.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use rules::{Weight, findings};
use source::Source;

/// What holds nothing of ours; `.git` is a file in a second work tree.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "results"];
/// Larger files are data, not text.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[test]
fn the_tree_is_tidy() {
    let root = root();
    let mut errors = 0;
    for path in files(&root) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(&root).expect("files are below the root").to_string_lossy();
        for finding in findings(&Source::new(&name, &text)) {
            let weight = if finding.weight == Weight::Warning { "warning: " } else { "" };
            eprintln!("{name}:{}: {weight}{}: {}", finding.line, finding.rule, finding.instead);
            errors += usize::from(finding.weight == Weight::Error);
        }
    }
    assert_eq!(errors, 0, "{errors} places to mend, listed above");
}

#[test]
fn the_walk_reaches_every_crate_and_no_build_output() {
    let root = root();
    let found = files(&root);
    for name in ["core", "wire", "proxy", "control", "rig", "gatehouse"] {
        assert!(found.contains(&root.join("crates").join(name).join("Cargo.toml")), "{name}");
    }
    assert!(!found.iter().any(|path| path.components().any(|part| part.as_os_str() == "target")));
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository is two folders above this crate")
}

/// All text files below `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // Another process may remove a folder while the tree is read.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if skipped {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.metadata().is_ok_and(|m| m.len() <= FILE_BYTES_MAX) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
