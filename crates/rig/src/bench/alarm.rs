//! A wake-up to the microsecond: the wait of the poller itself is rounded up to a millisecond.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::poller::Poller;

/// The token its events carry; those of connections are smaller.
pub(super) const ALARM: u64 = u64::MAX - 1;
const NANOS: u64 = 1_000_000_000;

/// A timer among the sockets of a poller. What it wakes is the wait; nothing has to be read.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// What it was set to last.
    due: u64,
}

impl Alarm {
    pub fn new(poller: &Poller) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poller.watch(&timer, ALARM)?;
        Ok(Self { timer, due: 0 })
    }

    /// Ends a wait at `due`, both in nanoseconds since the start of the run.
    pub fn set(&mut self, due: u64, now: u64) -> io::Result<()> {
        if due == self.due || due <= now {
            return Ok(());
        }
        self.due = due;
        let left = due - now;
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let left = Timespec { tv_sec: (left / NANOS) as i64, tv_nsec: (left % NANOS) as i64 };
        let timer = Itimerspec { it_interval: once, it_value: left };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }
}
