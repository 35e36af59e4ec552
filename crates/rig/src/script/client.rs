//! A client that sends what it is told, to the byte.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::socket;

use super::message::{Asked, Head, Response};
use super::pipe::{Arrived, Ending, Pipe, WAIT, shown};

/// A client's connection. Every method panics, with what it saw, when the peer does not do what the
/// script expects.
pub struct Client {
    pipe: Pipe,
}

impl Client {
    /// Connects.
    #[track_caller]
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        match TcpStream::connect_timeout(&address, WAIT).and_then(Pipe::new) {
            Ok(pipe) => Self { pipe },
            Err(error) => panic!("connecting to {address}: {error}"),
        }
    }

    /// Connects, and lets the kernel keep about `bytes` of what it has not read.
    #[track_caller]
    #[must_use]
    pub fn connect_keeping(address: SocketAddr, bytes: usize) -> Self {
        match socket::connect_keeping(address, bytes).and_then(Pipe::new) {
            Ok(pipe) => Self { pipe },
            Err(error) => panic!("connecting to {address}: {error}"),
        }
    }

    /// Sets the longest wait for a byte; 10 s otherwise.
    pub fn limit(&mut self, limit: Duration) -> &mut Self {
        self.pipe.limit(limit);
        self
    }

    /// The client's own address.
    #[track_caller]
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.pipe.stream().local_addr().expect("a connected socket has an address")
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        if let Err(error) = self.pipe.write(bytes) {
            panic!("sending {}: {error}", shown(bytes));
        }
        self
    }

    /// Sends bytes that the peer may refuse to take: a peer that closes early is no failure.
    pub fn offer(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.pipe.write(bytes.as_ref());
        self
    }

    /// Sends each byte on its own, so that the peer reads them in many pieces.
    #[track_caller]
    pub fn dribble(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
        self
    }

    /// Reads a response to its end.
    #[track_caller]
    #[must_use]
    pub fn read_response(&mut self) -> Response {
        agreed(self.pipe.take_response(Asked::Other))
    }

    /// Reads the response to a HEAD request.
    #[track_caller]
    #[must_use]
    pub fn read_response_to_head(&mut self) -> Response {
        agreed(self.pipe.take_response(Asked::Head))
    }

    /// Reads a head only, be it interim or final, and leaves what follows.
    #[track_caller]
    #[must_use]
    pub fn read_head(&mut self) -> Head {
        agreed(self.pipe.take_head())
    }

    /// Reads exactly so many bytes.
    #[track_caller]
    #[must_use]
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        agreed(self.pipe.take(count))
    }

    /// Reads everything until the peer ends its side, and says how it did.
    #[track_caller]
    #[must_use]
    pub fn read_rest(&mut self) -> (Vec<u8>, Ending) {
        agreed(self.pipe.take_rest())
    }

    /// Reads a response and checks its status.
    #[track_caller]
    pub fn expect_status(&mut self, status: u16) -> Response {
        let response = self.read_response();
        let body = shown(&response.body);
        assert_eq!(response.status, status, "{:?} with {body}", response.head);
        response
    }

    /// Reads the end of the connection, however it comes, with no byte before it.
    #[track_caller]
    pub fn expect_close(&mut self) {
        let (rest, _) = self.read_rest();
        assert!(rest.is_empty(), "expected the end of the connection, got {}", shown(&rest));
    }

    /// Reads a reset with no byte before it.
    #[track_caller]
    pub fn expect_reset(&mut self) {
        let (rest, ending) = self.read_rest();
        assert!(rest.is_empty(), "expected a reset, got {}", shown(&rest));
        assert_eq!(ending, Ending::Reset);
    }

    /// Checks that no byte and no end comes for that long.
    #[track_caller]
    pub fn expect_silence(&mut self, period: Duration) -> &mut Self {
        let end = Instant::now() + period;
        if self.pipe.ahead.is_empty() {
            match self.pipe.arrive_within(end.saturating_duration_since(Instant::now())) {
                Arrived::Bytes => {}
                Arrived::Nothing => return self,
                Arrived::Ending(ending) => panic!("expected silence, got {ending:?}"),
            }
        }
        panic!("expected silence, got {}", shown(&self.pipe.ahead));
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub fn half_close(&mut self) -> &mut Self {
        self.pipe.half_close();
        self
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.pipe.reset();
    }
}

#[track_caller]
fn agreed<T>(read: Result<T, String>) -> T {
    match read {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
