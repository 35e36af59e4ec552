//! The signals an operator sends. One of the few files that name the driver.

use std::io;
use std::task::{Context, Poll};
use tokio::signal::unix::{self, SignalKind, signal};

/// SIGXFSZ, on every processor that Linux runs on but MIPS.
const FILE_SIZE: i32 = 25;

/// A signal an operator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain and end.
    Terminate,
    /// SIGHUP: reload.
    Hangup,
    /// SIGUSR2: hand over to a new process.
    Upgrade,
}

/// The signals an operator sends, from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    upgrade: unix::Signal,
    /// Heard and ignored: a log that has reached the limit on a file's size is an error of that
    /// write, and must not end the process.
    _file_size: unix::Signal,
}

impl Signals {
    /// Begins to listen for them. Call it inside [`block_on`](crate::gate::block_on).
    ///
    /// # Errors
    /// What the driver says when a handler cannot be set up.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            _file_size: signal(SignalKind::from_raw(FILE_SIZE))?,
        })
    }

    /// Ready with the next one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        if self.terminate.poll_recv(cx).is_ready() || self.interrupt.poll_recv(cx).is_ready() {
            return Poll::Ready(Signal::Terminate);
        }
        if self.upgrade.poll_recv(cx).is_ready() {
            return Poll::Ready(Signal::Upgrade);
        }
        self.hangup.poll_recv(cx).map(|_| Signal::Hangup)
    }
}
