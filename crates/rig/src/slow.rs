//! Clients that take as long as they can: senders that give a byte of a body now and then, readers
//! that take a few bytes of an answer now and then. One thread, no body in memory.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::wait::pause;

/// How often each does a little.
const ROUND: Duration = Duration::from_secs(1);

/// Bytes that a sender promises, and that a reader asks for: more than any buffer on the way.
const BODY_BYTES: usize = 16 << 20;

/// Bytes that a reader takes in a round, and that its socket holds for it.
const READ_BYTES: usize = 512;

/// Slow clients that are connected.
#[derive(Debug)]
pub struct Slow {
    senders: Vec<TcpStream>,
    readers: Vec<TcpStream>,
}

impl Slow {
    /// Connects so many, each with its head sent.
    ///
    /// # Errors
    ///
    /// When one of them cannot connect.
    pub fn open(to: SocketAddr, senders: usize, readers: usize) -> io::Result<Self> {
        let upload =
            format!("POST /drain HTTP/1.1\r\nHost: slow\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
        let download = format!("GET /bytes/{BODY_BYTES} HTTP/1.1\r\nHost: slow\r\n\r\n");
        let open = |head: &str| {
            let mut stream = TcpStream::connect(to)?;
            sockopt::set_socket_recv_buffer_size(stream.as_fd(), READ_BYTES)?;
            stream.write_all(head.as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let all = |count, head: &str| (0..count).map(|_| open(head)).collect::<io::Result<_>>();
        Ok(Self { senders: all(senders, &upload)?, readers: all(readers, &download)? })
    }

    /// Goes on being slow for this long.
    pub fn go_on(&mut self, period: Duration) {
        let end = Instant::now() + period;
        while Instant::now() < end {
            let next = Instant::now() + ROUND.min(period);
            self.senders.retain_mut(|stream| stays(stream.write(b"x")) && !has_ended(stream));
            self.readers.retain_mut(|stream| stays(stream.read(&mut [0; READ_BYTES])));
            pause(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Clients that nobody has sent away yet.
    #[must_use]
    pub fn open_now(&self) -> usize {
        self.senders() + self.readers()
    }

    /// Senders among them.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Readers among them.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers.len()
    }
}

/// Whether a connection goes on after this.
fn stays(moved: io::Result<usize>) -> bool {
    match moved {
        Ok(count) => count > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Whether the peer has answered or gone: a sender is owed nothing before its body has ended.
fn has_ended(stream: &mut TcpStream) -> bool {
    !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
