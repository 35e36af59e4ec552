//! Files that are watched: the kernel tells when to look at them again.
//!
//! Folders are watched, not only files, so that a rename over a file, a new file, and a
//! ConfigMap's swapped `..data` link are seen. Network file systems and mounts of single files
//! tell nothing: whoever watches also looks now and then without being told.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A descriptor that tells of what is watched, and does not block.
///
/// # Errors
/// Where the process has no more of them.
pub(crate) fn open() -> io::Result<OwnedFd> {
    Ok(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?)
}

/// Watches `places` in place of `watched`; says whether anything is new. What is watched already
/// is asked for again: another file may stand there by the same name.
pub(crate) fn follow(
    inotify: BorrowedFd<'_>,
    places: BTreeSet<PathBuf>,
    watched: &mut BTreeSet<PathBuf>,
) -> bool {
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    for place in &places {
        // What cannot be watched is compared.
        let _ = inotify::add_watch(inotify, place, flags);
    }
    let new = places.difference(watched).next().is_some();
    *watched = places;
    new
}

/// Where a change of a file shows: the folder it stands in, as named and as it really is, and the
/// file itself.
pub(crate) fn places_of(file: &Path) -> Vec<PathBuf> {
    let mut places = vec![folder(file)];
    if let Ok(real) = file.canonicalize() {
        places.push(folder(&real));
        places.push(real);
    }
    places
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
