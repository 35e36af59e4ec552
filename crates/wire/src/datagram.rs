//! A socket that sends datagrams to one peer and hears that peer alone, as this thread's driver
//! knows it.

use crate::driver::Registration;
use crate::ready::{Direction, Trigger};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

/// A connected UDP socket that never blocks. The kernel gives it a port of its own choice, and
/// drops what others send there.
#[derive(Debug)]
pub struct Datagram {
    descriptor: OwnedFd,
    registration: Registration,
}

impl Datagram {
    /// One for this peer.
    ///
    /// # Errors
    /// What `socket` and `connect` say: no descriptor left, no route.
    pub fn to(peer: SocketAddr) -> io::Result<Datagram> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(peer), kind, Some(Protocol::UDP))?;
        socket.connect(&peer.into())?;
        let descriptor: OwnedFd = socket.into();
        let registration = Registration::new(descriptor.as_fd(), Trigger::Edge)?;
        Ok(Datagram { descriptor, registration })
    }

    /// Sends one datagram; what the kernel has no room for is lost, as on the way.
    ///
    /// # Errors
    /// What `send` says, such as that nobody listened when the last one was sent.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match send(&self.descriptor, bytes, SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives one datagram; what of it is longer than `room` is lost.
    ///
    /// # Errors
    /// What `recv` says, such as that nobody listens there.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.registration.poll_ready(cx, Direction::Read));
            match recv(&self.descriptor, &mut *room, RecvFlags::empty()) {
                Ok((count, _)) => return Poll::Ready(Ok(count)),
                Err(Errno::AGAIN) => self.registration.blocked(Direction::Read),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
