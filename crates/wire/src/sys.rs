//! The only file with `unsafe`: calls that no safe crate makes as cheaply.
#![allow(unsafe_code, reason = "this is the file for it; every block says why it is sound")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
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
