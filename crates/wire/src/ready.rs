//! What the kernel tells of a socket, and what is asked of it.

use rustix::event::epoll::EventFlags;

/// What is known of a socket. Sticky bits: once a side has closed it stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready(u8);

impl Ready {
    pub const READABLE: Ready = Ready(1);
    pub const WRITABLE: Ready = Ready(2);
    pub const READ_CLOSED: Ready = Ready(4);
    pub const WRITE_CLOSED: Ready = Ready(8);
    pub const TO_READ: Ready = Ready(1 | 4);
    pub const TO_WRITE: Ready = Ready(2 | 8);

    pub fn of(flags: EventFlags) -> Ready {
        let mut ready = Ready(0);
        if flags.intersects(EventFlags::IN | EventFlags::PRI) {
            ready = ready.and(Ready::READABLE);
        }
        if flags.intersects(EventFlags::OUT) {
            ready = ready.and(Ready::WRITABLE);
        }
        if flags.intersects(EventFlags::RDHUP) {
            ready = ready.and(Ready::READ_CLOSED);
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            ready = ready.and(Ready::READ_CLOSED).and(Ready::WRITE_CLOSED);
        }
        ready
    }

    pub fn and(self, more: Ready) -> Ready {
        Ready(self.0 | more.0)
    }

    pub fn without(self, less: Ready) -> Ready {
        Ready(self.0 & !less.0)
    }

    pub fn meets(self, of: Ready) -> bool {
        self.0 & of.0 != 0
    }
}

/// Which of a socket's directions somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub fn mask(self) -> Ready {
        match self {
            Direction::Read => Ready::TO_READ,
            Direction::Write => Ready::TO_WRITE,
        }
    }
}

/// How a socket tells that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Each change once, both directions: a stream.
    Edge,
    /// For as long as there is something: a listening socket, whose end need not be found.
    Level,
}

impl Trigger {
    pub fn flags(self) -> EventFlags {
        match self {
            Trigger::Edge => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
            // Where workers share it, not all of them are woken for one connection.
            Trigger::Level => EventFlags::IN | EventFlags::EXCLUSIVE,
        }
    }
}
