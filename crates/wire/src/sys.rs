//! The only file with `unsafe`: calls that no safe crate makes as cheaply.
#![allow(unsafe_code, reason = "this is the file for it; every block says why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's monotonic clock in nanoseconds, straight from the vDSO by way of libc. (rustix
/// finds the vDSO by itself, which valgrind's hiding of it turns into a crash.)
#[cfg_attr(feature = "memory", allow(dead_code, reason = "the tests' clock is the driver's"))]
pub(crate) fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live, properly aligned timespec that the call may write to, and
    // CLOCK_MONOTONIC exists on every Linux; nothing is kept beyond the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Bytes of a page of memory. (rustix would look for the vDSO to find out: see above.)
pub fn page_bytes() -> u64 {
    // SAFETY: sysconf takes any number and touches no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Has the allocator give the system back what it keeps for later, where it is glibc's.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes its own locks, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the kernel choose again how much a socket may receive before it is read, where that was set
/// (`SO_BUF_LOCK`, Linux 5.15).
///
/// # Errors
/// `ENOPROTOOPT` where the kernel does not know how.
pub(crate) fn unlock_receive_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    const SO_BUF_LOCK: libc::c_int = 72;
    set(socket, libc::SOL_SOCKET, SO_BUF_LOCK, 0)
}

/// Bounds the window that a socket offers to its peer.
///
/// # Errors
/// What the system says.
pub(crate) fn clamp_window(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes)
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let bytes = size_of_val(&value) as libc::socklen_t;
    let (number, from) = (socket.as_raw_fd(), (&raw const value).cast());
    // SAFETY: `from` points to `bytes` bytes that live to the end of the call, which reads them and
    // keeps nothing; the descriptor is open for as long as it is borrowed.
    let done = unsafe { libc::setsockopt(number, level, option, from, bytes) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the tokio runtime of this thread tell when a descriptor is readable.
///
/// # Errors
/// What the runtime says.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: what is registered owns its descriptor, which stays open and the same until it is
    // taken off and dropped.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// Takes a descriptor that this process was started with; from then on it is like one opened here.
///
/// # Errors
/// `NotFound` where there is none, `InvalidInput` where it was opened, or taken, by this process.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    static TAKING: Mutex<()> = Mutex::new(());
    if number <= libc::STDERR_FILENO {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: F_GETFD takes any number, reads no memory of ours, and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: F_SETFD reads no memory of ours; that this flag may be changed, see below.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open and nobody in this process owns it: everything opened here,
    // by std, tokio, socket2 and rustix, closes on exec, so one that does not came through an
    // exec; and since it closes on exec now, it cannot be taken a second time.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
