//! Non-blocking TCP sockets: listen, accept, dial, move bytes, end.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{
    Timeout, set_socket_linger, set_socket_recv_buffer_size, set_socket_reuseaddr,
    set_socket_timeout, set_tcp_nodelay,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, bind,
    connect, getsockname, listen as listen_again, recv, send, shutdown, socket_with,
};

/// Connections the kernel holds for us before they are accepted.
const BACKLOG: i32 = 4096;

/// What moving bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Bytes(usize),
    /// Nothing can be moved now.
    Blocked,
    /// The peer has ended its side; only from reading.
    Ended,
    /// The connection is gone.
    Broken,
}

/// Opens a listening socket and says its address. Port 0 asks for a free one.
///
/// # Errors
///
/// When the address is in use or not ours.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit it, which saves a call for each.
    set_tcp_nodelay(&listener, true)?;
    // The standard library's backlog is too short for benchmarks.
    listen_again(&listener, BACKLOG)?;
    Ok((listener.into(), address))
}

/// Connects a blocking socket for which the kernel keeps about `bytes` that nobody has read.
///
/// # Errors
///
/// When nobody listens there, or the kernel refuses.
pub(crate) fn connect_keeping(address: SocketAddr, bytes: usize) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The window is agreed on while connecting: it has to be told before.
    set_socket_recv_buffer_size(&socket, bytes)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// Binds a port without listening: nobody is given it by chance, it refuses connections, and who
/// knows it can still listen there. Port 0 asks for a free one.
///
/// # Errors
///
/// When somebody listens there, or the address is not ours.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    let address = getsockname(&socket)?.try_into()?;
    Ok((socket, address))
}

/// The next waiting connection; none when there is none or it is already gone.
pub(crate) fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok()
}

/// Starts a connection. It is there when the socket becomes writable; reading tells of a failure.
///
/// # Errors
///
/// When the kernel refuses at once.
pub(crate) fn dial(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// A connection from one address of several, so that ports do not run out. Its reads wait, for
/// `limit` at most.
///
/// # Errors
///
/// When `from` is not ours or has no port left, or nobody listens.
pub(crate) fn connect_from(from: IpAddr, to: SocketAddr, limit: Duration) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &to)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(limit))?;
    Ok(socket)
}

/// Whether the peer has said nothing, not even that it is gone.
pub(crate) fn is_quiet(socket: &OwnedFd) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(recv(socket, &mut [0_u8; 1], flags), Err(Errno::AGAIN))
}

pub(crate) fn read(socket: &OwnedFd, buffer: &mut [u8]) -> Moved {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Moved::Ended,
            Ok((count, _)) => return Moved::Bytes(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Moved::Blocked,
            Err(_) => return Moved::Broken,
        }
    }
}

pub(crate) fn write(socket: &OwnedFd, bytes: &[u8]) -> Moved {
    written(|| send(socket, bytes, SendFlags::NOSIGNAL))
}

/// Rust programs ignore SIGPIPE, so a broken connection is an error here too.
pub(crate) fn write_all_of(socket: &OwnedFd, slices: &[IoSlice<'_>]) -> Moved {
    written(|| rustix::io::writev(socket, slices))
}

fn written(mut call: impl FnMut() -> Result<usize, Errno>) -> Moved {
    loop {
        match call() {
            Ok(count) => return Moved::Bytes(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Moved::Blocked,
            Err(_) => return Moved::Broken,
        }
    }
}

/// Says that nothing more will be written.
pub(crate) fn end(socket: &OwnedFd) {
    // It fails when the peer is gone, and then there is nobody to tell.
    let _ = shutdown(socket, Shutdown::Write);
}

/// Closes with a reset instead of an end.
pub(crate) fn reset(socket: OwnedFd) {
    let _ = set_socket_linger(&socket, Some(Duration::ZERO));
}
