//! Watches the files of the configuration and asks for a reload when what stands in them differs
//! from what was last read.
//!
//! The kernel tells when to look: folders are watched, not only files, so that an editor's
//! rename-and-replace, a new file that an include finds, and a ConfigMap's swapped `..data` link
//! are seen. What decides is the content, which is also compared now and then without being told:
//! network file systems and mounts of single files tell nothing.

use super::orders::{Cause, Mailbox, Order};
use crate::config::{Loaded, ProcessEnv, load};
use crate::watched;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often the content is compared without being told.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

/// How long nothing must happen before the files are read: writers write in pieces.
const QUIET: Duration = Duration::from_millis(100);

/// Writers that never pause are not waited for any longer.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// Folders and files watched; the rest is only compared.
const WATCHED_MAX: usize = 4_096;

/// What stood in the files when they were last read, as a hash. Shared by the thread
/// that watches and those that read.
#[derive(Clone, Debug)]
pub(crate) struct LastRead(Arc<AtomicU64>);

impl LastRead {
    /// What was read before there was anybody to share it with.
    pub fn new(fingerprint: u64) -> LastRead {
        LastRead(Arc::new(AtomicU64::new(fingerprint)))
    }

    /// The hash of what was last read.
    pub fn fingerprint(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// For who watches as long as others read.
    pub fn watched(&self) -> WatchedRead {
        WatchedRead(Arc::downgrade(&self.0))
    }

    /// Notes what was read.
    pub fn note(&self, loaded: &Loaded) {
        self.0.store(fingerprint(loaded), Relaxed);
    }
}

/// The same for as long as anybody reads.
#[derive(Clone, Debug)]
pub(crate) struct WatchedRead(Weak<AtomicU64>);

impl WatchedRead {
    /// It, while anybody reads.
    pub fn upgrade(&self) -> Option<LastRead> {
        self.0.upgrade().map(LastRead)
    }
}

/// The names and texts of all files, as a hash of this process.
pub(crate) fn fingerprint(loaded: &Loaded) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in loaded.sources.files() {
        (&file.name, &file.text).hash(&mut hasher);
    }
    hasher.finish()
}

/// Starts to watch, until the other ends of `last_read` are gone. Says so where it cannot.
pub(crate) fn watch(file: PathBuf, mailbox: Mailbox, last_read: &LastRead) {
    let last_read = last_read.watched();
    let work = move || Watch::new(file, mailbox).run(&last_read);
    if let Err(error) = std::thread::Builder::new().name("watch".to_owned()).spawn(work) {
        eprintln!("warn: the configuration is not watched: no thread: {error}");
    }
}

struct Watch {
    file: PathBuf,
    mailbox: Mailbox,
    inotify: Option<OwnedFd>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    fn new(file: PathBuf, mailbox: Mailbox) -> Watch {
        let inotify = match watched::open() {
            Ok(inotify) => Some(inotify),
            Err(error) => {
                let every = COMPARE_EVERY.as_secs();
                eprintln!("warn: the configuration is only compared every {every} s: {error}");
                None
            }
        };
        Watch { file, mailbox, inotify, watched: BTreeSet::new() }
    }

    fn run(&mut self, last_read: &WatchedRead) {
        loop {
            let mut loaded = load(&self.file, &ProcessEnv);
            if self.follow(&loaded) {
                // What changed before it was watched would not be told.
                loaded = load(&self.file, &ProcessEnv);
            }
            let Some(last_read) = last_read.upgrade() else { return };
            if fingerprint(&loaded) != last_read.fingerprint() {
                drop(self.mailbox.post(Order::Reload(Cause::Files)));
            }
            drop((last_read, loaded));
            if self.is_told(COMPARE_EVERY) {
                let end = Instant::now() + QUIET_MAX;
                while self.is_told(QUIET) && Instant::now() < end {}
            }
        }
    }

    /// Watches what the configuration is made of now; says whether anything is new.
    fn follow(&mut self, loaded: &Loaded) -> bool {
        let places: BTreeSet<PathBuf> = places(loaded).into_iter().take(WATCHED_MAX).collect();
        let Some(inotify) = &self.inotify else { return false };
        watched::follow(inotify.as_fd(), places, &mut self.watched)
    }

    /// Waits until the kernel tells of something, for at most `wait`, and takes all it tells.
    fn is_told(&self, wait: Duration) -> bool {
        let Some(inotify) = &self.inotify else {
            std::thread::park_timeout(wait);
            return false;
        };
        let mut waited = [PollFd::new(inotify, PollFlags::IN)];
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        if !poll(&mut waited, Some(&wait)).is_ok_and(|ready| ready > 0) {
            return false;
        }
        let mut room = [0; 4096];
        while rustix::io::read(inotify, &mut room).is_ok_and(|count| count > 0) {}
        true
    }
}

/// The files of a configuration, the folders they stand in, and those that includes look into.
fn places(loaded: &Loaded) -> Vec<PathBuf> {
    let files = loaded.sources.files().iter();
    let mut places: Vec<PathBuf> =
        files.flat_map(|file| watched::places_of(Path::new(&file.name))).collect();
    for pattern in &loaded.includes {
        let found = pattern.ancestors().skip(1).find(|folder| folder.is_dir());
        places.push(found.map_or_else(|| PathBuf::from("."), Path::to_owned));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("gatehouse-watch-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn folders_of_files_links_and_includes_are_watched() {
        let folder = Folder::new("places");
        let at = |name: &str| folder.0.join(name);
        fs::create_dir_all(at("..v1")).expect("a folder");
        fs::create_dir_all(at("conf.d")).expect("a folder");
        let text = "include = [\"conf.d/*.toml\", \"absent/*.toml\"]\n";
        fs::write(at("..v1/main.toml"), text).expect("written");
        std::os::unix::fs::symlink("..v1", at("..data")).expect("a link");
        std::os::unix::fs::symlink("..data/main.toml", at("main.toml")).expect("a link");
        let loaded = load(&at("main.toml"), &ProcessEnv);
        let places = places(&loaded);
        for wanted in [folder.0.clone(), at("..v1"), at("conf.d"), at("..v1/main.toml")] {
            let real = wanted.canonicalize().expect("it is there");
            assert!(places.contains(&wanted) || places.contains(&real), "{wanted:?}: {places:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_names_and_texts() {
        let folder = Folder::new("print");
        let file = folder.0.join("main.toml");
        let print = |text: &str| {
            fs::write(&file, text).expect("written");
            fingerprint(&load(&file, &ProcessEnv))
        };
        let first = print("workers = 1\n");
        assert_ne!(first, print("workers = 2\n"));
        assert_ne!(first, print(""));
        assert_eq!(first, print("workers = 1\n"));
        fs::remove_file(&file).expect("it is there");
        assert_ne!(first, fingerprint(&load(&file, &ProcessEnv)));
    }
}
