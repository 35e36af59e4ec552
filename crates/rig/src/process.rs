//! The gateway as a process: started with a configuration in a folder of its own, asked for its
//! addresses, listened to, signalled, measured, and gone when its handle is dropped.
//!
//! It prints `listening on ADDRESS (NAME)` for each listener, `admin on ADDRESS`, and `ready`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, kill_process};

use crate::wait::holds_within;

/// The longest start, and the longest end after a signal, unless the test says otherwise.
const LIMIT: Duration = Duration::from_secs(20);
/// How long the output of an ended process may still be under way.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The name of the configuration in its folder.
const CONFIG: &str = "gatehouse.toml";

/// What a gateway can be told by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Reload.
    Hup,
    /// End, as from the keyboard.
    Int,
    /// Drain and end.
    Term,
    /// Hand over to a new binary.
    Usr2,
    /// Die at once.
    Kill,
    /// Stand still.
    Stop,
    /// Go on after [`Signal::Stop`].
    Cont,
}

impl Signal {
    fn raw(self) -> rustix::process::Signal {
        match self {
            Self::Hup => rustix::process::Signal::HUP,
            Self::Int => rustix::process::Signal::INT,
            Self::Term => rustix::process::Signal::TERM,
            Self::Usr2 => rustix::process::Signal::USR2,
            Self::Kill => rustix::process::Signal::KILL,
            Self::Stop => rustix::process::Signal::STOP,
            Self::Cont => rustix::process::Signal::CONT,
        }
    }
}

/// A folder for one process, removed when it is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse-rig-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a process prints, line by line.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Collects until the other end is closed.
    fn collect(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().push(text);
                line.clear();
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn have(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.lock().iter().any(|line| matches(line))
    }
}

/// How a gateway is to be started.
#[derive(Debug)]
pub struct Launch {
    command: Command,
    folder: Folder,
    arguments: Vec<OsString>,
}

impl Launch {
    /// Prepares `BINARY run -c CONFIG`. A test passes `env!("CARGO_BIN_EXE_gatehouse")`.
    ///
    /// # Panics
    ///
    /// When the configuration cannot be written.
    #[must_use]
    pub fn new(binary: impl AsRef<Path>, config: &str) -> Self {
        let folder = Folder::create();
        let launch = Self {
            command: Command::new(binary.as_ref()),
            arguments: vec!["run".into(), "-c".into(), folder.0.join(CONFIG).into()],
            folder,
        };
        launch.file(CONFIG, config)
    }

    /// Puts a file beside the configuration.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.folder.0.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// Takes other arguments than `run -c CONFIG`.
    #[must_use]
    pub fn arguments(mut self, all: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments = all.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The folder with the configuration; the process runs in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Starts it, and does not wait for anything.
    ///
    /// # Panics
    ///
    /// When there is no such binary.
    #[track_caller]
    #[must_use]
    pub fn spawn(mut self) -> Gateway {
        let command = &mut self.command;
        command.args(&self.arguments).current_dir(&self.folder.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{}: {error}", command.get_program().to_string_lossy()),
        };
        let (output, errors) = (Lines::default(), Lines::default());
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|from| output.collect(from)));
        readers.extend(child.stderr.take().map(|from| errors.collect(from)));
        Gateway { child, folder: self.folder, output, errors, readers, ended: None }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it ends before, or is not ready within 20 s.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        let errors = gateway.errors.clone();
        let ready = || errors.have(|line| line == "ready");
        let known = holds_within(LIMIT, || ready() || gateway.has_ended());
        if gateway.has_ended() {
            gateway.hear_last_words();
        }
        assert!(known && ready(), "the gateway did not become ready; it said:\n{}", gateway.said());
        gateway
    }
}

