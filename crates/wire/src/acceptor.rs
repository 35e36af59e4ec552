//! Listening sockets, as this thread's driver knows them.

use crate::driver::{self, Hushed, Registration};
use crate::ready::{Direction, Trigger};
use crate::socket::{Connected, Stream};
use rustix::io::retry_on_intr;
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
            match self.accept() {
                Ok(taken) => {
                    self.left -= 1;
                    return Poll::Ready(Ok(taken));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.burst = (self.burst - self.left).max(1);
                    self.left = self.burst;
                    self.registration.blocked(Direction::Read);
                }
                Err(error) => {
                    // What is still queued would be told of all the while that nobody asks.
                    self.hushed = true;
                    self.registration.hush(self.descriptor.as_fd(), Hushed::Yes)?;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Takes a connection that is queued, whatever the driver knows; `None` where there is none.
    ///
    /// # Errors
    /// As [`Acceptor::poll_accept`].
    pub fn take_queued(&mut self) -> io::Result<Option<(Stream, Option<SocketAddr>)>> {
        match self.accept() {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (taken, peer) = retry_on_intr(|| acceptfrom_with(&self.descriptor, flags))?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let taken = Connected::new(taken)?;
        Ok(match peer {
            Some(_) => (Stream::Tcp(taken), peer),
            None => (Stream::Unix(taken), None),
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Whoever bound it, other workers and another process may have it open still: the driver
        // would be told of what they are to take, over and over.
        drop(self.registration.hush(self.descriptor.as_fd(), Hushed::Yes));
    }
}
