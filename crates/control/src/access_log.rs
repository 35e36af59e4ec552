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
use std::time::Duration;

/// How long the end waits for lines that are still to be written: whoever reads them may have
/// stopped reading.
const FINISH_MAX: Duration = Duration::from_secs(2);

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

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Out::Stdout => io::stdout().lock().write_all(text),
            Out::Stderr => io::stderr().lock().write_all(text),
            Out::File { path, file } => {
                let same = match (std::fs::metadata(&*path), file.metadata()) {
                    (Ok(there), Ok(open)) => there.ino() == open.ino() && there.dev() == open.dev(),
                    _ => false,
                };
                if !same {
                    *file = append(path)?;
                }
                file.write_all(text)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
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
    out: Arc<Mutex<Out>>,
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
        let out = Arc::new(Mutex::new(out.0));
        let (writing, written) = channel();
        for sink in sinks {
            let (out, lost, writing) = (Arc::clone(&out), Arc::clone(&lost), writing.clone());
            let name = "access-log".to_owned();
            let work = move || write_all(&sink, &out, &lost, writing);
            std::thread::Builder::new().name(name).spawn(work)?;
        }
        Ok(AccessLog { lost, out, written })
    }

    /// Writes elsewhere from now on; lines that are under way go there too.
    pub fn redirect(&self, to: Target) {
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) = to.0;
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
fn write_all(sink: &LogSink, out: &Mutex<Out>, lost: &AtomicU64, writing: Sender<()>) {
    let mut complained = false;
    for batch in &sink.batches {
        let written = out.lock().unwrap_or_else(PoisonError::into_inner).write(&batch.text);
        match written {
            Ok(()) => complained = false,
            Err(error) => {
                lost.fetch_add(batch.lines, Relaxed);
                if !complained {
                    eprintln!("warn: access log: {} lines lost: {error}", batch.lines);
                    complained = true;
                }
            }
        }
        give_back(sink, batch);
    }
    drop(writing);
}

fn give_back(sink: &LogSink, batch: Batch) {
    // A worker that has enough batches lets this one go.
    drop(sink.back.try_send(batch));
}
