//! A blocking connection with what was read ahead, and a limit on every wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::socket;

/// The longest wait for a byte, unless the test says otherwise.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// How often a waiting origin looks whether it is being stopped.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// Bytes taken in one read.
const READ_BYTES: usize = 64 << 10;

/// How the peer ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In good order, with a FIN.
    End,
    /// With a reset.
    Reset,
}

/// What one read came to.
#[derive(Debug)]
pub(super) enum Arrived {
    Bytes,
    Ending(Ending),
    /// Nothing within the limit.
    Nothing,
}

pub(super) struct Pipe {
    stream: TcpStream,
    /// Read and not consumed.
    pub ahead: Vec<u8>,
    limit: Duration,
    /// For a peer that is asked later what it saw.
    watch: Option<Watch>,
}

/// Where all that arrives is noted, and what ends every wait early.
pub(super) struct Watch {
    pub record: Arc<Mutex<Record>>,
    pub stopped: Arc<AtomicBool>,
}

impl Watch {
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// What arrived on a connection, and how far its script got.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub bytes: Vec<u8>,
    pub problem: Option<String>,
    pub ending: Option<Ending>,
    pub done: Done,
}

/// Whether a script has run to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Done {
    #[default]
    No,
    Yes,
}

impl Pipe {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Self { stream, ahead: Vec::new(), limit: WAIT, watch: None })
    }

    pub fn watched(stream: TcpStream, watch: Watch) -> io::Result<Self> {
        Ok(Self { watch: Some(watch), ..Self::new(stream)? })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Waits for more bytes and puts them behind `ahead`.
    pub fn arrive(&mut self) -> Arrived {
        self.arrive_within(self.limit)
    }

    pub fn arrive_within(&mut self, limit: Duration) -> Arrived {
        let end = Instant::now() + limit;
        let mut buffer = [0; READ_BYTES];
        loop {
            let stopped = self.watch.as_ref().is_some_and(Watch::is_stopped);
            let left = end.saturating_duration_since(Instant::now());
            // A timeout of zero would mean none.
            let timeout = left.clamp(Duration::from_millis(1), LOOK);
            self.stream.set_read_timeout(Some(timeout)).expect("a timeout above zero is valid");
            match self.stream.read(&mut buffer) {
                Ok(0) => return Arrived::Ending(Ending::End),
                Ok(count) => {
                    self.ahead.extend_from_slice(&buffer[..count]);
                    if let Some(watch) = &self.watch {
                        locked(&watch.record).bytes.extend_from_slice(&buffer[..count]);
                    }
                    return Arrived::Bytes;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut if left.is_zero() || stopped => {
                        return Arrived::Nothing;
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    _ => return Arrived::Ending(Ending::Reset),
                },
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn half_close(&self) {
        // It fails when the peer is gone already; what the script does next will tell.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn reset(self) {
        socket::reset(OwnedFd::from(self.stream));
    }
}

/// A lock whose holder panicked is still good to read: the test is failing with a better reason.
pub(super) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes for a message to a person.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 400;
    let end = bytes.len().min(SHOWN_BYTES_MAX);
    let more =
        if end < bytes.len() { format!(" and {} more", bytes.len() - end) } else { String::new() };
    format!("{} bytes \"{}\"{more}", bytes.len(), bytes[..end].escape_ascii())
}
