//! Writes the access log: takes batches from the workers and gives them back.
//!
//! What cannot be written is counted and lost; no exchange waits for it. A file that was moved
//! or removed is opened anew, so that logs can be rotated.

use crate::config::AccessTo;
use gatehouse_proxy::log::{Batch, LogSink};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the end waits for lines that are still to be written: whoever reads them may have
/// stopped reading.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// Between two complaints about one thing that goes on.
const COMPLAINTS_APART: Duration = Duration::from_secs(10);

/// Where lines go.
#[derive(Debug)]
enum Out {
    Stdout,
    Stderr,
    File { path: PathBuf, file: File },
}

impl Out {
    fn open(to: &AccessTo) -> io::Result<Out> {
        Ok(match to {
            AccessTo::Stdout => Out::Stdout,
            AccessTo::Stderr => Out::Stderr,
            AccessTo::File(path) => Out::File { path: path.clone(), file: append(path)? },
        })
    }

    /// Opens a file anew that is not where it was; says whether it did.
    fn follow(&mut self) -> io::Result<bool> {
        let Out::File { path, file } = self else { return Ok(false) };
        let same = match (std::fs::metadata(&*path), file.metadata()) {
            (Ok(there), Ok(open)) => there.ino() == open.ino() && there.dev() == open.dev(),
            _ => false,
        };
        if !same {
            *file = append(path)?;
        }
        Ok(!same)
    }

    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Out::Stdout => io::stdout().lock().write(text),
            Out::Stderr => io::stderr().lock().write(text),
            Out::File { file, .. } => file.write(text),
        }
    }
}

/// Writes whole lines, or where there is no room counts those that are lost.
#[derive(Debug)]
struct Writer {
    out: Out,
    /// What is missing of a line that was begun when room ran out. It goes first, or that line
    /// and the next would be one that nobody can read.
    torn: Vec<u8>,
    lost: Arc<AtomicU64>,
    complained: Option<Instant>,
}

impl Writer {
    /// Writes as much of a batch as goes.
    fn put(&mut self, batch: &Batch) {
        let lost = self.lost.load(Relaxed);
        let written = self.follow().and_then(|()| self.mend()).map_err(|error| (error, 0));
        let written = written.and_then(|()| all_of(&mut self.out, &batch.text));
        if let Err((error, count)) = written {
            self.tear(batch, count);
            self.complain(&error, self.lost.load(Relaxed) - lost);
        }
    }

    /// What was torn in another file has its end nowhere.
    fn follow(&mut self) -> io::Result<()> {
        if self.out.follow()? {
            self.give_up();
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.lost.fetch_add(u64::from(!self.torn.is_empty()), Relaxed);
        self.torn.clear();
    }

    /// Writes what is missing of a torn line.
    fn mend(&mut self) -> io::Result<()> {
        let written = all_of(&mut self.out, &self.torn);
        let count = written.as_ref().map_or_else(|(_, count)| *count, |()| self.torn.len());
        self.torn.drain(..count);
        written.map_err(|(error, _)| error)
    }

    /// Counts what is lost of a batch of which so much was written.
    fn tear(&mut self, batch: &Batch, count: usize) {
        let (there, rest) = batch.text.split_at(count);
        let whole = there.iter().filter(|byte| **byte == b'\n').count() as u64;
        let torn = there.last().is_some_and(|byte| *byte != b'\n');
        if torn {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            self.torn.extend_from_slice(&rest[..end]);
        }
        let lost = batch.lines.saturating_sub(whole + u64::from(torn));
        self.lost.fetch_add(lost, Relaxed);
    }

    fn complain(&mut self, error: &io::Error, lost: u64) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now - last >= COMPLAINTS_APART) {
            self.complained = Some(now);
            eprintln!("warn: access log: {lost} lines lost: {error}");
        }
    }
}

/// Writes all of a text; how much of it was written where that fails.
fn all_of(out: &mut Out, text: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut count = 0;
    while count < text.len() {
        match out.write(&text[count..]) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), count)),
            Ok(written) => count += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((error, count)),
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Why the access log can be no file of this path, and what to do; `None` where it can, as far as
/// that is seen from its folder.
pub fn unfit(path: &Path) -> Option<(String, String)> {
    if path.is_dir() {
        let reason = format!("{} is a folder, and the access log a file", path.display());
        return Some((reason, format!("write \"{}\"", path.join("access.log").display())));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    let missing = (!folder.is_dir()).then(|| folder.display())?;
    let reason = format!("there is no folder {missing} for the access log");
    Some((reason, format!("make it: mkdir -p {missing}")))
}

/// Where lines go, open already.
#[derive(Debug)]
pub struct Target(Out);

impl Target {
    /// Opens it.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(to: &AccessTo) -> io::Result<Target> {
        Out::open(to).map(Target)
    }
}

/// The threads that write, one a worker, so that no worker's batch waits for another's.
#[derive(Debug)]
pub struct AccessLog {
    lost: Arc<AtomicU64>,
    writer: Arc<Mutex<Writer>>,
    /// Disconnected once every thread has written its last line.
    written: Receiver<()>,
}

impl AccessLog {
    /// Starts writing.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(out: Target, sinks: Vec<LogSink>) -> io::Result<AccessLog> {
        let lost: Arc<AtomicU64> = Arc::default();
        let writer =
            Writer { out: out.0, torn: Vec::new(), lost: Arc::clone(&lost), complained: None };
        let writer = Arc::new(Mutex::new(writer));
        let (writing, written) = channel();
        for sink in sinks {
            let (writer, writing) = (Arc::clone(&writer), writing.clone());
            let name = "access-log".to_owned();
            let work = move || write_all(&sink, &writer, writing);
            std::thread::Builder::new().name(name).spawn(work)?;
        }
        Ok(AccessLog { lost, writer, written })
    }

    /// Writes elsewhere from now on; lines that are under way go there too.
    pub fn redirect(&self, to: Target) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.give_up();
        writer.out = to.0;
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    /// Waits until everything the workers sent off is written, but not for long; call it once
    /// they have ended.
    pub fn finish(self) {
        if let Err(RecvTimeoutError::Timeout) = self.written.recv_timeout(FINISH_MAX) {
            let seconds = FINISH_MAX.as_secs();
            eprintln!("warn: access log: its last lines are lost: not written within {seconds} s");
        }
    }
}

/// Writes until the worker is gone. `writing` is dropped at the end, which says so.
fn write_all(sink: &LogSink, writer: &Mutex<Writer>, writing: Sender<()>) {
    for batch in &sink.batches {
        writer.lock().unwrap_or_else(PoisonError::into_inner).put(&batch);
        give_back(sink, batch);
    }
    drop(writing);
}

fn give_back(sink: &LogSink, batch: Batch) {
    // A worker that has enough batches lets this one go.
    drop(sink.back.try_send(batch));
}
