//! The streams and listening sockets of the process, as this thread's driver knows them.

use crate::connected::{Asked, connect};
use crate::h2::{H2Stream, Last};
use crate::ready::Direction;
use crate::splice::UNHINDERED_BYTES;
use crate::tls::{Facts, TlsStream};
use crate::window;
use gatehouse_core::message::BodyLength;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

pub use crate::connected::Connected;

/// A connected stream: a closed set, no trait object.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(Connected),
    /// A UNIX socket.
    Unix(Connected),
    /// Any of the others under TLS.
    Tls(Box<TlsStream>),
    /// None any more: a handshake took it and failed. Whatever is tried fails.
    Gone,
    /// One stream of an HTTP/2 connection: its body's bytes. Heads and trailers go beside them.
    H2(Box<H2Stream>),
    /// The tests' network.
    #[cfg(feature = "memory")]
    Memory(crate::memory::MemoryStream),
}

/// What a look at an idle connection showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing to read: it is as it was left.
    Quiet,
    /// Bytes nobody asked for, the end of the stream, or an error.
    Stale,
}

impl Stream {
    /// How a decoder finds the end of a body of this length on this stream: HTTP/2 tells it beside
    /// the bytes.
    pub fn framed(&self, length: BodyLength) -> BodyLength {
        match (self, length) {
            (Stream::H2(_), BodyLength::Known(_) | BodyLength::Chunked) => BodyLength::UntilClose,
            _ => length,
        }
    }

    /// Whether this is one stream of an HTTP/2 connection.
    pub fn is_h2(&self) -> bool {
        matches!(self, Stream::H2(_))
    }

    /// The HTTP/2 stream this is, if it is one.
    pub fn as_h2(&mut self) -> Option<&mut H2Stream> {
        match self {
            Stream::H2(stream) => Some(stream),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Tls(_) | Stream::Gone => None,
            #[cfg(feature = "memory")]
            Stream::Memory(_) => None,
        }
    }

