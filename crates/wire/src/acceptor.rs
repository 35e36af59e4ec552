//! Listening sockets, as this thread's driver knows them.

use crate::driver::{self, Hushed, Registration};
use crate::ready::{Direction, Trigger};
use crate::socket::{Connected, Stream};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

/// Connections taken at once at most, before everything else has its turn.
const BURST_MAX: u32 = 32;

/// A listening socket registered with this thread's driver.
#[derive(Debug)]
pub struct Acceptor {
    descriptor: OwnedFd,
    registration: Registration,
    /// Connections to take this time, and how many of them are left.
    burst: u32,
    left: u32,
    /// The driver's turn in which the last burst ended with more to come.
    full_at: Option<u32>,
    hushed: bool,
}

impl Acceptor {
    /// Registers a bound and listening socket.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(listener: impl Into<OwnedFd>) -> io::Result<Acceptor> {
        let descriptor = listener.into();
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        let registration = Registration::new(descriptor.as_fd(), Trigger::Level)?;
        Ok(Acceptor { descriptor, registration, burst: 1, left: 1, full_at: None, hushed: false })
    }

    /// Takes the next connection; the address is `None` for a UNIX socket.
    ///
    /// # Errors
    /// What `accept` says: for this one connection, or of the process (no descriptors left).
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Stream, Option<SocketAddr>)>> {
        if std::mem::take(&mut self.hushed) {
            self.registration.hush(self.descriptor.as_fd(), Hushed::No)?;
        }
        loop {
            ready!(self.registration.poll_ready(cx, Direction::Read));
            if self.left == 0 {
                // The kernel says again whether more are waiting; asking it now would fail as
                // often as not.
                self.full_at = Some(driver::turns());
                self.left = self.burst;
                self.registration.blocked(Direction::Read);
                continue;
            }
            if self.full_at.take().is_some_and(|turn| driver::turns().wrapping_sub(turn) == 1) {
                self.burst = (self.burst * 2).min(BURST_MAX);
                self.left = self.burst;
            }
            match acceptfrom_with(&self.descriptor, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((taken, peer)) => {
                    self.left -= 1;
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    let taken = Connected::new(taken)?;
                    return Poll::Ready(Ok(match peer {
                        Some(_) => (Stream::Tcp(taken), peer),
                        None => (Stream::Unix(taken), None),
                    }));
                }
                Err(Errno::AGAIN) => {
                    self.burst = (self.burst - self.left).max(1);
                    self.left = self.burst;
                    self.registration.blocked(Direction::Read);
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    // What is still queued would be told of all the while that nobody asks.
                    self.hushed = true;
                    self.registration.hush(self.descriptor.as_fd(), Hushed::Yes)?;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
}
