//! Why no connection came about.

use std::io;

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// Nobody listens there.
    Refused,
    /// It could not be reached, in these words.
    Failed(&'static str),
    /// Nobody was asked: this process, or this machine, has no room for another socket.
    Exhausted,
}

impl DialError {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            DialError::Refused => "connection refused",
            DialError::Failed(why) => why,
            DialError::Exhausted => "this machine has no room for another socket",
        }
    }

    pub(crate) fn of(error: &io::Error) -> DialError {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => DialError::Refused,
            Kind::NotFound => DialError::Failed("no such socket"),
            Kind::PermissionDenied => DialError::Failed("permission denied"),
            Kind::NetworkUnreachable => DialError::Failed("network unreachable"),
            Kind::HostUnreachable => DialError::Failed("host unreachable"),
            Kind::TimedOut => DialError::Failed("timed out in the kernel"),
            Kind::AddrNotAvailable => DialError::Failed("no local port left"),
            Kind::ConnectionReset => DialError::Failed("connection reset"),
            _ if is_exhaustion(error) => DialError::Exhausted,
            _ => DialError::Failed("connect failed"),
        }
    }
}

/// Whether the process or the machine, not the connection, is at its end.
pub fn is_exhaustion(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    /// Too many descriptors are watched by epoll.
    const ENOSPC: i32 = 28;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOSPC | ENOBUFS))
}
