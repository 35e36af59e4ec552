//! Descriptors that tell of something by becoming readable, as this thread's driver knows them:
//! inotify's, for one.

use crate::driver::Registration;
use crate::ready::{Direction, Trigger};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

/// A descriptor that never blocks.
#[derive(Debug)]
pub struct Told {
    descriptor: OwnedFd,
    registration: Registration,
}

impl Told {
    /// Registers a descriptor that does not block.
    ///
    /// # Errors
    /// What the driver says.
    pub fn register(descriptor: OwnedFd) -> io::Result<Told> {
        let registration = Registration::new(descriptor.as_fd(), Trigger::Edge)?;
        Ok(Told { descriptor, registration })
    }

    /// Reads what is told, at most `room`.
    ///
    /// # Errors
    /// What `read` says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.registration.poll_ready(cx, Direction::Read));
            match rustix::io::read(&self.descriptor, &mut *room) {
                Err(Errno::AGAIN) => self.registration.blocked(Direction::Read),
                Err(Errno::INTR) => {}
                told => return Poll::Ready(told.map_err(Into::into)),
            }
        }
    }
}

impl AsFd for Told {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