/// A running gateway. Dropping it kills the process.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    folder: Folder,
    output: Lines,
    errors: Lines,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Gateway {
    /// Starts `BINARY run -c CONFIG` and waits until it is ready.
    ///
    /// # Panics
    ///
    /// As [`Launch::start`].
    #[track_caller]
    #[must_use]
    pub fn start(binary: impl AsRef<Path>, config: &str) -> Self {
        Launch::new(binary, config).start()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Replaces its configuration; it will see that when it is told to reload.
    ///
    /// # Panics
    ///
    /// When the configuration cannot be written.
    pub fn reconfigure(&self, config: &str) {
        let path = self.folder.0.join(CONFIG);
        fs::write(&path, config).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The address of the listener with that name.
    ///
    /// # Panics
    ///
    /// When it did not say so.
    #[track_caller]
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners().remove(name);
        found.unwrap_or_else(|| panic!("no listener {name}; it said:\n{}", self.said()))
    }

    /// All listeners with their addresses.
    #[must_use]
    pub fn listeners(&self) -> HashMap<String, SocketAddr> {
        let listener = |line: &String| {
            let (address, name) = line.strip_prefix("listening on ")?.split_once(" (")?;
            Some((name.strip_suffix(')')?.to_owned(), address.parse().ok()?))
        };
        self.errors.lock().iter().filter_map(listener).collect()
    }

    /// The address of its admin listener.
    ///
    /// # Panics
    ///
    /// When it did not say so.
    #[track_caller]
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        let errors = self.errors.lock();
        let admin = |line: &String| line.strip_prefix("admin on ")?.parse().ok();
        let found = errors.iter().find_map(admin);
        drop(errors);
        found.unwrap_or_else(|| panic!("no admin listener; it said:\n{}", self.said()))
    }

    /// What it wrote to its standard output so far, by lines.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        self.output.all()
    }

    /// What it wrote to its standard error so far, by lines.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.errors.all()
    }

    /// Waits until a line of its standard error contains `text`.
    ///
    /// # Panics
    ///
    /// When none does within 20 s.
    #[track_caller]
    pub fn expect_error_line(&self, text: &str) {
        let found = holds_within(LIMIT, || self.errors.have(|line| line.contains(text)));
        assert!(found, "no line with {text:?}; it said:\n{}", self.said());
    }

    /// Waits until a line of its standard output contains `text`.
    ///
    /// # Panics
    ///
    /// When none does within 20 s.
    #[track_caller]
    pub fn expect_output_line(&self, text: &str) {
        let found = holds_within(LIMIT, || self.output.have(|line| line.contains(text)));
        assert!(found, "no line with {text:?}; it wrote:\n{}", self.output().join("\n"));
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it has been waited for already.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "the process has ended");
        // It may have ended on its own: the child is not waited for, so the pid is still its own.
        let _ = kill_process(Pid::from_child(&self.child), signal.raw());
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it has not ended within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let ended = holds_within(limit, || self.has_ended());
        assert!(ended, "it did not end within {limit:?}; it said:\n{}", self.said());
        self.hear_last_words();
        self.ended.expect("it has ended")
    }

    /// Asks it to drain and end, and waits for that.
    ///
    /// # Panics
    ///
    /// When it has not ended within 20 s.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::Term);
        self.wait(LIMIT)
    }

    /// Whether it has ended on its own.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    /// Its resident memory.
    ///
    /// # Panics
    ///
    /// When it has ended.
    #[track_caller]
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") << 10
    }

    /// The most resident memory it ever had.
    ///
    /// # Panics
    ///
    /// When it has ended.
    #[track_caller]
    #[must_use]
    pub fn resident_bytes_max(&self) -> u64 {
        self.status_kib("VmHWM:") << 10
    }

    /// Waits for what an ended process printed last, which may still be in the pipes. A successor
    /// it started may hold them open for longer.
    fn hear_last_words(&self) {
        holds_within(LAST_WORDS, || self.readers.iter().all(JoinHandle::is_finished));
    }

    #[track_caller]
    fn status_kib(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("{path}: no {key}; has the process ended?"))
    }

    fn said(&self) -> String {
        self.errors.all().join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
