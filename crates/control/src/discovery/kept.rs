//! The last good set of each source on disk, for a start while the source is away. Written by a
//! thread of its own, because a disk may take its time; read once, before the source has answered.
//! A file that is wrong or cannot be written is said, and stops nothing.

use super::found::Set;
use crate::whole_file;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The largest file: a set has 10,000 endpoints at most.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Between two rounds of writing, however fast sets change.
const BETWEEN: Duration = Duration::from_secs(1);

/// What such a file begins with; another number is another form.
const FORM: &str = "gatehouse endpoints 1";

/// What has been kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub set: Set,
    /// When the source last vouched for it.
    pub good: SystemTime,
}

/// The file of an upstream.
fn path(folder: &Path, upstream: &str) -> PathBuf {
    let mut name = String::new();
    for byte in upstream.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => drop(write!(name, "%{byte:02x}")),
        }
    }
    folder.join(name + ".endpoints")
}

/// What is kept of an upstream, where it is of this source.
pub(super) fn read(folder: &Path, upstream: &str, source: &str) -> Option<Kept> {
    let path = path(folder, upstream);
    let kept = match whole_file::read(&path, FILE_BYTES_MAX) {
        Ok(text) => understand(&text, source),
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
    };
    kept.unwrap_or_else(|why| {
        eprintln!("warn: {}: {why}; the endpoints of before are not known", path.display());
        None
    })
}

/// A set as a text.
fn text(source: &str, set: &Set, good: SystemTime) -> String {
    let seconds = good.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // Nobody can break a line in an address but with the path of a UNIX socket.
    let lines = set.lines().into_iter().filter(|line| !line.contains('\n'));
    let lines: Vec<String> = lines.collect();
    let source = source.escape_debug();
    let head = format!("{FORM}\nsource {source}\ngood {seconds}\ncount {}\n", lines.len());
    lines.iter().fold(head, |text, line| text + line + "\n")
}

/// What such a text says; nothing where it is of another source.
///
/// # Errors
/// What is wrong with it.
fn understand(text: &str, source: &str) -> Result<Option<Kept>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(FORM) {
        return Err(format!("it does not begin with \"{FORM}\""));
    }
    if !text.ends_with('\n') {
        return Err("it is cut off".to_owned());
    }
    let mut member = |name: &str| {
        let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.ok_or_else(|| format!("it does not say its {name}"))
    };
    if member("source")? != source.escape_debug().to_string() {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    let seconds = number(member("good")?)?;
    let count = number(member("count")?)?;
    let good = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let good = good.ok_or_else(|| format!("{seconds} is no time"))?;
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    let set = Set::of_lines(&lines);
    if set.len() as u64 != count {
        return Err(format!("{} endpoints of {count} are understood", set.len()));
    }
    Ok((count > 0).then_some(Kept { set, good }))
}

/// Keeps sets.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeping(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The newest of each upstream, by folder and file.
    texts: HashMap<(PathBuf, PathBuf), String>,
    writes: bool,
    ended: bool,
}

impl Keeping {
    /// Keeps this one of an upstream in a folder, good until now.
    pub fn keep(&self, folder: &Path, upstream: &str, source: &str, set: &Set) {
        let text = text(source, set, SystemTime::now());
        let file = path(folder, upstream);
        if text.len() as u64 > FILE_BYTES_MAX {
            let path = file.display();
            eprintln!("warn: {path}: {} bytes; {FILE_BYTES_MAX} is the most", text.len());
            return;
        }
        let mut waiting = self.lock();
        waiting.texts.insert((folder.to_owned(), file), text);
        if !waiting.writes {
            let own = self.clone();
            let started = std::thread::Builder::new().name("kept".to_owned());
            match started.spawn(move || own.write()) {
                Ok(_) => waiting.writes = true,
                Err(error) => eprintln!("warn: endpoints are not kept: no thread: {error}"),
            }
        }
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Writes what is there yet, and then nothing more.
    pub fn end(&self) {
        self.lock().ended = true;
        self.0.changed.notify_all();
    }

    fn write(&self) {
        let mut failed = HashSet::new();
        loop {
            let mut waiting = self.lock();
            while waiting.texts.is_empty() {
                if waiting.ended {
                    return;
                }
                let woken = self.0.changed.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            let texts = std::mem::take(&mut waiting.texts);
            drop(waiting);
            for ((folder, path), text) in texts {
                put(&folder, path, &text, &mut failed);
            }
            let waiting = self.lock();
            let rest = self.0.changed.wait_timeout_while(waiting, BETWEEN, |own| !own.ended);
            drop(rest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts one in place. One that fails is said once, until it succeeds.
fn put(folder: &Path, path: PathBuf, text: &str, failed: &mut HashSet<PathBuf>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let put = whole_file::make_folder(folder).and_then(|()| whole_file::write(folder, name, text));
    match put {
        Ok(()) => drop(failed.remove(&path)),
        Err(error) => {
            if !failed.contains(&path) {
                let path = path.display();
                eprintln!("warn: {path}: not written: {error}; a start will not know of it");
            }
            failed.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        let lines = ["3 backup a.internal 10.0.0.1:80", "1 - - unix:/run/a b"].map(str::to_owned);
        Set::of_lines(&lines)
    }

    #[test]
    fn what_is_kept_is_read_again_with_its_age() {
        let good = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let text = text("zookeeper a:1 /s", &set(), good);
        let kept = understand(&text, "zookeeper a:1 /s").expect("sound").expect("of this source");
        assert_eq!((kept.set, kept.good), (set(), good));
        assert!(understand(&text, "zookeeper b:1 /s").expect("sound").is_none());
        let newlines = "1 - - unix:/run/a\nb".to_owned();
        let odd = super::text("s\nt", &Set::of_lines(&[newlines]), good);
        assert!(understand(&odd, "s\nt").expect("sound").is_none(), "{odd}");
    }

    #[test]
    fn what_is_damaged_is_refused_with_the_reason() {
        let whole = text("s", &set(), SystemTime::UNIX_EPOCH);
        for (damaged, why) in [
            ("", "does not begin with"),
            ("gatehouse endpoints 2\n", "does not begin with"),
            ("gatehouse endpoints 1", "is cut off"),
            ("gatehouse endpoints 1\n", "does not say its source"),
            ("gatehouse endpoints 1\nsource s\ngood x\n", "\"x\" is no number"),
            ("gatehouse endpoints 1\nsource s\ngood 1\ncount\n", "does not say its count"),
            (whole.strip_suffix("1 - - unix:/run/a b\n").expect("a line"), "1 endpoints of 2"),
            (&whole.replace("10.0.0.1:80", "10.0.0.1"), "1 endpoints of 2"),
            (&whole.replace("good 0", &format!("good {}", u64::MAX)), "is no time"),
        ] {
            let said = understand(damaged, "s").expect_err(damaged);
            assert!(said.contains(why), "{damaged}: {said}");
        }
        for end in 0..whole.len() {
            assert!(understand(&whole[..end], "s").is_err(), "{:?}", &whole[..end]);
        }
    }

    #[test]
    fn a_file_is_named_by_its_upstream_and_leads_nowhere_else() {
        let of = |name| path(Path::new("/v"), name).display().to_string();
        assert_eq!(of("users-1"), "/v/users-1.endpoints");
        assert_eq!(of("../a.b/é"), "/v/%2e%2e%2fa%2eb%2f%c3%a9.endpoints");
    }
}
