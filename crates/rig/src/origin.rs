//! An HTTP/1.1 origin over real sockets, on a thread of its own: for `demo`, for tests from end to
//! end, and fast enough to measure proxies against. It holds no body in memory.
//!
//! | Path | Answer |
//! |---|---|
//! | `/echo` | what it saw of the request, as JSON |
//! | `/bytes/N`, `/bytes/N/anything` | N bytes with Content-Length |
//! | `/chunked/N`, `/trailers/N` | N bytes in chunks; the second with the checksum as a trailer |
//! | `/until-close/N` | N bytes that end with the connection |
//! | `/checksum/N` | the CRC-32 of those N bytes, as eight hexadecimal digits |
//! | `/sink`, `/drain` | length of the upload; the first also its CRC-32 |
//! | `/early` | answers before it reads the request body |
//! | `/slow/MS` | answers after MS milliseconds |
//! | `/delay/MS/SLOW/EVERY` | answers after MS milliseconds, every EVERY-th request after SLOW |
//! | `/stall/MS/AT` | from the AT-th request on all of these wait until MS milliseconds are over |
//! | `/status/N` | that status; 1xx is followed by 200 |
//! | `/temper/STATUS/MS/SLOTS` | is like that ([`Temper`]) from now on; `/temper/0/0/0`: as usual |
//! | `/close` | answers, then closes |
//! | `/truncate/N` | promises N bytes, sends half, closes |
//! | `/reset` | resets the connection instead of answering |
//! | anything else | its name |

mod answer;
mod asked;
mod connection;
mod engine;
mod output;
mod request;
mod temper;
mod upload;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::poller::Waker;
use crate::socket;
use engine::{Engine, Order};

pub use temper::Temper;

/// What the origin counts, readable while it runs.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
}

/// A port that is kept while nobody listens on it, so that an origin that comes back finds its own.
/// Without it the kernel gives the port to whoever asks for any, and meets them with this origin's
/// requests.
#[derive(Debug)]
pub struct Reserved {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl Reserved {
    /// Keeps `address`; port 0 asks for a free one.
    ///
    /// # Errors
    ///
    /// When somebody listens there, or the address is not ours.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let (socket, address) = socket::reserve(address)?;
        Ok(Self { address, _socket: socket })
    }

    /// What is kept.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A running origin; dropping it stops it.
#[derive(Debug)]
pub struct Origin {
    name: String,
    place: Reserved,
    counts: Arc<Counts>,
    order: Arc<Order>,
    temper: Temper,
    thread: Option<(JoinHandle<()>, Waker)>,
}

impl Origin {
    /// Starts an origin on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// When there is no port, descriptor or thread to be had.
    pub fn start(name: &str) -> io::Result<Self> {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts an origin on `address`.
    ///
    /// # Errors
    ///
    /// When the address is in use, or there is no descriptor or thread to be had.
    pub fn start_at(name: &str, address: SocketAddr) -> io::Result<Self> {
        Self::start_as(name, address, Temper::default())
    }

    /// Starts an origin that is not as usual.
    ///
    /// # Errors
    ///
    /// As [`Origin::start_at`].
    pub fn start_as(name: &str, address: SocketAddr, temper: Temper) -> io::Result<Self> {
        let mut origin = Self {
            name: name.to_owned(),
            place: Reserved::new(address)?,
            counts: Arc::default(),
            order: Arc::default(),
            temper,
            thread: None,
        };
        origin.restart()?;
        Ok(origin)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// What it calls itself in `X-Origin`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Request heads it has read since it was first started.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Connections it has accepted since it was first started.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Closes the listener and every connection; its port refuses connections when this returns.
    pub fn stop(&mut self) {
        self.order.stop();
        self.end();
    }

    /// As [`Origin::stop`], but every connection is reset, as when a process dies with work undone.
    pub fn kill(&mut self) {
        self.order.kill();
        self.end();
    }

    /// Starts again on the same port, after [`Origin::stop`] or [`Origin::kill`]; the counts go on.
    ///
    /// # Errors
    ///
    /// As [`Origin::start_at`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        self.order = Arc::default();
        let order = Arc::clone(&self.order);
        let at = self.place.address;
        let counts = Arc::clone(&self.counts);
        let engine = Engine::start(&self.name, at, counts, order, self.temper)?;
        let waker = engine.waker();
        let thread = std::thread::Builder::new().name(format!("origin {}", self.name));
        self.thread = Some((thread.spawn(move || engine.run())?, waker));
        Ok(())
    }

    /// Runs until the process ends: for a process that is nothing but an origin.
    pub fn join(mut self) {
        if let Some((thread, _)) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn end(&mut self) {
        let Some((thread, waker)) = self.thread.take() else { return };
        waker.wake();
        assert!(thread.join().is_ok(), "origin {}: its thread panicked", self.name);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.order.stop();
        if let Some((thread, waker)) = self.thread.take() {
            waker.wake();
            // A panic here would abort a test that is failing already.
            let _ = thread.join();
        }
    }
}
