//! The only file with `unsafe`: calls that no safe crate makes as cheaply.
#![allow(unsafe_code, reason = "this is the file for it; every block says why it is sound")]

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
