//! A connected socket, read and written as soon as its thread's driver says that it is ready.

use crate::driver::Registration;
use crate::ready::{Direction, Trigger};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::{SockAddr, Socket};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

/// Whether a socket was asked if it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Ready,
    Not,
}

/// A connected socket that never blocks.
#[derive(Debug)]
pub struct Connected {
    pub(crate) descriptor: OwnedFd,
    pub(crate) registration: Registration,
    /// Bytes that have to pass before it may keep more than the [`crate::window::UNREAD_MAX`] of
    /// what is not read; 0 where it may.
    pub(crate) narrow_for: u32,
}

impl Connected {
    /// Registers a connected socket that does not block with this thread's driver.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Connected> {
        let registration = Registration::new(descriptor.as_fd(), Trigger::Edge)?;
        Ok(Connected { descriptor, registration, narrow_for: 0 })
    }

    pub(crate) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        call: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.registration.poll_ready(cx, direction));
            match call(self.descriptor.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.registration.blocked(direction);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                called => return Poll::Ready(called),
            }
        }
    }

    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
        mut asked: Asked,
    ) -> Poll<io::Result<usize>> {
        loop {
            if asked == Asked::Not {
                ready!(self.registration.poll_ready(cx, Direction::Read));
            }
            asked = Asked::Not;
            match recv(&self.descriptor, &mut *room, RecvFlags::empty()) {
                Ok((count, _)) => {
                    // Less than asked for was all there was: the next event is a new one.
                    if 0 < count && count < room.len() {
                        self.registration.drained(Direction::Read);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.registration.blocked(Direction::Read),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.registration.poll_ready(cx, Direction::Write));
            match rustix::io::writev(&self.descriptor, slices) {
                Ok(count) => {
                    if count < slices.iter().map(|slice| slice.len()).sum() {
                        self.registration.drained(Direction::Write);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.registration.blocked(Direction::Write),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

pub(crate) async fn connect(socket: Socket, address: &SockAddr) -> io::Result<Connected> {
    match socket.connect(address) {
        Ok(()) => return Connected::new(socket.into()),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let connected = Connected::new(socket.into())?;
    connected.registration.blocked(Direction::Write);
    poll_fn(|cx| connected.registration.poll_ready(cx, Direction::Write)).await;
    match rustix::net::sockopt::socket_error(&connected.descriptor)? {
        Ok(()) => Ok(connected),
        Err(error) => Err(error.into()),
    }
}
