//! The streams and listeners of the process. One of the few files that name the driver.

use crate::tls::{Facts, TlsStream};
use rustix::net::{RecvFlags, recv};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream: a closed set, no trait object.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A UNIX socket.
    Unix(UnixStream),
    /// Any of the others under TLS.
    Tls(Box<TlsStream>),
    /// None any more: a handshake took it and failed. Whatever is tried fails.
    Gone,
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
    /// Waits until a read would not block: bytes, the end or an error are there.
    ///
    /// # Errors
    /// What the driver says when it is shutting down.
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_read_ready(cx),
            Stream::Unix(stream) => stream.poll_read_ready(cx),
            Stream::Tls(stream) => stream.poll_read_ready(cx),
            Stream::Gone => Poll::Ready(Ok(())),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Reads what is there, at most `room`. 0 is the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        match self {
            Stream::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            Stream::Unix(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            Stream::Tls(stream) => return stream.poll_read(cx, room),
            Stream::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => return stream.poll_read(cx, room),
        }
        Poll::Ready(Ok(buffer.filled().len()))
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
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => stream.poll_write_vectored(cx, slices),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
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
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Gone => Poll::Ready(Ok(())),
            #[cfg(feature = "memory")]
            Stream::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    /// What its handshake has settled, where it is under TLS.
    pub fn tls(&self) -> Option<&Facts> {
        match self {
            Stream::Tls(stream) => stream.facts(),
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
        loop {
            let called = match self {
                Stream::Tcp(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_io(Interest::READABLE, || call(stream.as_fd()))
                }
                Stream::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_io(Interest::READABLE, || call(stream.as_fd()))
                }
                Stream::Tls(_) | Stream::Gone => Err(io::ErrorKind::Unsupported.into()),
                #[cfg(feature = "memory")]
                Stream::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            match called {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                called => return Poll::Ready(called),
            }
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
        loop {
            let called = match self {
                Stream::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || call(stream.as_fd()))
                }
                Stream::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || call(stream.as_fd()))
                }
                Stream::Tls(_) | Stream::Gone => Err(io::ErrorKind::Unsupported.into()),
                #[cfg(feature = "memory")]
                Stream::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            match called {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                called => return Poll::Ready(called),
            }
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
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Tls(stream) => stream.beneath().local_address(),
            Stream::Unix(_) | Stream::Gone => None,
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
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => stream.poll_shutdown(cx),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => {
                stream.shutdown();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Makes the close that follows a reset, so that the peer cannot take what it has for whole.
    pub fn reset_on_close(&mut self) {
        match self {
            // A socket that is closed already cannot be reset; there is nothing to do about it.
            Stream::Tcp(stream) => drop(stream.set_zero_linger()),
            Stream::Unix(_) | Stream::Gone => {}
            Stream::Tls(stream) => stream.reset_on_close(),
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.reset(),
        }
    }

    /// What the driver already knows of an idle connection; no system call while it is quiet.
    pub fn glance(&mut self) -> Probe {
        // Runs the closure only where the driver has seen something; a probe that finds nothing
        // after all clears that.
        let asked = match self {
            Stream::Tcp(stream) => {
                stream.try_io(Interest::READABLE, || still_quiet(probe_socket(&*stream)))
            }
            Stream::Unix(stream) => {
                stream.try_io(Interest::READABLE, || still_quiet(probe_socket(&*stream)))
            }
            Stream::Tls(stream) => return stream.glance(),
            Stream::Gone => return Probe::Stale,
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => return stream.probe(),
        };
        match asked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Probe::Quiet,
            Ok(()) | Err(_) => Probe::Stale,
        }
    }

    /// What the kernel knows of an idle connection: one `recv` that takes nothing.
    pub fn probe(&mut self) -> Probe {
        match self {
            Stream::Tcp(stream) => probe_socket(&*stream),
            Stream::Unix(stream) => probe_socket(&*stream),
            Stream::Tls(stream) => stream.probe(),
            Stream::Gone => Probe::Stale,
            #[cfg(feature = "memory")]
            Stream::Memory(stream) => stream.probe(),
        }
    }
}

fn probe_socket(socket: impl AsFd) -> Probe {
    let mut byte = [0_u8; 1];
    match recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(rustix::io::Errno::AGAIN) => Probe::Quiet,
        Ok(_) | Err(_) => Probe::Stale,
    }
}

fn still_quiet(probe: Probe) -> io::Result<()> {
    match probe {
        Probe::Quiet => Err(io::ErrorKind::WouldBlock.into()),
        Probe::Stale => Ok(()),
    }
}

/// A listening socket registered with this worker's driver.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// UNIX.
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// Registers a bound and listening TCP socket.
    ///
    /// # Errors
    /// What the driver says.
    pub fn tcp(listener: std::net::TcpListener) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener).map(Acceptor::Tcp)
    }

    /// Registers a bound and listening UNIX socket.
    ///
    /// # Errors
    /// What the driver says.
    pub fn unix(listener: std::os::unix::net::UnixListener) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener).map(Acceptor::Unix)
    }

    /// Takes the next connection.
    ///
    /// # Errors
    /// What `accept` says: for this one connection, or of the process (no descriptors left).
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Stream, Option<std::net::SocketAddr>)>> {
        match self {
            Acceptor::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((Stream::Tcp(stream), Some(peer))))
            }
            Acceptor::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((Stream::Unix(stream), None)))
            }
        }
    }
}

/// Opens a TCP connection with Nagle's algorithm off.
///
/// # Errors
/// What `connect` says.
pub async fn dial_tcp(address: std::net::SocketAddr) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

/// Opens a connection to a UNIX socket.
///
/// # Errors
/// What `connect` says.
pub async fn dial_unix(path: &std::path::Path) -> io::Result<Stream> {
    UnixStream::connect(path).await.map(Stream::Unix)
}