    /// Waits until a read would not block: bytes, the end or an error are there.
    ///
    /// # Errors
    /// None of a socket's.
    #[inline]
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => {
                socket.registration.poll_ready(cx, Direction::Read).map(Ok)
            }
            Stream::Tls(stream) => stream.poll_read_ready(cx),
            Stream::Gone => Poll::Ready(Ok(())),
            Stream::H2(stream) => stream.poll_read_ready(cx),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Reads what is there, at most `room`. 0 is the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.poll_read(cx, room, Asked::Not),
            Stream::Tls(stream) => stream.poll_read(cx, room),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Stream::H2(stream) => stream.poll_read(cx, room),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.poll_read(cx, room),
        }
    }

    /// The same, right after [`Stream::poll_read_ready`] was ready: a socket is not asked again.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_read_told(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.poll_read(cx, room, Asked::Ready),
            _ => self.poll_read(cx, room),
        }
    }

    /// Writes from several places at once and says how much was taken.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.poll_write(cx, slices),
            Stream::Tls(stream) => stream.poll_write_vectored(cx, slices),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Stream::H2(stream) => stream.poll_write(cx, slices, Last::No),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.poll_write_vectored(cx, slices),
        }
    }

    /// Ready once what was written has been handed to the kernel. Only what is under TLS may
    /// still hold some of it; whoever has written a whole message asks.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tls(stream) => stream.poll_flush(cx),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::H2(_) | Stream::Gone => Poll::Ready(Ok(())),
            #[cfg(feature = "memory")]
            Stream::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    /// What its handshake has settled, where it is under TLS.
    pub fn tls(&self) -> Option<&Facts> {
        match self {
            Stream::Tls(stream) => stream.facts(),
            Stream::H2(stream) => stream.tls(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Gone => None,
            #[cfg(feature = "memory")]
            Stream::Memory(_) => None,
        }
    }

    /// Makes `call` on the socket once there is something to read, and again where it would
    /// block. What is no socket by itself (TLS, the tests' network) says `Unsupported`.
    ///
    /// # Errors
    /// What `call` says.
    pub fn poll_read_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => {
                socket.poll_with(cx, Direction::Read, &mut call)
            }
            Stream::Tls(_) | Stream::H2(_) | Stream::Gone => {
                Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
            }
            #[cfg(feature = "memory")]
            Stream::Memory(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Makes `call` on the socket once there is room to write, and again where it would block.
    ///
    /// # Errors
    /// What `call` says.
    pub fn poll_write_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => {
                socket.poll_with(cx, Direction::Write, &mut call)
            }
            Stream::Tls(_) | Stream::H2(_) | Stream::Gone => {
                Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
            }
            #[cfg(feature = "memory")]
            Stream::Memory(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Looks at what is there, at most `room`, and leaves it there. 0 is the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_peek(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        #[cfg(feature = "memory")]
        if let Stream::Memory(stream) = self {
            return stream.poll_peek(cx, room);
        }
        self.poll_read_with(cx, |socket| {
            let (count, _) = recv(socket, &mut *room, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
            Ok(count)
        })
    }

    /// Whether its bytes are the socket's own, so that the kernel can move them by itself.
    pub fn is_plain_tcp(&self) -> bool {
        matches!(self, Stream::Tcp(_))
    }

    /// The address a client connected to; `None` where it has none.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(socket) => {
                let own = rustix::net::getsockname(&socket.descriptor).ok()?;
                SocketAddr::try_from(own).ok()
            }
            Stream::Tls(stream) => stream.beneath().local_address(),
            Stream::Unix(_) | Stream::H2(_) | Stream::Gone => None,
            #[cfg(feature = "memory")]
            Stream::Memory(_) => Some(SocketAddr::from(([192, 0, 2, 80], 80))),
        }
    }

    /// Sends a FIN, under TLS a close_notify before it; reading goes on.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => {
                Poll::Ready(shutdown(&socket.descriptor, Shutdown::Write).map_err(Into::into))
            }
            Stream::Tls(stream) => stream.poll_shutdown(cx),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Stream::H2(stream) => {
                stream.shutdown();
                Poll::Ready(Ok(()))
            }
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => {
                stream.shutdown();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Lets the kernel keep as much of what comes as it finds useful, where that was bounded: this
    /// end is waited for by one that takes all it is given.
    pub fn widen(&mut self) {
        match self {
            Stream::Tcp(socket) if socket.narrow_for > 0 => {
                socket.narrow_for = 0;
                // Without it the connection stays as it is, which is slower and not wrong.
                let _ = window::widen(socket.descriptor.as_fd());
            }
            Stream::Tls(stream) => stream.widen(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::H2(_) | Stream::Gone => {}
            #[cfg(feature = "memory")]
            Stream::Memory(_) => {}
        }
    }

    /// Says whether whoever waits to read from it is woken behind the others: one whose peer is
    /// slower than what it sends is taken in. Many such peers that send at one moment are then no
    /// queue that others stand in.
    pub fn yields(&mut self, yields: bool) {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.registration.yields(yields),
            Stream::Tls(stream) => stream.yields(yields),
            Stream::H2(_) | Stream::Gone => {}
            #[cfg(feature = "memory")]
            Stream::Memory(_) => {}
        }
    }

    /// Whether the kernel keeps little of what comes, as nothing has [widened](Stream::widen) it.
    pub fn is_narrow(&self) -> bool {
        match self {
            Stream::Tcp(socket) => socket.narrow_for > 0,
            Stream::Tls(stream) => stream.is_narrow(),
            Stream::Unix(_) | Stream::H2(_) | Stream::Gone => false,
            #[cfg(feature = "memory")]
            Stream::Memory(_) => false,
        }
    }

    /// A message of so many bytes has passed, and its sink was never waited for. After enough of
    /// them it is [widened](Stream::widen).
    pub fn note_unhindered(&mut self, bytes: u64) {
        match self {
            Stream::Tcp(socket) if socket.narrow_for > 0 => {
                let left = u64::from(socket.narrow_for).saturating_sub(bytes) as u32;
                if left == 0 {
                    self.widen();
                } else {
                    socket.narrow_for = left;
                }
            }
            Stream::Tls(stream) => stream.note_unhindered(bytes),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::H2(_) | Stream::Gone => {}
            #[cfg(feature = "memory")]
            Stream::Memory(_) => {}
        }
    }

    /// Makes the close that follows a reset, so that the peer cannot take what it has for whole.
    pub fn reset_on_close(&mut self) {
        match self {
            Stream::Tcp(socket) => {
                let linger = Some(Duration::ZERO);
                // A socket that is closed already cannot be reset; there is nothing to do about
                // it.
                let _ = rustix::net::sockopt::set_socket_linger(&socket.descriptor, linger);
            }
            Stream::Unix(_) | Stream::Gone => {}
            Stream::Tls(stream) => stream.reset_on_close(),
            Stream::H2(stream) => stream.reset(),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.reset(),
        }
    }

    /// Has [`poll_woken`](crate::driver::poll_woken) give out `number` once there is something to
    /// read, without a task that waits for it; ready where there is already.
    pub fn park(&mut self, number: u32) -> Poll<()> {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.registration.park(number),
            Stream::Tls(stream) => stream.park(number),
            Stream::Gone | Stream::H2(_) => Poll::Ready(()),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.park(number),
        }
    }

    /// Undoes [`Stream::park`].
    pub fn unpark(&mut self) {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.registration.unpark(),
            Stream::Tls(stream) => stream.unpark(),
            Stream::Gone | Stream::H2(_) => {}
            #[cfg(feature = "memory")]
            Stream::Memory(_) => {}
        }
    }

    /// Has the next read ask the kernel, whatever the driver knows.
    pub fn doubt(&mut self) {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => socket.registration.doubt(),
            Stream::Tls(stream) => stream.doubt(),
            Stream::Gone | Stream::H2(_) => {}
            #[cfg(feature = "memory")]
            Stream::Memory(_) => {}
        }
    }

    /// What the driver already knows of an idle connection; no system call while it is quiet.
    pub fn glance(&mut self) -> Probe {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => {
                if !socket.registration.is_readable() {
                    return Probe::Quiet;
                }
                let probe = probe_socket(socket.descriptor.as_fd());
                if probe == Probe::Quiet {
                    socket.registration.blocked(Direction::Read);
                }
                probe
            }
            Stream::Tls(stream) => stream.glance(),
            Stream::Gone => Probe::Stale,
            // It is never kept: its connection is.
            Stream::H2(_) => Probe::Stale,
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.probe(),
        }
    }

    /// What the kernel knows of an idle connection: one `recv` that takes nothing.
    pub fn probe(&mut self) -> Probe {
        match self {
            Stream::Tcp(socket) | Stream::Unix(socket) => probe_socket(socket.descriptor.as_fd()),
            Stream::Tls(stream) => stream.probe(),
            Stream::Gone => Probe::Stale,
            Stream::H2(_) => Probe::Stale,
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.probe(),
        }
    }
}

fn probe_socket(socket: BorrowedFd<'_>) -> Probe {
    let mut byte = [0_u8; 1];
    match recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(Errno::AGAIN) => Probe::Quiet,
        Ok(_) | Err(_) => Probe::Stale,
    }
}

/// Opens a TCP connection with Nagle's algorithm off.
///
/// # Errors
/// What `connect` says.
pub async fn dial_tcp(address: SocketAddr) -> io::Result<Stream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    let is_narrow = window::narrow(&socket);
    let mut connected = connect(socket, &address.into()).await?;
    connected.narrow_for = if is_narrow { UNHINDERED_BYTES as u32 } else { 0 };
    Ok(Stream::Tcp(connected))
}

/// Opens a connection to a UNIX socket.
///
/// # Errors
/// What `connect` says.
pub async fn dial_unix(path: &std::path::Path) -> io::Result<Stream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    connect(socket, &SockAddr::unix(path)?).await.map(Stream::Unix)
}
