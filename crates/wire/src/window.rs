//! How much an endpoint may send ahead of what is read.

use crate::sys;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

/// Bytes that the kernel keeps of what an endpoint has sent and nobody has read, its own share
/// included, until a message proves that it is the endpoint which is waited for. By itself it
/// would keep some MiB for each client that is slower than its endpoint, of a memory that all
/// sockets of a machine share (`net.ipv4.tcp_mem`).
pub const UNREAD_MAX: usize = 128 * 1024;

/// Undoes [`narrow`]. The kernel lets a window grow when more is read in a round trip than ever
/// before, which a window that was full all along never allows: so it is given a start.
pub fn widen(socket: BorrowedFd<'_>) -> io::Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size(socket, WIDENED)?;
    sys::clamp_window(socket, WIDENED as i32)?;
    sys::unlock_receive_buffer(socket)
}

/// What is kept from then on, and more where that is found useful; less where the system's
/// `net.core.rmem_max` says so.
const WIDENED: usize = 4 * 1024 * 1024;

/// Bounds what a socket receives before it is read; says whether that can be undone.
pub fn narrow(socket: &Socket) -> bool {
    static CAN_WIDEN: OnceLock<bool> = OnceLock::new();
    let can = *CAN_WIDEN.get_or_init(|| sys::unlock_receive_buffer(socket.as_fd()).is_ok());
    // The kernel doubles it, for what it needs itself.
    can && socket.set_recv_buffer_size(UNREAD_MAX / 2).is_ok()
}
